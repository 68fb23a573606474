"""One scale for all problems of the world: the same problem in kW and in MW becomes the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from jepakit.lp.data import Array, LinearProgram

__all__ = ["Scaling", "equilibrated"]

_ROUNDS = 20


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
        matrix=sp.csc_array(sp.diags_array(rows) @ problem.matrix @ sp.diags_array(columns)),
        row_lower=row_lower,
        row_upper=row_upper,
        lower=lower,
        upper=upper,
        offset=problem.offset / (size * cost),
    )
    return scaled, scaling


def _factors(matrix: sp.csc_array) -> tuple[Array, Array]:
    """R and C."""
    entries = matrix.tocoo()
    size = np.abs(entries.data)
    by_row = np.argsort(entries.row, kind="stable")
    rows, columns = np.ones(matrix.shape[0]), np.ones(matrix.shape[1])  # type: ignore[index]
    for _ in range(_ROUNDS):
        now = size * rows[entries.row] * columns[entries.col]
        rows /= np.sqrt(_largest(now[by_row], entries.row[by_row], len(rows)))
        columns /= np.sqrt(_largest(now, entries.col, len(columns)))
    return rows, columns


def _largest(values: Array, group: Array, groups: int) -> Array:
    """The largest value of each group, which stand together in order; 1 for a group without any, or of zeros."""
    largest = np.zeros(groups)
    first = np.flatnonzero(np.diff(group, prepend=-1))
    if len(first):
        largest[group[first]] = np.maximum.reduceat(values, first)
    return np.where(largest > 0, largest, 1.0)


def _size(values: Array) -> float:
    """The largest finite value, or 1."""
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max(initial=0))
    return largest if largest > 0 else 1.0
