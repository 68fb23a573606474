"""Which values of a call come from what others can write.

The user's and the system's words are trusted, and so are outputs of tools that the policy trusts. A value is tainted
where at least `TAINTED_SHARE` of its characters stand in untrusted outputs and no trusted text has the whole of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jepakit.errors import DataError
from jepakit.guard.data import Call, Edge, Origin, Trace
from jepakit.guard.policy.schema import Policy, ToolPolicy
from jepakit.guard.traces.provenance import Flow, Read, Value

TAINTED_SHARE = 0.25
"""Of the characters of a value, in runs of four words or more, that untrusted outputs may not have together. A mail
that quotes one line of another is not tainted by it; a link or an instruction with a few words around it is."""


@dataclass(frozen=True)
class Taint:
    """What a value of a call comes from.

    Args:
        pointer: of the argument.
        tainted: it comes from untrusted outputs.
        unread: it has something in it, and no text that the agent has read has the whole of it.
        origins: the places in untrusted outputs, if it is tainted.
        share: of its characters that stand in untrusted outputs, in [0, 1]; 0 where it is not tainted.
    """

    pointer: str
    tainted: bool
    unread: bool
    origins: tuple[Origin, ...]
    share: float = 0.0


@dataclass(frozen=True)
class TaintedCall:
    """A call with what its values come from.

    Args:
        call: the call.
        values: of its arguments; None where they are not known.
        taints: of the values, in their order.
        tools: what the policy says about the tool; empty where it does not name it.
        trusted: nobody but the user and the system can write its output.
    """

    call: Call
    values: tuple[Value, ...] | None
    taints: tuple[Taint, ...]
    tools: tuple[ToolPolicy, ...]
    trusted: bool


def tainted_calls(policy: Policy, trace: Trace, flow: Flow) -> Iterator[TaintedCall]:
    """The calls of a trace, each with its taint by the outputs of the calls before it.

    Raises:
        DataError: the flow is of another trace.
    """
    if len(flow.values) != len(trace.calls):
        problem = "the data flow is of another trace"
        raise DataError(problem, value=len(flow.values), expected=f"that of {len(trace.calls)} calls")
    outputs = _Outputs(trace)
    for call, values in zip(trace.calls, flow.values, strict=True):
        tools = policy.of_tool(call.tool, call.server)
        taints = outputs.taints(call, values)
        trusted = bool(tools) and all(tool.output_trust == "trusted" for tool in tools)
        # What a tool repeats of a tainted argument is not made trusted by it.
        trusted = trusted and values is not None and not any(one.tainted for one in taints)
        if trusted:
            outputs.trust(call)
        yield TaintedCall(call, values, taints, tools, trusted)


class _Outputs:
    """Which outputs of a trace are trusted, call by call."""

    def __init__(self, trace: Trace) -> None:
        self._trusted: set[str] = set()
        self._edges: dict[str, list[Edge]] = {}
        for edge in trace.edges:
            self._edges.setdefault(edge.target, []).append(edge)

    def trust(self, call: Call) -> None:
        """Others cannot write the output of the call."""
        self._trusted.add(call.id)

    def taints(self, call: Call, values: Sequence[Value] | None) -> tuple[Taint, ...]:
        """What each value of a call comes from, in the order of its values."""
        edges = [edge for edge in self._edges.get(call.id, ()) if edge.source not in self._trusted]
        return tuple(self._of_value(value, edges) for value in values or ())

    def _of_value(self, value: Value, edges: Sequence[Edge]) -> Taint:
        if value.value in (None, "", [], {}) or isinstance(value.value, bool):
            return Taint(value.pointer, False, False, ())
        reads = [*value.reads, *_stated(value.pointer, edges)]
        whole = [read for read in reads if read.share >= 1.0]
        untrusted = [read for read in reads if not self._is_trusted(read.origin)]
        clean = any(self._is_trusted(read.origin) for read in whole)
        share = sum(_share(untrusted).values())
        if clean or share < TAINTED_SHARE:
            return Taint(value.pointer, False, not whole, ())
        origins = tuple(read.origin for read in untrusted)
        return Taint(value.pointer, True, not whole, origins, min(share, 1.0))

    def _is_trusted(self, origin: Origin) -> bool:
        return origin.source != "output" or origin.call in self._trusted


def _share(reads: Sequence[Read]) -> dict[str | None, float]:
    """Of each output the share of the value that stands in it: a value that stands there twice stands there once."""
    shares: dict[str | None, float] = {}
    for read in reads:
        whole = read.share >= 1.0
        shares[read.origin.call] = 1.0 if whole else min(1.0, shares.get(read.origin.call, 0.0) + read.share)
    return shares


def _stated(pointer: str, edges: Sequence[Edge]) -> list[Read]:
    """What the trace's own edges say about an argument; an edge without an argument is about all."""
    return [
        Read(Origin(source="output", call=edge.source), 1.0)
        for edge in edges
        if edge.argument is None or pointer == edge.argument or pointer.startswith(f"{edge.argument}/")
    ]
