"""Linear programs with two-sided rows, bounded columns and a sparse matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from jepakit.errors import DataError

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class LinearProgram:
    """min cᵀx + c₀ subject to L ≤ Ax ≤ U and l ≤ x ≤ u, with m rows and n columns; sides and bounds may be infinite.

    Bounds may cross: the problem is then infeasible, and a solve says so.

    Args:
        costs: c, ``[n]``.
        matrix: A, ``[m, n]``.
        row_lower: L, ``[m]``.
        row_upper: U, ``[m]``.
        lower: l, ``[n]``.
        upper: u, ``[n]``.
        offset: c₀.
        maximize: the user maximises -(cᵀx + c₀); `objective` has the user's sign.
        name: of the problem.
        column_names: ``n`` different names, or none.
        row_names: ``m`` different names, or none.

    Raises:
        DataError: names the field of a wrong shape, of NaN, or infinite where it must not be.
    """

    costs: Array
    matrix: sp.csc_array
    row_lower: Array
    row_upper: Array
    lower: Array
    upper: Array
    offset: float = 0.0
    maximize: bool = False
    name: str = ""
    column_names: tuple[str, ...] = ()
    row_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        matrix = sp.csc_array(self.matrix, dtype=np.float64)
        matrix.sum_duplicates()
        object.__setattr__(self, "matrix", matrix)
        lengths = dict.fromkeys(("costs", "lower", "upper"), self.columns)
        for field, length in (lengths | dict.fromkeys(("row_lower", "row_upper"), self.rows)).items():
            values = np.ascontiguousarray(getattr(self, field), dtype=np.float64)
            object.__setattr__(self, field, values)
            if values.shape != (length,):
                expected = str((length,))
                raise DataError("of another shape than the matrix", field=field, value=values.shape, expected=expected)
        for field, values in (("costs", self.costs), ("matrix", matrix.data), ("offset", np.array([self.offset]))):
            _check_values(field, values, ~np.isfinite(values), "a finite number")
        for fields, never in ((("row_lower", "lower"), np.inf), (("row_upper", "upper"), -np.inf)):
            for field in fields:
                values = getattr(self, field)
                _check_values(field, values, np.isnan(values) | (values == never), f"a number, or {-never:+}")
        for field, length in (("column_names", self.columns), ("row_names", self.rows)):
            object.__setattr__(self, field, tuple(getattr(self, field)))
            _check_names(field, getattr(self, field), length)

    @property
    def rows(self) -> int:
        """m."""
        return int(self.matrix.shape[0])  # type: ignore[index]

    @property
    def columns(self) -> int:
        """n."""
        return int(self.matrix.shape[1])  # type: ignore[index]

    def objective(self, x: Array) -> float:
        """The objective of ``x`` in the user's sense."""
        return self.in_user_sense(float(self.costs @ x) + self.offset)

    def in_user_sense(self, value: float) -> float:
        """A value of cᵀx + c₀ with the sign of the user's objective."""
        return -value if self.maximize else value

    def column_name(self, column: int) -> str:
        """The column's name, by default ``x0``, ``x1``, ..."""
        return self.column_names[column] if self.column_names else f"x{column}"

    def row_name(self, row: int) -> str:
        """The row's name, by default ``r0``, ``r1``, ..."""
        return self.row_names[row] if self.row_names else f"r{row}"


def _check_values(field: str, values: Array, wrong: Array, expected: str) -> None:
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise DataError("not a valid number", field=f"{field}[{at}]", value=float(values[at]), expected=expected)


def _check_names(field: str, names: Sequence[str], length: int) -> None:
    if names and len(names) != length:
        raise DataError("not one name each", field=field, value=len(names), expected=f"{length} names, or none")
    if len(set(names)) != len(names):
        seen: set[str] = set()
        duplicate = next(name for name in names if name in seen or seen.add(name))
        raise DataError("a duplicate name", field=field, value=duplicate, expected="different names")
