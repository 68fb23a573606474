"""The certificate of `jepakit.lp.solving.proof` for many scenarios at once.

What holds here holds there: wherever a number is not computed exactly, it is rounded to the unfavourable side. What
does not hold here may hold there, where more work is done for a scenario.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from jepakit.lp.batch.growing import Growing
from jepakit.lp.batch.scenarios import Scenarios
from jepakit.lp.data import Array, LinearProgram, all_bounds
from jepakit.lp.solving.certificate import dual_range
from jepakit.lp.solving.implied import implied_bounds
from jepakit.lp.solving.precise import EPSILON, TINY, Enclosed
from jepakit.lp.solving.proof import ROUNDING_OF_ACTIVITY, ROUNDING_OF_BOUNDS, ROW_TOLERANCE
from jepakit.lp.solving.scaling import powers_of_two

#: Stands for a bound that is not there, in estimates.
_NO_BOUND = 1e30
#: More than the rounding of products and sums of so many terms amounts to.
_ROOM = 1.01


@dataclass(frozen=True, eq=False)
class Checked:
    """What points ``[n, S]`` prove.

    Args:
        feasible: whether all rows hold within their tolerance, ``[S]``.
        worst: largest possible violation of each row in any of the feasible points, ``[m]``.
        value: cᵀx, ``[S]``, and not less than it.
        rounding: a difference of bounds by this is rounding alone, ``[S]``.
    """

    feasible: Array
    worst: Array
    value: Array
    rounding: Array


class PointCheck:
    """Checks points of scenarios of one problem; made once for all.

    Args:
        problem: has what does not vary.
        bounded: see `Scenarios`.
        tolerance: of rows in their units, ``[m]``; NaN: the usual one.
    """

    def __init__(self, problem: LinearProgram, bounded: Array, tolerance: Array) -> None:
        self._problem, self._tolerance = problem, tolerance
        n, self._by_row = problem.columns, sp.csr_array(problem.matrix.tocsr())
        self._size, entries = abs(self._by_row), (self._by_row.data != 0).astype(np.float64)
        self._pattern = sp.csr_array((entries, self._by_row.indices, self._by_row.indptr), shape=self._by_row.shape)
        self._columns = int((bounded < n).sum())
        self._rows = bounded[self._columns :] - n
        self._place = np.full(problem.rows, -1)
        self._place[self._rows] = np.arange(len(self._rows))
        lengths = np.diff(self._by_row.indptr)
        self._radius, self._tiny = (lengths + 3) * _ROOM * EPSILON, (lengths + 1) * TINY
        # A column that is fixed is no term; one whose bounds vary may be fixed in a scenario.
        moves = problem.lower < problem.upper
        moves[bounded[: self._columns]] = False
        mean = (1 - 1e-9) * ROW_TOLERANCE / np.maximum(lengths, 1)
        self._terms = sp.csr_array(sp.diags_array(mean) @ self._size @ sp.diags_array(moves.astype(float)))
        rows, columns = powers_of_two(problem.matrix)
        # Rounding of all of a point, where rows and columns have comparable units.
        self._noise = (1 - 1e-9) * 4 * ROUNDING_OF_ACTIVITY / rows
        self._units = np.where(moves, 1 / columns, 0.0)[:, None]
        self._side = _larger_side(problem.row_lower, problem.row_upper)

    def check(self, scenarios: Scenarios, x: Array) -> Checked:
        """Points within their bounds, ``[n, S]``."""
        activity, size = self._by_row @ x, np.abs(x)
        radius = self._rounding(slice(None), size.max(1, initial=0.0))
        low, high = scenarios.low[self._columns :], scenarios.high[self._columns :]
        varying, side = activity[self._rows], self._side.copy()
        worst = np.maximum(self._problem.row_lower - activity.min(1), activity.max(1) - self._problem.row_upper)
        worst[self._rows] = np.maximum((low - varying).max(1), (varying - high).max(1))
        side[self._rows] = _larger_side(low, high).min(1)
        worst = np.maximum(worst + radius, 0.0)
        noise = (size * self._units).max(0, initial=0.0)
        allowed = self._allowed(slice(None), side, self._terms @ size.min(1), noise.min(initial=np.inf))
        feasible = np.asarray(np.isfinite(x).all(axis=0))
        if len(beyond := np.flatnonzero(~(worst <= allowed))):
            violation, within = self._within(beyond, scenarios, activity[beyond], size, noise)
            feasible &= within
            # Others are not to be charged with what an infeasible point violates.
            worst[beyond] = np.maximum(violation[:, feasible].max(1, initial=0.0), 0.0)
        terms = costs_of(scenarios) * x
        size = np.abs(terms).sum(0)
        value = terms.sum(0) + (len(x) + 3) * _ROOM * EPSILON * size + (len(x) + 1) * TINY
        return Checked(feasible, worst, value, ROUNDING_OF_BOUNDS * size)

    def outside(self, scenarios: Scenarios, x: Array, rows: Array, share: float) -> Array:
        """Those of some rows that points violate by more than a share of 1 + the size of their activity."""
        activity = self._by_row[rows] @ x
        low, high = scenarios.bounds_of(self._problem.columns + rows)
        return rows[(np.maximum(low - activity, activity - high) > share * (1 + np.abs(activity))).any(1)]

    def _rounding(self, rows: Array | slice, size: Array) -> Array:
        """What rounding of activities amounts to at most, of points of this size; nothing where all terms are 0."""
        factor, tiny = self._radius[rows], self._tiny[rows]
        if size.ndim == 2:
            factor, tiny = factor[:, None], tiny[:, None]
        return factor * (self._size[rows] @ size) + tiny * (self._pattern[rows] @ (size > 0).astype(np.float64) > 0)

    def _within(
        self, rows: Array, scenarios: Scenarios, activity: Array, size: Array, noise: Array
    ) -> tuple[Array, Array]:
        """Violations of some rows, and whether all of them hold in each scenario."""
        low, high = scenarios.bounds_of(self._problem.columns + rows)
        violation = np.maximum(low - activity, activity - high) + self._rounding(rows, size)
        allowed = self._allowed(rows, _larger_side(low, high), self._terms[rows] @ size, noise)
        return violation, np.asarray((violation <= allowed).all(axis=0))

    def _allowed(self, rows: Array | slice, side: Array, terms: Array, noise: Array | float) -> Array:
        """Tolerances: the largest term is not less than the mean of all."""
        given, factor = self._tolerance[rows], self._noise[rows]
        if side.ndim == 2:
            given, factor = given[:, None], factor[:, None]
        usual = np.maximum(np.where(side > 0, ROW_TOLERANCE * side, terms), factor * noise)
        return np.where(np.isnan(given), usual, given)


def _larger_side(low: Array, high: Array) -> Array:
    return np.maximum(*(np.where(np.isfinite(side), np.abs(side), 0.0) for side in (low, high)))


def costs_of(scenarios: Scenarios) -> Array:
    """``[n, 1]``, or ``[n, S]`` where they vary."""
    costs = scenarios.problem.costs[:, None]
    if len(scenarios.priced):
        costs = np.repeat(costs, scenarios.count, 1)
        costs[scenarios.priced] = scenarios.costs
    return costs


class WidestBounds:
    """Bounds of all columns and rows that no scenario exceeds; rows imply some that are not stated.

    Args:
        scenarios: all that are proved with these bounds.
    """

    def __init__(self, scenarios: Scenarios) -> None:
        self.scenarios = scenarios
        low, high = all_bounds(scenarios.problem)
        #: Variables whose bounds are equal in every scenario, ``[n + m]``.
        self.fixed = low == high
        self.fixed[scenarios.bounded] = (scenarios.low == scenarios.high).all(1)

    @cached_property
    def problem(self) -> LinearProgram:
        """See `Scenarios.widest`."""
        return self.scenarios.widest()

    @cached_property
    def implied(self) -> tuple[Array, Array]:
        """Bounds of the columns, ``[n]`` each; those that are stated are as the widest problem has them."""
        return implied_bounds(self.problem)


class DualProofs:
    """What row duals prove of scenarios with the same costs: bounds that are linear in what varies.

    Args:
        widest: of the scenarios.
    """

    def __init__(self, widest: WidestBounds) -> None:
        self._widest = widest
        problem, bounded = widest.scenarios.problem, widest.scenarios.bounded
        n, large = problem.columns, widest.problem
        self._columns = bounded[bounded < n]
        self._range = dual_range(large.row_lower, large.row_upper)
        transposed = sp.csr_array(problem.matrix.T)
        self._matrix, self._size = transposed, abs(transposed)
        lengths = np.diff(transposed.indptr)[:, None]
        self._radius, self._tiny = (lengths + 3) * _ROOM * EPSILON, (lengths + 1) * TINY
        #: More terms than a bound is the sum of; each is rounded once, and added one after another at worst.
        self._count = problem.rows + n + 8
        self._slots: dict[int, int] = {}
        #: Whether row duals are known exactly, as they are but for completed ones.
        self._exact = True
        bounds = len(bounded)
        self._y, self._least, self._most, self._sums = (Growing(size) for size in (problem.rows, bounds, bounds, 2))

    def bounds(self, numbers: Array, scenarios: Scenarios) -> Array:
        """A lower bound of cᵀx of each scenario, ``[S]``, by the duals with these numbers, which are known."""
        at, columns = self._places(numbers), len(self._columns)
        low, high = scenarios.low, scenarios.high
        least = self._least.rows[at].T
        total, size = self._sums.rows[at].T
        if columns or not self._exact:
            terms = self._terms_of_bounded(least, self._most.rows[at].T, scenarios)
            size = size + np.abs(terms).sum(0)
        else:
            terms = _times(least, low, high)
            size = self._sizes(at, scenarios)
        with np.errstate(invalid="ignore"):
            bound = total + terms.sum(0) - self._count * (_ROOM * EPSILON * size + TINY)
        return np.where(np.isfinite(bound), bound, -np.inf)

    def estimates(self, scenarios: Scenarios) -> Array:
        """About what each of the known duals proves of each scenario, ``[G, S]``, rounding not counted."""
        least, sides = self._least.rows, (scenarios.low, scenarios.high)
        low, high = (np.nan_to_num(side, posinf=_NO_BOUND, neginf=-_NO_BOUND) for side in sides)
        return self._sums.rows[:, :1] + np.maximum(least, 0.0) @ low + np.minimum(least, 0.0) @ high

    def sizes(self, numbers: Array, scenarios: Scenarios) -> Array:
        """The sum of the absolute terms of `bounds`, or more, ``[S]``."""
        return self._sizes(self._places(numbers), scenarios)

    def _sizes(self, at: Array, scenarios: Scenarios) -> Array:
        sides = _larger_side(scenarios.low, scenarios.high).max(1, initial=0.0)
        return self._sums.rows[at, 1] + self._summed(self._least.rows, at, sides)

    def worth(self, numbers: Array, violation: Array) -> Array:
        """What violations of the rows ``[m]`` are worth of the objective at most, ``[S]``."""
        return self._summed(self._y.rows, self._places(numbers), violation)

    def add(
        self, numbers: Sequence[int], y: Array, completed: Callable[[int], tuple[Enclosed, Enclosed] | None]
    ) -> Array:
        """New duals of any origin, ``[G, m]``; returns those that the rows can have.

        Args:
            numbers: by which they are asked for.
            y: the duals.
            completed: gives the row duals and reduced costs of a basis, enclosed, where these prove nothing.
        """
        y = np.clip(np.where(np.isfinite(y), y, 0.0), *self._range).T
        least, most = self._ends(y, self._widest.scenarios.problem.costs[:, None])
        terms = self._terms(least, most)
        for place in np.flatnonzero(~np.isfinite(terms.sum(0))).tolist():
            if (enclosed := completed(numbers[place])) is not None:
                least[:, place] = np.concatenate([enclosed[1].low, enclosed[0].low])
                most[:, place] = np.concatenate([enclosed[1].high, enclosed[0].high])
                terms[:, place] = self._terms(least[:, [place]], most[:, [place]])[:, 0]
                self._exact = False
        bounded = self._widest.scenarios.bounded
        self._slots |= {number: len(self._slots) + place for place, number in enumerate(numbers)}
        self._y.add(y.T)
        self._least.add(least[bounded].T)
        self._most.add(most[bounded].T)
        self._sums.add(np.stack([terms.sum(0), np.abs(terms).sum(0)], axis=1))
        return y.T

    def bounds_by_own(self, y: Array, scenarios: Scenarios) -> tuple[Array, Array]:
        """Lower bounds of cᵀx, ``[S]``, by duals of each scenario, and the row duals that prove them, ``[S, m]``.

        Args:
            y: row duals of any origin, ``[S, m]``.
            scenarios: S of them.
        """
        y = np.clip(np.where(np.isfinite(y), y, 0.0), *self._range).T
        least, most = self._ends(y, costs_of(scenarios))
        terms, bounded = self._terms(least, most), scenarios.bounded
        if len(bounded):
            terms[bounded] = self._terms_of_bounded(least[bounded], most[bounded], scenarios)
        with np.errstate(invalid="ignore"):
            bound = terms.sum(0) - self._count * (_ROOM * EPSILON * np.abs(terms).sum(0) + TINY)
        return np.where(np.isfinite(bound), bound, -np.inf), y.T

    def _ends(self, y: Array, costs: Array) -> tuple[Array, Array]:
        """Reduced costs and row duals are at least and at most these, ``[n + m, G]``."""
        z = costs - self._matrix @ y
        radius = self._radius * (self._size @ np.abs(y) + np.abs(costs)) + self._tiny
        least = np.concatenate([np.nextafter(z - radius, -np.inf), y])
        return least, np.concatenate([np.nextafter(z + radius, np.inf), y])

    def _terms(self, least: Array, most: Array) -> Array:
        """What each variable whose bounds do not vary adds to the bound, ``[n + m, G]``."""
        problem, n = self._widest.scenarios.problem, self._widest.scenarios.problem.columns
        low, high = (bounds[:, None] for bounds in all_bounds(problem))
        if (np.isinf(low[:n]) & (most[:n] > 0)).any() or (np.isinf(high[:n]) & (least[:n] < 0)).any():
            low, high = (
                np.where(np.isinf(bound), other[:, None], bound)
                for bound, other in zip((low, high), self._stand_ins, strict=True)
            )
        # Row duals are mostly exact.
        parts = [np.minimum(_times(least[:n], low[:n], high[:n]), _times(most[:n], low[:n], high[:n]))]
        parts.append(_times(least[n:], low[n:], high[n:]))
        if (least[n:] != most[n:]).any():
            parts[1] = np.minimum(parts[1], _times(most[n:], low[n:], high[n:]))
        terms = np.concatenate(parts)
        terms[self._widest.scenarios.bounded] = 0.0
        return terms

    def _terms_of_bounded(self, least: Array, most: Array, scenarios: Scenarios) -> Array:
        """What each variable whose bounds vary adds to the bound, ``[V, S]``."""
        sides = [scenarios.low, scenarios.high]
        if any(np.isinf(side).any() for side in sides):
            pairs = zip(sides, self._stand_ins, strict=True)
            sides = [np.where(np.isinf(side), other[scenarios.bounded][:, None], side) for side, other in pairs]
        return np.minimum(_times(least, *sides), _times(most, *sides))

    @staticmethod
    def _summed(rows: Array, at: Array, factors: Array) -> Array:
        """Σ |rows[at]| factors."""
        used, which = np.unique(at, return_inverse=True)
        return (np.abs(rows[used]) @ factors)[which]

    def unknown(self, numbers: Array) -> list[int]:
        """Those of the numbers that were not added."""
        return [number for number in np.unique(numbers).tolist() if number not in self._slots]

    @cached_property
    def _stand_ins(self) -> tuple[Array, Array]:
        """Bounds of variables where none is stated, ``[n + m]`` each."""
        low, high = all_bounds(self._widest.problem)
        columns = self._widest.implied
        return np.concatenate([columns[0], low[len(columns[0]) :]]), np.concatenate(
            [columns[1], high[len(columns[1]) :]]
        )

    def _places(self, numbers: Array) -> Array:
        distinct, which = np.unique(numbers, return_inverse=True)
        return np.array([self._slots[number] for number in distinct.tolist()], np.intp)[which]


@dataclass(frozen=True, eq=False)
class Proved:
    """What is proved of scenarios by a point and duals of each.

    Args:
        holds: whether the point is a certified optimum, ``[S]``.
        y: row duals, ``[S, m]``.
        lower: bounds of cᵀx, ``[S]``.
        gap: see `jepakit.lp.solving.proof.Certificate`.
    """

    holds: Array
    y: Array
    lower: Array
    gap: Array


@dataclass(frozen=True, eq=False)
class Certifier:
    """Certifies points and duals of scenarios.

    Args:
        check: of the points.
        proofs: of the duals.
        gap: largest gap of a certified optimum.
    """

    check: PointCheck
    proofs: DualProofs
    gap: float

    def proved(self, scenarios: Scenarios, x: Array, y: Array) -> Proved:
        """Of points ``[n, S]`` within their bounds, and row duals ``[S, m]`` of any origin."""
        lower, y = self.proofs.bounds_by_own(y, scenarios)
        checked = self.check.check(scenarios, x)
        gap, moved = gaps(lower, checked.value, checked.rounding), np.abs(y) @ checked.worst
        return Proved(self.holds(checked, lower, gap, moved), y, lower, gap)

    def holds(self, checked: Checked, lower: Array, gap: Array, moved: Array) -> Array:
        """Whether points are certified optima, ``[S]``.

        Args:
            checked: of the points.
            lower: bounds.
            gap: of these.
            moved: what violations of rows are worth.
        """
        allowed = np.maximum(self.gap * np.maximum(np.abs(lower), np.abs(checked.value)), checked.rounding)
        return checked.feasible & (gap <= self.gap) & (moved <= allowed)


def _times(factor: Array, low: Array, high: Array) -> Array:
    """The least product of a factor with what lies between two bounds; 0 for a factor of 0."""
    with np.errstate(invalid="ignore"):
        product = factor * np.where(factor > 0, low, high)
    return np.where(factor == 0, 0.0, product)


def gaps(lower: Array, upper: Array, rounding: Array) -> Array:
    """As in `jepakit.lp.solving.proof`: relative to the larger of both; 0 if rounding explains the difference."""
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = upper - lower
        found = np.where(apart <= rounding, 0.0, apart / np.maximum(np.abs(lower), np.abs(upper)))
    return np.where(np.isfinite(lower) & np.isfinite(upper), found, np.inf)
