"""The scope energy: how much more a call does than the task says.

    E = Σ_q max(0, ln(v_q / v_task,q))

over the quantities q of the call: each amount (arguments that the policy calls ``volume``; every number of a tool that
it does not name), the volume that the trace states, the longest list, and, where the policy limits them, the calls and
the volume of the trace so far. ``v_task`` of an amount is the largest number in the user's words, of the longest list
that or the number of its elements that stand in the user's words, but no more than the policy's limit, and at least 1;
of calls and volume of the trace it is the limit. An amount that itself stands in trusted texts is 0. The unit is the
nat: ln 2 for twice as much.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache

from jepakit.guard.energies.facts import CallFacts
from jepakit.guard.energies.parts import Part
from jepakit.guard.policy.patterns import Argument
from jepakit.guard.policy.taint import Taint
from jepakit.guard.traces.folding import fold
from jepakit.guard.traces.provenance import Value
from jepakit.guard.traces.strict_json import exact_number, is_number

_ONE = Decimal(1)
_DATE = re.compile(r"\d{1,4}-\d{1,2}(-\d{1,4})?|\d{1,2}:\d{2}(:\d{2})?|\d{1,2}/\d{1,2}/\d{2,4}", re.ASCII)
_NUMBER = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d{1,40})(?:\.\d{1,40})?(?!\w)", re.ASCII)


def scope(facts: CallFacts) -> Iterator[Part]:
    """The parts of the energy, one a quantity."""
    said = max(numbers_of(facts.context.task), default=_ONE)
    for value, taint, _ in facts.values:
        number = _amount(facts, value)
        if number is not None and not _stated(taint):
            yield Part(
                "scope", excess(number, _allowed(facts, said, "volume")), "more than the task says", value.pointer
            )
    if facts.seen.call.volume is not None:
        volume = Decimal(repr(facts.seen.call.volume))
        yield Part("scope", excess(volume, _allowed(facts, said, "volume")), "a larger volume than the task says")
    rows, where = _longest_list(facts)
    if rows > 1:
        allowed = _allowed(facts, max(said, Decimal(_named(facts, where))), "rows")
        yield Part("scope", excess(Decimal(rows), allowed), "a longer list than the task says", where)
    for use in facts.seen.uses:
        if use.limits.calls is not None:
            yield Part("scope", excess(Decimal(use.calls), Decimal(use.limits.calls)), "more calls than the limit")
        if use.limits.trace_volume is not None:
            limit = Decimal(repr(use.limits.trace_volume))
            yield Part("scope", excess(use.trace_volume, limit), "a larger volume of the trace than the limit")


def excess(value: Decimal, allowed: Decimal) -> float:
    """max(0, ln(value / max(1, allowed))), also of numbers beyond those of a double."""
    ratio = abs(value) / max(_ONE, allowed)
    return float(ratio.ln()) if ratio > 1 else 0.0


@lru_cache(maxsize=256)
def numbers_of(text: str) -> tuple[Decimal, ...]:
    """The numbers in a text, without those of dates and times."""
    plain = _DATE.sub(" ", fold(text).text)
    return tuple(Decimal(match[0].replace(",", "")) for match in _NUMBER.finditer(plain))


def _amount(facts: CallFacts, value: Value) -> Decimal | None:
    """The number that a value is, if it says how much."""
    if not facts.seen.tools:
        return exact_number(value.value) if is_number(value.value) else None
    argument = Argument(value.pointer, value.value)
    patterns = [pattern for tool in facts.seen.tools for pattern in tool.volume_patterns]
    return exact_number(value.value) if any(pattern.matches(argument) for pattern in patterns) else None


def _stated(taint: Taint) -> bool:
    """Whether a trusted text holds the number."""
    return not taint.tainted and not taint.unread


def _allowed(facts: CallFacts, said: Decimal, limit: str) -> Decimal:
    """What the task allows, and no limit forbids."""
    limits = [getattr(use.limits, limit) for use in facts.seen.uses]
    return min([said, *(Decimal(repr(one)) for one in limits if one is not None)])


def _named(facts: CallFacts, where: str) -> int:
    """Values below a place that stand in the user's words."""
    below = [value for value, _, _ in facts.values if value.pointer.startswith(f"{where}/")]
    return sum(any(read.origin.source == "user" and read.share >= 1.0 for read in value.reads) for value in below)


def _longest_list(facts: CallFacts) -> tuple[int, str]:
    """Elements of the longest list in the arguments, and where it stands."""
    lengths: dict[str, int] = {}
    for value, _, _ in facts.values:
        parts = value.pointer.split("/")
        for end, part in enumerate(parts):
            if part.isascii() and part.isdigit() and len(part) < 10:
                where = "/".join(parts[:end])
                lengths[where] = max(lengths.get(where, 0), int(part) + 1)
    where = max(lengths, key=lambda one: lengths[one], default="")
    return lengths.get(where, 0), where
