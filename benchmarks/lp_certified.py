"""Is "certified" true? Small linear programs of every kind that has fooled a solver, beside rational arithmetic.

    python -m benchmarks.lp_certified            # some minutes on one core
    python -m benchmarks.lp_certified --quick    # 200 problems

The problems (`benchmarks.lp_hard_problems`) have whole numbers first; then costs, sides, rows and columns get other
units, columns become free or fixed, rows are repeated, large columns cancel, and tiny coefficients are added. The truth
is the simplex method in fractions (`benchmarks.lp_exact`). A wrong answer has another status, or an objective that is
off by more than 1e-6 of its size; "infeasible or unbounded" is right for either. "From a model": the guesses of a
network with random weights. Rivals are HiGHS through SciPy, and SoPlex through SCIP where ``pyscipopt`` is installed
(``pip install pyscipopt==6.3.0``); it is no dependency.

The wrong answer that is left is called unbounded, and not certified: two columns of it are parallel but for the
rounding of 2e-11 and 3e-11, and its optimum, -1.4e17, exists by that alone.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from scipy.optimize import Bounds, LinearConstraint, milp

from benchmarks.harness import Options, Steps, main
from benchmarks.lp_exact import Truth, truth
from benchmarks.lp_hard_problems import hard_problem
from jepakit.lp import Basis, LinearProgram, LPModel, Solver, Start
from jepakit.training.result_rows import ResultRow

COLD, NOISE, ROLLING, MODEL = (
    "jepakit: cold",
    "jepakit: from noise",
    "jepakit: from the problem before",
    "jepakit: from a model with random weights",
)
HIGHS, SOPLEX = "HiGHS, through SciPy", "SoPlex, through SCIP"
#: The first seed; the tests have smaller ones.
_FIRST = 10_000
#: Allowed distance from the optimum, relative to its size, and to the terms of the objective.
_TOLERANCE, _ROUNDING = 1e-6, 1e-13
_EITHER = "infeasible or unbounded"
#: A status, an objective in the user's sense, whether certified, and x.
Said = tuple[str, float, bool, np.ndarray]


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    count = 200 if options.quick else 3000
    methods: dict[str, Callable[[int], Iterator[tuple[LinearProgram, Truth, Said]]]] = {
        COLD: _cold,
        NOISE: _noise,
        ROLLING: _rolling,
        MODEL: _model,
        HIGHS: partial(_rival, answer=_scipy),
    }
    if importlib.util.find_spec("pyscipopt") is not None:
        methods[SOPLEX] = partial(_rival, answer=_soplex)
    where = f"{count} problems"
    table: list[ResultRow] = []
    for method, said in methods.items():
        facts = steps.value((method, count), lambda said=said: _facts(said(count)))
        ours = method.startswith("jepakit")
        aim = 0.0 if ours else None
        table.append(
            ResultRow(where, method, "wrong answers", facts["wrong"], aim=aim, ours=ours, lower_is_better=True)
        )
        if ours:
            table.append(
                ResultRow(
                    where, method, "certified, and wrong", facts["falsely"], aim=0.0, ours=True, lower_is_better=True
                )
            )
            table.append(ResultRow(where, method, "certified, %", 100 * facts["certified"] / count, ours=True))
    return table


def _facts(said: Iterator[tuple[LinearProgram, Truth, Said]]) -> dict[str, float]:
    wrong = certified = falsely = 0
    for problem, true, (status, objective, proved, x) in said:
        right = _is_right(problem, true, status, objective, x)
        wrong += not right
        certified += proved
        falsely += proved and not right
    return {"wrong": float(wrong), "certified": float(certified), "falsely": float(falsely)}


def _is_right(problem: LinearProgram, true: Truth, status: str, objective: float, x: np.ndarray) -> bool:
    if status == _EITHER:
        return true[0] != "optimal"
    if status != true[0]:
        return False
    if status != "optimal":
        return True
    if not np.isfinite(objective):
        return False
    off = abs(Fraction(problem.in_user_sense(objective)) - true[1])
    size = abs(float(true[1] - Fraction(problem.offset)))
    terms = float(np.abs(problem.costs) @ np.abs(x)) + abs(problem.offset)
    return off <= _TOLERANCE * size + _ROUNDING * terms


@cache
def _problem(seed: int) -> tuple[LinearProgram, Truth]:
    _, problem = hard_problem(_FIRST + seed)
    return problem, truth(problem)


def _solved(solver: Solver, seed: int, starts: list[Start]) -> tuple[LinearProgram, Truth, Said]:
    problem, true = _problem(seed)
    solution = solver.solve(problem, starts)
    return problem, true, (solution.status, solution.objective, solution.certified, solution.x)


def _cold(count: int) -> Iterator[tuple[LinearProgram, Truth, Said]]:
    for seed in range(count):
        yield _solved(Solver(), seed, [])


def _noise(count: int) -> Iterator[tuple[LinearProgram, Truth, Said]]:
    for seed in range(count):
        problem, draw = _problem(seed)[0], np.random.default_rng(seed)
        basis = Basis(draw.integers(0, 4, problem.columns), draw.integers(0, 4, problem.rows))
        start = Start("noise", draw.normal(size=problem.columns), draw.normal(size=problem.rows), basis)
        yield _solved(Solver(), seed, [start])


def _rolling(count: int) -> Iterator[tuple[LinearProgram, Truth, Said]]:
    """Each from the optimum of the same problem with other sides, in one process."""
    solver = Solver()
    for seed in range(count):
        problem, draw = _problem(seed)[0], np.random.default_rng(seed)
        moved = problem.row_upper + draw.integers(0, 3, problem.rows) * np.abs(
            np.nan_to_num(problem.row_upper, posinf=0)
        )
        before = solver.solve(replace(problem, row_upper=moved))
        starts = [] if before.basis is None else [Start("before", before.x, before.y, before.basis)]
        yield _solved(solver, seed, starts)


def _model(count: int) -> Iterator[tuple[LinearProgram, Truth, Said]]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LPModel(True, 0, 0).eval()
    for seed in range(count):
        yield _solved(Solver(), seed, model.starts([_problem(seed)[0]]))


def _rival(
    count: int, answer: Callable[[LinearProgram], tuple[str, float, np.ndarray]]
) -> Iterator[tuple[LinearProgram, Truth, Said]]:
    for seed in range(count):
        problem, true = _problem(seed)
        status, objective, x = answer(problem)
        yield problem, true, (status, objective, False, x)


def _scipy(problem: LinearProgram) -> tuple[str, float, np.ndarray]:
    # SciPy's type stubs know numbers alone.
    sides: tuple[Any, Any] = (problem.row_lower, problem.row_upper)
    bounds: tuple[Any, Any] = (problem.lower, problem.upper)
    found = milp(problem.costs, bounds=Bounds(*bounds), constraints=[LinearConstraint(problem.matrix, *sides)])
    status = {0: "optimal", 2: "infeasible", 3: "unbounded"}.get(found.status, "failed")
    status = (
        _EITHER if "nfeasible or unbounded" in found.message or "nbounded or infeasible" in found.message else status
    )
    x = np.full(problem.columns, np.nan) if found.x is None else found.x
    return status, problem.objective(x), x


def _soplex(problem: LinearProgram) -> tuple[str, float, np.ndarray]:
    scip = importlib.import_module("pyscipopt")
    model = scip.Model()
    model.hideOutput()
    bounds = zip(problem.lower.tolist(), problem.upper.tolist(), strict=True)
    columns = [
        model.addVar(lb=None if low == -np.inf else low, ub=None if high == np.inf else high) for low, high in bounds
    ]
    by_row = problem.matrix.tocsr()
    for row in range(problem.rows):
        entries = slice(by_row.indptr[row], by_row.indptr[row + 1])
        terms = [float(a) * columns[j] for a, j in zip(by_row.data[entries], by_row.indices[entries], strict=True)]
        low, high = float(problem.row_lower[row]), float(problem.row_upper[row])
        activity = scip.quicksum(terms)
        if low > -np.inf:
            model.addCons(activity >= low)
        if high < np.inf:
            model.addCons(activity <= high)
    model.setObjective(scip.quicksum(float(c) * column for c, column in zip(problem.costs, columns, strict=True)))
    model.optimize()
    status = _EITHER if model.getStatus() == "inforunbd" else str(model.getStatus())
    x = np.full(problem.columns, np.nan)
    if status == "optimal":
        x = np.array([model.getVal(column) for column in columns])
    return status, problem.objective(x), x


if __name__ == "__main__":
    main("lp_certified", rows)
