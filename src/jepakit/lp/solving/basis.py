"""A basis: which rows and columns are basic, and at which bound the others are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jepakit.errors import DataError
from jepakit.lp.data import Array, LinearProgram

if TYPE_CHECKING:
    from highspy import HighsBasis

__all__ = ["AT_LOWER", "AT_UPPER", "BASIC", "FREE", "Basis"]

#: HiGHS' own numbers. A column without bounds that is not basic is free, and 0.
AT_LOWER, BASIC, AT_UPPER, FREE = 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class Basis:
    """A status for each column and row.

    Args:
        columns: ``[n]`` int8.
        rows: ``[m]`` int8; of a row at its lower side its activity is at L.
    """

    columns: Array
    rows: Array

    @classmethod
    def of_highs(cls, basis: HighsBasis) -> Basis:
        """What HiGHS says."""
        return cls(*(np.array([int(s) for s in part], np.int8) for part in (basis.col_status, basis.row_status)))

    def to_highs(self) -> HighsBasis:
        """What HiGHS takes."""
        import highspy

        made = highspy.HighsBasis()
        statuses = {int(status): status for status in highspy.HighsBasisStatus.__members__.values()}
        made.col_status = [statuses[code] for code in self.columns.tolist()]
        made.row_status = [statuses[code] for code in self.rows.tolist()]
        made.valid, made.alien = True, True
        return made

    @property
    def basic(self) -> int:
        """How many are basic; of a basis of m rows, m."""
        return int((self.columns == BASIC).sum() + (self.rows == BASIC).sum())

    def fitted(self, problem: LinearProgram) -> Basis:
        """The same where nothing is at a bound that it has not got.

        Raises:
            DataError: it is of another number of rows or columns.
        """
        for field, statuses, length in (("columns", self.columns, problem.columns), ("rows", self.rows, problem.rows)):
            if statuses.shape != (length,):
                raise DataError("a basis of another size", field=field, value=statuses.shape, expected=str((length,)))
        return Basis(
            _fitted(self.columns, problem.lower, problem.upper),
            _fitted(self.rows, problem.row_lower, problem.row_upper),
        )


def nearest_bound(lower: Array, upper: Array) -> Array:
    """The bound nearest to 0, ``[n]`` int8; free where there is none."""
    at = np.where(np.abs(lower) <= np.abs(upper), AT_LOWER, AT_UPPER)
    return np.where(np.isinf(lower) & np.isinf(upper), FREE, at).astype(np.int8)


def _fitted(statuses: Array, lower: Array, upper: Array) -> Array:
    at_lower = (statuses == AT_LOWER) & np.isfinite(lower)
    at_upper = (statuses == AT_UPPER) & np.isfinite(upper)
    return np.where((statuses == BASIC) | at_lower | at_upper, statuses, nearest_bound(lower, upper)).astype(np.int8)
