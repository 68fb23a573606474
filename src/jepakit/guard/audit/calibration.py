"""Thresholds from runs without attacks, so that few of those are asked about or denied.

A threshold t of a score (the largest of a run's calls) is the smallest one for which

    (1 + Σ_k F_k(t)) / (K + 1) <= rate

over K tasks, F_k(t) being the share of the runs of task k whose score is at least t. If a new task is like those (they
are exchangeable), then at most ``rate`` of its runs are expected at or above t, however few tasks there are: below
1 / rate - 1 of them there is no such threshold. Tasks count, not calls or runs: a hundred runs of a task say little
about another.

Source: Angelopoulos, Bates, Fisch, Lei, Schuster, "Conformal Risk Control" (ICLR 2024), equation 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from jepakit.errors import ConfigError, DataError, require_within
from jepakit.guard.audit.auditor import Auditor
from jepakit.guard.audit.thresholds import Thresholds
from jepakit.guard.data import Label, Trace
from jepakit.guard.policy.schema import SEVERITY, Decision

Score = Literal["risk", "energy"]


@dataclass(frozen=True)
class RunScores:
    """What calibration looks at in a run.

    Args:
        task: runs of one task have the same.
        suite: a group of tasks, for the table.
        label: whether an attack succeeded in it; None: not known, and taken for a run without one.
        decision: the most severe of its calls, without thresholds.
        risk: the largest of its calls; None without a model.
        energy: the largest of its calls.
    """

    task: str
    suite: str
    label: Label | None
    decision: Decision
    risk: float | None
    energy: float


@dataclass
class CalibrationConfig:
    """Rates of runs without attacks.

    Args:
        ask_rate: that are asked about or denied because of a threshold.
        deny_rate: that are denied because of one.
        scores: what gets thresholds; by default the risk where there is a model, else the energy. Two share the rates.
    """

    ask_rate: float = 0.03
    deny_rate: float = 0.01
    scores: list[Score] = field(default_factory=list[Score])

    def __post_init__(self) -> None:
        require_within(self, "(0,1)", "ask_rate", "deny_rate")
        if self.deny_rate > self.ask_rate:
            raise ConfigError("deny_rate", self.deny_rate, f"at most ask_rate ({self.ask_rate:g})")


@dataclass(frozen=True)
class SuiteRates:
    """What thresholds do in a suite, policy and energies included.

    Args:
        suite: its name.
        tasks: of its runs without attacks.
        runs: without attacks.
        policy: shares of those asked about or denied, and denied, without thresholds.
        own: with the thresholds from all suites, this one among them.
        others: with the thresholds from the tasks of the other suites; None where there are none.
        attacks: runs with a successful attack.
        caught: of those the shares asked about or denied, and denied, with the thresholds from the other suites, or
            else from all.
    """

    suite: str
    tasks: int
    runs: int
    policy: tuple[float, float]
    own: tuple[float, float]
    others: tuple[float, float] | None
    attacks: int
    caught: tuple[float, float]


@dataclass(frozen=True)
class Calibration:
    """Thresholds and what they do.

    Args:
        thresholds: from all tasks.
        tasks: that they come from.
        suites: what they do in each suite.
        notes: what could not be had, in sentences.
    """

    thresholds: Thresholds
    tasks: int
    suites: tuple[SuiteRates, ...]
    notes: tuple[str, ...]


def run_scores(auditor: Auditor | Callable[[Trace], Auditor], traces: Iterable[Trace]) -> Iterator[RunScores]:
    """The scores of runs; the thresholds of the auditor count for nothing.

    Runs are of one task where ``suite`` and ``user_task_id`` in `Trace.about` are the same, or else the user's words.

    Args:
        auditor: that judges them, or a function that gives the one for a trace.
        traces: the runs.
    """
    for trace in traces:
        given = auditor if isinstance(auditor, Auditor) else auditor(trace)
        without = given.with_thresholds(Thresholds(None, None, None, None))
        judged = without.audit(trace)
        suite = str(trace.about.get("suite", ""))
        task = trace.about.get("user_task_id")
        energies = [one.energies.policy for one in judged if one.energies is not None]
        decisions: list[Decision] = [one.decision for one in judged]
        risks = [one.score.risk for one in judged if one.score is not None]
        yield RunScores(
            f"{suite}/{task}" if task is not None else trace.context.task,
            suite,
            trace.label,
            max(decisions, key=lambda one: SEVERITY[one]) if decisions else "allow",
            None if given.scorer is None else max(risks, default=0.0),
            max(energies, default=0.0),
        )


def calibrate(runs: Sequence[RunScores], config: CalibrationConfig | None = None) -> Calibration:
    """Thresholds from the runs that are not labelled as attacks.

    Raises:
        DataError: there is no such run.
        ConfigError: thresholds of the risk are asked for, and the runs have none.
    """
    config = config or CalibrationConfig()
    benign = [run for run in runs if run.label != "malicious"]
    if not benign:
        raise DataError("no run without an attack", expected="runs labelled benign, or without a label")
    known = benign[0].risk is not None
    scores = config.scores or ["risk" if known else "energy"]
    if "risk" in scores and not known:
        raise ConfigError("scores", scores, "energy alone where there is no model")
    thresholds = _thresholds(benign, scores, config)
    names = sorted({run.suite for run in runs})
    suites: list[SuiteRates] = []
    for name in names:
        own, others = [run for run in benign if run.suite == name], [run for run in benign if run.suite != name]
        attacks = [run for run in runs if run.suite == name and run.label == "malicious"]
        elsewhere = _thresholds(others, scores, config) if others else None
        suites.append(
            SuiteRates(
                name,
                len({run.task for run in own}),
                len(own),
                _rates(own, None),
                _rates(own, thresholds),
                None if elsewhere is None else _rates(own, elsewhere),
                len(attacks),
                _rates(attacks, elsewhere or thresholds),
            )
        )
    tasks = len({run.task for run in benign})
    return Calibration(thresholds, tasks, tuple(suites), tuple(_notes(config, len(set(scores)), tasks)))


def threshold(by_task: Sequence[Sequence[float]], rate: float) -> float | None:
    """The threshold of the module's formula; None where there are too few tasks.

    Args:
        by_task: the scores of the runs of each task.
        rate: of runs that may be at or above it.
    """
    if not (len(by_task) + 1) * rate >= 1:
        return None
    scores = np.concatenate([np.asarray(one, float) for one in by_task])
    weights = np.concatenate([np.full(len(one), 1 / len(one)) for one in by_task])
    values, inverse = np.unique(scores, return_inverse=True)
    # F_k summed over the tasks, at a threshold just above each value.
    above = weights.sum() - np.cumsum(np.bincount(inverse, weights))
    allowed = (1 + above) / (len(by_task) + 1) <= rate + 1e-12
    return math.nextafter(float(values[int(allowed.argmax())]), math.inf)


def _thresholds(runs: Sequence[RunScores], scores: Sequence[Score], config: CalibrationConfig) -> Thresholds:
    found: dict[str, float | None] = {}
    for name in ("risk", "energy"):
        by_task: dict[str, list[float]] = {}
        for run in runs:
            by_task.setdefault(run.task, []).append(float(getattr(run, name) or 0.0))
        for decision, rate in (("ask", config.ask_rate), ("deny", config.deny_rate)):
            chosen = threshold(list(by_task.values()), rate / len(set(scores))) if name in scores else None
            found[f"{decision}_{name}"] = chosen
    return Thresholds(**found)


def _rates(runs: Sequence[RunScores], thresholds: Thresholds | None) -> tuple[float, float]:
    """Shares of runs that are asked about or denied, and denied."""
    if not runs:
        return 0.0, 0.0
    severity = [max(SEVERITY[run.decision], 0 if thresholds is None else _severity(run, thresholds)) for run in runs]
    return sum(one >= 1 for one in severity) / len(runs), sum(one >= 2 for one in severity) / len(runs)


def _severity(run: RunScores, thresholds: Thresholds) -> int:
    decisions: list[Decision] = [thresholds.of(run.energy, "energy"), thresholds.of(run.risk or 0.0, "risk")]
    return max(SEVERITY[one] for one in decisions)


def _notes(config: CalibrationConfig, scores: int, tasks: int) -> Iterator[str]:
    for name in ("ask_rate", "deny_rate"):
        rate = getattr(config, name) / scores
        if (tasks + 1) * rate < 1:
            needed = math.ceil(1 / rate - 1e-9) - 1
            yield f"no threshold for {name} {getattr(config, name):g}: it needs {needed} tasks, and there are {tasks}"
