"""Solves linear programs: starts are checked, HiGHS goes on from the best one, and its answer is checked too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import perf_counter
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike

from jepakit.errors import ConfigError, DataError, require_at_least, require_choice
from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.formats.convert import Bounds, from_linprog
from jepakit.lp.solving.basis import Basis
from jepakit.lp.solving.certificate import lower_bounds, reduced_costs
from jepakit.lp.solving.conclude import Conclusion, Judge, at_point, without_point
from jepakit.lp.solving.highs import SMALLEST_TOLERANCE, Answer, EdgeWeights, HighsSolver, Method, Status
from jepakit.lp.solving.repair import repaired_dual, repaired_primal
from jepakit.lp.solving.scaling import equilibrated
from jepakit.notebook import html_table


@dataclass
class SolveConfig:
    """Limits and options of a solve.

    Args:
        gap: an optimum is certified, and a start is the answer, if the proved bounds differ by at most this, relative
            to the larger of their sizes without the constant c₀.
        row_tolerance: how much a certified point may violate a row, in the row's own units; None: a share of 1e-9 of
            the row's larger side, or of its largest term if its sides are 0.
        row_tolerances: the same for single rows, by their names.
        exact: certify an optimum only if its basis is optimal in rational arithmetic.
        pivots: limit from a start, after which the problem is solved cold; None: 1000 + 2 per row.
        seconds: limit per problem; None: no limit.
        method: of a cold solve: the dual simplex method, or an interior point method with crossover to a basis.
        presolve: whether a cold solve presolves.
        reduce: whether a warm start turns singleton rows into bounds; see `jepakit.lp.solving.reduce`.
        threads: number of threads of HiGHS.
    """

    gap: float = 1e-6
    row_tolerance: float | None = None
    row_tolerances: dict[str, float] = field(default_factory=dict)
    exact: bool = False
    pivots: int | None = None
    seconds: float | None = None
    method: Method = "simplex"
    presolve: bool = True
    reduce: bool = True
    threads: int = 1

    def __post_init__(self) -> None:
        require_at_least(self, gap=0, row_tolerance=0, pivots=0, seconds=0, threads=1)
        require_choice("method", self.method, get_args(Method))
        for name, tolerance in self.row_tolerances.items():
            if not tolerance >= 0:
                raise ConfigError(f"row_tolerances[{name}]", tolerance, "at least 0")

    def pivots_from_a_start(self, rows: int) -> int:
        """The limit of pivots from a start, for a problem of so many rows."""
        return 1000 + 2 * rows if self.pivots is None else self.pivots


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
#: Work on the proof of an answer takes at most so many seconds, and times the seconds of the answer.
_SECONDS, _PATIENCE = 1.0, 3.0
#: Rounding of estimated bounds, relative to their size.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Solution:
    """The result of a solve.

    Args:
        status: ``optimal``, ``infeasible``, ``unbounded``, ``infeasible or unbounded``, ``time limit`` or ``failed``.
        message: the status in words, with details.
        certified: whether the status is proved, whatever the solver's tolerances: an optimum by bounds and rows within
            the tolerances of `SolveConfig`, an infeasible problem by duals (Farkas), an unbounded one by a ray. If not,
            this is what the solver says.
        x: ``[n]``; NaN without a solution.
        y: row duals, ``[m]``; NaN without a solution.
        z: reduced costs c - Aᵀy, ``[n]``.
        basis: the last basis; None if there is none.
        objective: cᵀx + c₀ in the user's sense.
        lower: proved bound: no feasible point has a smaller objective (a larger one if the problem maximises).
        upper: the objective of ``x`` if ``x`` is feasible within tolerance, else infinite.
        gap: difference of both, relative to the larger of their sizes without c₀; 0 if rounding explains it.
        source: what gave the solution: the source of a start, or ``solver`` for a cold solve.
        pivots: simplex iterations in total.
        seconds: wall-clock time, checks included.
        fell_back: a start was tried and abandoned for a cold solve.
    """

    status: Status
    message: str
    certified: bool
    x: Array
    y: Array
    z: Array
    basis: Basis | None
    objective: float
    lower: float
    upper: float
    gap: float
    source: str
    pivots: int
    seconds: float
    fell_back: bool

    def _repr_html_(self) -> str:
        proof = f"certified to {self.gap:.1e}" if self.certified else f"not certified: {self.message}"
        facts = {"objective": self.objective, "lower bound": self.lower, "upper bound": self.upper}
        work = {"start": self.source, "pivots": self.pivots, "milliseconds": 1000 * self.seconds}
        return html_table((), list({**facts, "proof": proof, **work}.items()), title=self.status)


class Solver:
    """Solves problems one after another with one HiGHS instance."""

    def __init__(self, config: SolveConfig | None = None) -> None:
        self.config = config or SolveConfig()
        # Measured on Netlib, power flow and unit commitment: as fast as the usual 1e-7, and mostly certified at once.
        self._highs = HighsSolver(self.config.threads, SMALLEST_TOLERANCE)

    @cached_property
    def _usual(self) -> HighsSolver:
        """With the usual tolerance; most problems do not need it."""
        return HighsSolver(self.config.threads)

    def solve(self, problem: LinearProgram, starts: Sequence[Start] = (), *, method: Method | None = None) -> Solution:
        """Solves a problem. Of several starts HiGHS uses the one with the best proved bound.

        Args:
            problem: the problem.
            starts: guesses; without any the problem is solved cold.
            method: of a cold solve; None: that of the configuration.

        Raises:
            ConfigError: `SolveConfig.row_tolerances` names a row that the problem does not have.
            DataError: a start has another size than the problem.
        """
        begin = perf_counter()
        judge = self._judge(problem, begin)
        if crossed := _crossed_bounds(problem):
            return _solution(problem, without_point(problem, "infeasible", crossed, certified=True), begin)
        repaired = [_RepairedStart.of(problem, start) for start in starts]
        if repaired and not self.config.exact and (found := _of_starts(problem, repaired, judge)) is not None:
            return _solution(problem, found[0], begin, found[1])
        tried: list[tuple[Conclusion, str]] = []
        pivots, patient = 0, judge
        with_basis = [start for start in repaired if start.start.basis is not None]
        attempts: list[tuple[Start, Method, bool, bool]] = []
        if with_basis:
            attempts.append((max(with_basis, key=lambda start: start.bound).start, "simplex", False, False))
        attempts += [(_COLD_START, *way) for way in _cold_ways(method or self.config.method, self.config.presolve)]
        for start, method, presolve, scaled in attempts:
            answer = self._answer(problem, patient, start, method=method, presolve=presolve, scaled=scaled)
            pivots += answer.pivots
            if patient is judge and answer.status in ("optimal", "infeasible", "unbounded"):
                patient = _hurried(judge, perf_counter() - begin)
            tried.append((patient.conclude(problem, answer), start.source))
            if tried[-1][0].settled or judge.left() <= 0:
                break
        # Of equally good ones the last: it was solved in the problem's own units.
        best = max(
            reversed(tried),
            key=lambda pair: (pair[0].certified, pair[0].settled, _WORTH.index(pair[0].status), -pair[0].gap),
        )
        if (
            not best[0].settled
            and best[0].status != "time limit"
            and (found := patient.without_optimum(problem)) is not None
        ):
            best = found, "solver"
        return _solution(problem, best[0], begin, best[1], pivots, fell_back=bool(with_basis) and len(tried) > 1)

    def _judge(self, problem: LinearProgram, begin: float) -> Judge:
        config, tolerance = self.config, self.row_tolerance(problem)
        limit = np.inf if config.seconds is None else config.seconds
        return Judge(config.gap, tolerance, config.exact, lambda: max(0.0, limit - (perf_counter() - begin)))

    def row_tolerance(self, problem: LinearProgram) -> Array:
        """How much a point may violate each row, ``[m]``; NaN: the usual share of its side.

        Raises:
            ConfigError: see `solve`.
        """
        config = self.config
        tolerance = np.full(problem.rows, np.nan if config.row_tolerance is None else config.row_tolerance)
        places = {problem.row_name(row): row for row in range(problem.rows)} if config.row_tolerances else {}
        for name, allowed in config.row_tolerances.items():
            require_choice("row_tolerances", name, places)
            tolerance[places[name]] = allowed
        return tolerance

    def _answer(
        self, problem: LinearProgram, judge: Judge, start: Start, *, method: Method, presolve: bool, scaled: bool
    ) -> Answer:
        """HiGHS' answer in the units of the problem."""
        config, warm = self.config, start.basis is not None
        given, scaling = equilibrated(problem, exact=True) if scaled else (problem, None)
        seconds = judge.left() if np.isfinite(judge.left()) else None
        answer = self._highs.solve(
            given,
            start.basis,
            pivots=config.pivots_from_a_start(problem.rows) if warm else None,
            seconds=seconds,
            presolve=presolve,
            reduce=config.reduce,
            method=method,
            edge_weights=start.edge_weights,
        )
        if answer.status == "infeasible":
            # Rounded data often have a point within the usual tolerance alone.
            usual = self._usual.solve(given, answer.basis, seconds=seconds, presolve=presolve, reduce=False)
            if usual.status == "optimal":
                answer = replace(usual, pivots=answer.pivots + usual.pivots)
        if scaling is None:
            return answer
        ray = answer.ray
        if ray is not None:
            ray = ray * (scaling.y if answer.status == "infeasible" else scaling.x)
        return replace(answer, x=scaling.x * answer.x, y=scaling.y * answer.y, ray=ray)


def linprog(
    c: ArrayLike,
    A_ub: Any = None,
    b_ub: ArrayLike | None = None,
    A_eq: Any = None,
    b_eq: ArrayLike | None = None,
    bounds: Bounds = (0, None),
    method: str = "highs",
    *,
    integrality: ArrayLike | None = None,
    config: SolveConfig | None = None,
) -> Solution:
    """Solves one problem given as in ``scipy.optimize.linprog``; use a `Solver` for many.

    Args:
        c: costs, ``[n]``.
        A_ub: rows of A_ub x ≤ b_ub, ``[m, n]``.
        b_ub: their sides, ``[m]`` or ``[m, 1]``.
        A_eq: rows of A_eq x = b_eq.
        b_eq: their sides.
        bounds: of x.
        method: SciPy's names of HiGHS. Each means the same here: methods are tried until an answer is certified.
        integrality: as in SciPy; none may have to be integer.
        config: limits and tolerances.

    Raises:
        DataError: names the argument that does not fit.
    """
    require_choice("method", method, ("highs", "highs-ds", "highs-ipm"))
    if integrality is not None and np.any(np.asarray(integrality)):
        raise DataError(
            "columns that have to be integer", field="integrality", expected="None, or zeros: a linear program"
        )
    return Solver(config).solve(from_linprog(c, A_ub, b_ub, A_eq, b_eq, bounds))


def _hurried(judge: Judge, spent: float) -> Judge:
    """The judge of what a solver has said: proving it may take a few times what saying it took."""
    end = perf_counter() + _SECONDS + _PATIENCE * spent
    return replace(judge, left=lambda: min(judge.left(), max(0.0, end - perf_counter())))


@dataclass(frozen=True)
class _RepairedStart:
    """A start, its repaired point and duals, and the bound that these are estimated to prove."""

    start: Start
    x: Array | None
    y: Array | None
    bound: float

    @classmethod
    def of(cls, problem: LinearProgram, start: Start) -> _RepairedStart:
        for part, values, length in (("x", start.x, problem.columns), ("y", start.y, problem.rows)):
            if values is not None and values.shape != (length,):
                raise DataError("a start of another size", field=part, value=values.shape, expected=str((length,)))
        x = None if start.x is None else repaired_primal(problem, start.x)
        y = None if start.y is None else repaired_dual(problem, start.y)
        return cls(start, x, y, -np.inf if y is None else float(lower_bounds(problem, y[None])[0]))


def _of_starts(problem: LinearProgram, starts: Sequence[_RepairedStart], judge: Judge) -> tuple[Conclusion, str] | None:
    """An optimum whose point and duals come from starts, if they prove it."""
    duals = [(start.bound, start.y) for start in starts if start.y is not None]
    points = [(float(problem.costs @ start.x), start.x, start.start) for start in starts if start.x is not None]
    if not duals or not points:
        return None
    (bound, y), (value, x, start) = max(duals, key=lambda dual: dual[0]), min(points, key=lambda point: point[0])
    estimate = bound - problem.offset
    if not value - estimate <= (2 * judge.gap + _ROUNDING) * max(abs(value), abs(estimate)):
        return None
    proved = judge.certificate(problem, x, y)
    if not proved.holds:
        return None
    found = at_point(f"optimal: the bounds of a start differ by {proved.gap:.1e}", x, y, start.basis, proved)
    return found, start.source


def _solution(
    problem: LinearProgram,
    found: Conclusion,
    begin: float,
    source: str = "solver",
    pivots: int = 0,
    *,
    fell_back: bool = False,
) -> Solution:
    return Solution(
        status=found.status,
        message=found.message,
        certified=found.certified,
        x=found.x,
        y=found.y,
        z=reduced_costs(problem, found.y),
        basis=found.basis,
        objective=problem.objective(found.x),
        lower=problem.in_user_sense(found.lower),
        upper=problem.in_user_sense(found.upper),
        gap=found.gap,
        source=source,
        pivots=pivots,
        seconds=perf_counter() - begin,
        fell_back=fell_back,
    )


def _cold_ways(method: Method, presolve: bool) -> list[tuple[Method, bool, bool]]:
    """(method, presolve, scaled) of cold solves, in order.

    Scaled, what HiGHS allows or drops is relative to the problem's own units. The interior point method detects some
    infeasible problems that the simplex method does not.
    """
    ways: list[tuple[Method, bool, bool]] = [("simplex", True, False), ("simplex", False, True), ("ipm", True, True)]
    if method == "ipm":
        ways.insert(0, ("ipm", presolve, not presolve))
    return [way for way in ways if way[1] <= presolve]


#: Of what is not certified, which is told: an optimum rather than none, a status rather than a failure.
_WORTH: tuple[Status, ...] = (
    "failed",
    "pivot limit",
    "time limit",
    "infeasible or unbounded",
    "unbounded",
    "infeasible",
    "optimal",
)


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
