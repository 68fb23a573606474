"""The energy of a plan: what speaks against each of its calls, with weights that let a denial outweigh all else.

    E(plan) = Σ_calls  w · reasons + hierarchy + provenance + scope + flow + jepa + risk

w is `DENY` for each reason of the policy to deny the call and `ASK` for each to ask; a person who is asked answers for
the latter, so in a call with an approval they are 0. A risk or an energy that passes a threshold is one reason more.
The other summands are those of `jepakit.guard.energies`, as `CallEnergies.total` weighs them, and the learned risk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from jepakit.guard.audit import Thresholds
from jepakit.guard.energies import CallEnergies, EnergyName, Part, energies
from jepakit.guard.energies.parts import SCOPE_NATS
from jepakit.guard.policy import Decision, Policy, Reason, Verdict, judge
from jepakit.guard.policy.schema import SEVERITY
from jepakit.guard.repair.plans import Plan
from jepakit.guard.scorer import CallScore

DENY, ASK = 20.0, 2.0
"""Energy of a reason to deny, and to ask."""

PlanEnergyName = Literal["deny", "ask", "risk"] | EnergyName
"""The summands of the energy of a plan."""

_ENERGIES: tuple[EnergyName, ...] = ("hierarchy", "provenance", "scope", "flow", "jepa")


@dataclass(frozen=True)
class JudgedCall:
    """What speaks against a call.

    Args:
        call: its id.
        decision: of the policy and the learned risk; ``allow`` where a person is asked and nothing denies it.
        reasons: for it.
        energy: its summands.
        parts: of the energies among them.
    """

    call: str
    decision: Decision
    reasons: tuple[Reason, ...]
    energy: Mapping[PlanEnergyName, float]
    parts: tuple[Part, ...]

    @property
    def total(self) -> float:
        """The energy."""
        return sum(self.energy.values())


@dataclass(frozen=True)
class JudgedPlan:
    """What speaks against a plan.

    Args:
        calls: in their order.
    """

    calls: tuple[JudgedCall, ...]

    @property
    def total(self) -> float:
        """The energy."""
        return sum(one.total for one in self.calls)

    @property
    def open(self) -> float:
        """The energy of the calls that are not allowed."""
        return sum(one.total for one in self.calls if one.decision != "allow")

    @property
    def energy(self) -> dict[PlanEnergyName, float]:
        """The sums over the calls."""
        names: list[PlanEnergyName] = [name for one in self.calls[:1] for name in one.energy]
        return {name: sum(one.energy[name] for one in self.calls) for name in names}


@dataclass(frozen=True)
class Counting:
    """From where on a risk or an energy is a reason.

    Args:
        thresholds: of both, as in `jepakit.guard.audit.Auditor`.
        least: a risk below this is none, whatever the thresholds.
    """

    thresholds: Thresholds
    least: float = 0.0

    def reasons(self, energy: CallEnergies, score: CallScore | None) -> list[Reason]:
        """The reasons of a call, beside those of the policy."""
        counting = None if score is None or score.risk < self.least else score
        return self.thresholds.reasons(energy, counting)


def judged(plan: Plan, policy: Policy, scores: Sequence[CallScore] | None, counting: Counting) -> JudgedPlan:
    """What the policy, the energies and a model say about the calls of a plan.

    Args:
        plan: the plan.
        policy: what is allowed.
        scores: of its calls; None: no model takes part.
        counting: what of risks and energies is a reason.
    """
    verdicts = judge(policy, plan.trace, plan.flow)
    listed = energies(policy, plan.trace, plan.flow, scores)
    known = [None] * len(verdicts) if scores is None else scores
    return JudgedPlan(
        tuple(
            _judged(
                Verdict.of(verdict.call, [*verdict.reasons, *counting.reasons(energy, score)]),
                energy,
                score,
                plan.approved,
            )
            for verdict, energy, score in zip(verdicts, listed, known, strict=True)
        )
    )


def _judged(verdict: Verdict, energy: CallEnergies, score: CallScore | None, approved: Set[str]) -> JudgedCall:
    decisions = [reason.decision for reason in verdict.reasons]
    is_approved = verdict.call in approved
    summands: dict[PlanEnergyName, float] = {
        "deny": DENY * decisions.count("deny"),
        "ask": 0.0 if is_approved else ASK * decisions.count("ask"),
        **{name: getattr(energy, name) for name in _ENERGIES},
        "scope": energy.scope / SCOPE_NATS,
        "risk": 0.0 if score is None else score.risk,
    }
    decision = "allow" if is_approved and SEVERITY[verdict.decision] < SEVERITY["deny"] else verdict.decision
    return JudgedCall(verdict.call, decision, verdict.reasons, summands, energy.parts)
