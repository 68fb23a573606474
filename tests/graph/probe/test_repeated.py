"""Repeated cross-validation of few labels: by hand, what it can find, and what it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from jepakit.errors import DataError
from jepakit.graph.probe.repeated import (
    FOLDS,
    classes_repeatedly,
    predict_repeatedly,
    probe_repeatedly,
    split_sizes,
    suits,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 8))
LINEAR = (X[:, :1] * 3 + 10) + 0.1 * RNG.normal(size=(60, 1))


def test_a_linear_target_is_found_and_the_mean_is_not_enough() -> None:
    linear, forest, constant = (
        probe_repeatedly(X, LINEAR, model=model, seeds=(0, 1)) for model in ("linear", "forest", "constant")
    )
    assert (linear.metric, linear.lower_is_better) == ("rmse", True)
    assert [len(parts) for parts in linear.part_scores] == [FOLDS] * 2
    assert linear.mean < 0.3 < forest.mean < constant.mean
    assert constant.mean == pytest.approx(LINEAR.std(), rel=0.1)


def test_the_mean_of_the_training_labels_by_hand() -> None:
    """Of labels that are all equal but one, each fold errs by what that one differs."""
    y = np.zeros((20, 1))
    y[7] = 20
    parts = sorted(probe_repeatedly(X[:20], y, model="constant", seeds=(0,)).part_scores[0])
    # 4 rows are tested; in training the mean is 20 / 16, or 0 where the odd one is tested.
    assert parts == pytest.approx([1.25] * 4 + [10])


def test_predictions_are_those_that_are_scored() -> None:
    y = LINEAR.copy()
    y[5] = np.nan
    result = probe_repeatedly(X, y, seeds=(3,))
    rows, predicted = predict_repeatedly(X, y, 3, result.chosen[0])
    assert sorted(rows.tolist()) == [row for row in range(60) if row != 5]
    squares = (predicted - y[rows, 0]) ** 2
    # Rows come fold by fold: 12 of each of the first four, and 11.
    parts = [float(np.sqrt(part.mean())) for part in np.split(squares, [12, 24, 36, 48])]
    assert parts == pytest.approx(result.part_scores[0])


def test_a_binary_target_is_scored_by_auc_and_labels_of_nothing_give_a_half() -> None:
    y = (X[:, :1] > 0).astype(float)
    assert probe_repeatedly(X, y).mean > 0.9
    assert probe_repeatedly(X, y, model="forest", seeds=(0,)).mean > 0.9
    assert probe_repeatedly(X, y, model="constant").seed_scores == (0.5,) * 3
    nothing = (np.arange(60) % 2).astype(float)[:, None]
    assert 0.3 < probe_repeatedly(X, nothing, seeds=range(5)).mean < 0.7


def test_rows_without_labels_are_left_out() -> None:
    y = np.concatenate([LINEAR, np.full((30, 1), np.nan)])
    x = np.concatenate([X, np.full((30, 8), 1e6)])
    assert probe_repeatedly(x, y).seed_scores == probe_repeatedly(X, LINEAR).seed_scores


@pytest.mark.parametrize(
    ("y", "suited"),
    [
        (LINEAR, True),
        (LINEAR[:19], False),
        (np.tile(LINEAR, (9, 1)), False),
        ((np.arange(60) < 4).astype(float)[:, None], False),
        ((np.arange(60) < 5).astype(float)[:, None], True),
        (np.eye(60)[:, :2], False),
        (np.concatenate([LINEAR, np.where(np.arange(60) < 19, LINEAR[:, 0], np.nan)[:, None]], axis=1), False),
    ],
)
def test_which_labels_are_cross_validated(y: np.ndarray, suited: bool) -> None:
    assert suits(y) == suited
    if not suited:
        with pytest.raises(DataError, match="not labels for cross-validation"):
            probe_repeatedly(np.ones((len(y), 1)), y)


def test_classes_on_the_folds_of_the_other_rows() -> None:
    """The constant by hand: 40 of 60 are of class 0 in every training part."""
    y = (np.arange(60) % 3 == 0).astype(np.int64)
    x, common = np.column_stack([y, X]), {"folds": 10, "seeds": (0,)}
    constant, forest = (classes_repeatedly(x, y, model=model, **common) for model in ("constant", "forest"))
    assert constant.part_scores[0] == pytest.approx([4 / 6] * 10)
    assert (forest.metric, len(forest.part_scores[0])) == ("accuracy", 10)
    assert forest.mean > 0.9


def test_sizes_add_up() -> None:
    assert split_sizes(LINEAR) == (60, 36, 12, 12)
