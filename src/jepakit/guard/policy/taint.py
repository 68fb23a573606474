"""Which values of a call come from what others can write.

The user's and the system's words are trusted, and so are outputs of tools that the policy trusts. A value is tainted
where at least `TAINTED_SHARE` of its characters stand in untrusted outputs and no trusted text has the whole of it. In
a sink one word is enough that stands in untrusted outputs alone: an address with other words around it stays one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jepakit.guard.data import Call, Edge, Origin
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
        share: of its characters that stand in untrusted outputs, in [0, 1]; 0 where it is not tainted.
    """

    pointer: str
    tainted: bool
    unread: bool
    origins: tuple[Origin, ...]
    share: float = 0.0


class Outputs:
    """Which outputs of a trace are trusted, call by call.

    Args:
        edges: of the trace.
    """

    def __init__(self, edges: Sequence[Edge] = ()) -> None:
        self._trusted: set[str] = set()
        self._edges: dict[str, list[Edge]] = {}
        for edge in edges:
            self._edges.setdefault(edge.target, []).append(edge)

    def copy(self) -> Outputs:
        """Another one that trusts the same outputs, and goes on by itself."""
        other = Outputs()
        other._trusted, other._edges = set(self._trusted), self._edges
        return other

    def trust(self, call: Call) -> None:
        """Others cannot write the output of the call."""
        self._trusted.add(call.id)

    def is_trusted(self, call: str) -> bool:
        """Whether others cannot write the output of the call of this id."""
        return call in self._trusted

    def taints(self, call: Call, values: Sequence[Value] | None, sinks: Sequence[bool]) -> tuple[Taint, ...]:
        """What each value of a call comes from, in the order of its values; of each it is known if it is in a sink."""
        edges = [edge for edge in self._edges.get(call.id, ()) if edge.source not in self._trusted]
        pairs = zip(values or (), sinks, strict=True)
        return tuple(self._of_value(value, edges, is_sink=is_sink) for value, is_sink in pairs)

    def _of_value(self, value: Value, edges: Sequence[Edge], *, is_sink: bool) -> Taint:
        if value.value in (None, "", [], {}) or isinstance(value.value, bool):
            return Taint(value.pointer, False, False, ())
        reads = [*value.reads, *_stated(value.pointer, edges)]
        whole = [read for read in reads if read.share >= 1.0]
        untrusted = [read for read in reads if not self._trusts(read.origin)]
        clean = any(self._trusts(read.origin) for read in whole)
        share = sum(_share(untrusted).values())
        if is_sink and not clean and share < TAINTED_SHARE:
            untrusted, share = [read for word in value.words if not self._knows(word) for read in word], TAINTED_SHARE
        if clean or share < TAINTED_SHARE or not untrusted:
            return Taint(value.pointer, False, not whole, ())
        origins = tuple(read.origin for read in untrusted)
        return Taint(value.pointer, True, not whole, origins, min(share, 1.0))

    def _knows(self, word: Sequence[Read]) -> bool:
        """Whether a word stands in a trusted text."""
        return any(self._trusts(read.origin) for read in word)

    def _trusts(self, origin: Origin) -> bool:
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
