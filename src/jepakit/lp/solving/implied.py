"""Bounds of columns that the rows imply: finite ones where a problem states none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from jepakit.lp.data import Array, LinearProgram

#: Rounds over all rows; a bound travels one row a round.
_ROUNDS = 200
#: Implied bounds are widened by this share of the terms they are made of, far more than rounding amounts to.
_MARGIN = 1e-9


def implied_bounds(problem: LinearProgram, most: float = np.inf) -> tuple[Array, Array]:
    """Bounds of the columns, ``[n]`` each, that every feasible x with cᵀx ≤ ``most`` meets.

    A row bounds a column if it bounds the sum and if all its other columns are bounded. Only infinite bounds are
    replaced.

    Source: Neumaier & Shcherbina 2004, "Safe bounds in linear and mixed-integer linear programming", section 3.
    """
    if np.isfinite(most):
        problem = replace(
            problem,
            matrix=sp.csc_array(sp.vstack([problem.matrix, sp.csr_array(problem.costs[None])])),
            row_lower=np.append(problem.row_lower, -np.inf),
            row_upper=np.append(problem.row_upper, most),
            row_names=(),
        )
    by_row = problem.matrix.tocsr()
    entry, column = by_row.data, by_row.indices
    row = np.repeat(np.arange(problem.rows), np.diff(by_row.indptr))
    used = entry != 0
    lower, upper = problem.lower.copy(), problem.upper.copy()
    for _ in range(_ROUNDS):
        unknown = np.isinf(lower) | np.isinf(upper)
        # A row whose columns are all bounded tells nothing.
        telling = np.zeros(problem.rows, bool)
        telling[row[used & unknown[column]]] = True
        used &= telling[row]
        column, row, entry, used = column[used], row[used], entry[used], used[used]
        before = np.isinf(lower).sum() + np.isinf(upper).sum()
        # With an upper side, the smallest sum of the others bounds a column; with a lower side, the largest.
        for sign, side in ((1.0, problem.row_upper), (-1.0, -problem.row_lower)):
            _tighten_by(side, sign * entry, row, column, lower, upper)
        if np.isinf(lower).sum() + np.isinf(upper).sum() == before:
            break
    return lower, upper


def _tighten_by(side: Array, entry: Array, row: Array, column: Array, lower: Array, upper: Array) -> None:
    """Replaces infinite bounds by what rows of at most ``side`` imply.

    Args:
        side: ``[m]``.
        entry: nonzero entries of the rows.
        row: of each entry.
        column: of each entry.
        lower: bounds of the columns, ``[n]``.
        upper: the same.
    """
    positive = entry > 0
    rest, size, open_ = _rest_of_rows(entry * np.where(positive, lower[column], upper[column]), row, len(side))
    known = open_ & np.isfinite(side[row]) & np.isinf(np.where(positive, upper[column], lower[column]))
    positive, row, column, entry = positive[known], row[known], column[known], entry[known]
    bound = (side[row] - rest[known]) / entry
    margin = _MARGIN * (size[known] + np.abs(side[row])) / np.abs(entry)
    _tighten(upper, column[positive], (bound + margin)[positive], np.minimum)
    _tighten(lower, column[~positive], (bound - margin)[~positive], np.maximum)


def _rest_of_rows(term: Array, row: Array, rows: int) -> tuple[Array, Array, Array]:
    """For each entry: the sum of the other entries' terms, the sum of their sizes, and whether it is finite."""
    infinite = ~np.isfinite(term)
    finite = np.where(infinite, 0.0, term)
    total, size = np.bincount(row, finite, rows), np.bincount(row, np.abs(finite), rows)
    others = np.bincount(row, infinite, rows)[row] - infinite
    return total[row] - finite, size[row], others == 0


def _tighten(bounds: Array, column: Array, values: Array, tightest: np.ufunc) -> None:
    """Replaces infinite bounds by the tightest of the values."""
    infinite = np.isinf(bounds[column]) & np.isfinite(values)
    tightest.at(bounds, column[infinite], values[infinite])
