"""Kernel ridge regression with missing targets is that of the known rows alone, and scales of blocks do not matter."""

import numpy as np
import pytest

from jepakit.errors import ConfigError
from jepakit.graph.probe import kernel_ridge as module
from jepakit.graph.probe.kernel_ridge import distance_kernel, kernel_ridge


def _kernel(rows: int, fit_rows: int, seed: int = 0) -> np.ndarray:
    return distance_kernel([np.random.default_rng(seed).standard_normal((rows, 4))], fit_rows)


@pytest.mark.parametrize("seed", range(5))
def test_a_missing_target_is_not_fitted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, fit_rows, penalty = 40, 30, float(rng.choice([0.01, 1.0]))
    kernel, y = _kernel(rows, fit_rows, seed), rng.standard_normal((fit_rows, 3))
    y[rng.random(y.shape) < rng.choice([0.1, 0.5, 0.9])] = np.nan
    y[0] = 1.0
    predicted = kernel_ridge(kernel, y, penalty)
    for task, target in enumerate(y.T):
        known = np.flatnonzero(~np.isnan(target))
        among, mean = kernel[np.ix_(known, known)], target[known].mean()
        weights = np.linalg.solve(among + penalty * np.eye(len(known)), target[known] - mean)
        np.testing.assert_allclose(predicted[:, task], mean + kernel[:, known] @ weights, atol=1e-9)


def test_targets_that_say_nothing() -> None:
    y = np.stack([np.full(10, np.nan), np.ones(10)], axis=1)
    np.testing.assert_allclose(kernel_ridge(_kernel(12, 10), y, 0.1), np.tile([0.0, 1.0], (12, 1)), atol=1e-12)


def test_blocks_weigh_alike_whatever_their_scale() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.random((20, 3)), (rng.random((20, 50)) < 0.2).astype(float)
    kernel = distance_kernel([one, other], 15)
    np.testing.assert_allclose(kernel, (distance_kernel([one], 15) + distance_kernel([other], 15)) / 2)
    # The diagonal is 1 but for the rounding of squared distances, whose root is taken.
    np.testing.assert_allclose(kernel[:15].diagonal(), 1, atol=1e-6)
    assert np.median(distance_kernel([other], 15)[:15]) == pytest.approx(np.exp(-1))
    assert np.linalg.eigvalsh(kernel[:15]).min() > 0


def test_too_many_rows_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 9)
    with pytest.raises(ConfigError, match=r"classifier.*logistic or forest for 10 training graphs \(kernel: 9\)"):
        _kernel(12, 10)
    assert _kernel(12, 9).shape == (12, 9)
