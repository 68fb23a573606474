"""Scaling to common units: a problem in kW and the same problem in MW become the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from jepakit.lp.data import Array, LinearProgram

#: Ruiz scaling stops after so many rounds, or when all largest entries are within the tolerance of 1.
_MAX_ROUNDS, _TOLERANCE = 20, 1e-9
#: What is rounded to a power of two need not be closer.
_TOLERANCE_OF_POWERS = 0.5


@dataclass(frozen=True, eq=False)
class Scaling:
    """The units of a scaled problem: x = ``x`` · x̃, ``[n]``, and row duals y = ``y`` · ỹ, ``[m]``."""

    x: Array
    y: Array


def equilibrated(problem: LinearProgram, *, exact: bool = False) -> tuple[LinearProgram, Scaling]:
    """The problem scaled so that the largest entry of each row and column, the largest cost and the largest side are 1.

    Ã = R A C, x = σ C x̃, y = κ R ỹ, with diagonal R and C; then cᵀx = σ κ c̃ᵀx̃.

    Args:
        problem: the problem.
        exact: scale by powers of two, which does not round; the largest numbers are then between 1/2 and 2.

    Source: Ruiz 2001, "A scaling algorithm to equilibrate both rows and columns norms in matrices".
    """
    matrix = problem.matrix
    rows, columns = powers_of_two(matrix) if exact else _ruiz_factors(matrix)
    sides = (rows * problem.row_lower, rows * problem.row_upper, problem.lower / columns, problem.upper / columns)
    size, cost = _largest_finite(np.concatenate(sides)), _largest_finite(columns * problem.costs)
    if exact:
        size, cost = (float(_power_of_two(np.array([value]))[0]) for value in (size, cost))
    row_lower, row_upper, lower, upper = (side / size for side in sides)
    data = matrix.data * rows[matrix.indices] * np.repeat(columns, np.diff(matrix.indptr))
    scaled = replace(
        problem,
        costs=columns * problem.costs / cost,
        matrix=sp.csc_array((data, matrix.indices, matrix.indptr), shape=matrix.shape),
        row_lower=row_lower,
        row_upper=row_upper,
        lower=lower,
        upper=upper,
        offset=problem.offset / (size * cost),
    )
    return scaled, Scaling(x=size * columns, y=cost * rows)


def powers_of_two(matrix: sp.csc_array) -> tuple[Array, Array]:
    """Factors of rows ``[m]`` and columns ``[n]`` after which the largest entry of each is between 1/2 and 6."""
    rows, columns = _ruiz_factors(matrix, _TOLERANCE_OF_POWERS)
    return _power_of_two(rows), _power_of_two(columns)


def _power_of_two(values: Array) -> Array:
    """The next power of two."""
    return np.ldexp(1.0, np.frexp(values)[1])


def _ruiz_factors(matrix: sp.csc_array, tolerance: float = _TOLERANCE) -> tuple[Array, Array]:
    """R and C: each round divides by the square root of the largest entry."""
    by_column, by_row = abs(matrix), abs(matrix).tocsr()
    rows, columns = np.ones(by_row.shape[0]), np.ones(by_row.shape[1])
    for _ in range(_MAX_ROUNDS):
        row_size = rows * _largest_entries(by_row, columns)
        column_size = columns * _largest_entries(by_column, rows)
        sizes = np.concatenate([row_size, column_size])
        if np.abs(sizes[sizes > 0] - 1).max(initial=0) <= tolerance:
            break
        rows /= np.sqrt(np.where(row_size > 0, row_size, 1.0))
        columns /= np.sqrt(np.where(column_size > 0, column_size, 1.0))
    return rows, columns


def _largest_entries(matrix: sp.csr_array | sp.csc_array, factors: Array) -> Array:
    """Per row of a CSR matrix, or column of a CSC one, the largest entry times the factor of its index; 0 if empty."""
    largest, filled = np.zeros(len(matrix.indptr) - 1), np.diff(matrix.indptr) > 0
    if filled.any():
        largest[filled] = np.maximum.reduceat(matrix.data * factors[matrix.indices], matrix.indptr[:-1][filled])
    return largest


def _largest_finite(values: Array) -> float:
    """The largest finite absolute value; 1 if there is none above 0."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0)) or 1.0
