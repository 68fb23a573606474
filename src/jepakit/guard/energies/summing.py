"""The energies of all calls of a trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from jepakit.errors import DataError
from jepakit.guard.data import Call, Trace
from jepakit.guard.energies.facts import CallFacts
from jepakit.guard.energies.flow import flow as flow_parts
from jepakit.guard.energies.hierarchy import hierarchy
from jepakit.guard.energies.parts import CallEnergies, Part
from jepakit.guard.energies.provenance import provenance
from jepakit.guard.energies.scope import scope
from jepakit.guard.policy.patterns import Argument
from jepakit.guard.policy.schema import Policy
from jepakit.guard.policy.spending import Spent
from jepakit.guard.policy.taint import tainted_calls
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
    role = None if trace.context.role is None else policy.of_role(trace.context.role)
    named = None if role is None else (f"{trace.context.role}", role)
    edges, spent = _Edges(trace, flow), Spent()
    untrusted: dict[str, Call] = {}
    listed: list[CallEnergies] = []
    for place, one in enumerate(tainted_calls(policy, trace, flow)):
        arguments = [Argument(value.pointer, value.value) for value in one.values or ()]
        facts = CallFacts(trace, place, one, untrusted, spent.add(one.call, arguments, one.tools, named))
        parts = [*hierarchy(facts), *provenance(facts), *scope(facts)]
        parts += flow_parts(facts, edges.sources.get(one.call.id, {}), edges.impossible[one.call.id])
        if scores is not None:
            parts.append(Part("jepa", max(0.0, scores[place].jepa), "the model expected another call"))
        listed.append(CallEnergies.of(one.call.id, parts))
        if not one.trusted:
            untrusted[one.call.id] = one.call
    return tuple(listed)


class _Edges:
    """The data flow of a trace by the call at which it is seen.

    Args:
        trace: the calls.
        flow: of the trace.
    """

    def __init__(self, trace: Trace, flow: Flow) -> None:
        place = {call.id: number for number, call in enumerate(trace.calls)}
        self.sources: dict[str, dict[str, tuple[Call, str | None]]] = {}
        self.impossible: Counter[str] = Counter()
        for edge in flow.edges:
            source, target = place[edge.source], place[edge.target]
            if source < target:
                of_call = self.sources.setdefault(edge.target, {})
                of_call.setdefault(edge.source, (trace.calls[source], edge.argument))
            else:
                self.impossible[edge.source] += 1
