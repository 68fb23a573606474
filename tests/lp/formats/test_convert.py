"""Problems of other libraries have the optimum that these libraries find."""

from __future__ import annotations

import cvxpy
import linopy
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.optimize import linprog as scipy_linprog

from jepakit.errors import ConfigError, DataError
from jepakit.lp import Solver, from_cvxpy, from_linopy, from_linprog, linprog


@pytest.mark.parametrize("sparse", [False, True])
def test_linprog(sparse: bool) -> None:
    draw = np.random.default_rng(0)
    least, most = draw.normal(size=(6, 8)), draw.normal(size=(2, 8))
    inside = draw.random(8)
    arguments = {
        "c": draw.normal(size=8),
        "A_ub": sp.csr_matrix(least) if sparse else least,
        "b_ub": least @ inside + 0.1,
        "A_eq": most,
        "b_eq": most @ inside,
        "bounds": [(0, 2), (None, 3), (-1, 4), *[(0, 1)] * 5],
    }
    problem = from_linprog(**arguments)  # type: ignore[arg-type]
    assert problem.lower[:3].tolist() == [0, -np.inf, -1]
    assert Solver().solve(problem).objective == pytest.approx(scipy_linprog(**arguments).fun)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"A_ub": [[1, 2, 3]], "b_ub": [1]}, r"A_ub: of another shape.*\(1, 3\)"),
        ({"A_ub": [[1, 2]]}, "A_ub, b_ub: one without the other"),
        ({"bounds": [(0, 1)] * 3}, "bounds: of another shape"),
        ({"A_eq": [[1, np.nan]], "b_eq": [1]}, r"matrix\[1\]: not a valid number \(found nan\)"),
        ({"bounds": (np.inf, None)}, r"lower\[0\]"),
    ],
)
def test_linprog_that_does_not_fit(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_linprog([1, 1], **arguments)  # type: ignore[arg-type]


def test_cvxpy() -> None:
    x = cvxpy.Variable(3)
    constraints = [np.arange(6.0).reshape(2, 3) @ x <= 4, x >= 0, x[0] + x[1] == 1]
    for objective in (cvxpy.Maximize(np.array([1, 2, 3]) @ x + 5), cvxpy.Minimize(cvxpy.norm1(x - 1) - 2)):
        problem = cvxpy.Problem(objective, constraints)
        wanted = problem.solve(solver=cvxpy.HIGHS)
        assert Solver().solve(from_cvxpy(problem)).objective == pytest.approx(wanted)
    with pytest.raises(DataError, match="not a linear program"):
        from_cvxpy(cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(x))))


def test_linopy() -> None:
    model = linopy.Model()
    x = model.add_variables(lower=0, upper=5, coords=[pd.RangeIndex(3)], name="x")
    model.add_constraints(x.sum() >= 4)
    model.add_objective((x * np.array([1.0, 2.0, 3.0])).sum())
    assert Solver().solve(from_linopy(model)).objective == 4
    model.add_objective((x * np.array([1.0, 2.0, 3.0])).sum(), sense="max", overwrite=True)
    assert Solver().solve(from_linopy(model)).objective == 30


def test_linprog_takes_what_scipy_takes() -> None:
    arguments = ([-1.0, -2.0], [[1.0, 1.0]], [[4.0]])
    for bounds, method in ((None, "highs"), ((0, None), "highs-ds"), ([(0, None)] * 2, "highs-ipm")):
        solution = linprog(*arguments, bounds=bounds, method=method, integrality=[0, 0])  # type: ignore[arg-type]
        assert solution.objective == scipy_linprog(*arguments, bounds=bounds, method=method).fun == -8
    with pytest.raises(ConfigError, match="method = 'simplex'"):
        linprog(*arguments, method="simplex")
    with pytest.raises(DataError, match="integrality: columns that have to be integer"):
        linprog(*arguments, integrality=1)
