"""One scale for all problems of the world: the same problem in kW and in MW becomes the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from jepakit.lp.data import Array, LinearProgram

__all__ = ["Scaling", "equilibrated"]

_ROUNDS, _EVEN = 20, 1e-9


@dataclass(frozen=True, eq=False)
class Scaling:
    """How a problem was scaled: Ã = R A C, x = σ C x̃, y = κ R ỹ, z = κ z̃ / C, cᵀx = σ κ c̃ᵀx̃.

    Args:
        rows: R, ``[m]``.
        columns: C, ``[n]``.
        size: σ, of x.
        cost: κ, of the duals.
    """

    rows: Array
    columns: Array
    size: float
    cost: float

    def x(self, scaled: Array) -> Array:
        """The columns' values in the problem's own units."""
        return self.size * self.columns * scaled

    def y(self, scaled: Array) -> Array:
        """The rows' duals in the problem's own units."""
        return self.cost * self.rows * scaled

    def scaled_x(self, x: Array) -> Array:
        """The columns' values in the scaled problem."""
        return x / (self.size * self.columns)

    def scaled_y(self, y: Array) -> Array:
        """The rows' duals in the scaled problem."""
        return y / (self.cost * self.rows)


def equilibrated(problem: LinearProgram) -> tuple[LinearProgram, Scaling]:
    """The problem with a matrix whose rows and columns have a largest entry of 1, costs and sides of at most 1.

    Source: Ruiz 2001, "A scaling algorithm to equilibrate both rows and columns norms in matrices".
    """
    rows, columns = _factors(problem.matrix)
    sides = (rows * problem.row_lower, rows * problem.row_upper, problem.lower / columns, problem.upper / columns)
    size = _size(np.concatenate(sides))
    cost = _size(columns * problem.costs)
    scaling = Scaling(rows, columns, size, cost)
    row_lower, row_upper, lower, upper = (side / size for side in sides)
    scaled = replace(
        problem,
        costs=columns * problem.costs / cost,
        matrix=_scaled(problem.matrix, rows, columns),
        row_lower=row_lower,
        row_upper=row_upper,
        lower=lower,
        upper=upper,
        offset=problem.offset / (size * cost),
    )
    return scaled, scaling


def _factors(matrix: sp.csc_array) -> tuple[Array, Array]:
    """R and C."""
    by_column, by_row = abs(matrix), abs(matrix).tocsr()
    rows, columns = np.ones(by_row.shape[0]), np.ones(by_row.shape[1])
    for _ in range(_ROUNDS):
        row_size = rows * _largest(by_row, columns)
        column_size = columns * _largest(by_column, rows)
        sizes = np.concatenate([row_size, column_size])
        if np.abs(sizes[sizes > 0] - 1).max(initial=0) <= _EVEN:
            break
        rows /= np.sqrt(np.where(row_size > 0, row_size, 1.0))
        columns /= np.sqrt(np.where(column_size > 0, column_size, 1.0))
    return rows, columns


def _scaled(matrix: sp.csc_array, rows: Array, columns: Array) -> sp.csc_array:
    """R A C."""
    data = matrix.data * rows[matrix.indices] * np.repeat(columns, np.diff(matrix.indptr))
    return sp.csc_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def _largest(matrix: sp.csr_array | sp.csc_array, others: Array) -> Array:
    """Of each row (column, of a matrix by columns) the largest entry times its column's (row's) factor; 0 if empty."""
    largest = np.zeros(len(matrix.indptr) - 1)
    filled = np.diff(matrix.indptr) > 0
    if filled.any():
        largest[filled] = np.maximum.reduceat(matrix.data * others[matrix.indices], matrix.indptr[:-1][filled])
    return largest


def _size(values: Array) -> float:
    """The largest finite value, or 1."""
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max(initial=0))
    return largest if largest > 0 else 1.0
