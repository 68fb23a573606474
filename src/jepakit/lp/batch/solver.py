"""Solves scenarios in batches: remembered bases first, all at once, then the solver for what is left."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np

from jepakit.lp.batch.certificate import Checked, DualProof, PointCheck, WidestBounds, gaps
from jepakit.lp.batch.results import BatchSolution, Found
from jepakit.lp.batch.scenarios import Scenarios, Values
from jepakit.lp.batch.search import Block, Search, grouped
from jepakit.lp.batch.tableau import Tableau
from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.basis import BASIC, Basis
from jepakit.lp.solving.completion import BasicBlock, shifted_duals
from jepakit.lp.solving.solver import Solution, SolveConfig, Solver, Start

#: Scenarios that are computed at once, and that the solver solves first.
_BLOCK, _FIRST = 256, 8
#: Rounds that look for variables outside of their bounds which were not looked at before.
_ROUNDS = 8
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
        self._solver = Solver(self.config)
        self._bases = list(bases)
        self._search: Search | None = None

    def solve(self, scenarios: Scenarios) -> BatchSolution:
        """Solves scenarios of this problem.

        Raises:
            ConfigError: see `Solver.solve`.
        """
        begin = perf_counter()
        found = Found(scenarios)
        if len(scenarios.priced) or self.config.exact:
            self._one_by_one(found, np.arange(scenarios.count))
            return found.solution(perf_counter() - begin)
        widest = WidestBounds(scenarios)
        self._begin(found, widest)
        if self._search is not None:
            batch = _Sides(self._search, widest, found, self._solver.row_tolerance(self.problem), self.config.gap)
            left = np.flatnonzero(found.open)
            for first in range(0, len(left), _BLOCK):
                batch.solve(left[first : first + _BLOCK])
                self._one_by_one(found, batch.left)
        self._one_by_one(found, np.flatnonzero(found.open))
        return found.solution(perf_counter() - begin)

    def _begin(self, found: Found, widest: WidestBounds) -> None:
        """Makes sure that there is a tableau: that of a basis in the middle of the known ones."""
        known = self._search
        if known is not None and np.array_equal(known.fixed, widest.fixed):
            return
        bases = self._bases if known is None else [node.basis for node in known.nodes]
        if not bases:
            places = np.unique(np.linspace(0, found.scenarios.count - 1, _FIRST).astype(int))
            bases = [solution.basis for solution in self._one_by_one(found, places) if solution.basis is not None]
        bases = [basis for basis in bases if basis.basic == self.problem.rows]
        if not bases:
            return
        statuses = np.stack([np.concatenate([basis.columns, basis.rows]) for basis in bases])
        apart = [(statuses != one).sum() for one in statuses]
        block = BasicBlock.of(self.problem, bases[int(np.argmin(apart))])
        if block is not None:
            self._search = Search(Tableau(self.problem, block), widest.fixed)
            for basis in bases:
                self._remember(basis)

    def _remember(self, basis: Basis) -> int | None:
        search = self._search
        if search is None:
            return None
        number = search.add_basis(basis)
        if number is not None and not search.uses[number]:
            search.uses[number] = 1
        return number

    def _one_by_one(self, found: Found, places: Array) -> list[Solution]:
        """Solves scenarios with the solver, from the best basis that is known."""
        solutions: list[Solution] = []
        for place in places.tolist():
            solution = self._solver.solve(found.scenarios.problem_of(place), found.starts(place))
            found.put(place, solution)
            solutions.append(solution)
            if solution.status == "optimal" and solution.basis is not None:
                self._remember(solution.basis)
        return solutions


class _Sides:
    """Scenarios that differ in sides and bounds.

    Args:
        search: known bases.
        widest: bounds that no scenario exceeds.
        found: where results go.
        tolerance: of the rows.
        gap: largest gap of a certified optimum.
    """

    def __init__(self, search: Search, widest: WidestBounds, found: Found, tolerance: Array, gap: float) -> None:
        self._search, self._widest, self._found, self._gap = search, widest, found, gap
        problem = search.tableau.problem
        self._problem, self._check = problem, PointCheck(problem, found.scenarios.bounded, tolerance)
        self._proofs: dict[int, DualProof] = {}
        bounds = np.isfinite(problem.lower) | np.isfinite(problem.upper)
        columns = found.scenarios.bounded[found.scenarios.bounded < problem.columns]
        bounds[columns] = True
        #: Columns that have a bound, and the places of those whose bounds vary.
        self._bounded = np.flatnonzero(bounds)
        #: Scenarios of the last block that are not certified.
        self.left = np.zeros(0, np.intp)

    def solve(self, places: Array) -> None:
        """Solves a block of scenarios as far as bases do."""
        search, scenarios = self._search, self._found.scenarios.part(places)
        block = Block(scenarios, search.tableau)
        at = search.best(block)
        start = at.copy()
        which, left = np.arange(len(places)), list[Array]()
        for _ in range(_ROUNDS):
            lost = search.walk(block, at, which)
            left.append(lost)
            which = np.setdiff1d(which, lost)
            if not len(which):
                break
            x = search.point(block, at, which)
            again, checked = self._checked(scenarios.part(which), x)
            done = ~again
            missed = self._conclude(places[which], scenarios.part(which), at[which], start[which], x, checked, done)
            left.append(which[missed])
            which = which[again]
        left.append(which)
        rest = np.concatenate(left)
        self.left = places[rest]
        for place, number in zip(self.left.tolist(), at[rest].tolist(), strict=True):
            self._found.start_from(place, search.nodes[number].basis)

    def _checked(self, scenarios: Scenarios, x: Array) -> tuple[Array, Checked]:
        """Scenarios in which variables that were not looked at are outside, and what the points prove.

        Points are moved into their bounds.
        """
        columns = self._bounded
        low, high = scenarios.bounds_of(columns)
        values = x[columns]
        inside = np.clip(values, low, high)
        x[columns] = inside
        out = np.abs(values - inside) > _OUTSIDE * (1 + np.abs(inside))
        checked = self._check.check(scenarios, x)
        wrong = ~checked.feasible
        new = [columns[out.any(1)]]
        if wrong.any():
            violation = checked.violation[:, wrong]
            new.append(self._problem.columns + np.unique(violation.argmax(0)))
            worst = violation / (1 + np.abs(self._check.activity_of(x[:, wrong])))
            new.append(self._problem.columns + np.flatnonzero((worst > _OUTSIDE).any(1)))
        before = len(self._search.critical)
        self._search.watch(np.concatenate(new))
        grown = len(self._search.critical) > before
        return (out.any(0) | wrong) & grown, checked

    def _conclude(
        self, places: Array, scenarios: Scenarios, at: Array, start: Array, x: Array, checked: Checked, done: Array
    ) -> Array:
        """Puts down what is certified; returns which of the scenarios that are done are not."""
        lower, moved = np.full(len(places), -np.inf), np.zeros(len(places))
        which = np.flatnonzero(done)
        for number, members in grouped(at, which):
            proof = self._proof(number)
            lower[members] = proof.bounds(scenarios.low[:, members], scenarios.high[:, members])
            moved[members] = np.abs(proof.y) @ checked.violation[:, members]
        gap = gaps(lower, checked.value, checked.rounding)
        allowed = np.maximum(self._gap * np.maximum(np.abs(lower), np.abs(checked.value)), checked.rounding)
        proved = done & checked.feasible & (gap <= self._gap) & (moved <= allowed)
        for number, members in grouped(at, np.flatnonzero(proved)):
            self._search.uses[number] += len(members)
            self._found.put_many(
                places[members], x[:, members], self._proof(number).y, lower[members], gap[members],
                np.where(start[members] == number, "catalogue", "neighbour"),
            )  # fmt: skip
        return done & ~proved

    def _proof(self, number: int) -> DualProof:
        """What the duals of a basis prove."""
        if number not in self._proofs:
            node, problem = self._search.nodes[number], self._problem
            y = node.duals[problem.columns :]
            proof = DualProof.of(self._widest, y)
            if not np.isfinite(proof.constant):
                # Reduced costs of basic columns may have the wrong sign by rounding.
                block = BasicBlock.of(problem, node.basis)
                shifted = None if block is None else DualProof.of(self._widest, shifted_duals(problem, block, y))
                proof = proof if shifted is None else shifted
            self._proofs[number] = proof
        return self._proofs[number]


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
