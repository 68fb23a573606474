"""Model selection: fitted on training rows, chosen on held-out training rows, blind to the test rows."""

import numpy as np
import pytest

from jepakit.graph.probe.selection import (
    LOGISTIC_C,
    Classifier,
    FeatureSource,
    KernelSource,
    Source,
    View,
    evaluate_split,
    evaluate_validated,
    logistic_path,
    prepared,
    standardize,
)
from probe_samples import blobs

CLASSIFIERS: tuple[Classifier, ...] = ("logistic", "svm", "best")


def sources(x: np.ndarray) -> dict[str, Source]:
    found: dict[str, Source] = {name: FeatureSource(x, name) for name in CLASSIFIERS}
    return found | {"kernel": KernelSource((x @ x.T, np.exp(-((x[:, None] - x[None]) ** 2).sum(2))))}


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
def test_test_features_reach_neither_choice_nor_scale_nor_other_rows(name: Classifier, validated: bool) -> None:
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
def test_views_are_fitted_on_the_training_rows(view: View) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 4)) * [1, 10, 100, 0] + [0, 5, 0, 3]
    full = prepared(x, 30, view)
    np.testing.assert_array_equal(full[:30], prepared(x[:30], 30, view))
    np.testing.assert_allclose(full[:30].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose((full[:30] ** 2).mean(), 1 if view == "one scale" else 3 / 4, rtol=1e-12)


def test_columns_without_spread_in_training_are_silenced() -> None:
    x = np.random.default_rng(0).standard_normal((20, 3))
    x[:10, 1] = 0.1
    x[:10, 2] = 1 + 1e-8 * x[:10, 2]
    z = standardize(x, 10)
    assert np.ptp(z[:, 0]) > 1
    np.testing.assert_array_equal(z[:, 1:], 0)


@pytest.mark.parametrize("view", ["signed log", "one scale", "none"])
def test_what_training_rows_have_never_shown_stays_within_reach(view: View) -> None:
    """Two traces of a substructure in training, a thousand of it in a test row: one range beyond, not 10^9 spreads."""
    x = np.random.default_rng(0).standard_normal((52, 2))
    x[:50, 1], x[:2, 1], x[50, 1], x[51, 1] = 0, 1e-6, 1e3, -1e3
    z = prepared(x, 50, view)
    low, high = z[:50].min(axis=0), z[:50].max(axis=0)
    np.testing.assert_allclose(z[50:, 1], [2 * high[1] - low[1], 2 * low[1] - high[1]])
    near = prepared(np.vstack([x[:50], 1.5 * x[:50]]), 50, view)
    assert (near[50:, 0] > high[0]).any(), "a little beyond the training rows, values are kept"


def test_the_warm_started_path_ends_at_the_optimum() -> None:
    x, y = blobs(80, 5, distance=0.5)
    for strength, model in zip(LOGISTIC_C, logistic_path(x, y), strict=True):
        weights, positive = model.coef_[0], model.predict_proba(x)[:, 1]
        # The gradient of |w|²/2 + C Σ log loss vanishes at the optimum, in w and in the intercept.
        np.testing.assert_allclose(weights + strength * (x.T @ (positive - y)), 0, atol=0.02 * strength)
        assert abs((positive - y).sum()) < 0.02
