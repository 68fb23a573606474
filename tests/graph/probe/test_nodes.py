"""Probes of nodes: what is selected and from which labels, and few labels of each class."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jepakit.errors import ConfigError, DataError
from jepakit.graph.probe.nodes import UNIT_C, few_labels, probe_few_nodes, probe_nodes, unit_rows
from jepakit.graph.probe.selection import FEW_ROWS, LOGISTIC_C, prepared
from probe_samples import blobs, half_and_quarters


def test_rows_of_length_one_around_their_mean_by_hand() -> None:
    """The mean is (2, 1)."""
    found = unit_rows(np.array([[1.0, 0], [3, 0], [2, 3]]))
    half = np.sqrt(0.5)
    np.testing.assert_allclose(found, [[-half, -half], [half, -half], [0, 1]])
    np.testing.assert_array_equal(unit_rows(np.ones((3, 2))), 0)


def test_nodes_of_an_easy_set() -> None:
    x, y = blobs(120, 10, classes=3)
    masks = {name: np.isin(np.arange(120), ids) for name, ids in half_and_quarters(120).items()}
    result = probe_nodes(x, y, masks)
    assert result.mean > 0.97
    assert result.std is None
    assert result == probe_nodes(x, y, half_and_quarters(120))


def test_node_validation_chooses() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(300) % 2
    x = rng.standard_normal((300, 30)) + 0.3 * y[:, None]
    splits = {"train": np.arange(40), "val": np.arange(40, 170), "test": np.arange(170, 300)}
    scores = {}
    views = {view: (prepared(x, 40, view), LOGISTIC_C) for view in FEW_ROWS} | {"unit rows": (unit_rows(x), UNIT_C)}
    for view, (z, strengths) in views.items():
        for strength in strengths:
            hits = LogisticRegression(C=strength, max_iter=10_000).fit(z[:40], y[:40]).predict(z) == y
            scores[view, strength] = hits[40:170].mean(), hits[170:].mean()
    result = probe_nodes(x, y, splits)
    options = result.chosen[0][0]
    val_score, test_score = scores[options["view"], options["C"]]
    assert val_score == max(val for val, _ in scores.values()) > min(val for val, _ in scores.values())
    assert result.mean == pytest.approx(test_score)


def test_test_labels_choose_nothing() -> None:
    x, y = blobs(120, 3, distance=0.5)
    splits = half_and_quarters(120)
    tampered = y.copy()
    tampered[splits["test"]] = 1 - y[splits["test"]]
    honest, other = probe_nodes(x, y, splits), probe_nodes(x, tampered, splits)
    assert honest.chosen == other.chosen
    assert honest.mean == pytest.approx(1 - other.mean)


def test_draws_have_as_many_labels_of_each_class_none_of_them_tested() -> None:
    y = np.array([0, 1, 2, -1] * 10)
    test = np.arange(20)
    draws = few_labels(y, 3, test=test, draws=5)
    for draw in draws:
        assert np.bincount(y[draw]).tolist() == [3, 3, 3]
        assert not np.isin(draw, test).any()
    assert len({tuple(draw) for draw in draws}) == 5
    for first, again in zip(draws, few_labels(y, 3, test=test, draws=5), strict=True):
        np.testing.assert_array_equal(first, again)
    assert not np.array_equal(few_labels(y, 3, test=test, draws=1, seed=1)[0], draws[0])


def test_with_one_label_a_class_a_node_is_of_the_class_whose_label_is_nearer() -> None:
    """Between two points of length 1 the boundary of every regularised logistic regression is half-way."""
    x, y = blobs(60, 4, distance=0.7)
    labelled = few_labels(y, 1, test=np.arange(30), draws=4)
    result = probe_few_nodes(x, y, labelled, test=np.arange(30))
    z = unit_rows(x)
    for train, score in zip(labelled, result.part_scores[0], strict=True):
        nearest = y[train][(z[:30] @ z[train].T).argmax(axis=1)]
        assert score == pytest.approx((nearest == y[:30]).mean())


@pytest.mark.parametrize("option", ["per_class", "draws"])
def test_draws_that_cannot_be_made_are_refused(option: str) -> None:
    y = np.array([0] * 10 + [1] * 4)
    arguments = {"per_class": 1, "draws": 1}
    with pytest.raises(ConfigError, match=f"{option} = 0: expected at least 1"):
        few_labels(y, **arguments | {option: 0}, test=[0])
    with pytest.raises(DataError, match=r"class 1 is too small for a labelled subset \(found 4\)"):
        few_labels(y, 4, test=[0], draws=1)
    with pytest.raises(DataError, match="test: a split does not fit the data"):
        few_labels(y, 1, test=[14], draws=1)
