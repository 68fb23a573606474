"""What different methods make of recorded runs: plans, and what these come to when they are carried out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.guard_detect import labelled
from benchmarks.guard_runs import SUITES, Environments, Outcome, RecordedRun, sampled
from jepakit.guard import Call, Trace, load_guard
from jepakit.guard.audit import Thresholds
from jepakit.guard.instructions.detector import InstructionDetector
from jepakit.guard.instructions.fitting import DetectorConfig, fit_detector
from jepakit.guard.instructions.windows import windows
from jepakit.guard.model import risk_of
from jepakit.guard.policy import Decision, Policy, judge, load_policy
from jepakit.guard.repair import Repair, RepairConfig, intent_similarity, repair
from jepakit.guard.scorer import CallScore, Scorer
from jepakit.guard.traces.provenance import Flow, data_flow

SEED = 0
#: Runs that are carried out; of a quick run. More are drawn, as some do not replay.
ATTACKED, BENIGN, QUICK = 640, 400, 48
_SPARE = 1.15
#: Shares of the useful benign runs that have a call over the threshold.
RATES = (0.01, 0.05)
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
    share: float = 0.5


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
        models: folder with a model for each suite in a subfolder; None: detectors are fitted here.
        quick: fewer runs.
    """

    def __init__(self, models: Path | None, *, quick: bool) -> None:
        self._models, self._quick = models, quick
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
            settings |= {
                name: Setting(rate, "ask"),
                f"{name}, online": Setting(rate, "ask", online=True),
                f"{name}, a person answers rightly": Setting(rate, "ask", answered=True),
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
                repair(run.trace, self._policies[run.suite], scorer=scorer, thresholds=thresholds)
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
        verdicts = judge(self._policies[run.suite], run.trace, data_flow(run.trace))
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
        kept = intent_similarity(run.trace, repaired.plan, serving, self._policies[run.suite])
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
            left = [one for one in repaired.plan.calls if one.id == call.id]
            calls += left
            denied = call.model_copy(update={"output": None, "error": "denied"})
            # What the agent read of a changed call is what was recorded.
            history += [one.model_copy(update={"output": call.output}) for one in left] or [denied]
            asked = asked or call.id in repaired.approvals
        return Planned(calls, asked)

    def _repair(self, run: RecordedRun, trace: Trace, setting: Setting, carried_out: int = 0) -> Repair:
        policy = self._policies[run.suite]
        defaults = policy.defaults.model_copy(update={"write_tainted_sink": setting.taint})
        return repair(
            trace,
            policy.model_copy(update={"defaults": defaults}),
            scorer=None if setting.rate is None else self._scorers[run.suite],
            thresholds=None if setting.rate is None else self._thresholds(run.suite, setting.rate),
            config=RepairConfig(share=setting.share),
            carried_out=carried_out,
        )

    def _thresholds(self, suite: str, rate: float) -> Thresholds:
        risk = self._threshold(suite, rate)
        return Thresholds(ask_risk=risk, deny_risk=risk)

    def _threshold(self, suite: str, rate: float) -> float:
        """The risk that this share of the useful benign runs of the other suites is over."""
        risks = [risk for other, risk in self._highest if other != suite]
        return float(np.nextafter(np.quantile(risks, 1 - rate, method="higher"), 2.0))

    @cached_property
    def _highest(self) -> list[tuple[str, float]]:
        benign = [run for run, _ in self.runs if not run.recorded.security]
        return [(run.suite, max((one.risk for one in self._scores(run)), default=0.0)) for run in benign]

    def _scores(self, run: RecordedRun) -> Sequence[CallScore]:
        return self._scorers[run.suite].scores(run.trace, data_flow(run.trace))

    @cached_property
    def _scorers(self) -> Mapping[str, Remembering]:
        made = scorers(self._models, quick=self._quick)
        return {suite: Remembering(scorer) for suite, scorer in made.items()}

    @cached_property
    def _policies(self) -> Mapping[str, Policy]:
        return {suite: load_policy(f"agentdojo/{suite}") for suite in SUITES}


class Remembering:
    """A scorer that scores a recorded run once.

    Args:
        inner: the scorer.
    """

    def __init__(self, inner: Scorer) -> None:
        self.inner = inner
        self._known: dict[str, tuple[Trace, Sequence[CallScore]]] = {}

    def scores(self, trace: Trace, flow: Flow) -> Sequence[CallScore]:
        """The scores of the calls."""
        known = self._known.get(trace.id)
        if known is not None and known[0] is trace:
            return known[1]
        scores = self.inner.scores(trace, flow)
        self._known.setdefault(trace.id, (trace, scores))
        return scores


class Detector:
    """The detector of a model as a scorer: what a model of the defaults says about risk, without its encoders.

    Args:
        detector: fitted; None: no call has a risk.
    """

    def __init__(self, detector: InstructionDetector | None) -> None:
        self._detector = detector

    @torch.no_grad()
    def scores(self, trace: Trace, flow: Flow) -> Sequence[CallScore]:
        """The risk of each call; the JEPA energy is 0."""
        if self._detector is None or not trace.calls:
            return [CallScore(0.0, 0.0)] * len(trace.calls)
        return [CallScore(0.0, risk) for risk in risk_of(self._detector(windows([trace], [flow]))).tolist()]


def scorers(models: Path | None, *, quick: bool) -> dict[str, Scorer]:
    """For each suite a scorer that has not seen it: the model of its folder, or else a detector fitted here."""
    if models is not None:
        return {suite: load_guard(models / suite) for suite in SUITES}
    runs = labelled(quick)
    return {
        suite: Detector(fit_detector(runs.select(runs.group != suite), DetectorConfig()).detector) for suite in SUITES
    }
