"""The energies of the calls of a trace."""

from __future__ import annotations

from collections.abc import Sequence

from jepakit.errors import DataError
from jepakit.guard.data import Context, Trace
from jepakit.guard.energies.facts import CallFacts
from jepakit.guard.energies.flow import flow as flow_parts
from jepakit.guard.energies.hierarchy import hierarchy
from jepakit.guard.energies.parts import CallEnergies, Part
from jepakit.guard.energies.provenance import provenance
from jepakit.guard.energies.scope import scope
from jepakit.guard.policy.running import SeenCall, seen_calls
from jepakit.guard.policy.schema import Policy
from jepakit.guard.scorer import CallScore
from jepakit.guard.traces.provenance import Flow


def energies(
    policy: Policy, trace: Trace, flow: Flow, scores: Sequence[CallScore] | None = None
) -> tuple[CallEnergies, ...]:
    """The energies of each call of a trace; those of one do not depend on later calls.

    Those that no model takes part in are monotone: a policy that permits less, more taint and a larger scope never make
    one smaller.

    Args:
        policy: what is allowed.
        trace: the calls.
        flow: of ``trace``, from `jepakit.guard.traces.provenance.data_flow`.
        scores: of the calls, of a model; None: the energy ``jepa`` is 0.

    Raises:
        DataError: flow or scores are of another trace.
    """
    if scores is not None and len(scores) != len(trace.calls):
        raise DataError("the scores are of another trace", value=len(scores), expected=f"{len(trace.calls)} of them")
    return tuple(
        energies_of(trace.context, seen, None if scores is None else scores[place])
        for place, seen in enumerate(seen_calls(policy, trace, flow))
    )


def energies_of(context: Context, seen: SeenCall, score: CallScore | None = None) -> CallEnergies:
    """The energies of a call that a run has come to."""
    facts = CallFacts(context, seen)
    parts = [*hierarchy(facts), *provenance(facts), *scope(facts), *flow_parts(facts)]
    if score is not None:
        parts.append(Part("jepa", max(0.0, score.jepa), "the model expected another call"))
    return CallEnergies.of(seen.call.id, parts)
