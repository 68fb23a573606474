"""Linear programs with two-sided rows, bounded columns and a sparse matrix."""

from __future__ import annotations

import hashlib
from collections import Counter
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
        for field in ("costs", "lower", "upper", "row_lower", "row_upper"):
            values = np.ascontiguousarray(getattr(self, field), dtype=np.float64)
            object.__setattr__(self, field, values)
            shape = (self.rows if field.startswith("row") else self.columns,)
            if values.shape != shape:
                raise DataError(
                    "of another shape than the matrix", field=field, value=values.shape, expected=str(shape)
                )
        for field, values in (("costs", self.costs), ("matrix", matrix.data), ("offset", np.array([self.offset]))):
            _require_valid(field, values, np.isfinite(values), "a finite number")
        for field, never in (("lower", np.inf), ("row_lower", np.inf), ("upper", -np.inf), ("row_upper", -np.inf)):
            values = getattr(self, field)
            _require_valid(field, values, ~np.isnan(values) & (values != never), f"a number, or {-never:+}")
        for field, length in (("column_names", self.columns), ("row_names", self.rows)):
            names = tuple(getattr(self, field))
            object.__setattr__(self, field, names)
            if names and len(names) != length:
                raise DataError("not one name each", field=field, value=len(names), expected=f"{length} names, or none")
            if len(set(names)) < len(names):
                (duplicate, _), *_ = Counter(names).most_common(1)
                raise DataError("a duplicate name", field=field, value=duplicate, expected="different names")

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


def fingerprint(problem: LinearProgram) -> str:
    """A hash of all numbers of a problem; names do not count."""
    return _digest(problem, problem.costs, problem.row_lower, problem.row_upper, problem.lower, problem.upper)


def matrix_fingerprint(problem: LinearProgram) -> str:
    """A hash of the matrix."""
    return _digest(problem)


def _digest(problem: LinearProgram, *vectors: Array) -> str:
    matrix, digest = problem.matrix, hashlib.blake2b(digest_size=16)
    for part in (*vectors, matrix.data, matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)):
        digest.update(part.tobytes() + b";")
    return digest.hexdigest()


def _require_valid(field: str, values: Array, valid: Array, expected: str) -> None:
    if not valid.all():
        at = int(valid.argmin())
        raise DataError("not a valid number", field=f"{field}[{at}]", value=float(values[at]), expected=expected)


def all_bounds(problem: LinearProgram) -> tuple[Array, Array]:
    """Lower and upper bounds of columns and rows, ``[n + m]``."""
    return (
        np.concatenate([problem.lower, problem.row_lower]),
        np.concatenate([problem.upper, problem.row_upper]),
    )
