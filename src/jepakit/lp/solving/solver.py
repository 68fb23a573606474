"""Solve, always right: a guess is checked, HiGHS goes on from it where it does not hold, its answer is checked too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jepakit.errors import ConfigError, DataError, require_choice
from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.formats.convert import Bounds, from_linprog
from jepakit.lp.solving.basis import Basis
from jepakit.lp.solving.certificate import (
    TOLERANCE,
    Residuals,
    lower_bound,
    reduced_costs,
    relative_gap,
    residuals,
    upper_bound,
)
from jepakit.lp.solving.highs import Answer, EdgeWeights, HighsSolver, Method, Status
from jepakit.lp.solving.repair import repaired_dual, repaired_primal

__all__ = ["Solution", "SolveConfig", "Solver", "Start", "linprog"]


@dataclass
class SolveConfig:
    """When to stop, and with what.

    Args:
        gap: a guess whose certified bounds differ by no more than this, relative to 1 + their size, is the answer.
        pivots: from a guess; after these the problem is solved from the beginning. None: 1000 and 2 a row.
        seconds: for a problem; None: no limit.
        presolve: where HiGHS begins without a guess.
        reduce: where it begins from one, rows of a single entry become bounds; see `jepakit.lp.solving.reduce`.
        threads: for HiGHS.
    """

    gap: float = 1e-6
    pivots: int | None = None
    seconds: float | None = None
    presolve: bool = True
    reduce: bool = True
    threads: int = 1

    def __post_init__(self) -> None:
        if not self.gap >= 0:
            raise ConfigError("gap", self.gap, "a number of at least 0")
        for name in ("pivots", "seconds"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ConfigError(name, value, "a number of at least 0, or null")
        if self.threads < 1:
            raise ConfigError("threads", self.threads, "at least 1")


@dataclass(frozen=True, eq=False)
class Start:
    """A guess. Whatever is known of it; nothing of it has to be right.

    Args:
        source: whose guess it is: ``model``, ``neighbour``, ...
        x: ``[n]``.
        y: the rows' duals, ``[m]``.
        basis: a basis.
        edge_weights: with which HiGHS goes on from it: ``choose`` leaves it to HiGHS, which takes ``steepest``;
            ``devex`` needs more pivots, and no time before the first: it pays on problems of many rows.
    """

    source: str
    x: Array | None = None
    y: Array | None = None
    basis: Basis | None = None
    edge_weights: EdgeWeights = "choose"

    def __post_init__(self) -> None:
        require_choice("edge_weights", self.edge_weights, ("choose", "devex", "steepest"))


@dataclass(frozen=True, eq=False)
class Solution:
    """What is known of a problem now.

    Args:
        status: ``optimal``, ``infeasible``, ``unbounded``, ``infeasible or unbounded``, ``time limit`` or ``failed``.
        message: the same for a person.
        x: the columns, ``[n]``; NaN where there is nothing to say.
        y: the rows' duals, ``[m]``, likewise.
        z: the reduced costs c - Aᵀy, ``[n]``.
        basis: the last basis, where there is one.
        objective: cᵀx + c₀ in the sense of whoever posed the problem.
        lower: certified: no feasible point has less (more, where the problem is to maximise).
        upper: certified: ``x`` is feasible, within tolerance, and has this; infinite where it is not.
        source: who found it: the source of a guess, or ``solver``.
        pivots: of the simplex method, in all.
        seconds: wall-clock time, checks included.
        fell_back: a guess was tried and given up.
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
        """Of the certified bounds, relative to 1 + their size."""
        return relative_gap(*sorted((self.lower, self.upper)))


class Solver:
    """Solves problems one after another; its HiGHS stays.

    Args:
        config: when to stop.
    """

    def __init__(self, config: SolveConfig | None = None) -> None:
        self.config = config or SolveConfig()
        self._highs = HighsSolver(self.config.threads)

    def solve(self, problem: LinearProgram, starts: Sequence[Start] = ()) -> Solution:
        """The optimum of a problem, or why there is none.

        Of several guesses the one with the best certified bound is used.

        Args:
            problem: the problem.
            starts: guesses.

        Raises:
            DataError: a guess is of another size than the problem.
        """
        begin = perf_counter()
        told = _Telling(problem, begin)
        if crossed := _crossed(problem):
            return told.nothing("infeasible", crossed)
        judged = [_Judged.of(problem, start) for start in starts]
        if judged:
            dual, primal = max(judged, key=lambda one: one.lower), min(judged, key=lambda one: one.upper)
            if relative_gap(dual.lower, primal.upper) <= self.config.gap:
                return told.guessed(primal, dual)
        with_basis = [one for one in judged if one.start.basis is not None]
        if not with_basis:
            return self._cold(told)
        start = max(with_basis, key=lambda one: one.lower).start
        answer = self._run(told, start)
        if answer.settled and answer.answer.status in ("optimal", "time limit"):
            return told.found(answer, start.source)
        return replace(self._cold(told), fell_back=True)

    def _cold(self, told: _Telling) -> Solution:
        """Without a guess, in several ways, until one comes to an end that holds."""
        answers: list[_Checked] = []
        # Presolve does not always tell infeasible from unbounded, and what it leaves may be off when it is put back;
        # the simplex method gives up on some infeasible problems that an interior point sees through.
        for method, presolve in dict.fromkeys(_WAYS if self.config.presolve else _WAYS[1:]):
            answer = self._run(told, None, presolve=presolve, method=method)
            answers.append(answer)
            if answer.settled:
                return told.found(answer, "solver")
        undecided = [one for one in answers if one.answer.status == "infeasible or unbounded"]
        return told.found((undecided or answers)[-1], "solver")

    def _run(
        self, told: _Telling, start: Start | None, *, presolve: bool = True, method: Method = "simplex"
    ) -> _Checked:
        config, problem = self.config, told.problem
        cap = 1000 + 2 * problem.rows if config.pivots is None else config.pivots
        left = None if config.seconds is None else max(0.0, config.seconds - told.seconds)
        answer = self._highs.solve(
            problem,
            None if start is None else start.basis,
            pivots=None if start is None else cap,
            seconds=left,
            presolve=presolve,
            reduce=config.reduce,
            method=method,
            edge_weights="choose" if start is None else start.edge_weights,
        )
        told.pivots += answer.pivots
        return _Checked(answer, residuals(problem, answer.x, answer.y) if answer.status == "optimal" else None)


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
    """Solves one problem in the shape of ``scipy.optimize.linprog``; `Solver` solves many.

    Raises:
        DataError: names what does not fit.
    """
    return Solver(config).solve(from_linprog(c, A_ub, b_ub, A_eq, b_eq, bounds))


@dataclass(frozen=True)
class _Judged:
    """A guess, repaired, and the bounds that it proves."""

    start: Start
    x: Array | None
    y: Array | None
    lower: float
    upper: float

    @classmethod
    def of(cls, problem: LinearProgram, start: Start) -> _Judged:
        _check_size(problem, start)
        x = None if start.x is None else repaired_primal(problem, start.x)
        y = None if start.y is None else repaired_dual(problem, start.y)
        lower = -np.inf if y is None else lower_bound(problem, y)
        return cls(start, x, y, lower, np.inf if x is None else upper_bound(problem, x))


@dataclass(frozen=True)
class _Checked:
    """What HiGHS says, and what its optimum, if it is one, misses."""

    answer: Answer
    missed: Residuals | None

    @property
    def settled(self) -> bool:
        """Whether it is an end, and where it is an optimum, one that holds."""
        if self.missed is not None:
            return self.missed.optimal
        return self.answer.status in ("infeasible", "unbounded", "time limit")


@dataclass
class _Telling:
    """Makes solutions of one problem."""

    problem: LinearProgram
    begin: float
    pivots: int = 0

    @property
    def seconds(self) -> float:
        return perf_counter() - self.begin

    def guessed(self, primal: _Judged, dual: _Judged) -> Solution:
        assert primal.x is not None
        assert dual.y is not None
        message = f"optimal: the bounds of a guess meet within {relative_gap(dual.lower, primal.upper):.1e}"
        start = primal.start
        return self._solution("optimal", message, primal.x, dual.y, start.basis, start.source)

    def found(self, checked: _Checked, source: str) -> Solution:
        """What HiGHS found, in so far as it holds."""
        answer, missed = checked.answer, checked.missed
        if answer.status not in ("optimal", "time limit"):
            return self.nothing(answer.status, _MESSAGES.get(answer.status, f"the solver gave up: {answer.word}"))
        status, message = answer.status, _MESSAGES.get(answer.status, "optimal")
        if missed is not None and not missed.optimal:
            status = "failed"
            message = (
                f"the solver says optimal, but rows and bounds are missed by {missed.primal:.1e}, signs of duals by"
                f" {missed.dual:.1e}, the two values differ by {missed.gap:.1e} (relative; {TOLERANCE:g} is allowed)"
            )
        return self._solution(status, message, answer.x, answer.y, answer.basis, source)

    def nothing(self, status: Status, message: str) -> Solution:
        x, y = np.full(self.problem.columns, np.nan), np.full(self.problem.rows, np.nan)
        return self._solution(status, message, x, y, None, "solver")

    def _solution(self, status: Status, message: str, x: Array, y: Array, basis: Basis | None, source: str) -> Solution:
        problem = self.problem
        lower = lower_bound(problem, y) if np.isfinite(y).all() else -np.inf
        upper = upper_bound(problem, x)
        # Within rounding an optimum may prove a little more than itself.
        lower = min(lower, upper)
        return Solution(
            status=status,
            message=message,
            x=x,
            y=y,
            z=reduced_costs(problem, y),
            basis=basis,
            objective=problem.objective(x),
            lower=problem.told(lower),
            upper=problem.told(upper),
            source=source,
            pivots=self.pivots,
            seconds=self.seconds,
            fell_back=False,
        )


_WAYS: tuple[tuple[Method, bool], ...] = (("simplex", True), ("simplex", False), ("ipm", True))
"""(method, whether to presolve), in the order in which they are tried."""

_MESSAGES: dict[Status, str] = {
    "infeasible": "no point meets all rows and bounds",
    "unbounded": "there are feasible points as good as one likes",
    "infeasible or unbounded": "there is no optimum, but whether there are feasible points is not known",
    "time limit": "the time was over before an optimum was found",
}


def _crossed(problem: LinearProgram) -> str:
    """The first bounds that cross, in words."""
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


def _check_size(problem: LinearProgram, start: Start) -> None:
    for field, values, length in (("x", start.x, problem.columns), ("y", start.y, problem.rows)):
        if values is not None and values.shape != (length,):
            raise DataError("a guess of another size", field=field, value=values.shape, expected=str((length,)))
