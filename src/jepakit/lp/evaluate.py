"""Pivots and time from the starts of a trained family, beside those of floors and rivals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from jepakit.errors import DataError
from jepakit.lp.data import Array, LinearProgram, matrix_fingerprint
from jepakit.lp.model import LPModel
from jepakit.lp.reporting import curves_by_problem
from jepakit.lp.solving.certificate import residuals
from jepakit.lp.solving.highs import HighsSolver, Method
from jepakit.lp.solving.iterates import guessed_basis, primal_dual
from jepakit.lp.solving.scaling import equilibrated
from jepakit.lp.solving.solver import Solution, SolveConfig, Solver, Start
from jepakit.lp.starts.advice import Timed, recommendation, within_noise
from jepakit.lp.starts.choice import Choice
from jepakit.lp.starts.family import LearnedFamily
from jepakit.lp.stream import start_of
from jepakit.progress import tracked
from jepakit.training.result_rows import ResultRow
from jepakit.training.results import Evaluation

COLD, MODEL, FAMILY = "HiGHS, cold", "jepakit: model", "jepakit: as chosen on held-out problems"
INTERIOR = "HiGHS, interior point and crossover"
NEAREST, ROLLING = "HiGHS, basis of the nearest problem of training", "HiGHS, basis of the problem before"
BEST = "jepakit: basis of training that proves the best bound"
ROLLED = "jepakit: basis of the problem before, rows of one entry as bounds"
PDLP = "basis guessed from 128 iterations of PDLP"
ITERATED = "basis guessed from the model's iterations, nothing learned"
UNTRAINED = "the same model, untrained"
BALANCED = "jepakit: iterations with the learned balance, no network"
#: Measured: with fewer, PDLP's start does not pay on set covers.
_PDLP_ITERATIONS = 128


@dataclass
class EvaluateConfig(SolveConfig):
    """How the problems are solved, from every start."""


@dataclass(frozen=True)
class Way:
    """A way to start.

    Args:
        starts: from a problem, and the solution of the problem before in the same way (None for the first), to guesses.
        ours: it is one of jepakit's; otherwise it is a floor or a rival.
        learned: another seed of training gives other guesses.
        network: it needs a network.
        reduce: our reductions may be used; otherwise HiGHS gets the problems as they are.
        method: of a cold solve; None: that of the configuration.
    """

    starts: Callable[[LinearProgram, Solution | None], list[Start]]
    ours: bool = False
    learned: bool = False
    network: bool = False
    reduce: bool = True
    method: Method | None = None


@dataclass(frozen=True, eq=False)
class Solved:
    """A problem solved in one way: its solution, the guesses, and the seconds of both."""

    solution: Solution
    starts: list[Start]
    seconds: float


def evaluate(
    problems: Sequence[LinearProgram],
    family: LearnedFamily,
    config: EvaluateConfig,
    *,
    random_model: LPModel | None = None,
) -> Evaluation:
    """A table of pivots and seconds of each way to start, and of how good the raw guesses are.

    Args:
        problems: that the family was not trained on.
        family: a model and its neighbours.
        config: of the solver.
        random_model: the family's model before training: a floor; None leaves it out.

    Raises:
        DataError: there are no problems, one has no optimum, or two ways lead to different optima.
    """
    by = ways(family, problems, random_model)
    results = solved(problems, by, config)
    where = f"{len(problems)} problems"
    rows: list[ResultRow] = []
    for name, way in by.items():
        rows += _spread(where, name, way, "pivots", [result.solution.pivots for result in results[name]])
    timed = [
        Timed(name, tuple(1e3 * result.seconds for result in results[name]), way.network) for name, way in by.items()
    ]
    rows += _mean_rows(where, timed, {name for name, way in by.items() if way.ours})
    for name, way in by.items():
        times = [1e3 * result.seconds for result in results[name]]
        rows += _spread(where, name, way, "time in ms, guess included", times)
    guesses = [result.starts[0] for result in results[MODEL]]
    rows += _raw(where, problems, guesses, [result.solution for result in results[COLD]])
    summary = [
        "Pivots and time of every way to start; the guess is part of the time. All ways end at the same optimum."
    ]
    if difference := family.choice.difference(problems[0]):
        summary.append(
            f"The problems are of another kind than those of training ({difference}): `solve` uses the model for them"
            " only if it is faster on the first of many."
        )
    return Evaluation(
        title=f"Starts of {where}",
        summary=tuple(summary),
        recommendation=recommendation(timed),
        rows=tuple(rows),
        curves=curves_by_problem(
            [problem.name or f"problem {number}" for number, problem in enumerate(problems, start=1)],
            pivots={name: [one.solution.pivots for one in results[name]] for name in by},
            milliseconds={one.name: one.milliseconds for one in timed},
        ),
    )


def measured_ways(choice: Choice) -> Evaluation:
    """The table of the ways that were timed on held-out problems of training, and what follows from it."""
    timed = [way.timed for way in choice.ways]
    if not choice.measured:
        summary = "No problem was held out: the ways to start were not measured, and the model is not used."
        return Evaluation(title="Ways to start", summary=(summary,))
    count = len(timed[0].milliseconds)
    where = "1 held-out problem" if count == 1 else f"{count} held-out problems"
    ours = {way.timed.name for way in choice.ways if way.source in ("nearest", "model")}
    return Evaluation(
        title="Ways to start",
        summary=("Time of every way to start, guess and solve, on problems that were not trained on.",),
        recommendation=recommendation(timed),
        rows=tuple(_mean_rows(where, timed, ours)),
        curves=curves_by_problem(
            [f"held-out problem {number}" for number in range(1, count + 1)],
            pivots={},
            milliseconds={one.name: one.milliseconds for one in timed},
        ),
    )


def ways(
    family: LearnedFamily, problems: Sequence[LinearProgram], random_model: LPModel | None = None
) -> dict[str, Way]:
    """All ways to start on problems, by name: cold, which is the first, without learning, with the model.

    Args:
        family: a model and its neighbours.
        problems: where their matrices differ, the basis of the problem before cannot be used; where they are not the
            family's, there is no neighbour.
        random_model: the family's model before training; None leaves it out.
    """
    pdlp, neighbours, model = HighsSolver(), family.neighbours, family.model
    by = {
        COLD: Way(_nothing),
        INTERIOR: Way(_nothing, method="ipm"),
        PDLP: Way(_guesses("pdlp", lambda scaled: pdlp.iterates(scaled, _PDLP_ITERATIONS))),
    }
    if count := model.encoder.config.iterations:
        by[ITERATED] = Way(_guesses("iterations", lambda scaled: primal_dual(scaled, count)))
        balanced = _guesses("iterations", lambda scaled: primal_dual(scaled, count, model.balance))
        by[BALANCED] = Way(balanced, ours=True, learned=True)
    if neighbours is not None and problems and neighbours.nearest(problems[0]) is not None:
        by[NEAREST] = Way(lambda problem, _before: list(filter(None, [neighbours.nearest(problem)])), reduce=False)
        by[BEST] = Way(lambda problem, _before: list(filter(None, [neighbours.best(problem)])), ours=True)
    if len({matrix_fingerprint(problem) for problem in problems}) == 1:
        by[ROLLING] = Way(_rolling, reduce=False)
        by[ROLLED] = Way(_rolling, ours=True)
    if random_model is not None:
        by[UNTRAINED] = Way(lambda problem, _before: random_model.starts([problem]), learned=True, network=True)
    if problems and not family.choice.difference(problems[0]):
        by[FAMILY] = _chosen(family)
    by[MODEL] = Way(lambda problem, _before: model.starts([problem]), ours=True, learned=True, network=True)
    return by


def _chosen(family: LearnedFamily) -> Way:
    """The fastest way of the choice."""
    chosen = family.choice.ranked()[0]

    def starts(problem: LinearProgram, before: Solution | None) -> list[Start]:
        return family.starts(chosen, problem, None if before is None else start_of(before)) or []

    network = chosen.source == "model"
    return Way(starts, ours=True, learned=True, network=network, method=chosen.method)


def solved(problems: Sequence[LinearProgram], by: Mapping[str, Way], config: SolveConfig) -> dict[str, list[Solved]]:
    """Every problem in every way, in turn, so that other load on the machine slows all ways alike.

    Args:
        problems: of one family.
        by: ways to start, by name. The objectives of the others are compared with that of the first.
        config: of the solver.

    Raises:
        DataError: there are no problems, one has no optimum, or two ways lead to different optima.
    """
    if not problems:
        raise DataError("no problem", field="problems", expected="at least one")
    # Each way has its own HiGHS, which continues fastest from its own last answer.
    solvers = {name: Solver(replace(config, reduce=config.reduce and way.reduce)) for name, way in by.items()}
    results: dict[str, list[Solved]] = {name: [] for name in by}
    for problem in tracked(problems, "solving in every way", unit="problems"):
        for name, way in by.items():
            before = results[name][-1].solution if results[name] else None
            begin = perf_counter()
            starts = way.starts(problem, before)
            solution = solvers[name].solve(problem, starts, method=way.method)
            results[name].append(Solved(solution, starts, perf_counter() - begin))
        optima = [solutions[-1].solution for solutions in results.values()]
        expected = optima[0].objective
        for optimum in optima:
            if optimum.status != "optimal":
                raise DataError(f"no optimum: {optimum.message}", field="problems", value=problem.name)
            if abs(optimum.objective - expected) > 1e-6 * (1 + abs(expected)):
                value = (optimum.objective, expected)
                raise DataError("two starts lead to different optima", field=problem.name, value=value)
    return results


def _nothing(_problem: LinearProgram, _before: Solution | None) -> list[Start]:
    return []


def _rolling(_problem: LinearProgram, before: Solution | None) -> list[Start]:
    return [] if before is None else [Start("before", basis=before.basis)]


def _guesses(
    source: str, iterated: Callable[[LinearProgram], tuple[Array, Array]]
) -> Callable[[LinearProgram, Solution | None], list[Start]]:
    """The basis that iterates of the scaled problem suggest."""

    def starts(problem: LinearProgram, _before: Solution | None) -> list[Start]:
        scaled, scaling = equilibrated(problem)
        x, y = iterated(scaled)
        return [Start(source, scaling.x * x, scaling.y * y, guessed_basis(scaled, x, y))]

    return starts


def _spread(where: str, name: str, way: Way, metric: str, values: Sequence[float]) -> list[ResultRow]:
    """The median, and the worst."""
    spread = {"median": np.median(values), "worst": np.max(values)}
    return [
        ResultRow(where, name, f"{metric}, {which}", float(value), ours=way.ours, lower_is_better=True)
        for which, value in spread.items()
    ]


def _mean_rows(where: str, timed: Sequence[Timed], ours: Set[str]) -> list[ResultRow]:
    """Mean times, from which the recommendation is read; those within noise of the least say so."""
    best = min(timed, key=lambda one: one.mean)
    metric = "time in ms, guess included, mean"
    return [
        ResultRow(
            where,
            one.name,
            metric,
            one.mean,
            note="within noise of the best" if one is not best and within_noise(one, best) else "",
            ours=one.name in ours,
            lower_is_better=True,
        )
        for one in timed
    ]


def _raw(
    where: str, problems: Sequence[LinearProgram], guesses: Sequence[Start], optima: Sequence[Solution]
) -> list[ResultRow]:
    """Rows on the guesses before anything is solved."""
    gaps: list[float] = []
    violations: list[float] = []
    agreements: list[float] = []
    for problem, start, optimum in zip(problems, guesses, optima, strict=True):
        assert start.x is not None
        assert start.y is not None
        assert start.basis is not None
        best = optimum.objective
        gaps.append(abs(problem.objective(start.x) - best) / max(abs(best), 1e-9))
        violations.append(residuals(problem, start.x, start.y).primal)
        if (basis := optimum.basis) is not None:
            same = np.concatenate([start.basis.columns == basis.columns, start.basis.rows == basis.rows])
            agreements.append(float(same.mean()))
    values = (
        ("guess: relative gap of the objective, %", 100 * float(np.mean(gaps)), True),
        ("guess: largest relative violation, mean", float(np.mean(violations)), True),
        ("guess: statuses of the optimal basis, %", 100 * float(np.mean(agreements)), False),
    )
    return [ResultRow(where, MODEL, metric, value, ours=True, lower_is_better=lower) for metric, value, lower in values]
