"""The provenance energy: values of untrusted texts in the arguments of a call.

    E = w · e · Σ_v a(v) · s(v)

``w`` is the privilege of the tool in [0, 1], ``e`` its `EGRESS`. In a sink a(v) = 1, and s(v) = 1 for a tainted value
and 1/2 for one that was read nowhere. Elsewhere a(v) = 1/4, and s(v) is the share of the characters of the value that
stand in untrusted outputs, 0 where it is not tainted. Arguments that are not known count as one tainted sink. The unit
is a tainted sink of a call of the highest privilege.
"""

from __future__ import annotations

from collections.abc import Iterator

from jepakit.guard.energies.facts import CallFacts
from jepakit.guard.energies.parts import Part
from jepakit.guard.policy.taint import Taint

_CONTENT, _UNREAD = 0.25, 0.5


def provenance(facts: CallFacts) -> Iterator[Part]:
    """The parts of the energy, one a value."""
    if facts.seen.values is None:
        yield Part("provenance", facts.weight * facts.egress, "it is not known what the tool is called with")
    for _, taint, is_sink in facts.values:
        share, why = _share(taint, is_sink=is_sink)
        if share:
            value = facts.weight * facts.egress * share
            yield Part("provenance", value, why, taint.pointer, sources_of(taint))


def sources_of(taint: Taint) -> tuple[str, ...]:
    """The calls whose outputs taint a value."""
    return tuple(dict.fromkeys(origin.call for origin in taint.origins if origin.call is not None))


def _share(taint: Taint, *, is_sink: bool) -> tuple[float, str]:
    if is_sink and taint.tainted:
        return 1.0, "a value of an untrusted output says where something goes"
    if is_sink and taint.unread:
        return _UNREAD, "a value that was read nowhere says where something goes"
    if taint.tainted:
        return _CONTENT * taint.share, "a value of an untrusted output"
    return 0.0, ""
