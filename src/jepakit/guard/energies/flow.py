"""The flow energy: private data that goes out, and edges that no run of calls can have.

    E = Σ_sources e · u · σ(source) + number of impossible edges

over the earlier calls whose outputs stand in the arguments of the call. ``e`` is the `EGRESS` of the call; u = 1 where
a value in one of its sinks is tainted or was read nowhere, 1/4 where it sends only to places that trusted texts name.
σ is the sensitivity of the source in [0, 1] (`Call.sensitivity` / 5; 2/5 where it is not known). Impossible is an edge
to a call that is not later, and counts at the later of its two ends. The unit is an edge from most sensitive data to a
place that nobody has named.
"""

from __future__ import annotations

from collections.abc import Iterator

from jepakit.guard.energies.facts import CallFacts
from jepakit.guard.energies.parts import Part

_KNOWN_PLACE, _HIGHEST_SENSITIVITY, _UNKNOWN_SENSITIVITY = 0.25, 5, 2


def flow(facts: CallFacts) -> Iterator[Part]:
    """The parts of the energy, one an earlier call that data comes from."""
    lost = facts.seen.values is None or any(
        is_sink and (taint.tainted or taint.unread) for _, taint, is_sink in facts.values
    )
    place = 1.0 if lost else _KNOWN_PLACE
    for source in facts.seen.sources:
        known = _UNKNOWN_SENSITIVITY if source.call.sensitivity is None else source.call.sensitivity
        value = facts.egress * place * known / _HIGHEST_SENSITIVITY
        yield Part("flow", value, "data of another call goes on", source.argument, (source.call.id,))
    if facts.seen.impossible:
        yield Part("flow", float(facts.seen.impossible), "data flow from a call that is not earlier")
