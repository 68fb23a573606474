"""Linear programs from other libraries: SciPy's ``linprog`` arguments, linopy, CVXPY."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from jepakit.errors import DataError
from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.highs import from_highs

if TYPE_CHECKING:
    import cvxpy
    import linopy


Bounds = Sequence[Sequence[float | None]] | Sequence[float | None] | Array | None
"""(lower, upper) for all columns, or one pair per column, None in it: no bound. None: (0, None), as in SciPy."""


def from_linprog(
    c: ArrayLike,
    A_ub: Any = None,
    b_ub: ArrayLike | None = None,
    A_eq: Any = None,
    b_eq: ArrayLike | None = None,
    bounds: Bounds = (0, None),
) -> LinearProgram:
    """min cᵀx subject to A_ub x ≤ b_ub, A_eq x = b_eq and bounds, with the arguments of ``scipy.optimize.linprog``.

    The rows of A_ub come first. Matrices may be dense or sparse.

    Raises:
        DataError: names the argument that does not fit.
    """
    costs = np.atleast_1d(np.asarray(c, float).squeeze())
    inequalities, right = _rows("A_ub", A_ub, b_ub, len(costs))
    equations, sides = _rows("A_eq", A_eq, b_eq, len(costs))
    lower, upper = _bounds(bounds, len(costs))
    return LinearProgram(
        costs=costs,
        matrix=sp.csc_array(sp.vstack([inequalities, equations], format="csc")),
        row_lower=np.concatenate([np.full(len(right), -np.inf), sides]),
        row_upper=np.concatenate([right, sides]),
        lower=lower,
        upper=upper,
    )


def _rows(name: str, matrix: Any, sides: ArrayLike | None, columns: int) -> tuple[sp.csc_array, Array]:
    if (matrix is None) != (sides is None):
        raise DataError("one without the other", field=f"{name}, b{name[1:]}", expected="both or neither")
    if matrix is None:
        return sp.csc_array((0, columns)), np.zeros(0)
    rows = sp.csc_array(matrix if sp.issparse(matrix) else np.atleast_2d(np.asarray(matrix, float)))
    values = np.atleast_1d(np.asarray(sides, dtype=float).squeeze())
    shape = (len(values), columns)
    if rows.shape != shape:  # pyright: ignore[reportUnnecessaryComparison]
        raise DataError("of another shape than b and c", field=name, value=rows.shape, expected=str(shape))
    return rows, values


def _bounds(bounds: Bounds, columns: int) -> tuple[Array, Array]:
    bounds = (0, None) if bounds is None else bounds
    # As floats None becomes NaN.
    given = np.array(np.atleast_2d(np.asarray(bounds, dtype=object)), dtype=float)
    if given.shape not in ((1, 2), (columns, 2)):
        raise DataError("of another shape", field="bounds", value=given.shape, expected=f"(2,) or {(columns, 2)}")
    pairs = np.broadcast_to(np.where(np.isnan(given), [[-np.inf, np.inf]], given), (columns, 2))
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def from_linopy(model: linopy.Model, *, relax: bool = False) -> LinearProgram:
    """The problem of a linopy model, with variables and constraints in linopy's order; see `from_highs`."""
    return from_highs(model.to_highspy(), relax=relax)


def from_cvxpy(problem: cvxpy.Problem) -> LinearProgram:
    """A CVXPY problem in CVXPY's standard form: its columns are not the variables, its optimum is the same.

    Raises:
        DataError: the problem is not linear.
    """
    import cvxpy

    if not problem.is_lp() or problem.is_mixed_integer():
        expected = "linear objective and constraints, no integers"
        raise DataError("not a linear program", field="problem", expected=expected)
    data, _, _ = problem.get_problem_data(cvxpy.SCIPY)
    _, offset, *_ = data["param_prob"].apply_parameters()
    standard = from_linprog(data["c"], data.get("G"), data.get("h"), data.get("A"), data.get("b"), (None, None))
    # The standard form is a minimisation, the offset included.
    return replace(standard, offset=float(offset), maximize=isinstance(problem.objective, cvxpy.Maximize))
