"""Kernel ridge regression on the distances between rows, for many targets at once and with missing labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jepakit.errors import ConfigError
from jepakit.graph.probe.result import Floats
from jepakit.graph.probe.selection import prepared, squared_distances

MOST_ROWS = 20_000
"""Training rows: their kernel has 3 GB then, and its inverse as much again."""


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
    if fit_rows > MOST_ROWS:
        raise ConfigError("classifier", "kernel", f"logistic or forest for more than {MOST_ROWS:,} training graphs")
    return np.mean([_kernel(prepared(block, fit_rows, "one scale"), fit_rows) for block in blocks], axis=0)


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


def _kernel(z: Floats, fit_rows: int) -> Floats:
    squared = squared_distances(z, z[:fit_rows])
    width = max(float(np.median(squared[:fit_rows])), 1e-12)
    return np.exp(-np.sqrt(squared / width))
