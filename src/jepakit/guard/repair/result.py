"""What a repair gives: the repaired plan, and its edits with their reasons."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from jepakit.guard.data import Trace
from jepakit.guard.policy import Policy, Reason
from jepakit.guard.repair.edits import EditKind
from jepakit.guard.repair.judging import JudgedPlan, PlanEnergyName
from jepakit.guard.traces.strict_json import JsonValue, leaves

_READ, _ACT = 1.0, 2.0


@dataclass(frozen=True)
class Edit:
    """An edit of a plan, and why.

    Args:
        kind: what was done.
        call: id of the call.
        tool: of the call.
        argument: JSON pointer of the argument; None: the call as a whole.
        old: what stood there.
        new: what stands there now.
        others: ids of the calls that went with it, or of the one that it went behind.
        reasons: what spoke against the call.
        lowered: by how much each summand of the energy of the plan fell; negative where one rose.
    """

    kind: EditKind
    call: str
    tool: str
    argument: str | None
    old: JsonValue
    new: JsonValue
    others: tuple[str, ...]
    reasons: tuple[Reason, ...]
    lowered: Mapping[PlanEnergyName, float]


@dataclass(frozen=True)
class Repair:
    """A repaired plan.

    Args:
        plan: the calls that are left.
        edits: that made it, in their order; none where nothing spoke against a call.
        approvals: ids of the calls of the plan that a person has to be asked about.
        before: what spoke against the calls at first.
        after: what speaks against those of the plan.
        similarity: see `intent_similarity`; of the calls that nothing spoke against at first.
    """

    plan: Trace
    edits: tuple[Edit, ...]
    approvals: tuple[str, ...]
    before: JudgedPlan
    after: JudgedPlan
    similarity: float

    @property
    def passes(self) -> bool:
        """Whether nothing denies a call of the plan, and a person is asked wherever one has to be."""
        return all(one.decision == "allow" for one in self.after.calls)

    def as_json(self) -> dict[str, Any]:
        """The plan, and the edits without reasons that repeat a policy."""
        edits = [
            {
                "kind": edit.kind,
                "call": edit.call,
                "tool": edit.tool,
                "argument": edit.argument,
                "old": edit.old,
                "new": edit.new,
                "others": list(edit.others),
                "rules": [reason.rule for reason in edit.reasons],
                "lowered": {name: round(value, 6) for name, value in edit.lowered.items() if value},
            }
            for edit in self.edits
        ]
        return {
            "plan": self.plan.model_dump(mode="json", exclude_defaults=True),
            "edits": edits,
            "approvals": list(self.approvals),
            "passes": self.passes,
            "energy": {"before": self.before.total, "after": self.after.total},
            "similarity": self.similarity,
        }


def intent_similarity(before: Trace, after: Trace, calls: Collection[str], policy: Policy) -> float:
    """How much of some calls of a plan another plan keeps, in [0, 1]; 1 where there are none.

        Σ_c w(c) · kept(c) / Σ_c w(c)

    over the calls c named. w is 1 for a call that only reads and 2 for one that does more; kept is 0 for a call that is
    gone, else the share of the leaves of its arguments that have their value still.

    Args:
        before: the plan.
        after: the other.
        calls: ids of the calls of ``before`` that count: those that serve the user's task.
        policy: says which tools only read.
    """
    left = {call.id: call for call in after.calls}
    total = kept = 0.0
    for call in before.calls:
        if call.id in calls:
            tools = policy.of_tool(call.tool, call.server)
            weight = _READ if tools and all(tool.effect == "read" for tool in tools) else _ACT
            total += weight
            if call.id in left:
                old, new = (dict(leaves(one.arguments or {})) for one in (call, left[call.id]))
                same = sum(pointer in new and new[pointer] == value for pointer, value in old.items())
                kept += weight * (same / len(old) if old else 1.0)
    return kept / total if total else 1.0
