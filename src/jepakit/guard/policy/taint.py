"""Which values of a call come from what others can write.

The user's and the system's words are trusted, and so are outputs of tools that the policy trusts. A value is tainted
where at least `TAINTED_SHARE` of its characters stand in untrusted outputs and no trusted text has the whole of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jepakit.guard.data import Call, Edge, Origin, Trace
from jepakit.guard.traces.provenance import Read, Value

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
    """

    pointer: str
    tainted: bool
    unread: bool
    origins: tuple[Origin, ...]


class TaintedCalls:
    """The calls of a trace, one after the other, and which of their outputs are trusted."""

    def __init__(self, trace: Trace) -> None:
        self._trusted: set[str] = set()
        self._edges: dict[str, list[Edge]] = {}
        for edge in trace.edges:
            self._edges.setdefault(edge.target, []).append(edge)

    def add(self, call: Call, *, trusted: bool) -> None:
        """The next call has been judged; ``trusted``: others cannot write its output."""
        if trusted:
            self._trusted.add(call.id)

    def of_call(self, call: Call, values: Sequence[Value] | None) -> list[Taint]:
        """What each value of a call comes from, in the order of its values."""
        edges = [edge for edge in self._edges.get(call.id, ()) if edge.source not in self._trusted]
        return [self._of_value(value, edges) for value in values or ()]

    def _of_value(self, value: Value, edges: Sequence[Edge]) -> Taint:
        if value.value in (None, "", [], {}) or isinstance(value.value, bool):
            return Taint(value.pointer, False, False, ())
        reads = [*value.reads, *_stated(value.pointer, edges)]
        whole = [read for read in reads if read.share >= 1.0]
        untrusted = [read for read in reads if not self._is_trusted(read.origin)]
        clean = any(self._is_trusted(read.origin) for read in whole)
        tainted = not clean and sum(_share(untrusted).values()) >= TAINTED_SHARE
        origins = tuple(read.origin for read in untrusted) if tainted else ()
        return Taint(value.pointer, tainted, not whole, origins)

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
