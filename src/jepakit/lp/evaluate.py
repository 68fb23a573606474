"""What a start is worth: pivots and time beside those of cold HiGHS and of the nearest problem of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

from jepakit.errors import DataError
from jepakit.lp.certificate import residuals
from jepakit.lp.data import LinearProgram
from jepakit.lp.family import LearnedFamily
from jepakit.lp.iterates import guessed_basis, primal_dual
from jepakit.lp.scaling import equilibrated
from jepakit.lp.solve import Solution, SolveConfig, Solver, Start
from jepakit.training.result_rows import ResultRow

__all__ = ["COLD", "MODEL", "NEIGHBOUR", "evaluate"]

COLD, NEIGHBOUR, MODEL = "HiGHS, cold", "basis of the nearest problem", "jepakit: model"
ITERATED = "basis guessed from first-order iterations"
#: As many as PDLP was found to need for a start that pays on set covers.
_ITERATIONS = 128


def evaluate(problems: Sequence[LinearProgram], family: LearnedFamily, config: SolveConfig) -> tuple[ResultRow, ...]:
    """A table of pivots and seconds of each way to start, and of how good the raw guesses are.

    Args:
        problems: that the family was not trained on.
        family: a model and its neighbours.
        config: of the solver.

    Raises:
        DataError: there are no problems, one has no optimum, or two ways come to different optima.
    """
    if not problems:
        raise DataError("no problem", field="problems", expected="one at least")
    ways: dict[str, Callable[[LinearProgram], list[Start]]] = {
        COLD: lambda _: [],
        ITERATED: lambda problem: [_iterated(problem)],
        NEIGHBOUR: lambda problem: _neighbour(family, problem),
        MODEL: lambda problem: family.model.starts([problem]),
    }
    if family.neighbours is None or _neighbour(family, problems[0]) == []:
        del ways[NEIGHBOUR]
    solver = Solver(config)
    found: dict[str, list[Solution]] = {way: [] for way in ways}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    guesses: list[Start] = []
    for problem in problems:
        for way, starts in ways.items():
            begin = perf_counter()
            given = starts(problem)
            solution = solver.solve(problem, given)
            seconds[way].append(perf_counter() - begin)
            _require_same(problem, solution, found[COLD][-1] if way != COLD else solution)
            found[way].append(solution)
            guesses += given if way == MODEL else []
    where = f"{len(problems)} problems"
    rows: list[ResultRow] = []
    for way, solutions in found.items():
        rows += _spread(where, way, "pivots", [solution.pivots for solution in solutions])
    for way in ways:
        rows += _spread(where, way, "time in ms, guess included", [1e3 * value for value in seconds[way]])
    return (*rows, *_raw(where, problems, guesses, found[COLD]))


def _neighbour(family: LearnedFamily, problem: LinearProgram) -> list[Start]:
    nearest = None if family.neighbours is None else family.neighbours.nearest(problem)
    return [] if nearest is None else [nearest]


def _iterated(problem: LinearProgram) -> Start:
    scaled, scaling = equilibrated(problem)
    x, y = primal_dual(scaled, _ITERATIONS)
    return Start("iterations", scaling.x(x), scaling.y(y), guessed_basis(scaled, x, y))


def _spread(where: str, way: str, metric: str, values: Sequence[float]) -> list[ResultRow]:
    """The median, and the worst."""
    return [
        ResultRow(where, way, f"{metric}, median", float(np.median(values))),
        ResultRow(where, way, f"{metric}, worst", float(np.max(values))),
    ]


def _raw(
    where: str, problems: Sequence[LinearProgram], guesses: Sequence[Start], optima: Sequence[Solution]
) -> list[ResultRow]:
    """Of the guesses before anything is solved."""
    gaps: list[float] = []
    missed: list[float] = []
    right: list[float] = []
    for problem, start, optimum in zip(problems, guesses, optima, strict=True):
        assert start.x is not None
        assert start.y is not None
        assert start.basis is not None
        value = problem.objective(start.x)
        gaps.append(abs(value - optimum.objective) / max(abs(optimum.objective), 1e-9))
        missed.append(residuals(problem, start.x, start.y).primal)
        if optimum.basis is not None:
            same = np.concatenate([start.basis.columns, start.basis.rows])
            right.append(float((same == np.concatenate([optimum.basis.columns, optimum.basis.rows])).mean()))
    return [
        ResultRow(where, MODEL, "guess: relative gap of the objective, %", 100 * float(np.mean(gaps))),
        ResultRow(where, MODEL, "guess: largest relative violation, mean", float(np.mean(missed))),
        ResultRow(where, MODEL, "guess: statuses of the optimal basis, %", 100 * float(np.mean(right))),
    ]


def _require_same(problem: LinearProgram, solution: Solution, cold: Solution) -> None:
    if solution.status != "optimal":
        raise DataError(f"no optimum: {solution.message}", field="problems", value=problem.name)
    if abs(solution.objective - cold.objective) > 1e-6 * (1 + abs(cold.objective)):
        value = (solution.objective, cold.objective)
        raise DataError("two starts come to different optima", field=problem.name, value=value)
