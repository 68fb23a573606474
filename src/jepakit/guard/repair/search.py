"""Beam search for the best plan.

    minimise  Σ_{calls that are not allowed} E(call) + Σ_edits cost(edit)

At each step the call that most speaks against is edited in every way there is; an edit after which the energy of the
plan as a whole has not fallen is none. So of edits that make a call an allowed one the mildest is taken, and what the
energies say of an allowed call does not make it one to drop. See `jepakit.guard.repair.judging` for the energy and
`jepakit.guard.repair.edits` for the edits and their costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jepakit.guard.audit import Thresholds
from jepakit.guard.data import Trace
from jepakit.guard.policy import Policy
from jepakit.guard.policy.schema import SEVERITY
from jepakit.guard.repair.config import RepairConfig
from jepakit.guard.repair.edits import Editor, Proposal
from jepakit.guard.repair.judging import JudgedCall, JudgedPlan, judged
from jepakit.guard.repair.plans import Plan, Planner
from jepakit.guard.repair.result import Edit, Repair, intent_similarity
from jepakit.guard.scorer import CallScore, Scorer
from jepakit.guard.traces.provenance import Flow, data_flow

_LEAST = 1e-9
#: A model scores the repaired plan as a whole, and what it says then may ask for further edits.
_PASSES = 3


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
        self._thresholds, self._config, self._done = thresholds, config, done
        self._editor = Editor(planner, policy)
        self._scores: dict[str, CallScore] = {}
        self._left = config.most_plans

    def run(self) -> tuple[JudgedPlan, _State]:
        """What speaks against the plan at first, and the best plan."""
        first = last = _State(self._planner.first, self._judged_whole(self._planner.first))
        for _ in range(_PASSES):
            found = self._best(last)
            if not found.edits[len(last.edits) :]:
                break
            whole = found if self._scorer is None else self._with(found, self._judged_whole(found.plan))
            if whole.judged.total >= last.judged.total:
                break
            last = whole
            if self._scorer is None:
                break
        return first.judged, last

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
            beam = sorted(children, key=lambda state: (state.total, len(state.edits)))[: self._config.beam]
            if beam and self._left <= 0:
                ended.append(self._without_search(beam[0]))
                break
        return min(ended, key=lambda state: (state.denied, state.total, len(state.edits)))

    def _target(self, state: _State) -> JudgedCall | None:
        """The first of the calls that most speaks against."""
        open_calls = [one for one in state.judged.calls if one.decision != "allow" and one.call not in self._done]
        return max(open_calls, key=lambda one: SEVERITY[one.decision], default=None)

    def _children(self, state: _State, target: JudgedCall) -> list[_State]:
        children: list[_State] = []
        for proposal in self._editor.proposals(state.plan, target):
            after = self._judged(proposal.plan, proposal)
            if after.total < state.judged.total - _LEAST:
                children.append(self._after(state, target, proposal, after))
        return children

    def _without_search(self, state: _State) -> _State:
        """All that is denied is dropped, and a person is asked about all that is to be asked about."""
        while (target := self._target(state)) is not None:
            if target.decision == "ask":
                proposal = Proposal("approve", target.call, self._planner.approved(state.plan, target.call))
            else:
                proposal = self._editor.drop(state.plan, target.call)
            state = self._after(state, target, proposal, self._judged(proposal.plan, proposal))
        return state

    def _after(self, state: _State, target: JudgedCall, proposal: Proposal, after: JudgedPlan) -> _State:
        before, now = state.judged.energy, after.energy
        call = state.plan.trace.calls[state.plan.place[target.call]]
        edit = Edit(
            proposal.kind,
            call.id,
            call.tool,
            proposal.argument,
            proposal.old,
            proposal.new,
            proposal.others,
            target.reasons,
            {name: before[name] - now.get(name, 0.0) for name in before},
        )
        return _State(proposal.plan, after, (*state.edits, edit), state.cost + proposal.cost)

    def _judged(self, plan: Plan, proposal: Proposal) -> JudgedPlan:
        """What speaks against a plan; a model looks at a call again where its arguments are other ones."""
        self._left -= 1
        if self._scorer is None:
            return judged(plan, self._policy, None, self._thresholds)
        scores = [self._scores[call.id] for call in plan.trace.calls]
        if proposal.argument is not None:
            place = plan.place[proposal.call]
            scores[place] = self._scorer.scores(plan.trace, plan.flow)[place]
        return judged(plan, self._policy, scores, self._thresholds)

    def _judged_whole(self, plan: Plan) -> JudgedPlan:
        self._left -= 1
        scores: Sequence[CallScore] | None = None
        if self._scorer is not None:
            scores = self._scorer.scores(plan.trace, plan.flow)
            self._scores.update({call.id: score for call, score in zip(plan.trace.calls, scores, strict=True)})
        return judged(plan, self._policy, scores, self._thresholds)

    def _with(self, state: _State, whole: JudgedPlan) -> _State:
        return _State(state.plan, whole, state.edits, state.cost)
