"""The auditor: one decision a call, whatever happens."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from jepakit.errors import ConfigError, DataError, ModelError, require_at_least, require_choice
from jepakit.guard.audit.bounded import Bounded
from jepakit.guard.audit.judgement import Code, Judgement, call_digest
from jepakit.guard.audit.thresholds import Thresholds
from jepakit.guard.data import Call, Trace
from jepakit.guard.energies import CallEnergies, energies
from jepakit.guard.policy import Decision, Policy, Reason, Verdict, judge, strictest
from jepakit.guard.scorer import CallScore, Scorer
from jepakit.guard.traces.provenance import data_flow
from jepakit.guard.traces.strict_json import JsonLimits, TooLargeError, leaves

Mode = Literal["enforce", "record"]
"""Whether decisions are enforced, or only recorded while every call goes through."""

_LOGGER = logging.getLogger(__name__)
#: Rule of a policy, by how it begins or ends -> code; the first that fits.
_TAINT_RULES = ("tainted_sink", "unread_sink", "tainted_argument", "output_driven_write")


class Gate(Protocol):
    """A judge beside the policy, such as `jepakit.guard.policy.cedar.CedarGate`."""

    def judge(self, trace: Trace) -> Sequence[Verdict]:
        """The verdict over each call; that of one does not depend on later calls."""
        ...


@dataclass(frozen=True)
class AuditLimits:
    """How much is looked at; more is denied.

    Args:
        argument_bytes: of all texts in the arguments of one call.
        text_bytes: of all that the agent has read: task, system prompt and outputs, in characters.
        depth: of the arguments, lists and objects inside each other.
        leaves: values in the arguments of one call.
        calls: of a trace.
        checks: at the same time, those that have not ended in time among them.
    """

    argument_bytes: int = 1 << 20
    text_bytes: int = 16 << 20
    depth: int = 64
    leaves: int = 10_000
    calls: int = 1000
    checks: int = 64

    def __post_init__(self) -> None:
        require_at_least(self, argument_bytes=1, text_bytes=1, depth=1, leaves=1, calls=1, checks=1)


class Auditor:
    """Decides over calls by policy, gates, energies and a learned score; the strictest of them wins.

    A score only ever makes a decision stricter. What fails, or takes too long, is denied with the code ``internal``.

    Args:
        policy: what is allowed.
        scorer: a model; None: policy and energies alone decide.
        thresholds: of risk and energy; None: the defaults of `Thresholds`.
        mode: ``record`` decides as ``enforce`` does, and lets every call through.
        gates: further judges.
        timeout: seconds that a check may take.
        limits: how much is looked at.

    Raises:
        ConfigError: an option has a value that it cannot have.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        scorer: Scorer | None = None,
        thresholds: Thresholds | None = None,
        mode: Mode = "enforce",
        gates: Sequence[Gate] = (),
        timeout: float = 2.0,
        limits: AuditLimits | None = None,
    ) -> None:
        require_choice("mode", mode, ("enforce", "record"))
        if not (math.isfinite(timeout) and timeout > 0):
            raise ConfigError("timeout", timeout, "seconds, more than 0")
        self.policy, self.scorer, self.mode, self.timeout = policy, scorer, mode, timeout
        self.thresholds, self.gates = thresholds or Thresholds(), tuple(gates)
        self.limits = limits or AuditLimits()
        self._bounded = Bounded(self.limits.checks)

    def check(self, call: Call, history: Trace) -> Judgement:
        """The decision over a call that comes after those of ``history``, before it is carried out.

        It never raises, and never takes much longer than the timeout.

        Args:
            call: the call.
            history: context and earlier calls, with what they returned.
        """
        outcome = self._bounded.run(lambda: self._checked(call, history), self.timeout)
        if outcome.value is not None:
            return outcome.value
        _LOGGER.warning("a check has failed: %s", outcome.failure)
        return self._refused(call, "internal", "the call could not be judged")

    def audit(self, trace: Trace) -> tuple[Judgement, ...]:
        """The decision over every call of a trace, each judged by what stands before it."""
        outcome = self._bounded.run(lambda: self._audited(trace), self.timeout * max(1, len(trace.calls)))
        if outcome.value is not None:
            return outcome.value
        # One call of many may be unfit, or make the scorer fail.
        histories = (trace.model_copy(update={"calls": trace.calls[:place]}) for place in range(len(trace.calls)))
        return tuple(self.check(call, history) for call, history in zip(trace.calls, histories, strict=True))

    def _audited(self, trace: Trace) -> tuple[Judgement, ...] | None:
        """The decisions over all calls at once; None where one is unfit, or an edge leads backwards."""
        last = len(trace.calls) - 1
        place = {call.id: number for number, call in enumerate(trace.calls)}
        forward = all(place[edge.source] < place[edge.target] for edge in trace.edges)
        if last < 0 or not forward or any(self._readable(call) is not call for call in trace.calls):
            return None if trace.calls else ()
        unfit = self._unfit(trace.calls[-1], trace.model_copy(update={"calls": trace.calls[:-1]}))
        return None if unfit is not None else self._judged(trace)

    def _checked(self, call: Call, history: Trace) -> Judgement:
        refused = self._unfit(call, history)
        if refused is not None:
            return refused
        known = {call.id, *(earlier.id for earlier in history.calls)}
        edges = [edge for edge in history.edges if edge.source in known and edge.target in known]
        earlier = tuple(self._readable(one) for one in history.calls)
        trace = Trace(context=history.context, calls=(*earlier, call), edges=tuple(edges))
        return self._judged(trace)[-1]

    def _unfit(self, call: Call, history: Trace) -> Judgement | None:
        """The denial of what is not looked at."""
        context = history.context
        if len(history.calls) >= self.limits.calls:
            return self._refused(call, "too_large", "more calls than are looked at")
        read = len(context.task) + len(context.system) + sum(len(one.output or "") for one in history.calls)
        if read > self.limits.text_bytes:
            return self._refused(call, "too_large", "the agent has read more than is looked at")
        try:
            leaves(call.arguments, self._json_limits)
        except TooLargeError:
            return self._refused(call, "too_large", "the arguments are larger than what is looked at")
        except DataError:
            return self._refused(call, "unreadable", "the arguments are not JSON")
        if any(call.id == earlier.id for earlier in history.calls):
            return self._refused(call, "unreadable", "an earlier call has the same id")
        return None

    @property
    def _json_limits(self) -> JsonLimits:
        return JsonLimits(self.limits.argument_bytes, self.limits.depth, self.limits.leaves)

    def _readable(self, call: Call) -> Call:
        """The call, without its arguments where they cannot be read: it was denied, and what follows is judged."""
        try:
            leaves(call.arguments, self._json_limits)
        except DataError:
            return call.model_copy(update={"arguments": None})
        return call

    def _judged(self, trace: Trace) -> tuple[Judgement, ...]:
        flow = data_flow(trace)
        verdicts = strictest(judge(self.policy, trace, flow), *(gate.judge(trace) for gate in self.gates))
        scores = None
        if self.scorer is not None:
            scores = _checked_scores(self.scorer.scores(trace, flow), len(trace.calls))
        listed = energies(self.policy, trace, flow, scores)
        return tuple(
            self._judgement(call, verdict, energy, None if scores is None else scores[place])
            for place, (call, verdict, energy) in enumerate(zip(trace.calls, verdicts, listed, strict=True))
        )

    def _judgement(self, call: Call, verdict: Verdict, energy: CallEnergies, score: CallScore | None) -> Judgement:
        reasons = list(verdict.reasons)
        if score is not None:
            decision = self.thresholds.of_risk(score)
            reasons.append(Reason("thresholds.risk", decision, call.id, "the learned risk is high"))
        decision = self.thresholds.of_energy(energy)
        reasons.append(Reason("thresholds.energy", decision, call.id, "the energy is high"))
        final = Verdict.of(call.id, reasons)
        code = code_of(final.reasons[0]) if final.reasons else ""
        return self._of(call, final.decision, code, final.reasons, energy, score, call_digest(call))

    def _refused(self, call: Call, code: Code, problem: str) -> Judgement:
        reason = Reason(f"audit.{code}", "deny", call.id, problem)
        return self._of(call, "deny", code, (reason,), None, None, "")

    def _of(
        self,
        call: Call,
        decision: Decision,
        code: Code,
        reasons: tuple[Reason, ...],
        energy: CallEnergies | None,
        score: CallScore | None,
        digest: str,
    ) -> Judgement:
        effective: Decision = "allow" if self.mode == "record" else decision
        return Judgement(call.id, call.tool, decision, effective, code, reasons, energy, score, digest)


def code_of(reason: Reason) -> Code:
    """The coarse reason that an agent may know."""
    rule = reason.rule
    if rule == "thresholds.risk":
        return "model"
    if rule == "defaults.missing_arguments":
        return "unreadable"
    if rule.endswith(".requires_approval"):
        return "approval"
    if rule == "defaults.unknown_volume" or ".limits." in rule:
        return "limit"
    return "taint" if rule.startswith("defaults.") and rule.endswith(_TAINT_RULES) else "policy"


def _checked_scores(scores: Sequence[CallScore], count: int) -> Sequence[CallScore]:
    """The scores, if they are of ``count`` calls.

    Raises:
        ModelError: they are not, or one is no number in its range.
    """
    if len(scores) != count:
        raise ModelError("the scorer has not scored every call")
    for score in scores:
        if not (0.0 <= score.risk <= 1.0 and 0.0 <= score.jepa < math.inf):
            raise ModelError("the scorer gave a score that is not allowed")
    return scores
