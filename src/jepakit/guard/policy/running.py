"""The calls of a trace one after the other, as a policy sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jepakit.errors import DataError
from jepakit.guard.data import Call, Context, Edge, Trace
from jepakit.guard.policy.patterns import Argument
from jepakit.guard.policy.schema import Policy, Role, ToolPolicy
from jepakit.guard.policy.spending import Spent, Use
from jepakit.guard.policy.taint import Outputs, Taint
from jepakit.guard.traces.provenance import Flow, Value


@dataclass(frozen=True)
class Source:
    """An earlier call whose output stands in the arguments of a call.

    Args:
        call: the earlier call.
        argument: JSON pointer of the first argument that has something of it; None: not known.
        trusted: others cannot write the output.
    """

    call: Call
    argument: str | None
    trusted: bool


@dataclass(frozen=True)
class SeenCall:
    """A call, with all that the calls before it make of it.

    Args:
        call: the call.
        values: of its arguments; None where they are not known.
        arguments: the values as patterns match them, in their order.
        sinks: whether each value stands in a sink; of a tool that the policy does not name each may.
        taints: of the values, in their order.
        tools: what the policy says about the tool; empty where it does not name it.
        trusted: others cannot write its output.
        role: name and rights of the user's role; None where the user has none of the policy.
        uses: what it uses of the limits of the policy.
        sources: what its arguments are read from.
        impossible: edges of the trace that lead from it to itself or to an earlier call.
    """

    call: Call
    values: tuple[Value, ...] | None
    arguments: tuple[Argument, ...]
    sinks: tuple[bool, ...]
    taints: tuple[Taint, ...]
    tools: tuple[ToolPolicy, ...]
    trusted: bool
    role: tuple[str, Role] | None
    uses: tuple[Use, ...]
    sources: tuple[Source, ...]
    impossible: int


class Running:
    """A run of an agent, under a policy.

    Args:
        policy: what is allowed.
        context: of the run; only the role in it is looked at.
        edges: data flow that the trace gives.
    """

    def __init__(self, policy: Policy, context: Context, edges: Sequence[Edge] = ()) -> None:
        self.policy = policy
        role = None if context.role is None else policy.of_role(context.role)
        self._role = None if role is None else (f"{context.role}", role)
        self._outputs, self._spent = Outputs(edges), Spent()
        self._calls: dict[str, Call] = {}
        self._into: dict[str, list[Edge]] = {}
        self._from: dict[str, list[Edge]] = {}
        for edge in edges:
            self._into.setdefault(edge.target, []).append(edge)
            self._from.setdefault(edge.source, []).append(edge)

    def copy(self) -> Running:
        """The same run up to here, which goes on by itself."""
        other = Running(self.policy, Context())
        other._role, other._into, other._from = self._role, self._into, self._from
        other._outputs, other._spent, other._calls = self._outputs.copy(), self._spent.copy(), dict(self._calls)
        return other

    def see(self, call: Call, values: tuple[Value, ...] | None) -> SeenCall:
        """The next call, before it is made; nothing changes."""
        tools = self.policy.of_tool(call.tool, call.server)
        arguments = tuple(Argument(value.pointer, value.value) for value in values or ())
        patterns = [pattern for tool in tools for pattern in tool.sink_patterns]
        sinks = tuple(not tools or any(pattern.matches(one) for pattern in patterns) for one in arguments)
        taints = self._outputs.taints(call, values, sinks)
        trusted = bool(tools) and all(tool.output_trust == "trusted" for tool in tools)
        # What a tool repeats of a tainted argument is not made trusted by it.
        trusted = trusted and values is not None and not any(one.tainted for one in taints)
        uses = self._spent.uses(call, arguments, tools, self._role)
        known = {*self._calls, call.id}
        impossible = sum(edge.target in known for edge in self._from.get(call.id, ()))
        sources = self._sources(call, values)
        return SeenCall(call, values, arguments, sinks, taints, tools, trusted, self._role, uses, sources, impossible)

    def add(self, seen: SeenCall) -> None:
        """The call is made."""
        if seen.trusted:
            self._outputs.trust(seen.call)
        self._spent.add(seen.uses)
        self._calls[seen.call.id] = seen.call

    def _sources(self, call: Call, values: Sequence[Value] | None) -> tuple[Source, ...]:
        given = [(edge.source, edge.argument) for edge in self._into.get(call.id, ())]
        read = [(one.origin.call, value.pointer) for value in values or () for one in value.reads]
        first: dict[str, str | None] = {}
        for source, argument in (*given, *read):
            if source is not None and source in self._calls:
                first.setdefault(source, argument)
        return tuple(Source(self._calls[one], where, self._outputs.is_trusted(one)) for one, where in first.items())


def seen_calls(policy: Policy, trace: Trace, flow: Flow) -> Iterator[SeenCall]:
    """The calls of a trace, as if all calls before each had been made.

    Raises:
        DataError: the flow is of another trace.
    """
    if len(flow.values) != len(trace.calls):
        problem = "the data flow is of another trace"
        raise DataError(problem, value=len(flow.values), expected=f"that of {len(trace.calls)} calls")
    running = Running(policy, trace.context, trace.edges)
    for call, values in zip(trace.calls, flow.values, strict=True):
        seen = running.see(call, values)
        yield seen
        running.add(seen)
