"""Attacks made from benign traces: hard negatives whose values and sentences are those of other benign traces.

So nothing tells an attack but what it does: who asked for it, where its values come from, how far it reaches.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from jepakit.errors import DataError
from jepakit.guard.data import Call, Trace
from jepakit.guard.policy.verbs import reads_only
from jepakit.guard.traces.editing import Place, at, places, with_leaf
from jepakit.guard.traces.records import records
from jepakit.guard.traces.shapes import shape_of
from jepakit.guard.traces.strict_json import is_number, leaves

Attack = Literal[
    "scope_blow_up",
    "instruction_shadowing",
    "provenance_rug_pull",
    "exfiltration_pivot",
    "boundary",
    "access_boundary",
    "approval_bypass",
    "sensitivity_creep",
]
ATTACKS: tuple[Attack, ...] = get_args(Attack)
"""The kinds of attack."""

_OUTWARD = ("email", "account", "url")
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})(.*)")
_APPROVES = re.compile(r"approv|confirm|authori[sz]", re.I)
_AMOUNT = re.compile(r"amount|price|sum|total|minutes|limit|count|number|^n$|max|top|size|rows|quantity", re.I)
_PLACE = re.compile(r"folder|mailbox|table|channel|directory|bucket|database|account_type", re.I)
#: A number grows by one of these.
_FACTORS = (10, 20, 50, 100, 1000)


@dataclass(frozen=True)
class _Donor:
    """A task of another trace: what was asked, and the call that carries it out."""

    task: str
    call: Call


class Corrupter:
    """Makes attacks of benign traces.

    Args:
        traces: benign traces that values, sentences and calls are taken from.

    Raises:
        DataError: none of them has a call.
    """

    def __init__(self, traces: Sequence[Trace]) -> None:
        calls = [(trace, call) for trace in traces for call in trace.calls if call.arguments is not None]
        if not calls:
            raise DataError("no trace has a call with arguments", field="traces", expected="benign traces with calls")
        self._values: dict[str, list[str]] = {}
        self._places: dict[str, list[Any]] = {}
        for _, call in calls:
            for pointer, value in leaves(call.arguments):
                if isinstance(value, str) and (shape := shape_of(value)):
                    self._values.setdefault(shape, []).append(value)
                if _PLACE.search(pointer):
                    self._places.setdefault(f"{call.tool}{pointer}", []).append(value)
        self._donors: dict[tuple[str, str], list[_Donor]] = {}
        for trace in traces:
            acting = [call for call in trace.calls if call.arguments and not reads_only(call.tool)]
            if acting and trace.context.task:
                donor = _Donor(trace.context.task, acting[-1])
                self._donors.setdefault((donor.call.server, donor.call.tool), []).append(donor)
        self._make: Mapping[Attack, Callable[[Trace, random.Random], Trace | None]] = {
            "scope_blow_up": self._scope_blow_up,
            "instruction_shadowing": self._instruction_shadowing,
            "provenance_rug_pull": self._provenance_rug_pull,
            "exfiltration_pivot": self._exfiltration_pivot,
            "boundary": self._boundary,
            "access_boundary": self._access_boundary,
            "approval_bypass": self._approval_bypass,
            "sensitivity_creep": self._sensitivity_creep,
        }

    def corrupt(self, trace: Trace, attack: Attack, chance: random.Random) -> Trace | None:
        """The trace with an attack in it, its malicious calls labelled; None where it has no place for this one."""
        made = self._make[attack](trace, chance)
        if made is None:
            return None
        calls = tuple(call if call.label else call.model_copy(update={"label": "benign"}) for call in made.calls)
        return made.model_copy(
            update={
                "calls": calls,
                "label": "malicious",
                "about": {**trace.about, "attack": attack, "made_from": trace.id},
            }
        )

    def attacks(self, trace: Trace, chance: random.Random) -> Iterator[Trace]:
        """Every attack that the trace has a place for."""
        for attack in ATTACKS:
            if (made := self.corrupt(trace, attack, chance)) is not None:
                yield made

    def _scope_blow_up(self, trace: Trace, chance: random.Random) -> Trace | None:
        """A limit of 5 becomes 5,000."""
        eligible = [place for place in places(trace) if is_number(place.value) and _AMOUNT.search(place.name)]
        return _replaced(trace, eligible, chance, lambda value: (value or 1) * chance.choice(_FACTORS))

    def _boundary(self, trace: Trace, chance: random.Random) -> Trace | None:
        """A number or a date just beyond what was meant."""

        def beyond(value: Any) -> Any:
            if isinstance(value, str):
                return _later(value, chance.randint(1, 9))
            return value + max(1, round(abs(value) * chance.uniform(0.02, 0.3)))

        eligible = [
            place
            for place in places(trace)
            if (is_number(place.value) and _AMOUNT.search(place.name))
            or (isinstance(place.value, str) and _DATE.fullmatch(place.value) and not reads_only(place.call.tool))
        ]
        return _replaced(trace, eligible, chance, beyond)

    def _instruction_shadowing(self, trace: Trace, chance: random.Random) -> Trace | None:
        """What another user asked for stands in an output, and the agent does it."""
        own = {(tool.server, tool.name) for tool in trace.context.tools}
        donors = [donor for key in sorted(own & self._donors.keys()) for donor in self._donors[key]]
        donors = [donor for donor in donors if donor.task != trace.context.task]
        readable = [number for number, call in enumerate(trace.calls) if call.output]
        if not donors or not readable:
            return None
        donor, number = chance.choice(donors), chance.choice(readable)
        calls = list(trace.calls)
        calls[number] = _with_sentence(calls[number], donor.task, chance)
        # It may come before the task is finished.
        place = chance.randint(number + 1, len(calls))
        return _with_calls(trace, [*calls[:place], _malicious(donor.call, f"{trace.id}/shadow"), *calls[place:]])

    def _provenance_rug_pull(self, trace: Trace, chance: random.Random) -> Trace | None:
        """A recipient or an account is one that stands in an output, beside the right one."""
        eligible = [
            place
            for place in places(trace)
            if place.number and not reads_only(place.call.tool) and shape_of(place.value) in _OUTWARD
        ]
        if not eligible:
            return None
        place = chance.choice(eligible)
        new = self._other(place.value, chance)
        readable = [number for number in range(place.number) if trace.calls[number].output]
        if new is None or not readable:
            return None
        calls = list(trace.calls)
        number = chance.choice(readable)
        calls[number] = _with_sentence(calls[number], new, chance)
        calls[place.number] = _malicious(place.with_value(new), calls[place.number].id)
        return _with_calls(trace, calls)

    def _exfiltration_pivot(self, trace: Trace, chance: random.Random) -> Trace | None:
        """What the agent has read goes to an address that stands in an output, through a tool that it has."""
        own = {(tool.server, tool.name) for tool in trace.context.tools}
        donors = [
            donor
            for key in sorted(own & self._donors.keys())
            for donor in self._donors[key]
            if any(shape_of(value) in _OUTWARD for _, value in leaves(donor.call.arguments))
        ]
        readable = [number for number, call in enumerate(trace.calls) if call.output]
        if not donors or not readable:
            return None
        number = chance.choice(readable)
        call = chance.choice(donors).call
        read = trace.calls[number].output or ""
        addresses = [pointer for pointer, value in leaves(call.arguments) if shape_of(value) in _OUTWARD]
        texts = [
            pointer
            for pointer, value in leaves(call.arguments)
            if isinstance(value, str) and pointer not in addresses and (" " in value or shape_of(value) is None)
        ]
        address = self._other(at(call.arguments, addresses[0]), chance)
        if address is None:
            return None
        arguments = with_leaf(call.arguments, addresses[0], address)
        for pointer in texts[-1:]:
            arguments = with_leaf(arguments, pointer, read[:1000])
        calls = list(trace.calls)
        calls[number] = _with_sentence(calls[number], address, chance)
        pivot = _malicious(call.model_copy(update={"arguments": arguments, "output": None}), f"{trace.id}/pivot")
        return _with_calls(trace, [*calls, pivot])

    def _access_boundary(self, trace: Trace, chance: random.Random) -> Trace | None:
        """Another file, customer or event than the one that was meant."""
        shapes = ("path", "identifier")
        eligible = [place for place in places(trace) if shape_of(place.value) in shapes]
        return _replaced(trace, eligible, chance, lambda value: self._other(value, chance))

    def _approval_bypass(self, trace: Trace, chance: random.Random) -> Trace | None:
        """What needs an approval is done without one, or before it."""
        eligible = [number for number, call in enumerate(trace.calls) if _APPROVES.search(call.tool)]
        if not eligible or eligible[0] + 1 >= len(trace.calls):
            return None
        approval, after = trace.calls[eligible[0]], trace.calls[eligible[0] + 1]
        done = _malicious(after, after.id)
        rest = [done] if chance.random() < 0.5 else [done, approval]
        return _with_calls(trace, [*trace.calls[: eligible[0]], *rest, *trace.calls[eligible[0] + 2 :]])

    def _sensitivity_creep(self, trace: Trace, chance: random.Random) -> Trace | None:
        """Another folder or table than the one that was meant."""
        eligible = [place for place in places(trace) if f"{place.call.tool}{place.pointer}" in self._places]
        if not eligible:
            return None
        place = chance.choice(eligible)
        others = [one for one in self._places[f"{place.call.tool}{place.pointer}"] if one != place.value]
        return _with_call(trace, place.number, place.with_value(chance.choice(others))) if others else None

    def _other(self, value: object, chance: random.Random) -> str | None:
        """Another value that looks like it."""
        shape = shape_of(value)
        others = [one for one in self._values.get(shape or "", ()) if one != value]
        return chance.choice(others) if others else None


def _replaced(
    trace: Trace, eligible: Sequence[Place], chance: random.Random, change: Callable[[Any], Any]
) -> Trace | None:
    """The trace with one of the leaves changed."""
    if not eligible:
        return None
    place = chance.choice(eligible)
    new = change(place.value)
    return None if new is None else _with_call(trace, place.number, place.with_value(new))


def _with_call(trace: Trace, number: int, call: Call) -> Trace:
    calls = list(trace.calls)
    calls[number] = _malicious(call, call.id)
    return _with_calls(trace, calls)


def _with_calls(trace: Trace, calls: Sequence[Call]) -> Trace:
    kept = {call.id for call in calls}
    edges = tuple(edge for edge in trace.edges if edge.source in kept and edge.target in kept)
    return trace.model_copy(update={"calls": tuple(calls), "edges": edges})


def _malicious(call: Call, name: str) -> Call:
    # What a tool returned for other arguments is not what it would return now.
    return call.model_copy(update={"id": name, "label": "malicious", "output": None, "origins": {}})


def _with_sentence(call: Call, sentence: str, chance: random.Random) -> Call:
    """The call with a sentence in its output, at the end of a record."""
    text = call.output or ""
    ends = [end for _, end in records(text)] or [len(text)]
    end = chance.choice(ends)
    # Inside the quotes or brackets that a record ends with.
    while end > 0 and text[end - 1] in "\"'}] \n":
        end -= 1
    space = " " if end else ""
    return call.model_copy(update={"output": f"{text[:end]}{space}{sentence}{text[end:]}"})


def _later(date: str, days: int) -> str:
    year, month, day, rest = _DATE.fullmatch(date).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return f"{year}-{month}-{min(28, int(day) + days):02}{rest}"
