"""Kernel ridge regression on the distances between rows, for many targets at once and with missing labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jepakit.errors import ConfigError
from jepakit.graph.probe.result import Floats
from jepakit.graph.probe.selection import prepared, squared_distances

MOST_ROWS = 10_000
"""Training rows: their kernel has 0.8 GB then, and the inverse of it and intermediate results as much each."""


def distance_kernel(blocks: Sequence[Floats], fit_rows: int) -> Floats:
    """The mean over blocks of features of ``exp(-d / m)``: ``[R, fit_rows]``, 1 where two rows are equal.

    ``d`` is the Euclidean distance of a row from a fitted row, all columns on one scale (`prepared`), and ``m`` the
    root of the median squared distance among the first ``fit_rows`` rows. Each block has a width of its own, so that
    none drowns the others, be it bits or sums over nodes.

    Args:
        blocks: ``[R, D]`` each, of the same rows.
        fit_rows: how many of the first rows are fitted.

    Raises:
        ConfigError: more than `MOST_ROWS` rows are to be fitted.
    """
    require_few_rows("classifier", fit_rows)
    kernel = _kernel(prepared(blocks[0], fit_rows, "one scale"), fit_rows)
    for block in blocks[1:]:
        kernel += _kernel(prepared(block, fit_rows, "one scale"), fit_rows)
    kernel /= len(blocks)
    return kernel


def kernel_ridge(kernel: Floats, y: Floats, penalty: float) -> Floats:
    """Predictions ``[R, T]`` for the rows of ``kernel`` ``[R, n]``, fitted to targets ``y`` ``[n, T]`` of the first.

    A missing target (NaN) is not fitted. One inverse serves all targets: of the rows where a target is missing, the
    weights are made zero by elimination. A target without a label is predicted as 0.
    """
    fit_rows, known = len(y), ~np.isnan(y)
    mean = np.where(known, y, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    inverse = np.linalg.inv(kernel[:fit_rows] + penalty * np.eye(fit_rows))
    weights = inverse @ np.where(known, y - mean, 0)
    for task, column in enumerate(known.T):
        missing = np.flatnonzero(~column)
        if len(missing) > 0:
            correction = np.linalg.solve(inverse[np.ix_(missing, missing)], weights[missing, task])
            weights[:, task] -= inverse[:, missing] @ correction
    return mean + kernel @ weights


def require_few_rows(field: str, fit_rows: int) -> None:
    """Raises ConfigError, which names ``field``, where more than `MOST_ROWS` rows are to be fitted by a kernel."""
    if fit_rows > MOST_ROWS:
        raise ConfigError(
            field, "kernel", f"logistic or forest for {fit_rows:,} training graphs (kernel: {MOST_ROWS:,})"
        )


def _kernel(z: Floats, fit_rows: int) -> Floats:
    values = squared_distances(z, z[:fit_rows])
    values /= max(float(np.median(values[:fit_rows])), 1e-12)
    # In place: for thousands of rows each copy has hundreds of megabytes.
    np.sqrt(values, out=values)
    np.negative(values, out=values)
    return np.exp(values, out=values)
