"""Rows of a single entry as bounds: the only reduction that takes a basis along, whatever the sides are.

A warm start has no presolve: what that takes away depends on sides and bounds, and so it maps no basis from one problem
to the next. But a row a·x of one column is a bound of it. As a bound it needs no place in the basis, and no pivot where
the column moves from it to another one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, BASIC, Basis
from jepakit.lp.solving.certificate import reduced_costs

__all__ = ["Reduction", "reduced"]

#: Entries of other sizes would turn a solver's tolerance into another one.
_SMALL, _LARGE = 1e-3, 1e3
#: By so much, relative to 1 + their size, two rows that fix a column may differ.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Reduction:
    """A problem whose rows of a single entry have become bounds, and the ways there and back.

    Args:
        whole: with m rows and n columns.
        problem: the reduced one, with k rows less.
        kept: its rows among the whole one's, ``[m - k]`` int64.
        row: those that became bounds, ``[k]`` int64.
        column: the column of each, ``[k]`` int64.
        entry: the entry of each, ``[k]``.
        lower_from: which of these gives a column its lower bound, ``[n]`` int64; -1: the column has it from itself.
        upper_from: likewise.
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
        """A basis of the whole problem, as one of the reduced one."""
        columns, at = whole.columns.copy(), whole.rows[self.row]
        held = at != BASIC
        lower = (at == AT_LOWER) == (self.entry > 0)
        columns[self.column[held]] = np.where(lower, AT_LOWER, AT_UPPER)[held]
        return Basis(columns, whole.rows[self.kept]).fitted(self.problem)

    def whole_of(self, basis: Basis, y: Array) -> tuple[Basis, Array]:
        """Basis and duals ``[m]`` of the whole problem: the reduced cost of a column that a row holds is the row's.

        Args:
            basis: of the reduced problem.
            y: its duals, ``[m - k]``.
        """
        z = reduced_costs(self.problem, y)
        holder, lower = self._holders(basis, z)
        held = holder >= 0
        entry, row = self.entry[holder[held]], self.row[holder[held]]
        columns, rows, duals = basis.columns.copy(), np.full(self.whole.rows, BASIC, np.int8), np.zeros(self.whole.rows)
        rows[self.kept], duals[self.kept] = basis.rows, y
        rows[row], duals[row] = np.where((entry > 0) == lower[held], AT_LOWER, AT_UPPER), z[held] / entry
        columns[held] = BASIC
        return Basis(columns, rows), duals

    def _holders(self, basis: Basis, z: Array) -> tuple[Array, Array]:
        """Which of the rows that became bounds holds a column, -1 for none, and whether as its lower bound."""
        lower, upper = basis.columns == AT_LOWER, basis.columns == AT_UPPER
        fixed = (self.problem.lower == self.problem.upper) & (lower | upper)
        # What cannot move is held by either bound: by the one that its reduced cost pulls towards.
        lower, upper = np.where(fixed, z >= 0, lower), np.where(fixed, ~(z >= 0), upper)
        return np.where(lower, self.lower_from, np.where(upper, self.upper_from, -1)), lower


def reduced(problem: LinearProgram) -> Reduction | None:
    """The problem with its rows of a single entry as bounds; None where it has none, or where bounds would cross."""
    matrix = problem.matrix
    single = np.bincount(matrix.indices, minlength=problem.rows) == 1
    of_single = single[matrix.indices]
    size = np.abs(matrix.data)
    single[matrix.indices[of_single & ((size < _SMALL) | (size > _LARGE))]] = False
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
        lower_from=_from(column, (low == lower[column]) & (low > problem.lower[column]), problem.columns),
        upper_from=_from(column, (high == upper[column]) & (high < problem.upper[column]), problem.columns),
    )


def _from(column: Array, given: Array, columns: int) -> Array:
    """Of each column one of the rows that give it a bound; -1 for none."""
    found = np.full(columns, -1)
    found[column[given]] = np.flatnonzero(given)
    return found
