"""The auditor: one decision a call, whatever happens."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Literal, Protocol

from jepakit.errors import ConfigError, DataError, ModelError, require_choice
from jepakit.guard.audit.bounded import Bounded
from jepakit.guard.audit.judgement import Code, Judgement, call_digest, code_of
from jepakit.guard.audit.limits import AuditLimits
from jepakit.guard.audit.secrets import SecretRules
from jepakit.guard.audit.sessions import Session, Sessions, Step
from jepakit.guard.audit.thresholds import Thresholds
from jepakit.guard.data import Call, Trace
from jepakit.guard.energies import CallEnergies, energies_of
from jepakit.guard.policy import Decision, Policy, Reason, Verdict, strictest, verdict_of
from jepakit.guard.scorer import CallScore, Scorer
from jepakit.guard.traces.provenance import Flow, Value, edges_of
from jepakit.guard.traces.strict_json import JsonLimits, TooLargeError, leaves

Mode = Literal["enforce", "record"]
"""Whether decisions are enforced, or only recorded while every call goes through."""

_LOGGER = logging.getLogger(__name__)


class Gate(Protocol):
    """A judge beside the policy, such as `jepakit.guard.policy.cedar.CedarGate`."""

    def judge(self, trace: Trace) -> Sequence[Verdict]:
        """The verdict over each call; that of one does not depend on later calls."""
        ...


class Auditor:
    """Decides over calls by policy, gates, energies and a learned score; the strictest of them wins.

    A score only ever makes a decision stricter. What fails, or takes too long, is denied with the code ``internal``.
    Checks may be made from several threads.

    Args:
        policy: what is allowed.
        scorer: a model; None: policy and energies alone decide.
        thresholds: of risk and energy; None: the defaults of `Thresholds`.
        mode: ``record`` decides as ``enforce`` does, and lets every call through.
        gates: further judges.
        secrets: what is a secret; None: the defaults of `SecretRules`.
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
        secrets: SecretRules | None = None,
        timeout: float = 2.0,
        limits: AuditLimits | None = None,
    ) -> None:
        require_choice("mode", mode, ("enforce", "record"))
        if not (math.isfinite(timeout) and timeout > 0):
            raise ConfigError("timeout", timeout, "seconds, more than 0")
        self.policy, self.scorer, self.timeout = policy, scorer, timeout
        self.mode: Mode = mode
        self.thresholds, self.gates = thresholds or Thresholds(), tuple(gates)
        self.secrets, self.limits = secrets or SecretRules(), limits or AuditLimits()
        self._bounded = Bounded(self.limits.checks)
        self._sessions = Sessions(self.limits.sessions, self.limits.text_size)

    def check(self, call: Call, history: Trace) -> Judgement:
        """The decision over a call that comes after those of ``history``, before it is carried out.

        It never raises, and takes no longer than the timeout. In a run that goes on, earlier calls that are the same
        objects as at the check before are not looked at again.

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
        """The decision over every call of a trace, each judged by what stands before it, as `check` does."""
        outcome = self._bounded.run(lambda: self._audited(trace), self.timeout * max(1, len(trace.calls)))
        if outcome.value is not None:
            return outcome.value
        # One call of many may be unfit, or make the scorer fail.
        histories = (trace.model_copy(update={"calls": trace.calls[:place]}) for place in range(len(trace.calls)))
        return tuple(self.check(call, history) for call, history in zip(trace.calls, histories, strict=True))

    def with_thresholds(self, thresholds: Thresholds) -> Auditor:
        """Another auditor, with other thresholds."""
        return Auditor(
            self.policy,
            scorer=self.scorer,
            thresholds=thresholds,
            mode=self.mode,
            gates=self.gates,
            secrets=self.secrets,
            timeout=self.timeout,
            limits=self.limits,
        )

    def _audited(self, trace: Trace) -> tuple[Judgement, ...] | None:
        """The decisions over all calls at once; None where one is unfit, or an edge leads backwards."""
        if not trace.calls:
            return ()
        place = {call.id: number for number, call in enumerate(trace.calls)}
        forward = all(place[edge.source] < place[edge.target] for edge in trace.edges)
        if not forward or any(self._readable(call) is not call for call in trace.calls):
            return None
        if self._unfit(trace.calls[-1], trace.model_copy(update={"calls": trace.calls[:-1]})) is not None:
            return None
        session = Session(self.policy, self.secrets, trace.context, trace.edges)
        listed = [session.add(call, self._readable) for call in trace.calls]
        return self._judged(trace, listed, session.values)

    def _checked(self, call: Call, history: Trace) -> Judgement:
        refused = self._unfit(call, history)
        if refused is not None:
            return refused
        known = {call.id, *(earlier.id for earlier in history.calls)}
        edges = tuple(edge for edge in history.edges if edge.source in known and edge.target in known)
        session = (None if edges else self._sessions.take(history)) or Session(
            self.policy, self.secrets, history.context, edges
        )
        # Calls whose output is still to come look otherwise the next time.
        waiting = (place for place, one in enumerate(history.calls) if one.output is None and one.error is None)
        returned = next(waiting, len(history.calls))
        for earlier in history.calls[len(session.calls) : returned]:
            session.add(earlier, self._readable)
        ahead = session if returned == len(history.calls) else session.copy()
        for earlier in history.calls[returned:]:
            ahead.add(earlier, self._readable)
        step = ahead.see(call)
        trace = history.model_copy(update={"calls": (*ahead.readable, call), "edges": edges})
        (judgement,) = self._judged(trace, [step], [*ahead.values, step.seen.values])
        if not edges:
            self._sessions.put(history, session)
        return judgement

    def _unfit(self, call: Call, history: Trace) -> Judgement | None:
        """The denial of what is not looked at."""
        context = history.context
        if len(history.calls) >= self.limits.calls:
            return self._refused(call, "too_large", "more calls than are looked at")
        read = len(context.task) + len(context.system) + sum(len(one.output or "") for one in history.calls)
        if read > self.limits.text_size:
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

    def _judged(
        self, trace: Trace, listed: Sequence[Step], values: Sequence[tuple[Value, ...] | None]
    ) -> tuple[Judgement, ...]:
        """The decisions over the last calls of a trace, of which the values of all calls are known."""
        count = len(listed)
        verdicts = [tuple(verdict_of(self.policy, step.seen) for step in listed)]
        verdicts += [tuple(gate.judge(trace))[-count:] for gate in self.gates]
        scores: Sequence[CallScore | None] = [None] * count
        if self.scorer is not None:
            scores = self.scorer.scores(trace, Flow(tuple(values), edges_of(trace, values)), self.policy)
            _require_scores(scores, len(trace.calls))
        return tuple(
            self._judgement(trace, step, verdict, score)
            for step, verdict, score in zip(listed, strictest(*verdicts), scores[-count:], strict=True)
        )

    def _judgement(self, trace: Trace, step: Step, verdict: Verdict, score: CallScore | None) -> Judgement:
        call, energy = step.seen.call, energies_of(trace.context, step.seen, score)
        reasons = list(verdict.reasons)
        for hit in step.sent.hits:
            rule, decision = "plain", self.secrets.plain
            if hit.disguised:
                rule, decision = "disguised", self.secrets.disguised
            problem = "a secret that the agent has read stands in what the call sends"
            reasons.append(Reason(f"secrets.{rule}", decision, call.id, problem, hit.argument))
        reasons += self.thresholds.reasons(energy, score)
        final = Verdict.of(call.id, reasons)
        code = code_of(final.reasons[0]) if final.reasons else ""
        return self._made(call, final.decision, code, final.reasons, energy, score, call_digest(call))

    def _refused(self, call: Call, code: Code, problem: str) -> Judgement:
        return self._made(call, "deny", code, (Reason(f"audit.{code}", "deny", call.id, problem),))

    def _made(
        self,
        call: Call,
        decision: Decision,
        code: str,
        reasons: tuple[Reason, ...],
        energy: CallEnergies | None = None,
        score: CallScore | None = None,
        digest: str = "",
    ) -> Judgement:
        effective: Decision = "allow" if self.mode == "record" else decision
        return Judgement(call.id, call.tool, decision, effective, code, reasons, energy, score, digest)


def _require_scores(scores: Sequence[CallScore], count: int) -> None:
    """Checks the answer of a scorer.

    Raises:
        ModelError: it is not of ``count`` calls, or has a number outside of its range.
    """
    if len(scores) != count:
        raise ModelError("the scorer has not scored every call")
    for score in scores:
        if not (0.0 <= score.risk <= 1.0 and 0.0 <= score.jepa < math.inf):
            raise ModelError("the scorer gave a score that is not allowed")
