"""Conditions on the arguments of a call.

Conditions that have to hold are compared exactly: what merely looks like an allowed value is none. Conditions that must
not hold (`none_of`, `not_matches`, `not_domain_in`) also match what looks like the denied value, after `fold`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from jepakit.guard.policy.patterns import Argument, compiled_pattern, expression
from jepakit.guard.traces.folding import fold
from jepakit.guard.traces.strict_json import JsonValue, exact_number, is_number

Number = StrictInt | Annotated[StrictFloat, Field(allow_inf_nan=False)]
"""A number in a policy."""

Scalar = StrictBool | Number | StrictStr
"""A value that arguments are compared with."""

_HOST = r"((?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z0-9-]*[A-Za-z])"
_PATH = r"(?::[0-9]{1,5})?(?:[/?#][!-\[\]-~]*)?"
_ADDRESS = rf"(?:[A-Za-z0-9.!#$%&'*+/=?^_{{|}}~-]+@{_HOST}|https?://{_HOST}{_PATH}|{_HOST}{_PATH})"
_DOMAIN = r"(?:[A-Za-z0-9-]+\.)*[A-Za-z0-9-]+"
_MUST = ("equals", "one_of", "matches", "at_most", "at_least", "at_most_length", "at_most_items", "domain_in")
_MUST_NOT = ("none_of", "not_matches", "not_domain_in")


class Rule(BaseModel):
    """Conditions on an argument; all of them hold, or the call is asked about or denied.

    Args:
        id: of the rule, different for all rules of a tool.
        argument: pattern of the arguments that it is about, such as ``/amount`` or ``/to/*``, with all below them.
        required: a call without the argument breaks the rule; of conditions that must not hold it never does.
        otherwise: decision for a call that breaks the rule.
        equals: the value.
        one_of: the values that it may have.
        matches: regular expression (RE2) of the text as a whole.
        at_most: the largest number. Digits in a text are a number, other values break the rule.
        at_least: the smallest number.
        at_most_length: characters of a text.
        at_most_items: values at the place and below it.
        domain_in: domains that an e-mail address, a host or an http(s) URL may have, with their subdomains.
        none_of: values that it must not have.
        not_matches: regular expression (RE2) that nothing in the text may match.
        not_domain_in: domains that must not stand in the text, with their subdomains.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    argument: str
    required: bool = Field(default=True, strict=True)
    otherwise: Literal["ask", "deny"] = "deny"
    equals: Scalar | None = None
    one_of: tuple[Scalar, ...] | None = None
    matches: str | None = None
    at_most: Number | None = None
    at_least: Number | None = None
    at_most_length: int | None = Field(default=None, ge=0, strict=True)
    at_most_items: int | None = Field(default=None, ge=0, strict=True)
    domain_in: tuple[str, ...] | None = None
    none_of: tuple[Scalar, ...] | None = None
    not_matches: str | None = None
    not_domain_in: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _checked(self) -> Rule:
        compiled_pattern(self.argument)
        if not self._has((*_MUST, *_MUST_NOT)):
            raise ValueError("a rule without a condition")
        for text in (self.matches, self.not_matches):
            if text is not None:
                expression(text)
        for domain in (*(self.domain_in or ()), *(self.not_domain_in or ())):
            if expression(_DOMAIN).fullmatch(domain) is None:
                raise ValueError(f"{domain!r} is no domain; one is written like example.org")
        return self

    def broken_at(self, arguments: Sequence[Argument]) -> tuple[str, ...]:
        """Where the arguments of a call break the rule; the rule's own pattern where a required one is missing."""
        return tuple(dict.fromkeys([*self._must(arguments), *self._must_not(arguments)]))

    def _must(self, arguments: Sequence[Argument]) -> list[str]:
        if not self._has(_MUST):
            return []
        pattern = compiled_pattern(self.argument)
        given = [one for one in arguments if one.is_given and pattern.matches(one)]
        if not given:
            return [self.argument] if self.required else []
        if self.at_most_items is not None and len(given) > self.at_most_items:
            return [self.argument]
        return [one.pointer for one in given if not self._holds(one)]

    def _holds(self, one: Argument) -> bool:
        """Whether all conditions that have to hold do."""
        if self._allowed is not None and _exact(one.value) not in self._allowed:
            return False
        if self.matches is not None and expression(self.matches).fullmatch(one.text) is None:
            return False
        if self.at_most is not None or self.at_least is not None:
            number = exact_number(one.value)
            if number is None or not self._in_range(number):
                return False
        if self.at_most_length is not None and len(one.text) > self.at_most_length:
            return False
        return self.domain_in is None or _has_domain(one.value, self.domain_in)

    def _in_range(self, number: Decimal) -> bool:
        return (self.at_most is None or number <= Decimal(repr(self.at_most))) and (
            self.at_least is None or number >= Decimal(repr(self.at_least))
        )

    def _must_not(self, arguments: Sequence[Argument]) -> list[str]:
        if not self._has(_MUST_NOT):
            return []
        pattern = compiled_pattern(self.argument, folded=True)
        broken: list[str] = []
        for one in arguments:
            below = pattern.below(one)
            if below is None:
                continue
            # Keys below the place are texts as well.
            keys = [*below, *one.tokens[len(one.tokens) - len(below) :]]
            texts = [*keys, one.text, one.folded_text] if one.is_given else keys
            if any(self._is_denied(text) for text in dict.fromkeys(texts)):
                broken.append(one.pointer)
        return broken

    def _is_denied(self, text: str) -> bool:
        if self.none_of is not None and (text in self._none_of or exact_number(text) in self._none_of):
            return True
        if self.not_matches is not None and expression(self.not_matches).search(text) is not None:
            return True
        if self.not_domain_in is None:
            return False
        texts = [text.lower(), fold(unquote(text)).text] if "%" in text else [text.lower()]
        return any(_mentions(one, domain.lower()) for one in texts for domain in self.not_domain_in)

    def _has(self, conditions: Sequence[str]) -> bool:
        return any(getattr(self, field) is not None for field in conditions)

    @cached_property
    def _allowed(self) -> frozenset[tuple[str, Any]] | None:
        equal = None if self.equals is None else frozenset([_exact(self.equals)])
        listed = None if self.one_of is None else frozenset(map(_exact, self.one_of))
        return listed if equal is None else equal if listed is None else equal & listed

    @cached_property
    def _none_of(self) -> frozenset[str | Decimal]:
        """The denied values as folded texts, and as the numbers that they are."""
        texts = [Argument("", value).folded_text for value in self.none_of or ()]
        numbers = [number for text in texts if (number := exact_number(text)) is not None]
        return frozenset([*texts, *numbers])


def _exact(value: JsonValue) -> tuple[str, Any]:
    """What two values have in common only where they are the same: their kind, and the number without rounding."""
    if is_number(value):
        return "number", exact_number(value)
    return type(value).__name__, value


def _has_domain(value: JsonValue, domains: Sequence[str]) -> bool:
    match = expression(_ADDRESS).fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return False
    host = next(group for group in match.groups() if group is not None).lower()
    return any(host == domain.lower() or host.endswith(f".{domain.lower()}") for domain in domains)


def _mentions(text: str, domain: str) -> bool:
    """Whether a domain, or a subdomain of it, stands in a folded text."""
    start = -1
    while (start := text.find(domain, start + 1)) >= 0:
        before, after = text[max(start - 1, 0) : start], text[start + len(domain) :][:2]
        longer = after[:1].isalnum() or after[:1] == "-" or (after[:1] == "." and after[1:].isalnum())
        if not longer and not before.isalnum() and before != "-":
            return True
    return False
