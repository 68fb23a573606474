"""The probes: what may never leak, what must be found, and scores that can be computed by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from graph_samples import necklaces
from jepakit.errors import ConfigError, DataError
from jepakit.graph.datasets import load_dataset
from jepakit.graph.folds import stratified_subset
from jepakit.graph.kernels import node_level_summary, wl_kernel_series, wl_optimal_assignment_kernel
from jepakit.graph.probe import (
    probe_few_labels,
    probe_graphs,
    probe_kernel,
    probe_kernel_few_labels,
    probe_multilabel,
    probe_nodes,
    probe_regression,
    stratified_folds,
)
from jepakit.graph.probe_tasks import RIDGE_ALPHA, _ridge_path
from jepakit.graph.selection import (
    FEW_ROWS,
    LOGISTIC_C,
    FeatureSource,
    KernelSource,
    Source,
    evaluate_split,
    evaluate_validated,
    logistic_path,
    prepared,
    standardize,
)

CLASSIFIERS = ("logistic", "svm", "best")


def blobs(rows: int, seed: int, *, classes: int = 2, distance: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(rows) % classes)
    centres = distance * rng.standard_normal((classes, 6))
    return centres[y] + rng.standard_normal((rows, 6)), y


def quadrants(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes that no hyperplane separates and a radial kernel does."""
    x = np.random.default_rng(seed).standard_normal((rows, 2))
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int64)


def sources(x: np.ndarray) -> dict[str, Source]:
    found: dict[str, Source] = {name: FeatureSource(x, name) for name in CLASSIFIERS}
    return found | {"kernel": KernelSource((x @ x.T, np.exp(-((x[:, None] - x[None]) ** 2).sum(2))))}


def thirds(rows: int) -> dict[str, np.ndarray]:
    order = np.random.default_rng(99).permutation(rows)
    return dict(zip(("train", "val", "test"), np.split(order, [rows // 2, 3 * rows // 4]), strict=True))


# ------------------------------------------------------------------ splits


@given(st.lists(st.integers(4, 30), min_size=2, max_size=4), st.integers(2, 4), st.integers(0, 99))
def test_folds_are_balanced_in_size_and_classes(counts: list[int], folds: int, seed: int) -> None:
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    fold = stratified_folds(y, folds, seed)
    assert np.ptp(np.bincount(fold, minlength=folds)) <= 1
    for label in range(len(counts)):
        assert np.ptp(np.bincount(fold[y == label], minlength=folds)) <= 1
    np.testing.assert_array_equal(fold, stratified_folds(torch.from_numpy(y), folds, seed))


def test_folds_depend_on_the_seed_alone() -> None:
    y = np.arange(60) % 3
    assert not np.array_equal(stratified_folds(y, 10, 0), stratified_folds(y, 10, 1))
    assert not np.array_equal(stratified_folds(y, 10, 0), stratified_folds(y, 10, (0, 1)))
    np.testing.assert_array_equal(stratified_folds(y, 10, 0), stratified_folds(y + 5, 10, 0))


@given(st.integers(5, 40), st.integers(5, 40), st.sampled_from([0.01, 0.1, 0.5]), st.integers(0, 99))
def test_labelled_subsets_are_stratified(first: int, second: int, fraction: float, seed: int) -> None:
    y = np.random.default_rng(seed).permutation(np.repeat([0, 1], [first, second]))
    rows = stratified_subset(y, fraction, seed)
    assert len(set(rows.tolist())) == len(rows)
    for label, count in enumerate((first, second)):
        assert (y[rows] == label).sum() == max(2, round(fraction * count))


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


# ------------------------------------------------------------------ nothing leaks


@pytest.mark.parametrize("name", [*CLASSIFIERS, "kernel"])
def test_test_labels_are_never_read(name: str) -> None:
    x, y = blobs(90, 0, distance=0.6)
    train, test = np.arange(60), np.arange(60, 90)
    honest = evaluate_split(sources(x)[name], y, train, test, 0)
    for replaced in (1 - y[test], np.full(30, 17)):
        tampered = np.concatenate([y[train], replaced])
        other = evaluate_split(sources(x)[name], tampered, train, test, 0)
        assert other.chosen == honest.chosen
        np.testing.assert_array_equal(other.predicted, honest.predicted)


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("validated", [False, True])
def test_test_features_reach_neither_choice_nor_scale_nor_other_rows(name: str, validated: bool) -> None:
    x, y = blobs(90, 1, distance=0.6)
    train, val, test = np.arange(50), np.arange(50, 70), np.arange(70, 90)
    shifted = x.copy()
    shifted[80:] = 1e6 * np.random.default_rng(0).standard_normal((10, 6))

    def outcome(features: np.ndarray) -> tuple[dict, np.ndarray]:
        source = FeatureSource(features, name)
        if validated:
            score = evaluate_validated(source, y, train, val, test)
        else:
            score = evaluate_split(source, y, np.concatenate([train, val]), test, 0)
        return score.chosen, score.predicted[:10]

    honest, other = outcome(x), outcome(shifted)
    assert honest[0] == other[0]
    np.testing.assert_array_equal(honest[1], other[1])


@pytest.mark.parametrize("view", ["signed log", "one scale", "none"])
def test_views_are_fitted_on_the_training_rows(view: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 4)) * [1, 10, 100, 0] + [0, 5, 0, 3]
    full = prepared(x, 30, view)  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(full[:30], prepared(x[:30], 30, view))  # pyright: ignore[reportArgumentType]
    np.testing.assert_allclose(full[:30].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose((full[:30] ** 2).mean(), 1 if view == "one scale" else 3 / 4, rtol=1e-12)


def test_columns_without_spread_in_training_are_silenced() -> None:
    x = np.random.default_rng(0).standard_normal((20, 3))
    x[:10, 1] = 0.1
    x[:10, 2] = 1 + 1e-8 * x[:10, 2]
    z = standardize(x, 10)
    assert np.ptp(z[:, 0]) > 1
    np.testing.assert_array_equal(z[:, 1:], 0)


@pytest.mark.parametrize("name", [*CLASSIFIERS, "kernel"])
def test_random_labels_score_at_chance(name: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((240, 20)), rng.permutation(np.arange(240) % 2)
    if name == "kernel":
        result = probe_kernel([x @ x.T, (x @ x.T + 1) ** 2], y, folds=3, seeds=(0, 1))
    else:
        result = probe_graphs(x, y, classifier=name, folds=3, seeds=(0, 1))  # pyright: ignore[reportArgumentType]
    assert abs(result.mean - 0.5) < 0.07


@pytest.mark.parametrize("which", ["nodes", "multilabel", "forest", "regression"])
def test_given_splits_never_read_the_test_labels(which: str) -> None:
    rng = np.random.default_rng(3)
    x, splits = rng.standard_normal((160, 5)), thirds(160)
    score = x @ rng.standard_normal((5, 2)) + rng.standard_normal((160, 2))
    binary = (score > 0).astype(float)

    def chosen(targets: np.ndarray) -> object:
        if which == "nodes":
            return probe_nodes(x, targets[:, 0].astype(np.int64), splits).chosen
        if which == "regression":
            return probe_regression(x, targets, splits).chosen
        name = "forest" if which == "forest" else "logistic"
        return probe_multilabel(x, targets, splits, classifier=name).chosen

    honest = score if which == "regression" else binary
    tampered = honest.copy()
    tampered[splits["test"]] = 1 - honest[splits["test"]]
    assert chosen(honest) == chosen(tampered)


# ------------------------------------------------------------------ what there is is found


def test_best_takes_the_classifier_that_the_data_need() -> None:
    x, y = quadrants(200, 0)
    scores = {name: probe_graphs(x, y, classifier=name, folds=5, seeds=(0,)) for name in CLASSIFIERS}
    assert scores["logistic"].mean < 0.65
    assert scores["svm"].mean > 0.9
    assert scores["best"].part_scores == scores["svm"].part_scores
    assert {options["classifier"] for options in scores["best"].chosen[0]} == {"svm"}


def test_inner_folds_choose_among_kernels() -> None:
    x, y = quadrants(150, 1)
    useful, noise = np.outer(x[:, 0] * x[:, 1], x[:, 0] * x[:, 1]), x @ x.T
    result = probe_kernel([noise, torch.from_numpy(useful)], y, folds=5, seeds=(0,))
    assert {options["kernel"] for options in result.chosen[0]} == {1}
    assert result.mean > 0.9
    scaled = probe_kernel(1e6 * useful, y, folds=5, seeds=(0,))
    assert scaled.part_scores == probe_kernel(useful, y, folds=5, seeds=(0,)).part_scores


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_several_classes_and_their_recall(classifier: str) -> None:
    x, y = blobs(90, 4, classes=3)
    x[y == 2] = np.random.default_rng(0).standard_normal((30, 6)) + x[y == 1]
    result = probe_graphs(x, 10 * y, classifier=classifier, folds=3, seeds=(0, 1))  # pyright: ignore[reportArgumentType]
    assert len(result.recall) == 3
    assert result.recall[0] > 0.9 > min(result.recall[1:])
    assert result.mean == pytest.approx(np.mean(result.recall), abs=1e-12)
    assert result.std == pytest.approx(abs(np.diff(result.seed_scores)[0]) / np.sqrt(2))


def test_the_warm_started_path_ends_at_the_optimum() -> None:
    x, y = blobs(80, 5, distance=0.5)
    for strength, model in zip(LOGISTIC_C, logistic_path(x, y), strict=True):
        weights, positive = model.coef_[0], model.predict_proba(x)[:, 1]
        # The gradient of |w|²/2 + C Σ log loss vanishes at the optimum, in w and in the intercept.
        np.testing.assert_allclose(weights + strength * (x.T @ (positive - y)), 0, atol=0.02 * strength)
        assert abs((positive - y).sum()) < 0.02


def test_features_beyond_the_structure_floor() -> None:
    graphs = necklaces(60).graphs
    assert graphs.y is not None
    kernel = wl_optimal_assignment_kernel(graphs, 2, normalize=True)
    assert probe_kernel(kernel, graphs.y, folds=5, seeds=(0,)).mean > 0.9
    assert probe_graphs(node_level_summary(graphs), graphs.y, folds=5, seeds=(0,)).mean < 0.7


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_processes() -> None:
    x, y = blobs(60, 6, distance=0.5)
    assert probe_graphs(x, y, folds=3, seeds=(0,), jobs=2) == probe_graphs(x, y, folds=3, seeds=(0,))


def test_tensors_of_any_kind_are_taken() -> None:
    x, y = blobs(40, 7)
    halved = torch.from_numpy(x).bfloat16()
    expected = probe_graphs(halved.double().numpy(), y, folds=4, seeds=(0,))
    assert probe_graphs(halved.requires_grad_(), torch.from_numpy(y), folds=4, seeds=(0,)) == expected


# ------------------------------------------------------------------ few labels


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


# ------------------------------------------------------------------ nodes


def test_nodes_of_an_easy_set() -> None:
    x, y = blobs(120, 10, classes=3)
    masks = {name: np.isin(np.arange(120), ids) for name, ids in thirds(120).items()}
    result = probe_nodes(x, y, masks)
    assert result.mean > 0.97
    assert result.std is None
    assert result == probe_nodes(x, y, thirds(120))


def test_node_validation_chooses() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(300) % 2
    x = rng.standard_normal((300, 30)) + 0.3 * y[:, None]
    splits = {"train": np.arange(40), "val": np.arange(40, 170), "test": np.arange(170, 300)}
    scores = {}
    for view in FEW_ROWS:
        z = prepared(x, 40, view)
        for strength in LOGISTIC_C:
            hits = LogisticRegression(C=strength, max_iter=10_000).fit(z[:40], y[:40]).predict(z) == y
            scores[view, strength] = hits[40:170].mean(), hits[170:].mean()
    result = probe_nodes(x, y, splits)
    options = result.chosen[0][0]
    val_score, test_score = scores[options["view"], options["C"]]
    assert val_score == max(val for val, _ in scores.values()) > min(val for val, _ in scores.values())
    assert result.mean == pytest.approx(test_score)


# ------------------------------------------------------------------ several tasks


def test_multilabel_scores_what_can_be_scored() -> None:
    x = np.linspace(-1, 1, 40)[:, None]
    y = np.stack([x[:, 0] > 0, np.tile([0.0, 1.0], 20), np.ones(40), x[:, 0] < 0.01], axis=1).astype(float)
    splits = {"train": np.arange(0, 40, 2), "val": np.arange(1, 40, 4), "test": np.arange(3, 40, 4)}
    y[splits["train"], 1] = 1.0
    y[splits["val"][0], 1], y[splits["test"][0], 1] = 0.0, 0.0
    y[splits["test"][::2], 3] = np.nan
    result = probe_multilabel(x, y, splits)
    assert result.metric == "roc auc"
    # Separable; one class only in training, hence a constant score; one class only in test; separable where known.
    np.testing.assert_array_equal(result.part_scores, [[1.0, 0.5, np.nan, 1.0]])
    assert result.mean == pytest.approx(2.5 / 3)


def test_multilabel_roc_auc_is_the_share_of_ordered_pairs() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 1))
    y = (x + rng.standard_normal((200, 1)) > 0).astype(float)
    splits = thirds(200)
    score, truth = x[splits["test"], 0], y[splits["test"], 0]
    pairs = score[truth == 1][:, None] > score[truth == 0][None]
    assert probe_multilabel(x, y, splits).mean == pytest.approx(pairs.mean(), abs=1e-12)


def test_forest_sees_what_a_hyperplane_cannot() -> None:
    x, y = quadrants(300, 2)
    splits = thirds(300)
    assert probe_multilabel(x, y[:, None], splits, classifier="forest").mean > 0.95
    assert probe_multilabel(x, y[:, None], splits).mean < 0.7


def test_label_fraction_draws_anew_for_each_seed() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 8))
    y = (x @ rng.standard_normal(8) + rng.standard_normal(400))[:, None]
    splits = thirds(400)
    for result, full in (
        (probe_regression(x, y, splits, label_fraction=0.1, seeds=(0, 1)), probe_regression(x, y, splits)),
        (
            probe_multilabel(x, (y > 0) * 1.0, splits, label_fraction=0.1, seeds=(0, 1)),
            probe_multilabel(x, (y > 0) * 1.0, splits),
        ),
    ):
        assert result.seed_scores[0] != result.seed_scores[1]
        assert result.std is not None
        worse = result.mean > full.mean if result.metric == "rmse" else result.mean < full.mean
        assert worse


def test_ridge_path_solves_the_normal_equations() -> None:
    rng = np.random.default_rng(0)
    z, y = standardize(rng.standard_normal((30, 50)), 20), rng.standard_normal(20)
    for alpha, predicted in zip(RIDGE_ALPHA, _ridge_path(z, y), strict=True):
        fit = z[:20]
        weights = np.linalg.solve(fit.T @ fit + alpha * np.eye(50), fit.T @ (y - y.mean()))
        np.testing.assert_allclose(predicted, y.mean() + z @ weights, atol=1e-8)


def test_regression_is_in_the_units_of_the_target() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((300, 4))
    y = 7 + x @ [1.0, -2.0, 0.5, 0.0] + 0.3 * rng.standard_normal(300)
    splits = thirds(300)
    result = probe_regression(x, y, splits)
    assert 0.25 < result.mean < 0.35
    assert probe_regression(x, 1000 * y, splits).mean == pytest.approx(1000 * result.mean)
    both = probe_regression(x, np.stack([y, -2 * y], axis=1), splits)
    np.testing.assert_allclose(both.part_scores, [[result.mean, 2 * result.mean]])


def test_regression_leaves_out_unlabelled_rows() -> None:
    x, splits = np.random.default_rng(2).standard_normal((200, 3)), thirds(200)
    y = x.sum(axis=1)
    holes = y.copy()
    holes[::5] = np.nan
    known = {name: ids[ids % 5 != 0] for name, ids in splits.items()}
    assert probe_regression(x, holes, splits) == probe_regression(x, y, known)


# ------------------------------------------------------------------ what a user can mend


def test_features_that_are_not_numbers_are_named() -> None:
    x, y = blobs(40, 0)
    x[12, 3] = np.nan
    for call in (
        lambda: probe_graphs(x, y),
        lambda: probe_few_labels(x, y, 0.1),
        lambda: probe_nodes(x, y, thirds(40)),
        lambda: probe_multilabel(x, y, thirds(40)),
        lambda: probe_regression(x, y, thirds(40)),
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
    with pytest.raises(DataError, match=r"y: not one class a row .*float64"):
        probe_graphs(x, y.astype(float))
    with pytest.raises(DataError, match=r"kernels: a kernel is not square \(found \(40, 6\)\)"):
        probe_kernel([x @ x.T, x], y)
    with pytest.raises(DataError, match="kernels: no kernel"):
        probe_kernel([], y)
    with pytest.raises(DataError, match=r"y: not a table of targets"):
        probe_regression(x, np.zeros((40, 2, 2)), thirds(40))


def test_options_are_checked() -> None:
    x, y = blobs(40, 0)
    for call, message in (
        (lambda: probe_graphs(x, y, classifier="logistik"), "classifier = 'logistik'.*did you mean 'logistic'"),  # pyright: ignore[reportArgumentType]
        (lambda: probe_graphs(x, y, folds=1), "folds = 1: expected at least 2"),
        (lambda: probe_graphs(x, y, seeds=()), r"seeds = \[\]: expected at least one"),
        (lambda: probe_few_labels(x, y, 1.0), "fraction = 1.0: expected more than 0 and less than 1"),
        (lambda: probe_few_labels(x, y, 0.1, repeats=0), "repeats = 0: expected at least 1"),
        (lambda: probe_multilabel(x, y, thirds(40), classifier="svm"), "classifier = 'svm'"),  # pyright: ignore[reportArgumentType]
        (lambda: probe_regression(x, y, thirds(40), label_fraction=0), "label_fraction = 0"),
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


# ------------------------------------------------------------------ real data


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
