"""Thresholds keep to the rates that were asked for, also where there are few tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.errors import ConfigError, DataError
from jepakit.guard.audit import Auditor, Thresholds
from jepakit.guard.audit.calibration import CalibrationConfig, RunScores, calibrate, run_scores, threshold
from jepakit.guard.data import Call, Context, Trace
from jepakit.guard.policy import Policy
from jepakit.guard.scorer import CallScore


def run(task: str, risk: float, **fields: Any) -> RunScores:
    return RunScores(
        **{"task": task, "suite": task[0], "label": "benign", "decision": "allow", "energy": 0.0} | fields, risk=risk
    )


def test_a_threshold_by_hand() -> None:
    nine = [[float(place)] for place in range(9)]
    # Of ten tasks one, the new one, may be above: no other.
    assert threshold(nine, 0.1) == np.nextafter(8.0, np.inf)
    assert threshold(nine, 0.2) == np.nextafter(7.0, np.inf)
    assert threshold(nine, 0.0999) is None
    # A hundred runs of a task count as one task.
    assert threshold([*nine[:8], [8.0] * 50 + [0.0] * 50], 0.15) == np.nextafter(7.0, np.inf)


@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9]) | st.floats(0, 1), min_size=1, max_size=4), max_size=12),
    st.floats(0.05, 0.9),
)
def test_thresholds_are_the_smallest_that_the_formula_allows(by_task: list[list[float]], rate: float) -> None:
    def allowed(chosen: float) -> bool:
        shares = [sum(score >= chosen for score in scores) / len(scores) for scores in by_task]
        return (1 + sum(shares)) / (len(by_task) + 1) <= rate + 1e-9

    found = threshold(by_task, rate)
    if found is None:
        assert (len(by_task) + 1) * rate < 1
    else:
        assert allowed(found)
        below = [score for scores in by_task for score in scores if score < found]
        assert not below or not allowed(max(below))


def test_new_tasks_are_above_no_more_often_than_allowed() -> None:
    """Tasks differ, and the runs of one are alike; few tasks, and of some many runs."""
    chance = np.random.default_rng(0)
    above: list[float] = []
    for _ in range(2000):
        means, sizes = chance.normal(size=13), chance.integers(1, 9, size=13)
        tasks = [means[place] + 0.3 * chance.normal(size=sizes[place]) for place in range(13)]
        chosen = threshold([list(one) for one in tasks[:-1]], 0.1)
        assert chosen is not None
        above.append(float((tasks[-1] >= chosen).mean()))
    assert np.mean(above) < 0.1 + 3 * np.std(above) / 2000**0.5
    # And it is no empty promise.
    assert np.mean(above) > 0.05


def test_thresholds_of_suites_and_of_the_others() -> None:
    runs = [run(f"a{place}", place / 100) for place in range(40)]
    runs += [run(f"b{place}", 0.5, decision="deny" if place < 4 else "allow") for place in range(40)]
    runs += [run("a1", 0.9, label="malicious"), run("b1", 0.0, label="malicious")]
    found = calibrate(runs, CalibrationConfig(ask_rate=0.1, deny_rate=0.05))
    assert found.tasks == 80
    assert found.thresholds == Thresholds(np.nextafter(0.5, np.inf), np.nextafter(0.5, np.inf), None, None)
    a, b = found.suites
    assert (a.suite, a.tasks, a.runs, a.policy, a.own, a.attacks) == ("a", 40, 40, (0.0, 0.0), (0.0, 0.0), 1)
    # By the thresholds of the other suite.
    assert (a.others, a.caught) == ((0.0, 0.0), (1.0, 1.0))
    assert (b.policy, b.others, b.caught) == ((0.1, 0.1), (1.0, 1.0), (0.0, 0.0))


def test_too_few_tasks_give_no_threshold_and_a_note() -> None:
    found = calibrate([run(f"a{place}", 0.1) for place in range(50)])
    assert (found.thresholds.deny_risk, found.thresholds.ask_risk) == (None, np.nextafter(0.1, 1))
    (note,) = found.notes
    assert "99" in note
    assert calibrate([run(f"a{place}", 0.1) for place in range(99)]).notes == ()
    # Two scores share the rates.
    both = calibrate([run(f"a{place}", 0.1) for place in range(99)], CalibrationConfig(scores=["risk", "energy"]))
    assert both.thresholds.deny_risk is None
    assert both.thresholds.ask_energy == np.nextafter(0.0, 1)


def test_what_cannot_be_calibrated() -> None:
    with pytest.raises(DataError):
        calibrate([run("a", 0.1, label="malicious")])
    with pytest.raises(ConfigError):
        calibrate([RunScores("a", "", None, "allow", None, 1.0)], CalibrationConfig(scores=["risk"]))
    for rates in ({"ask_rate": 0.0}, {"deny_rate": 0.2}, {"ask_rate": 1.0}):
        with pytest.raises(ConfigError):
            CalibrationConfig(**rates)


def test_scores_of_runs_are_the_largest_of_their_calls(tmp_path: Path) -> None:
    class Rising:
        def scores(self, trace: Trace, flow: object, policy: object) -> list[CallScore]:
            return [CallScore(0.0, place / 10) for place, _ in enumerate(trace.calls)]

    policy = Policy.model_validate({"tools": [{"name": "pay", "privilege": 5, "sinks": ["/to"]}]})
    calls = tuple(Call(id=f"{place}", tool="pay", arguments={"to": "zoe"}) for place in range(3))
    about = {"suite": "s", "user_task_id": 7}
    traces = [Trace(calls=calls, about=about), Trace(context=Context(task="hi"), calls=calls[:1], label="benign")]
    first, second = run_scores(Auditor(policy, scorer=Rising(), thresholds=Thresholds(0.0, 0.0)), traces)
    assert first == RunScores("s/7", "s", None, "ask", 0.2, 0.5)
    assert second == RunScores("hi", "", "benign", "ask", 0.0, 0.5)
    assert next(run_scores(Auditor(policy), traces)).risk is None

    file = tmp_path / "thresholds.json"
    Thresholds(0.1, None, 0.2, 3.0).write(file, tasks=3)
    assert Thresholds.read(file) == Thresholds(0.1, None, 0.2, 3.0)
    for text in (
        "{}",
        '{"thresholds": {"ask_risk": 1}}',
        file.read_text().replace("3.0", '"x"'),
        file.read_text().replace("0.2", "9"),
    ):
        file.write_text(text)
        with pytest.raises(DataError):
            Thresholds.read(file)
