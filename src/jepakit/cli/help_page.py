"""What ``--help`` prints: usage, examples and the options that matter most, or all with ``--help-all``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from inspect import cleandoc, getmro
from pathlib import Path
from textwrap import wrap
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin, get_type_hints

from rich.console import Console
from rich.text import Text

from jepakit.cli.kinds import choices
from jepakit.cli.verbs.verb import Verb

if TYPE_CHECKING:
    from jepakit.cli.reading import Command

#: Names of options that are longer stand on a line of their own.
_NAME_WIDTH = 26


@dataclass(frozen=True)
class Places:
    """What stands on the command line by its place: fields that are needed, that are not, and words after ``--``."""

    needed: tuple[str, ...]
    optional: tuple[str, ...]
    rest: str | None

    @classmethod
    def of(cls, command: Command) -> Places:
        """The places of a command; a list takes several words."""
        kinds = get_type_hints(command.options)
        needed, optional = (
            tuple(f"{name} ..." if _is_list(kinds[name]) else name for name in names)
            for names in (command.positional, command.optional)
        )
        return cls((), needed + optional, command.rest) if command.run_first else cls(needed, optional, command.rest)


@dataclass(frozen=True)
class Option:
    """An option as help shows it.

    Args:
        name: as it is written, such as ``--encoder.hidden``.
        value: what stands for its value; empty for a flag.
        text: what it does.
    """

    name: str
    value: str
    text: str


def write_usage(out: Console, program: str, verb: Verb, places: Places | None) -> None:
    """Purpose, usage and examples; ``places`` is None where the packages that the verb needs are not installed."""
    words = [program]
    if places is not None:
        words += [name.upper() for name in places.needed]
        words += [f"[{name.upper()}]" for name in places.optional]
    words.append("[--option value ...]")
    if places is not None and places.rest is not None:
        words += ["--", f"{places.rest.upper()} ..."]
    write_wrapped(out, f"{program}: {verb.help}")
    out.print("", Text.assemble(("usage: ", "bold"), " ".join(words)), sep="\n", soft_wrap=True)
    if verb.examples:
        out.print("", Text("examples:", "bold"), *(f"  {one}" for one in verb.examples), sep="\n", soft_wrap=True)


def write_wrapped(out: Console, text: str) -> None:
    """A paragraph."""
    out.print(*wrap(text, out.width), sep="\n", soft_wrap=True)


def write_options(out: Console, heading: str, options: Iterable[Option]) -> None:
    """A heading and the options below it."""
    out.print("", Text(f"{heading}:", "bold"), sep="\n", soft_wrap=True)
    write_entries(out, {f"{option.name} {option.value}".rstrip(): option.text for option in options}, _NAME_WIDTH)


def write_entries(out: Console, entries: Mapping[str, str], width: int) -> None:
    """Names and, in a column beside them, their texts, wrapped at the width of the console.

    Args:
        out: where they go.
        entries: name -> text.
        width: of the names; one that is longer stands on a line of its own.
    """
    indent = width + 2 if out.width >= 3 * width else 8
    for name, text in entries.items():
        lines = wrap(text, max(20, out.width - indent - 1)) or [""]
        head = Text.assemble("  ", (name, "cyan"))
        if len(head) > indent - 2:
            out.print(head, soft_wrap=True)
            head = Text()
        head.pad_right(indent - len(head))
        first = Text.assemble(head, lines[0])
        first.rstrip()
        rest = (" " * indent + line for line in lines[1:])
        if first:
            out.print(first, *rest, sep="\n", soft_wrap=True)


def options_of(options: type[Any], defaults: Mapping[str, Any]) -> dict[str, dict[str, Option]]:
    """Heading -> dotted name -> option, those without dots first.

    Args:
        options: the dataclass.
        defaults: dotted name -> other defaults.
    """
    found: dict[str, dict[str, Option]] = {"options": {}}
    for heading, name, option in _options(options, options(), defaults, "", "options"):
        found.setdefault(heading, {})[name] = option
    return {heading: members for heading, members in found.items() if members}


def _options(
    options: type[Any], values: Any, defaults: Mapping[str, Any], prefix: str, heading: str
) -> Iterator[tuple[str, str, Option]]:
    texts = field_texts(options)
    for field, kind in get_type_hints(options).items():
        name, text = f"{prefix}{field}", in_plain_words(texts.get(field, ""))
        if is_dataclass(kind):
            below = f"{name}: {text}" if text else name
            yield from _options(cast(type[Any], kind), getattr(values, field), defaults, f"{name}.", below)
        else:
            yield heading, name, _option(name, kind, defaults.get(name, getattr(values, field)), text)


def _option(name: str, kind: Any, default: Any, text: str) -> Option:
    notes: list[str] = []
    named = choices(kind)
    if named and not all(choice in text for choice in named):
        notes.append(f"one of {', '.join(named)}")
    if _is_list(kind):
        notes.append("may be repeated")
    if default is not None and default is not False and default not in ("", [], {}, ()):
        notes.append(f"default: {_shown(default)}")
    value = "true|false" if default is True else _metavariable(kind)
    return Option(f"--{name.replace('_', '-')}", value, f"{text} ({'; '.join(notes)})".strip() if notes else text)


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, cast(tuple[Any, ...], value)))
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_shown(one)}" for name, one in cast(dict[str, Any], value).items())
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is list or any(get_origin(part) is list for part in get_args(kind))


def _metavariable(kind: Any) -> str:
    """What stands for a value: no type of Python."""
    if get_origin(kind) is Literal:
        return "NAME"
    if get_origin(kind) is dict:
        return "{NAME: VALUE}"
    if get_origin(kind) is tuple:
        return f"[{', '.join(map(_metavariable, get_args(kind)))}]"
    if parts := [part for part in get_args(kind) if part is not NoneType]:
        return _metavariable(parts[0])
    return {int: "N", float: "NUMBER", bool: "", str: "TEXT", Path: "PATH"}[kind]


def field_texts(options: type[Any]) -> dict[str, str]:
    """Field -> its text below ``Args:`` in the docstring of the dataclass, or of one that it extends."""
    found: dict[str, str] = {}
    for owner in getmro(options):
        section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)*)", cleandoc(owner.__doc__ or ""), re.MULTILINE)
        for entry in re.split(r"^    (?=\w)", section[1] if section else "", flags=re.MULTILINE):
            name, _, text = entry.partition(":")
            found.setdefault(name, " ".join(text.split()))
    return found


def in_plain_words(text: str) -> str:
    """A docstring's text without references to modules, marks of reStructuredText and names of Python's values."""
    text = re.sub(r"[,;:]? ?\(?\b[Ss]ee `jepakit[^`]*`\)?", "", text)
    text = text.replace("``", "").replace("`", "").removesuffix(".").lstrip(" ,;")
    for python, plain in (("None", "null"), ("True", "true"), ("False", "false")):
        text = re.sub(rf"\b{python}\b", plain, text)
    return text
