"""The certificate of `jepakit.lp.solving.proof` for many scenarios at once.

What holds here holds there: wherever a number is not computed exactly, it is rounded to the unfavourable side. What
does not hold here may hold there, where more work is done for a scenario.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from jepakit.lp.batch.scenarios import Scenarios, all_bounds
from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.certificate import dual_range
from jepakit.lp.solving.implied import implied_bounds
from jepakit.lp.solving.precise import EPSILON, TINY, Enclosed, rough_residual
from jepakit.lp.solving.proof import ROUNDING_OF_BOUNDS, ROW_TOLERANCE, enclosed_bound

#: More than the rounding of products and sums of so many terms amounts to.
_ROOM = 1.01


@dataclass(frozen=True, eq=False)
class Checked:
    """What points ``[n, S]`` prove.

    Args:
        violation: largest possible violation of each row, ``[m, S]``.
        feasible: whether all rows hold within their tolerance, ``[S]``.
        value: cᵀx, ``[S]``, and not less than it.
        rounding: a difference of bounds by this is rounding alone, ``[S]``.
    """

    violation: Array
    feasible: Array
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
        self._size = abs(self._by_row)
        self._varies = bounded >= n
        self._rows = bounded[self._varies] - n
        lengths = np.diff(self._by_row.indptr)
        self._radius, self._tiny = (lengths + 3) * _ROOM * EPSILON, (lengths + 1) * TINY
        self._lengths = np.maximum(lengths, 1)
        # A column that is fixed is no term; one whose bounds vary may be fixed in a scenario.
        moves = problem.lower < problem.upper
        moves[bounded[~self._varies]] = False
        self._terms = sp.csr_array(self._size @ sp.diags_array(moves.astype(float)))
        self._priced = np.flatnonzero(problem.costs)

    def check(self, scenarios: Scenarios, x: Array) -> Checked:
        """Points within their bounds, ``[n, S]``."""
        problem, count = self._problem, scenarios.count
        activity = self._by_row @ x
        largest = np.maximum(x.max(1, initial=0.0), -x.min(1, initial=0.0))
        radius = self._radius * (self._size @ largest) + self._tiny
        low, high = (values[self._varies] for values in (scenarios.low, scenarios.high))
        violation = np.maximum(problem.row_lower[:, None] - activity, activity - problem.row_upper[:, None])
        violation[self._rows] = np.maximum(low - activity[self._rows], activity[self._rows] - high)
        violation += radius[:, None]
        np.maximum(violation, 0.0, out=violation)
        side = _larger_side(problem.row_lower, problem.row_upper)
        feasible = self._within(violation, side, x)
        if len(self._rows):
            within = violation[self._rows] <= self._allowed(_larger_side(low, high), self._rows)
            without_side = ~within & (_larger_side(low, high) == 0)
            if without_side.any():
                rows = np.flatnonzero(without_side.any(1))
                within[rows] |= without_side[rows] & (
                    violation[self._rows[rows]] <= self._of_terms(self._rows[rows], x)
                )
            feasible = feasible & within.all(0)
        priced = self._priced if not len(scenarios.priced) else np.union1d(self._priced, scenarios.priced)
        costs = np.repeat(problem.costs[:, None], count, 1) if len(scenarios.priced) else problem.costs[:, None]
        if len(scenarios.priced):
            costs[scenarios.priced] = scenarios.costs
        terms = costs[priced] * x[priced]
        size = np.abs(terms).sum(0)
        value = terms.sum(0) + (len(priced) + 3) * _ROOM * EPSILON * size + (len(priced) + 1) * TINY
        return Checked(violation, feasible & np.isfinite(x).all(0), value, ROUNDING_OF_BOUNDS * size)

    def activity_of(self, x: Array) -> Array:
        """Of the rows, ``[m, S]``."""
        return self._by_row @ x

    def _within(self, violation: Array, side: Array, x: Array) -> Array:
        """Whether the rows that do not vary hold."""
        allowed = self._allowed(side, slice(None))
        allowed[self._rows] = np.inf
        beyond = ~(violation <= allowed[:, None])
        rows = np.flatnonzero(beyond.any(1))
        if not len(rows):
            return np.ones(x.shape[1], bool)
        usual = (side[rows] == 0) & np.isnan(self._tolerance[rows])
        terms = np.where(usual[:, None], self._of_terms(rows, x), 0.0)
        return (violation[rows] <= np.maximum(allowed[rows][:, None], terms)).all(0)

    def _allowed(self, side: Array, rows: Array | slice) -> Array:
        given = self._tolerance[rows]
        given = given[:, None] if side.ndim == 2 else given
        return np.where(np.isnan(given), ROW_TOLERANCE * side, given)

    def _of_terms(self, rows: Array, x: Array) -> Array:
        """What rows without sides other than 0 are allowed at least: the largest term is not less than the mean."""
        terms = self._terms[rows] @ np.abs(x)
        allowed = (1 - 1e-9) * ROW_TOLERANCE * terms / self._lengths[rows][:, None]
        return np.where(np.isnan(self._tolerance[rows])[:, None], allowed, 0.0)


def _larger_side(low: Array, high: Array) -> Array:
    return np.maximum(*(np.where(np.isfinite(side), np.abs(side), 0.0) for side in (low, high)))


class WidestBounds:
    """Bounds of all columns and rows that no scenario exceeds; rows imply some that are not stated.

    Args:
        scenarios: all that are proved with these bounds.
    """

    def __init__(self, scenarios: Scenarios) -> None:
        self.scenarios = scenarios
        self.fixed = np.zeros(scenarios.problem.columns + scenarios.problem.rows, bool)
        low, high = all_bounds(scenarios.problem)
        self.fixed[low == high] = True
        self.fixed[scenarios.bounded] = (scenarios.low == scenarios.high).all(1)

    @cached_property
    def implied(self) -> tuple[Array, Array]:
        """Bounds of the columns, ``[n]`` each; those that are stated are as the widest problem has them."""
        return implied_bounds(self.scenarios.widest())


@dataclass(frozen=True, eq=False)
class DualProof:
    """What row duals prove of each scenario with the same costs: a bound that is linear in what varies.

    Args:
        y: the duals, ``[m]``.
        constant: what bounds that do not vary amount to, rounded down; -inf if nothing is proved.
        low_end: the least factor that each varying bound may have, ``[V]``.
        high_end: the largest.
        stand_in_low: what stands in for an infinite lower bound, ``[V]``.
        stand_in_high: for an infinite upper bound.
    """

    y: Array
    constant: float
    low_end: Array
    high_end: Array
    stand_in_low: Array
    stand_in_high: Array

    @classmethod
    def of(cls, widest: WidestBounds, y: Array) -> DualProof:
        """The proof of row duals ``[m]``.

        Args:
            widest: of all scenarios.
            y: the duals, of any origin.
        """
        problem, bounded = widest.scenarios.problem, widest.scenarios.bounded
        n = problem.columns
        large = widest.scenarios.widest()
        y = np.clip(y, *dual_range(large.row_lower, large.row_upper))
        y = np.where(np.isfinite(y), y, 0.0)
        rough = rough_residual(problem.matrix, y, problem.costs)
        low_end, high_end = (np.concatenate([part, y]) for part in (-rough.middle - rough.radius, rough.radius - rough.middle))
        low_end[:n], high_end[:n] = np.nextafter(low_end[:n], -np.inf), np.nextafter(high_end[:n], np.inf)
        stand_in = all_bounds(large)
        open_ = (np.isinf(stand_in[0][:n]) & (high_end[:n] > 0)) | (np.isinf(stand_in[1][:n]) & (low_end[:n] < 0))
        if open_.any():
            stand_in[0][:n], stand_in[1][:n] = widest.implied
        stays = np.ones(n + problem.rows, bool)
        stays[bounded] = False
        of_rows = Enclosed(np.where(stays[n:], y, 0.0), np.zeros_like(y), np.zeros_like(y))
        of_columns = Enclosed(
            np.where(stays[:n], -rough.middle, 0.0), np.zeros(n), np.where(stays[:n], rough.radius, 0.0)
        )
        low, high = (np.where(np.isinf(bound), other, bound) for bound, other in zip(all_bounds(problem), stand_in, strict=True))
        fixed = replace_bounds(problem, low, high)
        constant = enclosed_bound(fixed, of_rows, of_columns, fixed.lower, fixed.upper)
        return cls(y, constant, low_end[bounded], high_end[bounded], stand_in[0][bounded], stand_in[1][bounded])

    @cached_property
    def _factors(self) -> tuple[Array, Array, Array]:
        """Factors of lower and upper bounds where the sign is known and the factor too, and the places of the rest."""
        known = self.low_end == self.high_end
        of_low, of_high = np.where(known, np.maximum(self.low_end, 0), 0), np.where(known, np.minimum(self.high_end, 0), 0)
        return of_low, of_high, np.flatnonzero(~known)

    def bounds(self, low: Array, high: Array) -> Array:
        """A lower bound of cᵀx of each scenario, ``[S]``.

        Args:
            low: lower bounds that vary, ``[V, S]``.
            high: upper bounds.
        """
        if not np.isfinite(self.constant):
            return np.full(low.shape[1], -np.inf)
        of_low, of_high, rest = self._factors
        total, size = np.full(low.shape[1], self.constant), np.full(low.shape[1], abs(self.constant))
        for factor, side in ((of_low, low), (of_high, high)):
            used = np.flatnonzero(factor)
            if len(used):
                total += factor[used] @ side[used]
                size += np.abs(factor[used]) @ np.abs(side[used])
        if len(rest):
            low, high = (
                np.where(np.isinf(side[rest]), stand_in[rest][:, None], side[rest])
                for side, stand_in in ((low, self.stand_in_low), (high, self.stand_in_high))
            )
            ends = [_times(end[rest][:, None], low, high) for end in (self.low_end, self.high_end)]
            terms = np.minimum(*ends)
            total += terms.sum(0)
            size += np.abs(terms).sum(0)
        with np.errstate(invalid="ignore"):
            bound = total - (len(of_low) + 4) * _ROOM * EPSILON * size - (len(of_low) + 4) * TINY
        return np.where(np.isfinite(bound), bound, -np.inf)


def _times(factor: Array, low: Array, high: Array) -> Array:
    """The least product of a factor with what lies between two bounds; NaN if an infinite one is needed."""
    with np.errstate(invalid="ignore"):
        return np.where(factor > 0, factor * low, np.where(factor < 0, factor * high, 0.0))


def replace_bounds(problem: LinearProgram, low: Array, high: Array) -> LinearProgram:
    """The problem with other bounds of columns and rows, ``[n + m]`` each."""


    n = problem.columns
    return replace(problem, lower=low[:n], upper=high[:n], row_lower=low[n:], row_upper=high[n:])


def gaps(lower: Array, upper: Array, rounding: Array) -> Array:
    """As in `jepakit.lp.solving.proof`: relative to the larger of both; 0 if rounding explains the difference."""
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = upper - lower
        found = np.where(apart <= rounding, 0.0, apart / np.maximum(np.abs(lower), np.abs(upper)))
    return np.where(np.isfinite(lower) & np.isfinite(upper), found, np.inf)
