"""Edits of plans: what may be done about a call that something speaks against."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from jepakit.guard.data import Call
from jepakit.guard.policy import Policy, Reason
from jepakit.guard.policy.conditions import Rule
from jepakit.guard.policy.running import seen_calls
from jepakit.guard.policy.taint import Taint
from jepakit.guard.repair.judging import JudgedCall
from jepakit.guard.repair.plans import Plan, Planner
from jepakit.guard.repair.trusted import TrustedValues
from jepakit.guard.traces.editing import at, with_leaf
from jepakit.guard.traces.provenance import Value
from jepakit.guard.traces.strict_json import JsonValue, exact_number, is_number

EditKind = Literal["drop", "restore", "swap", "shrink", "move", "approve"]
"""What is done: a call goes; an argument gets the value that the user, the system or an earlier call names (restore),
or one of a trusted output (swap); a number or a list shrinks; a call goes behind a later one; a person is asked."""

COST: Mapping[EditKind, float] = {
    "move": 0.25,
    "approve": 0.4,
    "shrink": 0.5,
    "restore": 1.0,
    "swap": 1.5,
    "drop": 2.0,
}
"""What an edit costs, in the unit of the energy of a plan; a drop costs as much for each call that goes."""


@dataclass(frozen=True)
class Proposal:
    """An edit, and the plan that it makes.

    Args:
        kind: what is done.
        call: id of the call.
        plan: after it.
        argument: JSON pointer of the argument; None: the call as a whole.
        old: what stood there.
        new: what stands there now.
        others: ids of the calls that go with it, or of the one that it goes behind.
    """

    kind: EditKind
    call: str
    plan: Plan
    argument: str | None = None
    old: JsonValue = None
    new: JsonValue = None
    others: tuple[str, ...] = ()

    @property
    def cost(self) -> float:
        """What it costs."""
        return COST[self.kind] * (1 + (len(self.others) if self.kind == "drop" else 0))


class Editor:
    """Proposes edits.

    Args:
        planner: makes the plans.
        policy: what is allowed.
    """

    def __init__(self, planner: Planner, policy: Policy) -> None:
        self._planner, self._policy = planner, policy
        self._trusted = TrustedValues(planner.first.trace, policy, planner.first.flow)

    def proposals(self, plan: Plan, judged: JudgedCall, *, may_approve: bool = True) -> Iterator[Proposal]:
        """The edits for a call, in a fixed order."""
        call = plan.trace.calls[plan.place[judged.call]]
        if call.arguments is not None:
            taints = {one.pointer: one for one in self._taints(plan, call)}
            named = (reason.argument for reason in judged.reasons if reason.argument is not None)
            pointers = list(dict.fromkeys(pointer for pointer in named if pointer in taints))
            yield from self._lists(plan, call, taints, pointers)
            for pointer in pointers:
                yield from self._values(plan, call, taints, pointer, at(call.arguments, pointer))
            for reason in judged.reasons:
                yield from self._limits(plan, call, reason)
            for part in judged.parts:
                value = plan.values(call.id).get(part.argument or "")
                if part.energy == "scope" and value is not None:
                    yield from self._smaller(plan, call, value.pointer, value.value, None)
        if may_approve and judged.decision == "ask":
            yield Proposal("approve", call.id, self._planner.approved(plan, call.id))
        yield self.drop(plan, call.id)

    def drop(self, plan: Plan, call: str) -> Proposal:
        """The plan without a call, and without the calls that depend on it."""
        others = self.depending(plan, [call])[call]
        return Proposal("drop", call, self._planner.dropped(plan, (call, *others)), others=others)

    def depending(self, plan: Plan, calls: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Of each of some calls those that go with it: they have a value from its output, or theirs, alone.

        A call that goes with an earlier one has no entry of its own.
        """
        cause: dict[str, str] = {}
        for one, values in zip(plan.trace.calls, plan.flow.values, strict=True):
            lost = next((value for value in values or () if _is_only_from(value, cause.keys())), None)
            if lost is not None:
                cause[one.id] = cause[str(lost.reads[0].origin.call)]
            elif one.id in calls:
                cause[one.id] = one.id
        others: dict[str, list[str]] = {call: [] for call, first in cause.items() if call == first}
        for call, first in cause.items():
            if call != first:
                others[first].append(call)
        return {call: tuple(listed) for call, listed in others.items()}

    def _taints(self, plan: Plan, call: Call) -> tuple[Taint, ...]:
        place = plan.place[call.id]
        return next(
            tuple(one.taints)
            for number, one in enumerate(seen_calls(self._policy, plan.trace, plan.flow))
            if number == place
        )

    def _values(
        self, plan: Plan, call: Call, taints: Mapping[str, Taint], pointer: str, value: JsonValue
    ) -> Iterator[Proposal]:
        """Another value in an argument, or another place for the call."""
        if self._is_meant(plan, call, taints, pointer):
            named = self._trusted.named(plan, call.id, pointer, value)
            returned = self._trusted.returned(plan, call.id, pointer, value)
            new: tuple[tuple[EditKind, JsonValue], ...] = (("restore", named), ("swap", returned))
            for kind, one in new:
                after = None if one is None else self._planner.with_arguments(plan, call.id, {pointer: one})
                if after is not None and not _stands_twice(after, call.id):
                    # What fits is not yet what was meant: where the call does more than read, a person says so.
                    after = after if self._reads_only(call) else self._planner.approved(after, call.id)
                    yield Proposal(kind, call.id, after, pointer, value, one)
        sources = [read.origin.call for read in self._planner.reads(value) if read.share >= 1.0]
        for source in dict.fromkeys(one for one in sources if one in self._trusted.outputs):
            if (
                source in plan.place
                and plan.place[source] > plan.place[call.id]
                and not self._is_read(plan, call, source)
            ):
                yield Proposal("move", call.id, self._planner.moved(plan, call.id, source), others=(source,))

    def _is_meant(self, plan: Plan, call: Call, taints: Mapping[str, Taint], pointer: str) -> bool:
        """Whether the user's words hold another value of the call, and no other one is tainted."""
        others = [value for value in plan.values(call.id).values() if value.pointer != pointer]
        named = any(read.origin.source == "user" and read.share >= 1.0 for value in others for read in value.reads)
        return named and not any(taints[value.pointer].tainted for value in others)

    def _reads_only(self, call: Call) -> bool:
        tools = self._policy.of_tool(call.tool, call.server)
        return bool(tools) and all(tool.effect == "read" for tool in tools)

    def _is_read(self, plan: Plan, call: Call, end: str) -> bool:
        """Whether a call up to ``end`` has data from the call."""
        between = range(plan.place[call.id] + 1, plan.place[end] + 1)
        return any(edge.source == call.id and plan.place[edge.target] in between for edge in plan.flow.edges)

    def _lists(
        self, plan: Plan, call: Call, taints: Mapping[str, Taint], pointers: Sequence[str]
    ) -> Iterator[Proposal]:
        """Lists without the elements that are not trusted."""
        lists = dict.fromkeys(
            pointer.rpartition("/")[0] for pointer in pointers if pointer.rpartition("/")[2].isdigit()
        )
        for pointer in lists:
            elements = at(call.arguments, pointer)
            if isinstance(elements, list):
                kept = [
                    element
                    for number, element in enumerate(elements)
                    if (one := taints.get(f"{pointer}/{number}")) and not one.tainted and not one.unread
                ]
                yield from self._shorter(plan, call, pointer, elements, kept)

    def _limits(self, plan: Plan, call: Call, reason: Reason) -> Iterator[Proposal]:
        """Numbers and lists that pass a limit, made smaller."""
        for tool in self._policy.of_tool(call.tool, call.server):
            for rule in tool.rules:
                if reason.rule == f"tools.{tool.name}.rules.{rule.id}" and reason.argument is not None:
                    yield from self._within(plan, call, reason.argument, rule)
            name = f"tools.{tool.name}.limits."
            limit = getattr(tool.limits, reason.rule.removeprefix(name), None) if reason.rule.startswith(name) else None
            if limit is not None and reason.rule.endswith(".rows"):
                yield from self._cut(plan, call, int(limit))
            if limit is not None and reason.rule.endswith(".volume"):
                for value in plan.values(call.id).values():
                    yield from self._smaller(plan, call, value.pointer, value.value, limit)

    def _within(self, plan: Plan, call: Call, pointer: str, rule: Rule) -> Iterator[Proposal]:
        value = plan.values(call.id).get(pointer)
        if value is not None and rule.at_most is not None:
            yield from self._smaller(plan, call, pointer, value.value, rule.at_most)
        elif rule.at_most_items is not None and value is None:
            yield from self._cut(plan, call, rule.at_most_items)

    def _smaller(
        self, plan: Plan, call: Call, pointer: str, value: JsonValue, limit: float | None
    ) -> Iterator[Proposal]:
        """The largest number that the user names and the limit allows, or else the limit."""
        number = exact_number(value)
        if number is None or not is_number(value) or (limit is not None and number <= Decimal(repr(limit))):
            return
        named = [one for one in self._trusted.numbers if 0 < one < number and (limit is None or one <= limit)]
        new = max(named, default=limit)
        if new is not None:
            after = self._planner.with_arguments(plan, call.id, {pointer: new})
            yield Proposal("shrink", call.id, after, pointer, value, new)

    def _cut(self, plan: Plan, call: Call, most: int) -> Iterator[Proposal]:
        """The longest list with its first elements alone."""
        lists = {pointer.rpartition("/")[0] for pointer in plan.values(call.id) if pointer.rpartition("/")[2].isdigit()}
        for pointer in sorted(lists):
            elements = at(call.arguments, pointer)
            if isinstance(elements, list) and len(elements) > most:
                yield from self._shorter(plan, call, pointer, elements, elements[:most])

    def _shorter(
        self, plan: Plan, call: Call, pointer: str, elements: list[JsonValue], kept: list[JsonValue]
    ) -> Iterator[Proposal]:
        if 0 < len(kept) < len(elements):
            arguments = with_leaf(call.arguments, pointer, kept)
            below = [one for one in call.origins if one.startswith(f"{pointer}/")]
            after = self._planner.with_call(plan, call.id, {"arguments": arguments}, below)
            yield Proposal("shrink", call.id, after, pointer, elements, kept)


def _stands_twice(plan: Plan, call: str) -> bool:
    """Whether another call is of the same tool with the same arguments."""
    one = plan.trace.calls[plan.place[call]]
    return any(
        (other.server, other.tool, other.arguments) == (one.server, one.tool, one.arguments)
        for other in plan.trace.calls
        if other.id != call
    )


def _is_only_from(value: Value, calls: Set[str]) -> bool:
    return bool(value.reads) and all(read.origin.call in calls for read in value.reads)
