"""Plans while they are edited: their calls, and where the values of these come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property

from jepakit.guard.data import Call, Origin, Trace
from jepakit.guard.traces.editing import with_leaf
from jepakit.guard.traces.provenance import Flow, Read, Sources, Value, edges_of
from jepakit.guard.traces.strict_json import JsonValue, Leaf, leaves


@dataclass(frozen=True)
class Plan:
    """A plan.

    Args:
        trace: its calls.
        flow: of the trace.
        changed: ids of the calls that have other arguments, or another place, than at first.
        approved: ids of the calls that a person is asked about.
    """

    trace: Trace
    flow: Flow
    changed: frozenset[str] = frozenset()
    approved: frozenset[str] = frozenset()

    @cached_property
    def place(self) -> Mapping[str, int]:
        """The place of each call by its id."""
        return {call.id: number for number, call in enumerate(self.trace.calls)}

    @cached_property
    def size(self) -> int:
        """Its calls and their values."""
        return sum(1 + len(values or ()) for values in self.flow.values)

    def values(self, call: str) -> Mapping[str, Value]:
        """The values of a call by their pointers."""
        return {value.pointer: value for value in self.flow.values[self.place[call]] or ()}


class Planner:
    """Makes plans of a trace.

    What it finds of the origins of values is what `jepakit.guard.traces.provenance.data_flow` finds in the new plan: a
    text is searched once, and what stood in outputs that are gone, or are later now, is left out.

    Args:
        trace: the plan at first.
        flow: of the trace.
    """

    def __init__(self, trace: Trace, flow: Flow) -> None:
        self.first = Plan(trace, flow)
        self._values = dict(zip((call.id for call in trace.calls), flow.values, strict=True))
        self._outputs = {call.id for call in trace.calls if call.output is not None}
        self._reads: dict[tuple[str, str], tuple[Read, ...]] = {}

    def dropped(self, plan: Plan, calls: Iterable[str]) -> Plan:
        """The plan without some calls."""
        gone = frozenset(calls)
        left = [call for call in plan.trace.calls if call.id not in gone]
        return self._made(plan, left, plan.changed - gone, plan.approved - gone)

    def with_arguments(self, plan: Plan, call: str, values: Mapping[str, JsonValue]) -> Plan:
        """The plan with other values in some arguments of a call, by JSON pointer."""
        arguments = plan.trace.calls[plan.place[call]].arguments
        for pointer, value in values.items():
            arguments = with_leaf(arguments, pointer, value)
        return self.with_call(plan, call, {"arguments": arguments}, values)

    def with_call(self, plan: Plan, call: str, fields: Mapping[str, object], pointers: Iterable[str]) -> Plan:
        """The plan with another call in place of one; ``pointers``: of the arguments that are other ones."""
        old = plan.trace.calls[plan.place[call]]
        # What the tool returned for other arguments is not what it returns for these.
        origins = {pointer: origin for pointer, origin in old.origins.items() if pointer not in frozenset(pointers)}
        new = old.model_copy(update={**fields, "output": None, "error": None, "origins": origins})
        calls = [new if one.id == call else one for one in plan.trace.calls]
        # What a person has approved is another call.
        return self._made(plan, calls, plan.changed | {call}, plan.approved - {call})

    def moved(self, plan: Plan, call: str, behind: str) -> Plan:
        """The plan with a call right behind a later one."""
        calls = list(plan.trace.calls)
        one = calls.pop(plan.place[call])
        calls.insert(plan.place[behind], one)
        return self._made(plan, calls, plan.changed | {call}, plan.approved)

    def approved(self, plan: Plan, call: str) -> Plan:
        """The plan in which a person is asked about a call."""
        return replace(plan, approved=plan.approved | {call})

    def reads(self, value: JsonValue) -> tuple[Read, ...]:
        """All places of a value in the texts of the trace, whichever call they are read by."""
        key = (type(value).__name__, repr(value))
        if key not in self._reads:
            self._reads[key] = self._sources.reads(value)
        return self._reads[key]

    @cached_property
    def _sources(self) -> Sources:
        trace, sources = self.first.trace, Sources()
        sources.add("user", trace.context.task)
        sources.add("system", trace.context.system)
        for call in trace.calls:
            if call.output:
                sources.add("output", call.output, call.id)
        return sources

    def _made(self, plan: Plan, calls: Sequence[Call], changed: frozenset[str], approved: frozenset[str]) -> Plan:
        place = {call.id: number for number, call in enumerate(calls)}
        edges = tuple(edge for edge in plan.trace.edges if edge.source in place and edge.target in place)
        readable: set[str] = set()
        kept: list[Call] = []
        values: list[tuple[Value, ...] | None] = []
        for call in calls:
            if any(_is_gone(origin, readable) for listed in call.origins.values() for origin in listed):
                left = {
                    pointer: tuple(origin for origin in listed if not _is_gone(origin, readable))
                    for pointer, listed in call.origins.items()
                }
                call = call.model_copy(update={"origins": left})  # noqa: PLW2901
            kept.append(call)
            values.append(self._of_call(call, readable, anew=call.id in changed))
            if call.output is not None or call.id not in self._outputs:
                readable.add(call.id)
        trace = plan.trace.model_copy(update={"calls": tuple(kept), "edges": edges})
        return Plan(trace, Flow(tuple(values), edges_of(trace, values)), changed, approved)

    def _of_call(self, call: Call, readable: Set[str], *, anew: bool) -> tuple[Value, ...] | None:
        known = self._values[call.id]
        if known is None or call.arguments is None:
            return None
        if anew:
            known = tuple(self._value(call, leaf) for leaf in leaves(call.arguments))
        return tuple(self._left(call, value, readable) for value in known)

    def _left(self, call: Call, value: Value, readable: Set[str]) -> Value:
        """A value without what it has from outputs that are not there."""
        reads, words = _left(value.reads, readable), value.words
        if len(reads) < len(value.reads) and value.pointer not in call.origins:
            words = self._sources.words(value.value, reads)
        return replace(value, reads=reads, words=tuple(left for word in words if (left := _left(word, readable))))

    def _value(self, call: Call, leaf: Leaf) -> Value:
        given = call.origins.get(leaf.pointer)
        if given is not None:
            return Value(leaf.pointer, leaf.value, tuple(Read(origin, 1.0) for origin in given))
        reads = self.reads(leaf.value)
        return Value(leaf.pointer, leaf.value, reads, self._sources.words(leaf.value, reads))


def _left(reads: Sequence[Read], readable: Set[str]) -> tuple[Read, ...]:
    return tuple(read for read in reads if not _is_gone(read.origin, readable))


def _is_gone(origin: Origin, readable: Set[str]) -> bool:
    return origin.call is not None and origin.call not in readable
