"""Beam search for the best plan.

    minimise  Σ_{calls that are not allowed} E(call) + Σ_edits cost(edit)

At each step the call that most speaks against is edited in every way there is; an edit after which the energy of the
plan as a whole has not fallen is none. So of edits that make a call an allowed one the mildest is taken, and what the
energies say of an allowed call does not make it one to drop. See `jepakit.guard.repair.judging` for the energy and
`jepakit.guard.repair.edits` for the edits and their costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from jepakit.guard.audit import Thresholds
from jepakit.guard.data import Call, Trace
from jepakit.guard.policy import Decision, Policy
from jepakit.guard.repair.config import RepairConfig
from jepakit.guard.repair.edits import Editor, Proposal
from jepakit.guard.repair.judging import Counting, JudgedCall, JudgedPlan, PlanEnergyName, judged
from jepakit.guard.repair.plans import Plan, Planner
from jepakit.guard.repair.result import Edit, Repair, intent_similarity
from jepakit.guard.scorer import CallScore, Scorer
from jepakit.guard.traces.provenance import Flow, data_flow

_LEAST = 1e-9


def repair(
    trace: Trace,
    policy: Policy,
    *,
    flow: Flow | None = None,
    scorer: Scorer | None = None,
    thresholds: Thresholds | None = None,
    config: RepairConfig | None = None,
    carried_out: int = 0,
) -> Repair:
    """A plan with the harm taken out.

    A plan in which nothing is denied or asked about is left as it is. The energy never rises, no value is proposed that
    others can have written, and equal plans have equal repairs.

    Args:
        trace: the plan.
        policy: what is allowed.
        flow: of ``trace``; None: derived here.
        scorer: a model; None: policy and energies decide.
        thresholds: of risk and energy; None: the defaults of `Thresholds`.
        config: how long is searched.
        carried_out: how many of the first calls have been carried out and stay as they are.

    Raises:
        DataError: the arguments of a call are not JSON, or more of it than is read.
    """
    flow = data_flow(trace) if flow is None else flow
    done = frozenset(call.id for call in trace.calls[:carried_out])
    planner = Planner(trace, flow)
    search = _Search(planner, policy, scorer, thresholds or Thresholds(), config or RepairConfig(), done)
    first, last = search.run()
    benign = {one.call for one in first.calls if one.decision == "allow"}
    return Repair(
        last.plan.trace,
        last.edits,
        tuple(call.id for call in last.plan.trace.calls if call.id in last.plan.approved),
        first,
        last.judged,
        intent_similarity(trace, last.plan.trace, benign, policy),
    )


@dataclass(frozen=True)
class _State:
    """A plan of the search, and how it was made."""

    plan: Plan
    judged: JudgedPlan
    edits: tuple[Edit, ...] = ()
    cost: float = 0.0

    @property
    def denied(self) -> int:
        return sum(one.decision == "deny" for one in self.judged.calls)

    @property
    def total(self) -> float:
        return self.judged.open + self.cost

    def order(self) -> tuple[float, int]:
        """The better, the smaller."""
        return self.total, len(self.edits)


class _Search:
    def __init__(
        self,
        planner: Planner,
        policy: Policy,
        scorer: Scorer | None,
        thresholds: Thresholds,
        config: RepairConfig,
        done: frozenset[str],
    ) -> None:
        self._planner, self._policy, self._scorer = planner, policy, scorer
        self._counting = Counting(thresholds)
        self._config, self._done = config, done
        self._editor = Editor(planner, policy)
        self._scores: dict[str, CallScore] = {}
        self._rescored: dict[tuple[str, str], CallScore] = {}
        self._left = config.most_values

    def run(self) -> tuple[JudgedPlan, _State]:
        """What speaks against the plan at first, and the best plan."""
        plan = self._planner.first
        if self._scorer is not None:
            scores = self._scorer.scores(plan.trace, plan.flow, self._policy)
            self._scores = {call.id: score for call, score in zip(plan.trace.calls, scores, strict=True)}
            highest = max((score.risk for score in scores), default=0.0)
            self._counting = replace(self._counting, least=self._config.share * highest)
        start = _State(plan, self._judged(plan))
        return start.judged, self._best(start)

    def _best(self, start: _State) -> _State:
        beam, ended = [start], [start]
        while beam:
            children: list[_State] = []
            for state in beam:
                target = self._target(state)
                found = [] if target is None else self._children(state, target)
                children += found
                if not found:
                    ended.append(state)
            if self._left <= 0:
                ended.append(self._without_search(min([*children, *beam], key=_State.order)))
                break
            beam = sorted(children, key=_State.order)[: self._config.beam]
        return min(ended, key=lambda state: (state.denied, *state.order()))

    def _target(self, state: _State) -> JudgedCall | None:
        """The first of the calls that most speaks against."""
        return next(iter([*self._open(state, "deny"), *self._open(state, "ask")]), None)

    def _open(self, state: _State, decision: Decision) -> list[JudgedCall]:
        return [one for one in state.judged.calls if one.decision == decision and one.call not in self._done]

    def _children(self, state: _State, target: JudgedCall) -> list[_State]:
        children: list[_State] = []
        for proposal in self._editor.proposals(state.plan, target):
            if self._left <= 0:
                break
            after = self._judged(proposal.plan, proposal)
            if after.total < state.judged.total - _LEAST:
                children.append(self._after(state, target, proposal, after))
        return children

    def _without_search(self, state: _State) -> _State:
        """All that is denied is dropped, and a person is asked about all that is to be asked about."""
        while targets := self._open(state, "deny"):
            going = self._editor.depending(state.plan, {one.call for one in targets})
            proposals = [
                (one, Proposal("drop", one.call, state.plan, others=going[one.call]))
                for one in targets
                if one.call in going
            ]
            gone = [call for first, others in going.items() for call in (first, *others)]
            state = self._at_once(state, proposals, self._planner.dropped(state.plan, gone))
        proposals = [(one, Proposal("approve", one.call, state.plan)) for one in self._open(state, "ask")]
        plan = state.plan
        for target, _ in proposals:
            plan = self._planner.approved(plan, target.call)
        return self._at_once(state, proposals, plan) if proposals else state

    def _at_once(self, state: _State, proposals: Sequence[tuple[JudgedCall, Proposal]], plan: Plan) -> _State:
        """Several edits, each with the energy of its call as what has fallen."""
        after = self._judged(plan)
        edits = tuple(self._edit(state.plan, target, one, dict(target.energy)) for target, one in proposals)
        return _State(plan, after, (*state.edits, *edits), state.cost + sum(one.cost for _, one in proposals))

    def _after(self, state: _State, target: JudgedCall, proposal: Proposal, after: JudgedPlan) -> _State:
        before, now = state.judged.energy, after.energy
        lowered: dict[PlanEnergyName, float] = {name: before[name] - now.get(name, 0.0) for name in before}
        edit = self._edit(state.plan, target, proposal, lowered)
        return _State(proposal.plan, after, (*state.edits, edit), state.cost + proposal.cost)

    def _edit(
        self, plan: Plan, target: JudgedCall, proposal: Proposal, lowered: Mapping[PlanEnergyName, float]
    ) -> Edit:
        call = plan.trace.calls[plan.place[target.call]]
        argument, old, new = proposal.argument, proposal.old, proposal.new
        return Edit(proposal.kind, call.id, call.tool, argument, old, new, proposal.others, target.reasons, lowered)

    def _judged(self, plan: Plan, proposal: Proposal | None = None) -> JudgedPlan:
        """What speaks against a plan.

        A model looks at a call again where its arguments are other ones. The others keep the score that they have in
        the plan as the agent has made it: what goes beside them makes them neither better nor worse.
        """
        self._left -= plan.size
        if self._scorer is None:
            return judged(plan, self._policy, None, self._counting)
        if proposal is not None and proposal.argument is not None:
            score = self._scorer.scores(plan.trace, plan.flow, self._policy)[plan.place[proposal.call]]
            self._rescored[proposal.call, repr(plan.trace.calls[plan.place[proposal.call]].arguments)] = score
        scores = [self._score(call) for call in plan.trace.calls]
        return judged(plan, self._policy, scores, self._counting)

    def _score(self, call: Call) -> CallScore:
        return self._rescored.get((call.id, repr(call.arguments)), self._scores[call.id])
