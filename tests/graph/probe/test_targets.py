"""Probes of several tasks: scores by hand, missing labels, and validation that never sees the test split."""

import numpy as np
import pytest

from jepakit.errors import ConfigError, DataError
from jepakit.graph.probe.binary import Member, task_aucs
from jepakit.graph.probe.nodes import probe_nodes
from jepakit.graph.probe.selection import standardize
from jepakit.graph.probe.targets import RIDGE_ALPHA, probe_mixture, probe_multilabel, probe_regression, ridge_path
from probe_samples import half_and_quarters, quadrants


@pytest.mark.parametrize("which", ["nodes", "logistic", "forest", "kernel", "mixture", "regression"])
def test_given_splits_never_read_the_test_labels(which: str) -> None:
    rng = np.random.default_rng(3)
    x, splits = rng.standard_normal((160, 5)), half_and_quarters(160)
    score = x @ rng.standard_normal((5, 2)) + rng.standard_normal((160, 2))
    binary = (score > 0).astype(float)

    def chosen(targets: np.ndarray) -> object:
        if which == "nodes":
            return probe_nodes(x, targets[:, 0].astype(np.int64), splits).chosen
        if which == "regression":
            return probe_regression(x, targets, splits).chosen
        names = ("logistic", "kernel") if which == "mixture" else (which,)
        return probe_mixture([Member(name, (x, x[:, :2])) for name in names], targets, splits).chosen  # pyright: ignore[reportArgumentType]

    honest = score if which == "regression" else binary
    tampered = honest.copy()
    tampered[splits["test"]] = 1 - honest[splits["test"]]
    assert chosen(honest) == chosen(tampered)


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
    splits = half_and_quarters(200)
    score, truth = x[splits["test"], 0], y[splits["test"], 0]
    pairs = score[truth == 1][:, None] > score[truth == 0][None]
    assert probe_multilabel(x, y, splits).mean == pytest.approx(pairs.mean(), abs=1e-12)


def test_forests_and_kernels_see_what_a_hyperplane_cannot() -> None:
    x, y = quadrants(300, 2)
    splits = half_and_quarters(300)
    assert probe_multilabel(x, y[:, None], splits, classifier="forest").mean > 0.95
    assert probe_multilabel(x, y[:, None], splits, classifier="kernel").mean > 0.95
    assert probe_multilabel(x, y[:, None], splits).mean < 0.7


def test_a_mixture_is_the_mean_of_the_probabilities_that_each_member_selects() -> None:
    rng = np.random.default_rng(4)
    x, splits = rng.standard_normal((160, 5)), half_and_quarters(160)
    y = (x[:, :2] + rng.standard_normal((160, 2)) > 0).astype(float)
    y[rng.random(y.shape) < 0.2] = np.nan
    train, test = splits["train"], splits["test"]
    members = [Member("logistic", (x[:, :2], x[:, 2:])), Member("kernel", (x[:, :2], x))]
    mixed = np.zeros((len(test), 2))
    chosen = []
    for member in members:
        alone = probe_mixture([member], y, splits)
        scores = member.scores(np.concatenate([train, test]), y[train], 0)
        best = scores[member.choices.index(alone.chosen[0][0])]
        np.testing.assert_allclose(task_aucs(y[test], best, "test"), alone.part_scores[0])
        mixed += 1 / (1 + np.exp(-best)) if member.classifier == "logistic" else best
        chosen.append(alone.chosen[0][0])
    result = probe_mixture(members, y, splits, resamples=2)
    np.testing.assert_allclose(task_aucs(y[test], mixed, "test"), result.part_scores[0])
    assert result.chosen == (tuple(chosen),)
    assert result.method == "logistic and kernel"
    assert len(set(result.replicates)) == 2
    assert probe_multilabel(x, y, splits, classifier="kernel") == probe_mixture([Member("kernel", (x,))], y, splits)


def test_faults_of_a_mixture() -> None:
    x, splits = np.zeros((40, 1)), half_and_quarters(40)
    with pytest.raises(ConfigError, match="at least one classifier"):
        probe_mixture([], x, splits)
    with pytest.raises(ConfigError, match="at least one block"):
        Member("kernel", ())
    with pytest.raises(ConfigError, match="kernel"):
        Member("tree", (x,))  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match="one row for every label"):
        probe_mixture([Member("kernel", (x, x[:39]))], x, splits)


def test_label_fraction_draws_anew_for_each_seed() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 8))
    y = (x @ rng.standard_normal(8) + rng.standard_normal(400))[:, None]
    splits = half_and_quarters(400)
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
    for alpha, predicted in zip(RIDGE_ALPHA, ridge_path(z, y), strict=True):
        fit = z[:20]
        weights = np.linalg.solve(fit.T @ fit + alpha * np.eye(50), fit.T @ (y - y.mean()))
        np.testing.assert_allclose(predicted, y.mean() + z @ weights, atol=1e-8)


def test_regression_is_in_the_units_of_the_target() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((300, 4))
    y = 7 + x @ [1.0, -2.0, 0.5, 0.0] + 0.3 * rng.standard_normal(300)
    splits = half_and_quarters(300)
    result = probe_regression(x, y, splits)
    assert 0.25 < result.mean < 0.35
    assert probe_regression(x, 1000 * y, splits).mean == pytest.approx(1000 * result.mean)
    both = probe_regression(x, np.stack([y, -2 * y], axis=1), splits)
    np.testing.assert_allclose(both.part_scores, [[result.mean, 2 * result.mean]])


def test_regression_leaves_out_unlabelled_rows() -> None:
    x, splits = np.random.default_rng(2).standard_normal((200, 3)), half_and_quarters(200)
    y = x.sum(axis=1)
    holes = y.copy()
    holes[::5] = np.nan
    known = {name: ids[ids % 5 != 0] for name, ids in splits.items()}
    assert probe_regression(x, holes, splits) == probe_regression(x, y, known)
