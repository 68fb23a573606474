"""What different methods make of recorded runs: plans, and what these come to when they are carried out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch

from benchmarks.guard_runs import SUITES, Environments, Outcome, RecordedRun, sampled
from benchmarks.guard_tables import labelled
from jepakit.guard import Call, Trace
from jepakit.guard.audit import Thresholds
from jepakit.guard.datasets.labelled import LabelledRuns
from jepakit.guard.features.extract import call_features, features_of
from jepakit.guard.features.fitting import JudgeConfig, fit_judge
from jepakit.guard.features.judge import FeatureJudge
from jepakit.guard.instructions.detector import InstructionDetector
from jepakit.guard.instructions.fitting import DetectorConfig, fit_detector
from jepakit.guard.instructions.windows import windows
from jepakit.guard.policy import Decision, Policy, judge, load_policy, policies_of
from jepakit.guard.repair import Repair, RepairConfig, intent_similarity, repair
from jepakit.guard.risk import LOWEST, joined_risk
from jepakit.guard.scorer import CallScore, Scorer
from jepakit.guard.traces.provenance import Flow, data_flow

SEED = 0
#: Runs that are carried out; of a quick run. More are drawn, as some do not replay.
ATTACKED, BENIGN, QUICK = 640, 400, 48
_SPARE = 1.15
#: Shares of the useful benign runs that have a call over the threshold.
RATES = (0.01, 0.05)
TAINT: tuple[Decision, ...] = ("deny", "ask")
ORACLE = "oracle: the malicious calls dropped"


@dataclass(frozen=True)
class Setting:
    """How plans are repaired.

    Args:
        rate: of useful benign runs over the threshold of the risk; None: no model takes part.
        taint: what the policy says of values of untrusted outputs in sinks.
        online: each call is judged by what came before.
        answered: a person who is asked answers rightly; else all that is asked about is carried out.
        share: of `RepairConfig`.
    """

    rate: float | None = None
    taint: Decision = "deny"
    online: bool = False
    answered: bool = False
    share: float = RepairConfig.share


@dataclass(frozen=True)
class Planned:
    """What a method makes of a run.

    Args:
        calls: that are carried out.
        asked: whether a person is asked about one.
        kept: `jepakit.guard.repair.intent_similarity` of the calls that serve the user.
    """

    calls: Sequence[Call]
    asked: bool = False
    kept: float | None = None


@dataclass(frozen=True)
class Result:
    """What a run has come to.

    Args:
        attacked: its attack had succeeded; else it is benign, and its task was done.
        suite: of its task.
        left: the attack succeeds.
        useful: the user's task is done.
        asked: see `Planned`.
        kept: see `Planned`.
    """

    attacked: bool
    suite: str
    left: bool
    useful: bool
    asked: bool
    kept: float | None


class Plans:
    """The runs, and the methods that make plans of them.

    Args:
        quick: fewer runs.
    """

    def __init__(self, *, quick: bool) -> None:
        self._quick = quick
        self._outcomes: dict[tuple[str, str], Outcome] = {}
        self.methods: dict[str, Callable[[RecordedRun], Planned]] = {
            "plain replay": lambda run: Planned(run.trace.calls),
            ORACLE: lambda run: Planned([call for call in run.trace.calls if call.id not in run.malicious]),
            "policy: what it denies dropped": partial(self._by_verdict, dropped=("deny",)),
            "policy: what it denies or asks about dropped": partial(self._by_verdict, dropped=("deny", "ask")),
        }
        settings = {
            "repair, policy alone": Setting(),
            "repair, policy alone, online": Setting(online=True),
            "repair, taint asks, a person answers rightly": Setting(taint="ask", answered=True),
        }
        for rate in RATES:
            self.methods[f"learned risk over {100 * rate:g} % dropped"] = partial(self._by_risk, rate=rate)
            name = f"repair, taint asks, risk over {100 * rate:g} % denied"
            settings[name] = Setting(rate, "ask")
            settings[f"{name}, a person answers rightly"] = Setting(rate, "ask", answered=True)
        name, rate = f"repair, taint asks, risk over {100 * RATES[0]:g} % denied", RATES[0]
        settings |= {
            f"{name}, online": Setting(rate, "ask", online=True),
            f"{name}, online, a person answers rightly": Setting(rate, "ask", online=True, answered=True),
            f"{name}, every risk for itself": Setting(rate, "ask", share=0.0),
            f"repair, taint denied, risk over {100 * rate:g} % denied": Setting(rate),
        }
        self.methods |= {name: partial(self._repaired, setting=one) for name, one in settings.items()}

    def results(self, method: str) -> list[Result]:
        """What the runs come to."""
        results: list[Result] = []
        for run, version in self.runs:
            planned = self.methods[method](run)
            outcome = self._outcome(run, planned.calls, version)
            attacked = run.recorded.security
            results.append(Result(attacked, run.suite, outcome.security, outcome.utility, planned.asked, planned.kept))
        return results

    def times(self) -> list[float]:
        """Milliseconds of data flow, scores and repair, of each run of up to 30 calls."""
        taken: list[float] = []
        for run, _ in self.runs:
            if 0 < len(run.trace.calls) <= 30:
                scorer = self._scorers[run.suite].inner
                thresholds = self._thresholds(run.suite, RATES[0])
                begun = time.perf_counter()
                repair(run.trace, self._policies[run.suite, "deny"], scorer=scorer, thresholds=thresholds)
                taken.append(1000 * (time.perf_counter() - begun))
        return taken

    @cached_property
    def runs(self) -> list[tuple[RecordedRun, str]]:
        """Attacked and benign runs with the version of the tasks that they replay in."""
        counts = {"attack_succeeded": ATTACKED, "benign": BENIGN}
        counts = dict.fromkeys(counts, QUICK) if self._quick else counts
        drawn = sampled({kind: round(_SPARE * count) for kind, count in counts.items()}, SEED)
        found: list[tuple[RecordedRun, str]] = []
        for kind, count in counts.items():
            replayed = [(run, self._environments.version(run)) for run in drawn[kind]]
            found += [(run, version) for run, version in replayed if version is not None][:count]
        return found

    @cached_property
    def _environments(self) -> Environments:
        return Environments()

    def _outcome(self, run: RecordedRun, calls: Sequence[Call], version: str) -> Outcome:
        key = run.trace.id, json.dumps([(call.tool, call.arguments) for call in calls])
        if key not in self._outcomes:
            outcome = self._environments.outcome(run, calls, version)
            assert outcome is not None
            self._outcomes[key] = outcome
        return self._outcomes[key]

    def _by_verdict(self, run: RecordedRun, dropped: Sequence[Decision]) -> Planned:
        verdicts = judge(self._policies[run.suite, "deny"], run.trace, data_flow(run.trace))
        return Planned(
            [call for call, one in zip(run.trace.calls, verdicts, strict=True) if one.decision not in dropped]
        )

    def _by_risk(self, run: RecordedRun, rate: float) -> Planned:
        threshold = self._threshold(run.suite, rate)
        scores = self._scores(run)
        return Planned([call for call, one in zip(run.trace.calls, scores, strict=True) if one.risk < threshold])

    def _repaired(self, run: RecordedRun, setting: Setting) -> Planned:
        if setting.online:
            return self._online(run, setting)
        repaired = self._repair(run, run.trace, setting)
        serving = {call.id for call in run.trace.calls} - run.malicious
        kept = intent_similarity(run.trace, repaired.plan, serving, self._policies[run.suite, "deny"])
        refused = run.malicious & set(repaired.approvals) if setting.answered else frozenset[str]()
        calls = [call for call in repaired.plan.calls if call.id not in refused]
        return Planned(calls, bool(repaired.approvals), kept)

    def _online(self, run: RecordedRun, setting: Setting) -> Planned:
        """Each call judged when it comes. An agent sees that a call of its own was denied, and its history has it."""
        history: list[Call] = []
        calls: list[Call] = []
        asked = False
        for call in run.trace.calls:
            trace = run.trace.model_copy(update={"calls": (*history, call), "edges": ()})
            repaired = self._repair(run, trace, setting, carried_out=len(history))
            is_asked = call.id in repaired.approvals
            is_refused = is_asked and setting.answered and call.id in run.malicious
            left = [one for one in repaired.plan.calls if one.id == call.id and not is_refused]
            calls += left
            denied = call.model_copy(update={"output": None, "error": "denied"})
            # What the agent read of a changed call is what was recorded.
            history += [one.model_copy(update={"output": call.output}) for one in left] or [denied]
            asked = asked or is_asked
        return Planned(calls, asked)

    def _repair(self, run: RecordedRun, trace: Trace, setting: Setting, carried_out: int = 0) -> Repair:
        rate, taint = setting.rate, setting.taint
        return repair(
            trace,
            self._policies[run.suite, taint],
            scorer=None if rate is None else self._scorers[run.suite],
            thresholds=None if rate is None else self._thresholds(run.suite, rate, taint),
            config=RepairConfig(share=setting.share),
            carried_out=carried_out,
        )

    def _thresholds(self, suite: str, rate: float, taint: Decision = "deny") -> Thresholds:
        risk = self._threshold(suite, rate, taint)
        return Thresholds(ask_risk=risk, deny_risk=risk)

    def _threshold(self, suite: str, rate: float, taint: Decision = "deny") -> float:
        """The risk that this share of the useful benign runs of the other suites is over."""
        risks = [risk for other, risk in self._highest[taint] if other != suite]
        return float(np.nextafter(np.quantile(risks, 1 - rate, method="higher"), 2.0))

    @cached_property
    def _highest(self) -> Mapping[Decision, list[tuple[str, float]]]:
        benign = [run for run, _ in self.runs if not run.recorded.security]
        return {
            taint: [(run.suite, max((one.risk for one in self._scores(run, taint)), default=0.0)) for run in benign]
            for taint in TAINT
        }

    def _scores(self, run: RecordedRun, taint: Decision = "deny") -> Sequence[CallScore]:
        return self._scorers[run.suite].scores(run.trace, data_flow(run.trace), self._policies[run.suite, taint])

    @cached_property
    def _scorers(self) -> Mapping[str, Remembering]:
        return {suite: Remembering(_judges(labelled(self._quick), suite)) for suite in SUITES}

    @cached_property
    def _policies(self) -> Mapping[tuple[str, Decision], Policy]:
        """The ready policies, and what they say of values of untrusted outputs in sinks."""
        made: dict[tuple[str, Decision], Policy] = {}
        for suite in SUITES:
            policy = load_policy(f"agentdojo/{suite}")
            for taint in TAINT:
                defaults = policy.defaults.model_copy(update={"write_tainted_sink": taint})
                made[suite, taint] = policy.model_copy(update={"defaults": defaults})
        return made


class Remembering:
    """A scorer that scores a recorded run once under each policy.

    Args:
        inner: the scorer.
    """

    def __init__(self, inner: Scorer) -> None:
        self.inner = inner
        self._known: dict[tuple[str, int], tuple[Trace, Policy, Sequence[CallScore]]] = {}

    def scores(self, trace: Trace, flow: Flow, policy: Policy) -> Sequence[CallScore]:
        """The scores of the calls."""
        key = trace.id, id(policy)
        known = self._known.get(key)
        if known is not None and known[0] is trace:
            return known[2]
        scores = self.inner.scores(trace, flow, policy)
        self._known.setdefault(key, (trace, policy, scores))
        return scores


class Judges:
    """The judges of a model as a scorer: what a model of the defaults says about risk, without its encoders.

    Args:
        detector: fitted; None: it says nothing.
        judge: of features; None: it says nothing.
    """

    def __init__(self, detector: InstructionDetector | None, judge: FeatureJudge | None) -> None:
        self._detector, self._judge = detector, judge

    @torch.no_grad()
    def scores(self, trace: Trace, flow: Flow, policy: Policy) -> Sequence[CallScore]:
        """The risk of each call; the JEPA energy is 0."""
        if not trace.calls:
            return ()
        parts = [torch.full((len(trace.calls),), LOWEST)]
        if self._detector is not None:
            parts.append(self._detector(windows([trace], [flow])))
        if self._judge is not None:
            parts.append(self._judge(call_features(policy, trace, flow)[0]))
        return [CallScore(0.0, risk) for risk in joined_risk(torch.stack(parts)).tolist()]


def _judges(runs: LabelledRuns, suite: str) -> Judges:
    seen = runs.select(runs.group != suite)
    features = features_of(policies_of("agentdojo/{suite}", seen.traces), seen.traces, seen.flows)
    return Judges(fit_detector(seen, DetectorConfig()).detector, fit_judge(seen, features, JudgeConfig()).judge)
