"""A linear program as jepakit holds it: two-sided rows, boxed columns, a sparse matrix; nothing is split or dense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from jepakit.errors import DataError

__all__ = ["Array", "LinearProgram"]

Array = np.ndarray
_SIDES = (("row_lower", "row_upper"), ("lower", "upper"))


@dataclass(frozen=True, eq=False)
class LinearProgram:
    """min cᵀx + c₀ subject to L ≤ Ax ≤ U and l ≤ x ≤ u, with m rows and n columns; a side may be infinite.

    Bounds that cross are no fault of the data: the problem is infeasible, and whoever solves it will say so.

    Args:
        costs: c, ``[n]``.
        matrix: A, ``[m, n]``.
        row_lower: L, ``[m]``.
        row_upper: U, ``[m]``.
        lower: l, ``[n]``.
        upper: u, ``[n]``.
        offset: c₀.
        maximize: whoever posed it asks for the largest -(cᵀx + c₀); `objective` is told in their sense.
        name: of the problem.
        column_names: ``n`` different names, or none.
        row_names: ``m`` different names, or none.

    Raises:
        DataError: names what has another shape, is not a number, or is infinite where nothing can be.
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
        self._convert()
        rows, columns = self.rows, self.columns
        for field, length in (("costs", columns), ("lower", columns), ("upper", columns)):
            _check_length(field, getattr(self, field), length)
        for field in ("row_lower", "row_upper"):
            _check_length(field, getattr(self, field), rows)
        self._check_values()
        for field, length in (("column_names", columns), ("row_names", rows)):
            _check_names(field, getattr(self, field), length)

    def _convert(self) -> None:
        matrix = sp.csc_array(self.matrix, dtype=np.float64)
        matrix.sum_duplicates()
        object.__setattr__(self, "matrix", matrix)
        for field in ("costs", "row_lower", "row_upper", "lower", "upper"):
            object.__setattr__(self, field, np.ascontiguousarray(getattr(self, field), dtype=np.float64))
        for field in ("column_names", "row_names"):
            object.__setattr__(self, field, tuple(getattr(self, field)))

    def _check_values(self) -> None:
        for field, values in (("costs", self.costs), ("matrix", self.matrix.data), ("offset", np.array([self.offset]))):
            _refuse(field, values, ~np.isfinite(values), "a finite number")
        for low, high in _SIDES:
            for field, never in ((low, np.inf), (high, -np.inf)):
                values = getattr(self, field)
                _refuse(field, values, np.isnan(values) | (values == never), f"a number, or {-never:+}")

    @property
    def rows(self) -> int:
        """m."""
        return int(self.matrix.shape[0])  # type: ignore[index]

    @property
    def columns(self) -> int:
        """n."""
        return int(self.matrix.shape[1])  # type: ignore[index]

    def objective(self, x: Array) -> float:
        """What ``x`` comes to, in the sense of whoever posed the problem."""
        return self.in_user_sense(float(self.costs @ x) + self.offset)

    def in_user_sense(self, value: float) -> float:
        """A value of cᵀx + c₀ in the sense of whoever posed the problem."""
        return -value if self.maximize else value

    def column_name(self, column: int) -> str:
        """Its name, or ``x0``, ``x1``, ... where there are none."""
        return self.column_names[column] if self.column_names else f"x{column}"

    def row_name(self, row: int) -> str:
        """Its name, or ``r0``, ``r1``, ... where there are none."""
        return self.row_names[row] if self.row_names else f"r{row}"


def _check_length(field: str, values: Array, length: int) -> None:
    if values.shape != (length,):
        raise DataError("of another shape than the matrix", field=field, value=values.shape, expected=str((length,)))


def _refuse(field: str, values: Array, wrong: Array, expected: str) -> None:
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise DataError(
            "no number that can stand here", field=f"{field}[{at}]", value=float(values[at]), expected=expected
        )


def _check_names(field: str, names: Sequence[str], length: int) -> None:
    if names and len(names) != length:
        raise DataError("not a name each", field=field, value=len(names), expected=f"{length} names, or none")
    if len(set(names)) != len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))
        raise DataError("a name that stands twice", field=field, value=twice, expected="different names")
