"""What the auditor says about a call."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from jepakit.guard.data import Call
from jepakit.guard.energies import CallEnergies
from jepakit.guard.policy import Decision, Reason
from jepakit.guard.scorer import CallScore

Code = Literal["", "policy", "taint", "limit", "secret", "model", "too_large", "unreadable", "internal", "approval"]
"""Why a call is not simply allowed, as coarsely as the agent may know it."""

#: How rules of `Defaults` about where values come from end.
_TAINT_RULES = ("tainted_sink", "unread_sink", "tainted_argument", "output_driven_write")


@dataclass(frozen=True)
class Judgement:
    """The decision over a call.

    Args:
        call: its id.
        tool: its name.
        decision: as decided.
        effective: what is enforced; ``allow`` where decisions are only recorded.
        code: one of `Code`, why, for the agent; empty where the call is allowed.
        reasons: why, for people; the most severe first.
        energies: of the call; None where it could not be judged.
        score: of the model; None without one.
        digest: see `call_digest`.
    """

    call: str
    tool: str
    decision: Decision
    effective: Decision
    code: str
    reasons: tuple[Reason, ...]
    energies: CallEnergies | None
    score: CallScore | None
    digest: str

    def public(self) -> dict[str, Any]:
        """What the agent and its model may know: the id, what is enforced, and the code."""
        return {"call": self.call, "decision": self.effective, "code": self.code if self.effective != "allow" else ""}

    def as_json(self) -> dict[str, Any]:
        """All of it, for people and their records: keys of arguments and places in outputs, and values of neither."""
        return {
            "call": self.call,
            "tool": self.tool,
            "decision": self.decision,
            "effective": self.effective,
            "code": self.code,
            "reasons": [_reason(reason) for reason in self.reasons],
            "energies": None if self.energies is None else self.energies.as_json(),
            "score": None if self.score is None else asdict(self.score),
            "digest": self.digest,
        }


def call_digest(call: Call) -> str:
    """SHA-256 (hexadecimal) of the canonical JSON of server, tool and arguments: what an approval is bound to.

    Keys are ordered, nothing stands between tokens, and numbers are as they were written: 5 and 5.0 differ.

    Raises:
        ValueError, RecursionError, TypeError: the arguments are no JSON, or nested too deeply.
    """
    content = {"server": call.server, "tool": call.tool, "arguments": call.arguments}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "rule": reason.rule,
        "decision": reason.decision,
        "problem": reason.problem,
        "argument": reason.argument,
        "taint": [origin.model_dump(exclude_none=True) for origin in reason.taint],
    }


def code_of(reason: Reason) -> Code:
    """The code of a reason."""
    rule = reason.rule
    if rule == "thresholds.risk":
        return "model"
    if rule.startswith("secrets."):
        return "secret"
    if rule == "defaults.missing_arguments":
        return "unreadable"
    if rule.endswith(".requires_approval"):
        return "approval"
    if rule == "defaults.unknown_volume" or ".limits." in rule:
        return "limit"
    return "taint" if rule.startswith("defaults.") and rule.endswith(_TAINT_RULES) else "policy"
