"""A basis: which rows and columns are basic, and at which bound the others are; an optimum with its basis."""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from jepakit.errors import DataError
from jepakit.lp.data import Array, LinearProgram

#: HiGHS' status codes. A nonbasic column without bounds is free, with value 0.
AT_LOWER, BASIC, AT_UPPER, FREE = 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class Basis:
    """A status for each column and row.

    Args:
        columns: ``[n]`` int8.
        rows: ``[m]`` int8; ``AT_LOWER``: the activity is at the lower side L.
    """

    columns: Array
    rows: Array

    @classmethod
    def of_highs(cls, basis: highspy.HighsBasis) -> Basis:
        """Converts a basis of HiGHS."""
        return cls(*(np.array(list(map(int, part)), np.int8) for part in (basis.col_status, basis.row_status)))

    def to_highs(self) -> highspy.HighsBasis:
        """Converts to a basis of HiGHS."""
        basis = highspy.HighsBasis()
        statuses = [highspy.HighsBasisStatus(code) for code in (AT_LOWER, BASIC, AT_UPPER, FREE)]
        basis.col_status = [statuses[code] for code in self.columns.tolist()]
        basis.row_status = [statuses[code] for code in self.rows.tolist()]
        basis.valid, basis.alien = True, True
        return basis

    def same_as(self, other: Basis) -> bool:
        """Whether all statuses are equal."""
        return np.array_equal(self.columns, other.columns) and np.array_equal(self.rows, other.rows)

    @property
    def basic(self) -> int:
        """Number of basic rows and columns; m if this is a basis of m rows."""
        return int((self.columns == BASIC).sum() + (self.rows == BASIC).sum())

    def fitted(self, problem: LinearProgram) -> Basis:
        """The basis with every nonbasic status at a bound that ``problem`` has.

        Raises:
            DataError: the number of rows or columns differs.
        """
        for field, statuses, length in (("columns", self.columns, problem.columns), ("rows", self.rows, problem.rows)):
            if statuses.shape != (length,):
                raise DataError("a basis of another size", field=field, value=statuses.shape, expected=str((length,)))
        return Basis(
            _fitted(self.columns, problem.lower, problem.upper),
            _fitted(self.rows, problem.row_lower, problem.row_upper),
        )


@dataclass(frozen=True, eq=False)
class Optimum:
    """The optimum of a problem, as a label: x ``[n]``, row duals y ``[m]`` and an optimal basis."""

    x: Array
    y: Array
    basis: Basis


def _fitted(statuses: Array, lower: Array, upper: Array) -> Array:
    """Replaces statuses at a missing bound by the bound nearest to 0, or by free without any bound."""
    nearest = np.where(np.abs(lower) <= np.abs(upper), AT_LOWER, AT_UPPER)
    nearest = np.where(np.isinf(lower) & np.isinf(upper), FREE, nearest)
    at_lower = (statuses == AT_LOWER) & np.isfinite(lower)
    at_upper = (statuses == AT_UPPER) & np.isfinite(upper)
    return np.where((statuses == BASIC) | at_lower | at_upper, statuses, nearest).astype(np.int8)
