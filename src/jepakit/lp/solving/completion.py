"""Duals that a basis determines, enclosed: what they prove does not depend on how exactly they are computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import structural_rank
from scipy.sparse.linalg import SuperLU, splu

from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.basis import BASIC, Basis
from jepakit.lp.solving.precise import EPSILON, Enclosed, residual, two_sum

#: Corrections of a solution by what it misses: of one in doubles, and of one in sums of two.
CORRECTIONS, _CORRECTIONS_OF_SUMS = 3, 6
#: Columns of the inverse at a time.
_BLOCK = 256
#: Reduced costs of basic columns are set to this share of the terms that they are made of, not to 0: rounding then
#: leaves their sign as it is.
_SHIFT = 1e-13


@dataclass(frozen=True)
class BasicBlock:
    """The nonbasic rows and basic columns of a basis: a square matrix, factorised.

    Args:
        basis: the whole basis.
        rows: nonbasic ones, ``[k]``.
        columns: basic ones, ``[k]``.
        matrix: of these, ``[k, k]``.
        factors: of ``matrix``.
    """

    basis: Basis
    rows: Array
    columns: Array
    matrix: sp.csc_array
    factors: SuperLU

    @classmethod
    def of(cls, problem: LinearProgram, basis: Basis) -> BasicBlock | None:
        """None if the basis is singular."""
        rows, columns = np.flatnonzero(basis.rows != BASIC), np.flatnonzero(basis.columns == BASIC)
        if len(rows) != len(columns):
            return None
        matrix = sp.csc_array(problem.matrix[:, columns].tocsr()[rows])
        matrix.eliminate_zeros()
        # On a matrix that is singular whatever its numbers are, SuperLU may crash the process.
        if structural_rank(matrix) < len(rows):
            return None
        try:
            factors = splu(sp.csc_matrix(matrix)) if len(rows) else None
        except RuntimeError:
            return None
        return cls(basis, rows, columns, matrix, factors)  # pyright: ignore[reportArgumentType]

    def solve(self, right: Array, *, transposed: bool) -> Array:
        """The solution for a right-hand side ``[k]`` or ``[k, r]``, of the matrix or its transpose."""
        return self.factors.solve(right, "T" if transposed else "N") if len(self.rows) else right


def completed_duals(problem: LinearProgram, block: BasicBlock) -> tuple[Enclosed, Enclosed] | None:
    """Row duals ``[m]`` and reduced costs ``[n]`` of a basis, each enclosed: there are duals within, for certain.

    A reduced cost of a free basic column is exactly 0; that of another basic column has the sign that its bounds allow.

    Returns:
        None: the basis is too close to singular.
    """
    if (inverse := _inverse_norm(block)) is None:
        return None
    by_column = sp.csc_array(problem.matrix)
    costs = problem.costs[block.columns]
    first = block.solve(costs, transposed=True)
    right = costs - _shift(problem, block, first)
    of_block, rest = _corrected(block, right, first)
    missed = residual(_twice(block.matrix), np.concatenate([of_block, rest]), right)
    error = inverse * float(np.maximum(np.abs(missed.low), np.abs(missed.high)).max(initial=0)) * (1 + 1e-9)
    if not np.isfinite(error):
        return None
    y, low, radius = (np.zeros(problem.rows) for _ in range(3))
    y[block.rows], low[block.rows], radius[block.rows] = of_block, rest, error
    product = residual(_twice(by_column), np.concatenate([y, low]), problem.costs)
    apart = (abs(by_column).T @ radius) * (1 + 1e-9) + product.radius
    # The duals that are meant leave exactly this of the block's columns.
    z = Enclosed(-product.middle, -product.rest, apart)
    z.middle[block.columns], z.rest[block.columns] = two_sum(costs, -right)
    z.radius[block.columns] = 0.0
    return Enclosed(y, low, radius), z


def shifted_duals(problem: LinearProgram, block: BasicBlock, y: Array) -> Array:
    """Row duals ``[m]`` near those of a basis: reduced costs of columns with one bound are safely on its side of 0.

    Args:
        problem: the problem.
        block: of the basis.
        y: the duals of the basis, ``[m]``.
    """
    right = problem.costs[block.columns] - _shift(problem, block, y[block.rows])
    return corrected_duals(problem, block, right, y)


def corrected_duals(problem: LinearProgram, block: BasicBlock, right: Array, y: Array) -> Array:
    """The row duals ``[m]`` whose products with the block's columns are ``right``, ``[k]``, to the last digits.

    Args:
        problem: the problem.
        block: of a basis.
        right: the products.
        y: a first guess; 0 in basic rows.
    """
    by_column, y = sp.csc_array(problem.matrix[:, block.columns]), y.copy()
    for _ in range(CORRECTIONS):
        y[block.rows] -= block.solve(residual(by_column, y, right).middle, transposed=True)
    return y


def _shift(problem: LinearProgram, block: BasicBlock, y: Array) -> Array:
    """Reduced costs for the block's columns, ``[k]``: of the sign that their bounds allow; 0 for free ones."""
    size = np.abs(problem.costs[block.columns]) + abs(block.matrix).T @ np.abs(y)
    lower, upper = np.isfinite(problem.lower[block.columns]), np.isfinite(problem.upper[block.columns])
    return np.where(lower & ~upper, 1.0, np.where(upper & ~lower, -1.0, 0.0)) * _SHIFT * size


def _corrected(block: BasicBlock, right: Array, first: Array) -> tuple[Array, Array]:
    """The solution of the transposed system as a sum of two doubles."""
    high, low = first, np.zeros_like(first)
    twice = _twice(block.matrix)
    for _ in range(_CORRECTIONS_OF_SUMS):
        missed = residual(twice, np.concatenate([high, low]), right)
        low = low - block.solve(missed.middle, transposed=True)
        total = high + low
        high, low = total, low - (total - high)
    return high, low


def _twice(matrix: sp.csc_array) -> sp.csc_array:
    """The matrix below itself: its transpose takes a sum of two vectors."""
    return sp.csc_array(sp.vstack([matrix, matrix]))


def _inverse_norm(block: BasicBlock) -> float | None:
    """A bound of the largest row sum of the transposed block's inverse; None if there is none.

    With Mᵀ R = I - E, the inverse is R (I - E)⁻¹, and its norm at most ‖R‖ / (1 - ‖E‖).
    """
    size = len(block.rows)
    rows_of_inverse, rows_of_error = np.zeros(size), np.zeros(size)
    magnitude = abs(block.matrix).T
    rounding = (np.diff(block.matrix.indptr) + 3) * EPSILON
    for begin in range(0, size, _BLOCK):
        unit = np.zeros((size, min(_BLOCK, size - begin)))
        unit[np.arange(begin, begin + unit.shape[1]), np.arange(unit.shape[1])] = 1.0
        inverse = block.solve(unit, transposed=True)
        error = np.abs(block.matrix.T @ inverse - unit) + rounding[:, None] * (magnitude @ np.abs(inverse) + unit)
        rows_of_inverse += np.abs(inverse).sum(1)
        rows_of_error += error.sum(1)
    error = float(rows_of_error.max(initial=0)) * (1 + 1e-9)
    return float(rows_of_inverse.max(initial=0)) * (1 + 1e-9) / (1 - error) if error < 0.5 else None
