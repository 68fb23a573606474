"""Patterns of tools' names and of arguments, and regular expressions in linear time."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import re2

from jepakit.guard.traces import strict_json
from jepakit.guard.traces.folding import fold
from jepakit.guard.traces.strict_json import JsonValue

#: Characters of a regular expression in a policy.
_LONGEST_EXPRESSION = 2000
_MOST_BYTES = 1 << 26


@lru_cache(maxsize=4096)
def expression(text: str) -> Any:
    """A regular expression of RE2, which takes time linear in what it is applied to.

    Raises:
        ValueError: it is none, or too long.
    """
    if len(text) > _LONGEST_EXPRESSION:
        raise ValueError(f"a regular expression of more than {_LONGEST_EXPRESSION} characters")
    return _compiled(text)


def names_matcher(patterns: Sequence[str], *, ignore_case: bool = False) -> Callable[[str], bool]:
    """Whether a name is one of the patterns, in which ``*`` is any text and ``?`` any character."""
    cased = [pattern.lower() if ignore_case else pattern for pattern in patterns]
    exact = frozenset(pattern for pattern in cased if "*" not in pattern and "?" not in pattern)
    wild = [_glob(pattern) for pattern in dict.fromkeys(cased) if pattern not in exact]
    regex = _compiled("|".join(f"(?:{one})" for one in wild)) if wild else None

    def matches(name: str) -> bool:
        name = name.lower() if ignore_case else name
        return name in exact or (regex is not None and regex.fullmatch(name) is not None)

    return matches


@dataclass(frozen=True)
class Argument:
    """A value in the arguments of a call.

    Args:
        pointer: where it stands, a JSON pointer.
        value: itself.
    """

    pointer: str
    value: JsonValue

    @property
    def is_given(self) -> bool:
        """Whether it has something in it."""
        return self.value is not None and self.value != [] and self.value != {}

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The keys and indices that lead to it."""
        return strict_json.tokens(self.pointer)

    @cached_property
    def folded_tokens(self) -> tuple[str, ...]:
        """`tokens`, where keys that look alike are alike."""
        return tuple(_folded_key(token) for token in self.tokens)

    @cached_property
    def text(self) -> str:
        """The text that it is, or its JSON."""
        return self.value if isinstance(self.value, str) else json.dumps(self.value)

    @cached_property
    def folded_text(self) -> str:
        """`text`, where texts that look alike are alike."""
        return fold(self.text).text


@dataclass(frozen=True)
class Pattern:
    """Arguments by place: a JSON pointer in which ``*`` is any key or index and ``**`` any number of them.

    What stands below a place belongs to it.

    Args:
        tokens: of the pointer.
        folded: keys that look alike are alike.
    """

    tokens: tuple[str, ...]
    folded: bool = False

    def matches(self, argument: Argument) -> bool:
        """Whether the argument stands at one of these places, or below one."""
        return self.below(argument) is not None

    def below(self, argument: Argument) -> tuple[str, ...] | None:
        """The keys and indices from the place of the pattern to the argument; None where it stands elsewhere."""
        tokens = argument.folded_tokens if self.folded else argument.tokens
        # The numbers of tokens that the pattern so far can have taken, all at once: no search, whatever `**` there are.
        ends = {0}
        for token in self.tokens:
            if token == "**":
                ends = set(range(min(ends), len(tokens) + 1))
            else:
                ends = {end + 1 for end in ends if end < len(tokens) and token in ("*", tokens[end])}
            if not ends:
                return None
        return tokens[max(ends) :]


@lru_cache(maxsize=4096)
def compiled_pattern(text: str, *, folded: bool = False) -> Pattern:
    """A `Pattern` from its text; ``folded``: keys that look alike are alike.

    Raises:
        ValueError: it does not begin with a slash.
    """
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is no pattern of arguments; it begins with a slash, such as /to/*")
    tokens = strict_json.tokens(text)
    return Pattern(tuple(_folded_key(token) for token in tokens) if folded else tokens, folded)


def _folded_key(key: str) -> str:
    plain = key.isascii() and key.isprintable() and " " not in key
    return key.lower() if plain else fold(key).text


def _glob(pattern: str) -> str:
    """As a regular expression; a run of ``*`` is one."""
    parts: list[str] = []
    for character in pattern:
        part = {"*": "(?s:.*)", "?": "(?s:.)"}.get(character) or re2.escape(character)
        if part != "(?s:.*)" or not parts or parts[-1] != part:
            parts.append(part)
    return "".join(parts)


def _compiled(text: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MOST_BYTES
    try:
        return re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"not a regular expression of RE2: {reason}") from error
