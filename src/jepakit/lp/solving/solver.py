"""Solves linear programs: starts are checked, HiGHS goes on from the best one, and its answer is checked too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike

from jepakit.errors import DataError, require_at_least, require_choice
from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.formats.convert import Bounds, from_linprog
from jepakit.lp.solving.basis import Basis
from jepakit.lp.solving.certificate import (
    TOLERANCE,
    lower_bound,
    reduced_costs,
    relative_gap,
    residuals,
    upper_bound,
)
from jepakit.lp.solving.highs import EdgeWeights, HighsSolver, Method, Status
from jepakit.lp.solving.repair import repaired_dual, repaired_primal


@dataclass
class SolveConfig:
    """Limits and options of a solve.

    Args:
        gap: a start is the answer if its certified bounds differ by at most this, relative to 1 + their size.
        pivots: limit from a start, after which the problem is solved cold; None: 1000 + 2 per row.
        seconds: limit per problem; None: no limit.
        presolve: whether a cold solve presolves.
        reduce: whether a warm start turns singleton rows into bounds; see `jepakit.lp.solving.reduce`.
        threads: number of threads of HiGHS.
    """

    gap: float = 1e-6
    pivots: int | None = None
    seconds: float | None = None
    presolve: bool = True
    reduce: bool = True
    threads: int = 1

    def __post_init__(self) -> None:
        require_at_least(self, gap=0, pivots=0, seconds=0, threads=1)


@dataclass(frozen=True, eq=False)
class Start:
    """A guess of the optimum. Any part of it may be missing or wrong.

    Args:
        source: its origin: ``model``, ``neighbour``, ...
        x: ``[n]``.
        y: row duals, ``[m]``.
        basis: a basis, which HiGHS can start from.
        edge_weights: pricing of the dual simplex method from this basis. ``choose`` leaves it to HiGHS, which takes
            ``steepest``; ``devex`` needs more pivots but no setup, and pays off on problems with many rows.
    """

    source: str
    x: Array | None = None
    y: Array | None = None
    basis: Basis | None = None
    edge_weights: EdgeWeights = "choose"

    def __post_init__(self) -> None:
        require_choice("edge_weights", self.edge_weights, get_args(EdgeWeights))


_COLD_START = Start("solver")


@dataclass(frozen=True, eq=False)
class Solution:
    """The result of a solve.

    Args:
        status: ``optimal``, ``infeasible``, ``unbounded``, ``infeasible or unbounded``, ``time limit`` or ``failed``.
        message: the status in words, with details.
        x: ``[n]``; NaN without a solution.
        y: row duals, ``[m]``; NaN without a solution.
        z: reduced costs c - Aᵀy, ``[n]``.
        basis: the last basis; None if there is none.
        objective: cᵀx + c₀ in the user's sense.
        lower: certified bound: no feasible point has a smaller objective (a larger one if the problem maximises).
        upper: certified bound: the objective of ``x`` if ``x`` is feasible within tolerance, else infinite.
        source: what gave the solution: the source of a start, or ``solver`` for a cold solve.
        pivots: simplex iterations in total.
        seconds: wall-clock time, checks included.
        fell_back: a start was tried and abandoned for a cold solve.
    """

    status: Status
    message: str
    x: Array
    y: Array
    z: Array
    basis: Basis | None
    objective: float
    lower: float
    upper: float
    source: str
    pivots: int
    seconds: float
    fell_back: bool

    @property
    def gap(self) -> float:
        """Difference of the certified bounds, relative to 1 + their size."""
        return relative_gap(*sorted((self.lower, self.upper)))


class Solver:
    """Solves problems one after another with one HiGHS instance."""

    def __init__(self, config: SolveConfig | None = None) -> None:
        self.config = config or SolveConfig()
        self._highs = HighsSolver(self.config.threads)

    def solve(self, problem: LinearProgram, starts: Sequence[Start] = ()) -> Solution:
        """Solves a problem. Of several starts HiGHS uses the one with the best certified bound.

        Raises:
            DataError: a start has another size than the problem.
        """
        begin = perf_counter()
        if crossed := _crossed_bounds(problem):
            return _solution(problem, "infeasible", crossed, begin)
        repaired = [_RepairedStart.of(problem, start) for start in starts]
        if repaired:
            dual, primal = max(repaired, key=lambda start: start.lower), min(repaired, key=lambda start: start.upper)
            gap = relative_gap(dual.lower, primal.upper)
            if gap <= self.config.gap:
                message = f"optimal: the bounds of a start differ by {gap:.1e}"
                start = primal.start
                return _solution(problem, "optimal", message, begin, primal.x, dual.y, start.basis, start.source)
        with_basis = [start for start in repaired if start.start.basis is not None]
        abandoned: list[Solution] = []
        if with_basis:
            start = max(with_basis, key=lambda start: start.lower).start
            solution = self._attempt(problem, begin, start)
            if solution.status in ("optimal", "time limit"):
                return solution
            abandoned = [solution]
        cold: list[Solution] = []
        for method, presolve in _COLD_METHODS if self.config.presolve else _COLD_METHODS[1:]:
            cold.append(self._attempt(problem, begin, _COLD_START, method=method, presolve=presolve))
            if cold[-1].status in _CONCLUSIVE:
                break
        else:
            # "infeasible or unbounded" says more than a failure.
            cold.sort(key=lambda solution: solution.status == "infeasible or unbounded")
        pivots = sum(solution.pivots for solution in (*abandoned, *cold))
        return replace(cold[-1], pivots=pivots, seconds=perf_counter() - begin, fell_back=bool(abandoned))

    def _attempt(
        self, problem: LinearProgram, begin: float, start: Start, *, method: Method = "simplex", presolve: bool = True
    ) -> Solution:
        """HiGHS' answer; an optimum that misses the tolerance has failed."""
        config, warm = self.config, start.basis is not None
        pivots = 1000 + 2 * problem.rows if config.pivots is None else config.pivots
        answer = self._highs.solve(
            problem,
            start.basis,
            pivots=pivots if warm else None,
            seconds=None if config.seconds is None else max(0.0, config.seconds - (perf_counter() - begin)),
            presolve=presolve,
            reduce=config.reduce,
            method=method,
            edge_weights=start.edge_weights,
        )
        status, message = answer.status, _MESSAGES.get(answer.status, f"the solver stopped: {answer.word}")
        if status not in ("optimal", "time limit"):
            return _solution(problem, status, message, begin, pivots=answer.pivots)
        if status == "optimal" and not (missed := residuals(problem, answer.x, answer.y)).optimal:
            status = "failed"
            message = (
                f"the solver says optimal, but rows and bounds are violated by {missed.primal:.1e}, dual signs by"
                f" {missed.dual:.1e}, and the duality gap is {missed.gap:.1e} (relative; {TOLERANCE:g} is allowed)"
            )
        return _solution(problem, status, message, begin, answer.x, answer.y, answer.basis, start.source, answer.pivots)


def linprog(
    c: ArrayLike,
    A_ub: Any = None,
    b_ub: ArrayLike | None = None,
    A_eq: Any = None,
    b_eq: ArrayLike | None = None,
    bounds: Bounds = (0, None),
    *,
    config: SolveConfig | None = None,
) -> Solution:
    """Solves one problem given as in ``scipy.optimize.linprog``; use a `Solver` for many.

    Raises:
        DataError: names the argument that does not fit.
    """
    return Solver(config).solve(from_linprog(c, A_ub, b_ub, A_eq, b_eq, bounds))


@dataclass(frozen=True)
class _RepairedStart:
    """A start, its repaired point and duals, and the bounds that they certify."""

    start: Start
    x: Array | None
    y: Array | None
    lower: float
    upper: float

    @classmethod
    def of(cls, problem: LinearProgram, start: Start) -> _RepairedStart:
        for field, values, length in (("x", start.x, problem.columns), ("y", start.y, problem.rows)):
            if values is not None and values.shape != (length,):
                raise DataError("a start of another size", field=field, value=values.shape, expected=str((length,)))
        x = None if start.x is None else repaired_primal(problem, start.x)
        y = None if start.y is None else repaired_dual(problem, start.y)
        lower = -np.inf if y is None else lower_bound(problem, y)
        return cls(start, x, y, lower, np.inf if x is None else upper_bound(problem, x))


def _solution(
    problem: LinearProgram,
    status: Status,
    message: str,
    begin: float,
    x: Array | None = None,
    y: Array | None = None,
    basis: Basis | None = None,
    source: str = "solver",
    pivots: int = 0,
) -> Solution:
    """A solution with its certified bounds; without x and y these are NaN."""
    x = np.full(problem.columns, np.nan) if x is None else x
    y = np.full(problem.rows, np.nan) if y is None else y
    lower = lower_bound(problem, y) if np.isfinite(y).all() else -np.inf
    upper = upper_bound(problem, x)
    return Solution(
        status=status,
        message=message,
        x=x,
        y=y,
        z=reduced_costs(problem, y),
        basis=basis,
        objective=problem.objective(x),
        # Rounding may lift the lower bound of an optimum a little above the upper one.
        lower=problem.in_user_sense(min(lower, upper)),
        upper=problem.in_user_sense(upper),
        source=source,
        pivots=pivots,
        seconds=perf_counter() - begin,
        fell_back=False,
    )


#: (method, presolve) of cold solves, in order. Presolve cannot always tell infeasible from unbounded, and its postsolve
#: may miss the tolerance. The interior point method detects some infeasible problems that the simplex method does not.
_COLD_METHODS: tuple[tuple[Method, bool], ...] = (("simplex", True), ("simplex", False), ("ipm", True))
#: No other method has to be tried.
_CONCLUSIVE: tuple[Status, ...] = ("optimal", "infeasible", "unbounded", "time limit")

_MESSAGES: dict[Status, str] = {
    "optimal": "optimal",
    "infeasible": "no point meets all rows and bounds",
    "unbounded": "the objective is unbounded",
    "infeasible or unbounded": "no optimum exists; whether a feasible point exists was not decided",
    "time limit": "the time limit was reached before an optimum was found",
}


def _crossed_bounds(problem: LinearProgram) -> str:
    """A message that names the first bounds that cross; empty if none do."""
    kinds = (
        ("column", problem.lower, problem.upper, problem.column_name),
        ("row", problem.row_lower, problem.row_upper, problem.row_name),
    )
    for kind, lower, upper, name in kinds:
        crossed = np.flatnonzero(lower > upper)
        if len(crossed):
            at = int(crossed[0])
            return f"{kind} {name(at)!r} has to be at least {lower[at]:g} and at most {upper[at]:g}"
    return ""
