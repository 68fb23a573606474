"""What is known of the scenarios of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jepakit.lp.batch.certificate import Proved, costs_of
from jepakit.lp.batch.scenarios import Scenarios
from jepakit.lp.data import Array
from jepakit.lp.solving.basis import Basis
from jepakit.lp.solving.conclude import MESSAGES
from jepakit.lp.solving.solver import Solution, Start


@dataclass(frozen=True, eq=False)
class BatchSolution:
    """The solutions of S scenarios; each field means what it means in `Solution`.

    Args:
        status: ``[S]``.
        message: empty for optima that are certified, ``[S]``.
        certified: ``[S]``.
        objective: in the user's sense, ``[S]``.
        lower: proved bounds, ``[S]``.
        upper: ``[S]``.
        gap: ``[S]``.
        source: ``catalogue``: the remembered basis with the best bound is optimal, or remembered duals prove that there
            is no point; ``neighbour``: a basis that follows from a remembered one is optimal; otherwise what `Solution`
            says.
        pivots: of the solver, ``[S]``.
        x: ``[S, n]``; NaN without a solution.
        duals: different row duals, ``[K, m]``; NaN without a solution.
        which: of these, for each scenario, ``[S]``.
        seconds: in total.
    """

    status: Array
    message: Array
    certified: Array
    objective: Array
    lower: Array
    upper: Array
    gap: Array
    source: Array
    pivots: Array
    x: Array
    duals: Array
    which: Array
    seconds: float

    @property
    def y(self) -> Array:
        """Row duals of all scenarios, ``[S, m]``."""
        return self.duals[self.which]

    def __len__(self) -> int:
        return len(self.status)

    @property
    def by_solver(self) -> int:
        """How many scenarios needed the solver."""
        return int((~np.isin(self.source, ("catalogue", "neighbour"))).sum())


class Tally:
    """How solutions of several batches came about."""

    def __init__(self) -> None:
        self._seconds, self._count = 0.0, 0
        self._sources, self._statuses, self._unproved = Counter[str](), Counter[str](), 0

    def add(self, solution: BatchSolution) -> None:
        """Counts a batch."""
        self._seconds, self._count = self._seconds + solution.seconds, self._count + len(solution)
        self._sources.update(solution.source.tolist())
        self._statuses.update(solution.status.tolist())
        self._unproved += int((~solution.certified).sum())

    def as_json(self) -> dict[str, Any]:
        """The counts."""
        return {
            "scenarios": self._count,
            "statuses": dict(self._statuses),
            "sources": dict(self._sources),
            "not_certified": self._unproved,
            "seconds": self._seconds,
        }

    def in_words(self) -> str:
        """One sentence."""
        statuses = ", ".join(f"{count:,} {status}" for status, count in self._statuses.most_common())
        parts = [f"{self._sources[kind]:,} {how}" for kind, how in _HOW.items() if self._sources[kind]]
        proved = "all certified" if not self._unproved else f"{self._unproved:,} not certified"
        rate = f"{self._count / self._seconds:,.0f} a second" if self._seconds > 0 else ""
        return f"{self._count:,} scenarios: {statuses}; {proved} ({'; '.join(parts)}); {self._seconds:.3g} s, {rate}"


_HOW = {
    "catalogue": "by a remembered basis",
    "neighbour": "by a basis that follows from one",
    "solver": "by the solver",
}


class Found:
    """Results as they come.

    Args:
        scenarios: S of them.
    """

    def __init__(self, scenarios: Scenarios) -> None:
        count, problem = scenarios.count, scenarios.problem
        self.scenarios = scenarios
        #: Of the user's objective; here all is minimised.
        self._sign = -1.0 if problem.maximize else 1.0
        #: Scenarios without a result.
        self.open = np.ones(count, bool)
        self._status, self._message, self._source = (np.full(count, "", object) for _ in range(3))
        self._certified, self._pivots = np.zeros(count, bool), np.zeros(count, np.int64)
        self._objective, self._lower, self._upper, self._gap = (np.full(count, np.nan) for _ in range(4))
        self._x, self._which = np.empty((count, problem.columns)), np.zeros(count, np.intp)
        self._duals: list[Array] = []
        #: The place of the duals of a basis.
        self._place: dict[int, int] = {}
        self._starts: dict[int, Basis] = {}

    def start_from(self, place: int, basis: Basis) -> None:
        """The basis that the solver starts a scenario from."""
        self._starts[place] = basis

    def starts(self, place: int) -> list[Start]:
        """As `Solver.solve` takes them."""
        basis = self._starts.pop(place, None)
        # The optimum is a few pivots away: edge weights would take longer than they save.
        return [] if basis is None else [Start("catalogue", basis=basis, edge_weights="devex")]

    def put(self, place: int, solution: Solution) -> None:
        """A result of the solver."""
        self.open[place] = False
        self._status[place] = solution.status
        if not (solution.status == "optimal" and solution.certified):
            self._message[place] = solution.message
        self._source[place], self._certified[place] = "solver", solution.certified
        self._pivots[place], self._gap[place] = solution.pivots, solution.gap
        for values, value in (
            (self._objective, solution.objective),
            (self._lower, solution.lower),
            (self._upper, solution.upper),
        ):
            values[place] = self._sign * value
        self._x[place], self._which[place] = solution.x, len(self._duals)
        self._duals.append(solution.y)

    def put_infeasible(self, places: Array) -> None:
        """Scenarios that are proved to have no point."""
        if not len(places):
            return
        self.open[places] = False
        self._status[places], self._source[places], self._certified[places] = "infeasible", "catalogue", True
        self._message[places] = MESSAGES["infeasible"]
        self._lower[places], self._upper[places], self._gap[places] = -np.inf, np.inf, np.inf
        self._x[places], self._which[places] = np.nan, len(self._duals)
        self._duals.append(np.full(self.scenarios.problem.rows, np.nan))

    def put_many(self, places: Array, x: Array, lower: Array, gap: Array, source: Array, numbers: Array) -> None:
        """Certified optima, ``[n, K]``.

        Args:
            places: of the scenarios, ``[K]``.
            x: the points.
            lower: proved bounds without c₀.
            gap: see `BatchSolution`.
            source: see `BatchSolution`.
            numbers: of the bases, whose duals are put down by `put_duals`; none: they are put down elsewhere.
        """
        problem = self.scenarios.problem
        self.open[places] = False
        self._status[places], self._source[places], self._certified[places] = "optimal", source, True
        value = problem.costs @ x + problem.offset
        self._objective[places] = self._upper[places] = value
        self._x[places], self._gap[places] = x.T, gap
        if len(numbers):
            self._which[places] = [self._place[number] for number in numbers.tolist()]
        self._lower[places] = np.nextafter(lower + problem.offset, -np.inf) if problem.offset else lower

    def put_each(
        self, places: Array, x: Array, proved: Proved, source: str, pivots: Sequence[int] | None = None
    ) -> None:
        """Those scenarios whose points are certified, each with its own duals.

        Args:
            places: of the scenarios, ``[K]``.
            x: the points, ``[n, K]``.
            proved: of them.
            source: see `BatchSolution`.
            pivots: of each; None: none.
        """
        holds = proved.holds
        places, x = places[holds], x[:, holds]
        sources = np.full(len(places), source)
        self.put_many(places, x, proved.lower[holds], proved.gap[holds], sources, np.zeros(0, np.intp))
        value = (costs_of(self.scenarios.part(places)) * x).sum(0) + self.scenarios.problem.offset
        self._objective[places] = self._upper[places] = value
        self._which[places] = len(self._duals) + np.arange(len(places))
        self._duals.extend(proved.y[holds])
        if pivots is not None:
            self._pivots[places] = np.array(pivots)[holds]

    def put_duals(self, numbers: Sequence[int], y: Array) -> None:
        """The duals ``[G, m]`` of bases."""
        self._place |= {number: len(self._duals) + place for place, number in enumerate(numbers)}
        self._duals.extend(y)

    def solution(self, seconds: float) -> BatchSolution:
        """All results, when none is open."""
        objective, lower, upper = (self._sign * values for values in (self._objective, self._lower, self._upper))
        return BatchSolution(
            self._status.astype(str),
            self._message.astype(str),
            self._certified,
            objective,
            lower,
            upper,
            self._gap,
            self._source.astype(str),
            self._pivots,
            self._x,
            np.array(self._duals),
            self._which,
            seconds,
        )
