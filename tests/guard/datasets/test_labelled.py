"""Labelled runs: copies, groups, and what counts as attacked and benign."""

import gc

import numpy as np
import pytest

from jepakit.errors import DataError
from jepakit.guard.data import Call, Context, Label, Tool, Trace
from jepakit.guard.datasets.labelled import labelled_runs


def run(name: str, label: Label | None, *labels: Label, **about: str) -> Trace:
    calls = tuple(Call(id=f"{place}", tool="t", arguments={"n": name}, label=one) for place, one in enumerate(labels))
    return Trace(id=name, label=label, calls=calls, about=about, context=Context(task=name))


def test_an_attacked_run_has_a_malicious_call_and_a_benign_one_no_attack() -> None:
    runs = labelled_runs(
        [
            run("succeeded", "malicious", "benign", "malicious", attack="a"),
            run("by words alone", "malicious", "benign", attack="a"),
            run("resisted", "benign", "benign", attack="a"),
            run("obeyed in vain", "benign", "malicious", attack="a"),
            run("plain", "benign", "benign"),
        ]
    )
    assert runs.attacked.tolist() == [True, False, False, False, False]
    assert runs.benign.tolist() == [False, False, False, False, True]
    assert runs.run.tolist() == [0, 0, 1, 2, 3, 4]


def test_copies_count_once_and_runs_without_label_or_calls_not_at_all() -> None:
    copies = [run("one", "benign", "benign", pipeline=name) for name in "abc"]
    other = run("one", "benign", "benign", attack="a")
    assert len(labelled_runs([*copies, other, run("none", None, "benign"), run("empty", "benign")])) == 2
    with pytest.raises(DataError, match="no labelled run"):
        labelled_runs([run("none", None, "benign")])


def test_a_group_is_the_suite_or_else_the_tools() -> None:
    tools = [
        Trace(label="benign", calls=(Call(id="0", tool=name),), context=Context(tools=(Tool(name=name),)))
        for name in "ab"
    ]
    runs = labelled_runs([run("x", "benign", "benign", suite="s"), run("y", "benign", "benign", suite="s"), *tools])
    assert runs.group[0] == runs.group[1] == "s"
    assert len(set(runs.group)) == 3


def test_some_of_the_runs_keep_their_calls() -> None:
    runs = labelled_runs(
        [run(name, "benign", *["benign"] * count) for name, count in zip("abc", (1, 2, 3), strict=True)]
    )
    few = runs.select(np.array([True, False, True]))
    assert [trace.id for trace in few.traces] == ["a", "c"]
    assert few.run.tolist() == [0, 1, 1, 1]
    assert few.highest(np.array([5.0, 1.0, 3.0, 2.0])).tolist() == [5.0, 3.0]


def test_the_collector_of_garbage_is_as_it_was() -> None:
    with pytest.raises(DataError):
        labelled_runs([])
    assert gc.isenabled()
    gc.disable()
    try:
        labelled_runs([run("a", "benign", "benign")])
        assert not gc.isenabled()
    finally:
        gc.enable()
