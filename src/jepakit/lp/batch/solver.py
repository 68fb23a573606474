"""Solves scenarios in batches: remembered bases first, all at once, then the solver for what is left."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np

from jepakit.lp.batch.certificate import Certifier, DualProofs, PointCheck, WidestBounds, gaps
from jepakit.lp.batch.chain import Chain
from jepakit.lp.batch.costs import CostsBatch
from jepakit.lp.batch.infeasible import InfeasibleProofs
from jepakit.lp.batch.results import BatchSolution, Found
from jepakit.lp.batch.scenarios import Scenarios, Values
from jepakit.lp.batch.search import Block, Search
from jepakit.lp.batch.tableau import Tableau
from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.basis import Basis
from jepakit.lp.solving.completion import BasicBlock, completed_duals
from jepakit.lp.solving.precise import Enclosed
from jepakit.lp.solving.solver import Solution, SolveConfig, Solver, Start

#: Scenarios that the solver solves first, and how many times so many if none has an optimum.
_FIRST, _ATTEMPTS = 8, 4
#: So many numbers are computed at once, the variables of so many scenarios: what a processor's cache holds.
_NUMBERS, _BLOCKS = 2**18, (64, 1024)
#: So many scenarios take steps together.
_LARGEST = 1024
#: Rounds that look for variables outside of their bounds which were not looked at before.
_ROUNDS = 8
#: Bases that are kept where other bounds are fixed, and those whose middle gets the tableau.
_KEPT, _MIDDLE = 300, 64
#: After so many scenarios bases are given up, if the solver had to solve more than this share; and after so many, if it
#: had to solve all.
_TRIAL, _LARGEST_SHARE, _ALL = 48, 0.75, 8
#: With a larger block, enclosing the duals of a basis is left to the solver's own checks.
_LARGE = 500
#: A point is outside of its bounds by more than this share of 1 + their size.
_OUTSIDE = 1e-9


class BatchSolver:
    """Solves scenarios of one problem. Bases are remembered from one call to the next.

    Args:
        problem: has everything that does not vary.
        config: tolerances and limits, as for single problems.
        bases: optimal ones of similar problems of the same matrix and costs.
    """

    def __init__(self, problem: LinearProgram, config: SolveConfig | None = None, bases: Sequence[Basis] = ()) -> None:
        self.problem, self.config = problem, config or SolveConfig()
        self._solver, self._chain = Solver(self.config), Chain(self.config)
        self._bases = list(bases)
        self._search: Search | None = None
        self._before: Basis | None = None
        #: Scenarios that bases were tried on, and those of them that the solver had to solve.
        self._tried = self._solved = 0

    def solve(self, scenarios: Scenarios) -> BatchSolution:
        """Solves scenarios of this problem.

        Raises:
            ConfigError: see `Solver.solve`.
        """
        begin = perf_counter()
        found = Found(scenarios)
        # Bounds that cross leave no point, whatever the tolerance of a row.
        self._one_by_one(found, np.arange(scenarios.count) if self.config.exact else np.flatnonzero(scenarios.crossed))
        if found.open.any():
            widest = WidestBounds(scenarios.part(found.open))
            tolerance = self._solver.row_tolerance(self.problem)
            check = PointCheck(self.problem, scenarios.bounded, tolerance)
            certifier = Certifier(check, DualProofs(widest), self.config.gap)
            if not len(scenarios.priced):
                self._with_sides(found, widest, certifier, InfeasibleProofs(widest.scenarios, tolerance))
            elif not len(scenarios.bounded):
                self._with_costs(found, certifier)
            self._in_turn(found, certifier)
        return found.solution(perf_counter() - begin)

    def _with_sides(
        self, found: Found, widest: WidestBounds, certifier: Certifier, infeasible: InfeasibleProofs
    ) -> None:
        """Solves scenarios that differ in sides and bounds, as long as bases pay."""
        self._begin(found, widest)
        if self._search is None:
            return
        batch = _Sides(self._search, found, certifier, infeasible)
        left, size = np.flatnonzero(found.open), _FIRST
        while len(left) and self._pays:
            batch.solve(left[:size], self._at_once)
            solutions = self._one_by_one(found, batch.left)
            # That a scenario is infeasible says nothing of the bases.
            optimal = sum(solution.status == "optimal" for solution in solutions)
            self._tried += len(left[:size]) - (len(solutions) - optimal)
            self._solved += optimal
            # Later scenarios profit from the bases that earlier ones have found.
            left, size = left[size:], min(2 * size, _LARGEST)

    def _with_costs(self, found: Found, certifier: Certifier) -> None:
        """Solves scenarios that differ in costs, as long as bases pay."""
        batch = CostsBatch(found, certifier)
        left, size = np.flatnonzero(found.open), 1
        tried = solved = 0
        while len(left) and _pays(tried, solved):
            rest = batch.solve(left[:size])
            tried, solved = tried + len(left[:size]), solved + len(rest)
            answers, rest = self._chain.solve(found, rest, certifier)
            for answer in answers:
                batch.add(answer)
            self._one_by_one(found, rest)
            left, size = left[size:], min(2 * size, _LARGEST)

    def _in_turn(self, found: Found, certifier: Certifier) -> None:
        """Solves what is left without remembered bases."""
        left = np.flatnonzero(found.open)
        for begin in range(0, len(left), self._at_once):
            _, rest = self._chain.solve(found, left[begin : begin + self._at_once], certifier)
            self._one_by_one(found, rest)

    @property
    def _at_once(self) -> int:
        """So many scenarios are computed at once."""
        return int(np.clip(_NUMBERS / (self.problem.columns + self.problem.rows), *_BLOCKS))

    @property
    def _pays(self) -> bool:
        """Whether bases solve enough of the scenarios to be tried at all."""
        return _pays(self._tried, self._solved)

    def _begin(self, found: Found, widest: WidestBounds) -> None:
        """Makes sure that there is a tableau: that of a basis in the middle of the known ones."""
        known = self._search
        if known is not None and np.array_equal(known.fixed, widest.fixed):
            return
        bases = self._bases if known is None else [known.nodes[number].basis for number in known.most_used(_KEPT)]
        bases = bases or self._first_bases(found)
        bases = [basis for basis in bases if basis.basic == self.problem.rows]
        if not bases:
            return
        statuses = np.stack([np.concatenate([basis.columns, basis.rows]) for basis in bases[:_MIDDLE]])
        apart = [(statuses != one).sum() for one in statuses]
        block = BasicBlock.of(self.problem, bases[int(np.argmin(apart))])
        if block is not None:
            self._search = Search(Tableau(self.problem, block), widest.fixed)
            for basis in bases:
                self._remember(basis)

    def _first_bases(self, found: Found) -> list[Basis]:
        """Those of a few scenarios; where these have no optimum, that of the problem itself, or of a few more."""
        for attempt in range(_ATTEMPTS):
            left = np.flatnonzero(found.open)
            places = left[np.unique(np.linspace(0, len(left) - 1, _FIRST).astype(int))] if len(left) else left
            solutions = self._one_by_one(found, places)
            if not attempt and all(solution.basis is None for solution in solutions):
                solutions.append(self._solver.solve(self.problem))
            bases = [solution.basis for solution in solutions if solution.basis is not None]
            if bases:
                return bases
        return []

    def _remember(self, basis: Basis) -> int | None:
        search = self._search
        if search is None:
            return None
        number = search.add_basis(basis)
        if number is not None and not search.uses[number] and search.is_dual_feasible(number):
            search.uses[number] = 1
        return number

    def _one_by_one(self, found: Found, places: Array) -> list[Solution]:
        """Solves scenarios with the solver, from the best basis that is known, or that of the scenario before."""
        solutions: list[Solution] = []
        for place in places.tolist():
            starts = found.starts(place)
            if not starts and self._before is not None:
                starts = [Start("scenario before", basis=self._before)]
            solution = self._solver.solve(found.scenarios.problem_of(place), starts)
            found.put(place, solution)
            solutions.append(solution)
            if solution.status == "optimal" and solution.basis is not None:
                self._before = solution.basis
                if self._pays:
                    self._remember(solution.basis)
        return solutions


class _Sides:
    """Scenarios that differ in sides and bounds.

    Args:
        search: known bases.
        found: where results go.
        certifier: of points and duals.
        infeasible: proofs that there is no point.
    """

    def __init__(self, search: Search, found: Found, certifier: Certifier, infeasible: InfeasibleProofs) -> None:
        self._search, self._found, self._certifier, self._infeasible = search, found, certifier, infeasible
        infeasible.add(search.rays)
        problem, bounded = search.tableau.problem, found.scenarios.bounded
        self._problem = problem
        has_bounds = np.isfinite(problem.lower) | np.isfinite(problem.upper)
        has_bounds[bounded[bounded < problem.columns]] = True
        self._bounded = np.flatnonzero(has_bounds)
        # The activity of an equation is not free to be outside.
        self._free_rows = np.flatnonzero(~search.fixed[problem.columns :])
        #: Scenarios of the last block that are not certified.
        self.left = np.zeros(0, np.intp)

    def solve(self, places: Array, at_once: int) -> None:
        """Solves a block of scenarios as far as bases do, so many of them at once where points are computed."""
        search, places = self._search, self._with_a_point(places)
        scenarios = self._found.scenarios.part(places)
        block = Block(scenarios, search.tableau)
        at = search.best(block)
        start = at.copy()
        which, left = np.arange(len(places)), list[Array]()
        for _ in range(_ROUNDS):
            arrived, lost = search.walk(block, at, which)
            left.append(lost)
            if not arrived:
                which = which[:0]
                break
            known, again = len(search.critical), list[Array]()
            points = search.points(block, arrived)
            for begin in range(0, len(points.which), at_once):
                part = slice(begin, begin + at_once)
                some = points.which[part]
                proved = self._proved(places[some], scenarios.part(some), at[some], start[some], points.part(part))
                again.append(some[~proved])
            which = np.concatenate(again)
            if not len(which) or len(search.critical) == known:
                break
        rest = np.concatenate([*left, which])
        for place, number in zip(places[rest].tolist(), at[rest].tolist(), strict=True):
            self._found.start_from(place, search.nodes[number].basis)
        new = search.rays[self._infeasible.count :]
        self._infeasible.add(new)
        self.left = self._with_a_point(places[rest]) if new else places[rest]

    def _with_a_point(self, places: Array) -> Array:
        """The scenarios that are not proved infeasible; the others are put down."""
        if not self._infeasible.count:
            return places
        proved = self._infeasible.proved(self._found.scenarios.part(places))
        self._found.put_infeasible(places[proved])
        return places[~proved]

    def _proved(self, places: Array, scenarios: Scenarios, at: Array, start: Array, x: Array) -> Array:
        """Puts down what is certified, and returns which scenarios are; watches what is outside of its bounds."""
        columns, search = self._bounded, self._search
        values = x[columns]
        low, high = scenarios.bounds_of(columns)
        inside = np.clip(values, low, high)
        x[columns] = inside
        out = np.abs(values - inside) > _OUTSIDE * (1 + np.abs(inside))
        certifier = self._certifier
        checked = certifier.check.check(scenarios, x)
        if out.any():
            search.watch(columns[out.any(1)])
        if not checked.feasible.all():
            wrong = ~checked.feasible
            found = certifier.check.outside(scenarios.part(wrong), x[:, wrong], self._free_rows, _OUTSIDE)
            search.watch(self._problem.columns + found)
        proofs = certifier.proofs
        if new := proofs.unknown(at):
            y = np.stack([search.nodes[number].duals[self._problem.columns :] for number in new])
            y = proofs.add(new, y, self._completed)
            self._found.put_duals(new, y)
        lower = proofs.bounds(at, scenarios)
        gap = gaps(lower, checked.value, checked.rounding)
        proved = certifier.holds(checked, lower, gap, proofs.worth(at, checked.worst))
        for number, count in zip(*np.unique(at[proved], return_counts=True), strict=True):
            search.uses[number] += int(count)
        source = np.where(start == at, "catalogue", "neighbour")[proved]
        self._found.put_many(places[proved], x[:, proved], lower[proved], gap[proved], source, at[proved])
        return proved

    def _completed(self, number: int) -> tuple[Enclosed, Enclosed] | None:
        """The duals of a basis, enclosed; None where that takes too long, or the basis is too close to singular."""
        block = BasicBlock.of(self._problem, self._search.nodes[number].basis)
        return None if block is None or len(block.rows) > _LARGE else completed_duals(self._problem, block)


def _pays(tried: int, solved: int) -> bool:
    """Whether to go on with bases, when the solver had to solve so many of those that they were tried on."""
    if tried < _TRIAL:
        return tried < _ALL or solved < tried
    return solved < _LARGEST_SHARE * tried


def solve_batch(
    problem: LinearProgram,
    *,
    b: Values | None = None,
    costs: Values | None = None,
    lower: Values | None = None,
    upper: Values | None = None,
    row_lower: Values | None = None,
    row_upper: Values | None = None,
    config: SolveConfig | None = None,
    bases: Sequence[Basis] = (),
) -> BatchSolution:
    """Solves many scenarios of one problem; keep a `BatchSolver` to solve more of them later.

    Each argument gives a number for each scenario: of all rows or columns, ``[S, m]`` or ``[S, n]``, or of some by
    name, ``[S]`` each.

    Args:
        problem: has everything that does not vary.
        b: right-hand sides: of an equation both sides, of another row the only side that it has.
        costs: as in `LinearProgram.costs`.
        lower: bounds of columns.
        upper: bounds of columns.
        row_lower: sides of rows.
        row_upper: sides of rows.
        config: tolerances and limits, as for single problems.
        bases: optimal ones of similar problems of the same matrix and costs.

    Raises:
        DataError: names the argument, the row or column, and the scenario.
    """
    scenarios = Scenarios.of(
        problem, b=b, costs=costs, lower=lower, upper=upper, row_lower=row_lower, row_upper=row_upper
    )
    return BatchSolver(problem, config, bases).solve(scenarios)
