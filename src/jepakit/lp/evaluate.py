"""What a start is worth: pivots and time beside those of every way to start that has learned nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from jepakit.errors import DataError
from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.formats.stored import matrix_fingerprint
from jepakit.lp.solving.certificate import residuals
from jepakit.lp.solving.highs import HighsSolver
from jepakit.lp.solving.iterates import guessed_basis, primal_dual
from jepakit.lp.solving.scaling import equilibrated
from jepakit.lp.solving.solver import Solution, SolveConfig, Solver, Start
from jepakit.lp.starts.family import LearnedFamily
from jepakit.training.result_rows import ResultRow

__all__ = [
    "BALANCED",
    "BEST",
    "COLD",
    "FAMILY",
    "ITERATED",
    "MODEL",
    "NEAREST",
    "PDLP",
    "PLAIN",
    "ROLLED",
    "ROLLING",
    "Solved",
    "Way",
    "evaluate",
    "solved",
    "ways",
]

COLD, MODEL, FAMILY = "HiGHS, cold", "jepakit: model", "jepakit: model or training, as chosen"
NEAREST, ROLLING = "HiGHS, basis of the nearest problem of training", "HiGHS, basis of the problem before"
BEST = "jepakit: basis of training that proves the best bound"
ROLLED = "jepakit: basis of the problem before, rows of one entry as bounds"
PDLP = "basis guessed from 128 iterations of PDLP"
ITERATED = "basis guessed from the model's iterations, nothing learned"
BALANCED = "jepakit: the same with the learned balance, no network"
#: What HiGHS does by itself with a basis: it gets the problems as they are.
PLAIN = (NEAREST, ROLLING)
#: As many as PDLP was found to need for a start that pays on set covers.
_PDLP_ITERATIONS = 128

Way = Callable[[LinearProgram, "Solution | None"], list[Start]]
"""From a problem, and what the same way came to on the problem before, to guesses."""


@dataclass(frozen=True, eq=False)
class Solved:
    """A problem solved in one way.

    Args:
        solution: what came of it.
        starts: the guesses.
        seconds: for the guesses and everything after.
    """

    solution: Solution
    starts: list[Start]
    seconds: float


def evaluate(problems: Sequence[LinearProgram], family: LearnedFamily, config: SolveConfig) -> tuple[ResultRow, ...]:
    """A table of pivots and seconds of each way to start, and of how good the raw guesses are.

    Args:
        problems: that the family was not trained on.
        family: a model and its neighbours.
        config: of the solver.

    Raises:
        DataError: there are no problems, one has no optimum, or two ways come to different optima.
    """
    found = solved(problems, ways(family, problems), config)
    where = f"{len(problems)} problems"
    rows: list[ResultRow] = []
    for way, ones in found.items():
        rows += _spread(where, way, "pivots", [one.solution.pivots for one in ones])
    for way, ones in found.items():
        rows += _spread(where, way, "time in ms, guess included", [1e3 * one.seconds for one in ones])
    guesses = [one.starts[0] for one in found[MODEL]]
    return (*rows, *_raw(where, problems, guesses, [one.solution for one in found[COLD]]))


def ways(family: LearnedFamily, problems: Sequence[LinearProgram]) -> dict[str, Way]:
    """All that there are to start on problems: cold, without learning, with the model.

    Args:
        family: a model and its neighbours.
        problems: where their matrices differ there is no basis to take over from the one before; where they are not
            the family's there is no neighbour.
    """
    pdlp, neighbours = HighsSolver(), family.neighbours
    found: dict[str, Way] = {
        COLD: lambda _problem, _before: [],
        PDLP: lambda problem, _before: [_guessed("pdlp", problem, lambda one: pdlp.iterates(one, _PDLP_ITERATIONS))],
    }
    if iterations := family.model.encoder.config.iterations:
        balance = family.model.balance
        found[ITERATED] = lambda problem, _before: [
            _guessed("iterations", problem, lambda one: primal_dual(one, iterations))
        ]
        found[BALANCED] = lambda problem, _before: [
            _guessed("iterations", problem, lambda one: primal_dual(one, iterations, balance))
        ]
    if neighbours is not None and problems and neighbours.nearest(problems[0]) is not None:
        found[NEAREST] = lambda problem, _before: _known(neighbours.nearest(problem))
        found[BEST] = lambda problem, _before: _known(neighbours.best(problem))
    if len({matrix_fingerprint(problem) for problem in problems}) == 1:
        found[ROLLING] = found[ROLLED] = _rolling
    found[FAMILY] = lambda problem, _before: family.starts(problem)[0]
    found[MODEL] = lambda problem, _before: family.model.starts([problem])
    return found


def solved(problems: Sequence[LinearProgram], by: Mapping[str, Way], config: SolveConfig) -> dict[str, list[Solved]]:
    """Every problem in every way, side by side, so that a busy machine is busy for all of them.

    Args:
        problems: of one family.
        by: ways to start; `COLD` among them. A name that begins with one of `PLAIN` is solved without our reductions.
        config: of the solver.

    Raises:
        DataError: there are no problems, one has no optimum, or two ways come to different optima.
    """
    if not problems:
        raise DataError("no problem", field="problems", expected="one at least")
    # HiGHS goes on from its own last answer faster than from the same basis elsewhere: each way has its own.
    solvers = {way: Solver(replace(config, reduce=config.reduce and not way.startswith(PLAIN))) for way in by}
    found: dict[str, list[Solved]] = {way: [] for way in by}
    for problem in problems:
        for way, starts in by.items():
            before = found[way][-1].solution if found[way] else None
            begin = perf_counter()
            given = starts(problem, before)
            solution = solvers[way].solve(problem, given)
            found[way].append(Solved(solution, given, perf_counter() - begin))
        cold = found[COLD][-1].solution
        for ones in found.values():
            _require_same(problem, ones[-1].solution, cold)
    return found


def _rolling(_problem: LinearProgram, before: Solution | None) -> list[Start]:
    return [] if before is None else [Start("before", basis=before.basis)]


def _known(start: Start | None) -> list[Start]:
    return [] if start is None else [start]


def _guessed(source: str, problem: LinearProgram, iterated: Callable[[LinearProgram], tuple[Array, Array]]) -> Start:
    scaled, scaling = equilibrated(problem)
    x, y = iterated(scaled)
    return Start(source, scaling.x(x), scaling.y(y), guessed_basis(scaled, x, y))


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
