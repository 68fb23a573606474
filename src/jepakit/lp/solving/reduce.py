"""Singleton rows as bounds: a reduction that maps a basis from one problem to the next.

HiGHS does not presolve a warm start, because what presolve removes depends on bounds and sides, so it maps no basis
between problems. A singleton row a·x, with one entry, only bounds its column. As a bound it takes no place in the basis
and costs no pivot when the column moves to another bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, BASIC, Basis
from jepakit.lp.solving.certificate import reduced_costs

#: Rows with a smaller or larger entry stay rows: dividing by it would rescale the solver's tolerance.
_SMALLEST_ENTRY, _LARGEST_ENTRY = 1e-3, 1e3
#: Two rows that fix a column may cross by this rounding error, relative to 1 + their size.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Reduction:
    """A problem whose k singleton rows have become bounds, and the maps between both problems.

    Args:
        whole: the original problem, m rows and n columns.
        problem: the reduced problem, m - k rows.
        kept: rows of the original problem that are left, ``[m - k]`` int64.
        row: rows that became bounds, ``[k]`` int64.
        column: the column of each, ``[k]`` int64.
        entry: the entry of each, ``[k]``.
        lower_from: per column, the index into ``row`` of the row that gives its lower bound, ``[n]`` int64; -1: none.
        upper_from: the same for the upper bound.
    """

    whole: LinearProgram
    problem: LinearProgram
    kept: Array
    row: Array
    column: Array
    entry: Array
    lower_from: Array
    upper_from: Array

    def basis(self, whole: Basis) -> Basis:
        """A basis of the original problem as a basis of the reduced one."""
        columns, status = whole.columns.copy(), whole.rows[self.row]
        nonbasic = status != BASIC
        lower = (status == AT_LOWER) == (self.entry > 0)
        columns[self.column[nonbasic]] = np.where(lower, AT_LOWER, AT_UPPER)[nonbasic]
        return Basis(columns, whole.rows[self.kept]).fitted(self.problem)

    def whole_of(self, basis: Basis, y: Array) -> tuple[Basis, Array]:
        """Basis and duals ``[m]`` of the original problem, from those of the reduced one.

        A column at a bound that comes from a row becomes basic, and its reduced cost becomes the dual of that row.
        """
        z = reduced_costs(self.problem, y)
        at_lower, at_upper = basis.columns == AT_LOWER, basis.columns == AT_UPPER
        fixed = (self.problem.lower == self.problem.upper) & (at_lower | at_upper)
        # A fixed column is at both bounds; the sign of its reduced cost says which one binds.
        at_lower, at_upper = np.where(fixed, z >= 0, at_lower), np.where(fixed, ~(z >= 0), at_upper)
        binding = np.where(at_lower, self.lower_from, np.where(at_upper, self.upper_from, -1))
        bound = binding >= 0
        entry, row = self.entry[binding[bound]], self.row[binding[bound]]
        columns = np.where(at_lower, AT_LOWER, np.where(at_upper, AT_UPPER, basis.columns)).astype(np.int8)
        rows, duals = np.full(self.whole.rows, BASIC, np.int8), np.zeros(self.whole.rows)
        rows[self.kept], duals[self.kept] = basis.rows, y
        rows[row], duals[row] = np.where((entry > 0) == at_lower[bound], AT_LOWER, AT_UPPER), z[bound] / entry
        columns[bound] = BASIC
        return Basis(columns, rows), duals


def reduced(problem: LinearProgram) -> Reduction | None:
    """The problem with its singleton rows as bounds; None if it has none, or if bounds would cross."""
    matrix, size = problem.matrix, np.abs(problem.matrix.data)
    single = np.bincount(matrix.indices, minlength=problem.rows) == 1
    single[matrix.indices[single[matrix.indices] & ((size < _SMALLEST_ENTRY) | (size > _LARGEST_ENTRY))]] = False
    if not single.any():
        return None
    of_single = single[matrix.indices]
    row, entry = matrix.indices[of_single].astype(np.int64), matrix.data[of_single]
    column = np.repeat(np.arange(problem.columns), np.diff(matrix.indptr))[of_single]
    sides = problem.row_lower[row] / entry, problem.row_upper[row] / entry
    low, high = np.minimum(*sides), np.maximum(*sides)
    lower, upper = problem.lower.copy(), problem.upper.copy()
    np.maximum.at(lower, column, low)
    np.minimum.at(upper, column, high)
    if (lower - upper > _ROUNDING * (1 + np.abs(lower))).any():
        return None
    kept = np.flatnonzero(~single)
    return Reduction(
        whole=problem,
        problem=replace(
            problem,
            matrix=sp.csc_array(matrix[kept]),
            row_lower=problem.row_lower[kept],
            row_upper=problem.row_upper[kept],
            lower=lower,
            upper=np.maximum(lower, upper),
            row_names=(),
            column_names=(),
        ),
        kept=kept,
        row=row,
        column=column,
        entry=entry,
        lower_from=_row_of_bound(column, (low == lower[column]) & (low > problem.lower[column]), problem.columns),
        upper_from=_row_of_bound(column, (high == upper[column]) & (high < problem.upper[column]), problem.columns),
    )


def _row_of_bound(column: Array, tightest: Array, columns: int) -> Array:
    """Per column, the index of a row that gives its tightest bound; -1 for none."""
    index = np.full(columns, -1)
    index[column[tightest]] = np.flatnonzero(tightest)
    return index
