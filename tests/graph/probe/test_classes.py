"""The probes: same folds for every method, chance on noise, what is there is found, and faults are named."""

from pathlib import Path

import numpy as np
import pytest
import torch

from graph_samples import necklaces
from jepakit.errors import ConfigError, DataError
from jepakit.graph.datasets import load_dataset
from jepakit.graph.probe.classes import (
    probe_few_labels,
    probe_graphs,
    probe_kernel,
    probe_kernel_few_labels,
)
from jepakit.graph.probe.folds import stratified_folds, stratified_subset
from jepakit.graph.probe.kernels import node_level_summary, wl_kernel_series
from jepakit.graph.probe.nodes import probe_nodes
from jepakit.graph.probe.selection import Classifier
from jepakit.graph.probe.targets import probe_multilabel, probe_regression
from probe_samples import blobs, half_and_quarters, quadrants

CLASSIFIERS: tuple[Classifier, ...] = ("logistic", "svm", "best")


def test_every_method_is_scored_on_the_same_folds() -> None:
    # The label is written in the features but for five rows, so a fold's score says how many of these it tests.
    y = np.arange(60) % 2
    wrong = [3, 14, 15, 35, 59]
    x = np.where(y == 1, 1.0, -1.0)
    x[wrong] *= -1
    fold = stratified_folds(y, 6, 7)
    expected = tuple(1 - np.isin(np.flatnonzero(fold == f), wrong).sum() / 10 for f in range(6))
    assert len(set(expected)) > 1
    for name in CLASSIFIERS:
        assert probe_graphs(x[:, None], y, classifier=name, folds=6, seeds=(7,)).part_scores == (expected,)
    assert probe_kernel(np.outer(x, x), y, folds=6, seeds=(7,)).part_scores == (expected,)


@pytest.mark.parametrize("name", [*CLASSIFIERS, "kernel"])
def test_random_labels_score_at_chance(name: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((240, 20)), rng.permutation(np.arange(240) % 2)
    if name == "kernel":
        result = probe_kernel([x @ x.T, (x @ x.T + 1) ** 2], y, folds=3, seeds=(0, 1))
    else:
        result = probe_graphs(x, y, classifier=name, folds=3, seeds=(0, 1))  # pyright: ignore[reportArgumentType]
    assert abs(result.mean - 0.5) < 0.07


def test_best_takes_the_classifier_that_the_data_need() -> None:
    x, y = quadrants(200, 0)
    scores = {name: probe_graphs(x, y, classifier=name, folds=5, seeds=(0,)) for name in CLASSIFIERS}
    assert scores["logistic"].mean < 0.65
    assert scores["svm"].mean > 0.9
    assert scores["best"].part_scores == scores["svm"].part_scores
    assert {options["classifier"] for options in scores["best"].chosen[0]} == {"svm"}


def test_held_out_rows_choose_among_kernels() -> None:
    # The identity fits every training row and says nothing of others; the product of the two columns misses some rows.
    x, y = quadrants(150, 1)
    y[::9] = 1 - y[::9]
    useful = torch.from_numpy(np.outer(x[:, 0] * x[:, 1], x[:, 0] * x[:, 1]))
    result = probe_kernel([np.eye(150), useful, x @ x.T], y, folds=5, seeds=(0,))
    assert {options["kernel"] for options in result.chosen[0]} == {1}
    assert result.mean > 0.8
    alone = probe_kernel(useful, y, folds=5, seeds=(0,))
    assert result.part_scores == alone.part_scores == probe_kernel(1e6 * useful, y, folds=5, seeds=(0,)).part_scores


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_several_classes_and_their_recall(classifier: Classifier) -> None:
    x, y = blobs(90, 4, classes=3)
    x[y == 2] = np.random.default_rng(0).standard_normal((30, 6)) + x[y == 1]
    result = probe_graphs(x, 10 * y, classifier=classifier, folds=3, seeds=(0, 1))
    assert len(result.recall) == 3
    assert result.recall[0] > 0.9 > min(result.recall[1:])
    assert result.mean == pytest.approx(np.mean(result.recall), abs=1e-12)
    assert result.std == pytest.approx(abs(np.diff(result.seed_scores)[0]) / np.sqrt(2))


def test_features_beyond_the_structure_floor() -> None:
    graphs = necklaces(60).graphs
    assert graphs.y is not None
    kernel = wl_kernel_series(graphs, 2, kind="optimal assignment", normalize=True)[-1]
    assert probe_kernel(kernel, graphs.y, folds=5, seeds=(0,)).mean > 0.9
    assert probe_graphs(node_level_summary(graphs), graphs.y, folds=5, seeds=(0,)).mean < 0.7


def test_results_do_not_depend_on_the_number_of_processes() -> None:
    x, y = blobs(60, 6, distance=0.5)
    assert probe_graphs(x, y, folds=3, seeds=(0,), jobs=2) == probe_graphs(x, y, folds=3, seeds=(0,))


def test_tensors_of_any_kind_are_taken() -> None:
    x, y = blobs(40, 7)
    halved = torch.from_numpy(x).bfloat16()
    expected = probe_graphs(halved.double().numpy(), y, folds=4, seeds=(0,))
    assert probe_graphs(halved.requires_grad_(), torch.from_numpy(y), folds=4, seeds=(0,)) == expected


def test_few_labels_are_enough_for_an_easy_set() -> None:
    x, y = blobs(200, 8, distance=6)
    for fraction in (0.01, 0.1):
        result = probe_few_labels(x, y, fraction, repeats=2, seeds=(0, 1))
        assert result.mean > 0.97
        assert [len(parts) for parts in result.part_scores] == [2, 2]
        assert probe_kernel_few_labels(x @ x.T, y, fraction, repeats=2, seeds=(0,)).mean > 0.97


def test_few_labels_test_on_all_other_rows() -> None:
    # A single feature that is right but for ten rows, none of them labelled: 10 of the 90 others are missed.
    y = np.arange(100) % 2
    labelled = stratified_subset(y, 0.1, (0, 0))
    x = np.where(y == 1, 1.0, -1.0)
    others = np.setdiff1d(np.arange(100), labelled)
    x[others[:10]] *= -1
    expected = (pytest.approx(80 / 90),)
    assert probe_few_labels(x[:, None], y, 0.1, repeats=1, seeds=(0,)).part_scores == (expected,)
    assert probe_kernel_few_labels(np.outer(x, x), y, 0.1, repeats=1, seeds=(0,)).part_scores == (expected,)


def test_more_labels_are_better_on_a_hard_set() -> None:
    x, y = blobs(300, 9, distance=0.5)
    few, more = (
        probe_few_labels(x, y, fraction, classifier="logistic", repeats=4, seeds=(0,)).mean for fraction in (0.02, 0.3)
    )
    assert few < more


def test_features_that_are_not_numbers_are_named() -> None:
    x, y = blobs(40, 0)
    x[12, 3] = np.nan
    for call in (
        lambda: probe_graphs(x, y),
        lambda: probe_few_labels(x, y, 0.1),
        lambda: probe_nodes(x, y, half_and_quarters(40)),
        lambda: probe_multilabel(x, y, half_and_quarters(40)),
        lambda: probe_regression(x, y, half_and_quarters(40)),
    ):
        with pytest.raises(DataError, match=r"features\[12, 3\]: not a finite number \(found nan\)"):
            call()


def test_small_classes_are_named() -> None:
    y = np.repeat([0, 5], [30, 9])
    x = np.ones((39, 2))
    with pytest.raises(DataError, match=r"class 5 has fewer members than there are folds \(found 9\).*at least 10"):
        probe_graphs(x, y)
    with pytest.raises(DataError, match="class 5 is too small for a labelled subset"):
        probe_few_labels(x, np.repeat([0, 5], [37, 2]), 0.1)
    with pytest.raises(DataError, match="only one class"):
        probe_graphs(x, np.zeros(39, dtype=int))
    with pytest.raises(DataError, match="a class has one training row"):
        probe_graphs(x, np.repeat([0, 5], [37, 2]), folds=2)


def test_shapes_are_checked() -> None:
    x, y = blobs(40, 0)
    with pytest.raises(DataError, match=r"features: .*\(30, 6\).*\[40, D\]"):
        probe_graphs(x[:30], y)
    with pytest.raises(DataError, match=r"y: not one class per row .*float64"):
        probe_graphs(x, y.astype(float))
    with pytest.raises(DataError, match=r"kernels: a kernel is not square \(found \(40, 6\)\)"):
        probe_kernel([x @ x.T, x], y)
    with pytest.raises(DataError, match="kernels: no kernel"):
        probe_kernel([], y)
    with pytest.raises(DataError, match=r"y: not a table of targets"):
        probe_regression(x, np.zeros((40, 2, 2)), half_and_quarters(40))


def test_options_are_checked() -> None:
    x, y = blobs(40, 0)
    for call, message in (
        (lambda: probe_graphs(x, y, classifier="logistik"), "classifier = 'logistik'.*did you mean 'logistic'"),  # pyright: ignore[reportArgumentType]
        (lambda: probe_graphs(x, y, folds=1), "folds = 1: expected at least 2"),
        (lambda: probe_graphs(x, y, seeds=()), r"seeds = \[\]: expected at least one"),
        (lambda: probe_few_labels(x, y, 1.0), "fraction = 1.0: expected more than 0 and less than 1"),
        (lambda: probe_few_labels(x, y, 0.1, repeats=0), "repeats = 0: expected at least 1"),
        (lambda: probe_multilabel(x, y, half_and_quarters(40), classifier="svm"), "classifier = 'svm'"),  # pyright: ignore[reportArgumentType]
        (lambda: probe_regression(x, y, half_and_quarters(40), label_fraction=0), "label_fraction = 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"val": None}, r"a split is missing \(found \['test', 'train'\]\)"),
        ({"val": []}, r"splits\['val'\]: .*no rows"),
        ({"val": [3, 40]}, r"splits\['val'\]: .*rows 3 to 40.*0 to 39"),
        ({"val": [39], "test": [39]}, r"in the splits twice \(found 39\)"),
    ],
)
def test_splits_are_checked(change: dict[str, list[int] | None], message: str) -> None:
    x, y = blobs(40, 0)
    splits = {"train": list(range(20)), "val": list(range(20, 30)), "test": list(range(30, 40))} | change
    given_splits = {name: np.array(ids, dtype=np.int64) for name, ids in splits.items() if ids is not None}
    with pytest.raises(DataError, match=message):
        probe_nodes(x, y, given_splits)


def test_labels_are_checked_where_they_are_used() -> None:
    x, y = blobs(40, 0)
    splits = {"train": np.arange(20), "val": np.arange(20, 30), "test": np.arange(30, 38)}
    unlabelled = y.copy()
    unlabelled[38:] = -1
    assert probe_nodes(x, unlabelled, splits).mean >= 0
    unlabelled[25] = -1
    with pytest.raises(DataError, match=r"node_y\[25\]: a node of the splits has no label"):
        probe_nodes(x, unlabelled, splits)
    with pytest.raises(DataError, match="training nodes are all of one class"):
        probe_nodes(x, np.where(np.arange(40) < 20, 0, y), splits)
    with pytest.raises(DataError, match="a label is not binary"):
        probe_multilabel(x, 2.0 * y, splits)
    with pytest.raises(DataError, match="no task has both classes in val"):
        probe_multilabel(x, np.where(np.isin(np.arange(40), splits["val"]), 1.0, y), splits)
    empty = np.where(np.isin(np.arange(40), splits["test"]), np.nan, y)
    with pytest.raises(DataError, match=r"y\[:, 0\]: no label in test"):
        probe_regression(x, empty, splits)


@pytest.mark.data
def test_mutag_scores_as_published(data_dir: Path) -> None:
    graphs = load_dataset("MUTAG", data_dir=data_dir).graphs
    assert graphs.y is not None
    counts = probe_graphs(node_level_summary(graphs), graphs.y, classifier="logistic", seeds=(0,))
    assert 0.84 < counts.mean < 0.91
    series = wl_kernel_series(graphs, 3, kind="subtree", normalize=True)
    assert 0.80 < probe_kernel(series[1:], graphs.y, seeds=(0,)).mean < 0.90
    few = probe_few_labels(node_level_summary(graphs), graphs.y, 0.1, classifier="logistic", repeats=5, seeds=(0,))
    assert 0.7 < few.mean < counts.mean
