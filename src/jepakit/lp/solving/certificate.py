"""What can be said of a solution without trusting who found it: what it misses, and how good any can be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jepakit.lp.data import Array, LinearProgram

__all__ = [
    "TOLERANCE",
    "Proofs",
    "Residuals",
    "dual_value",
    "lower_bound",
    "lower_bounds",
    "reduced_costs",
    "relative_gap",
    "residuals",
    "upper_bound",
]

#: A violation of a row, a bound or a sign, relative to 1 + the size of what is violated, up to which it is none. The
#: solvers' own 1e-7 is absolute and of the scaled problem.
TOLERANCE = 1e-6
#: A reduced cost, relative to 1 + the cost, that counts as 0 in a column without a bound to that side, as solvers
#: count: what is proved is proved of costs which differ by so much.
_ROUNDING = 1e-7


@dataclass(frozen=True)
class Residuals:
    """By how much the conditions of optimality (Karush, Kuhn, Tucker) are missed; 0 at an optimum.

    Args:
        primal: the largest violation of a row or a bound, relative to 1 + the size of the bound.
        dual: the largest dual or reduced cost of the wrong sign, relative to 1 + the size of the costs.
        gap: of cᵀx and the dual's value, relative to 1 + their size.
    """

    primal: float
    dual: float
    gap: float

    @property
    def optimal(self) -> bool:
        """Whether all are within `TOLERANCE`."""
        return max(self.primal, self.dual, self.gap) <= TOLERANCE


def residuals(problem: LinearProgram, x: Array, y: Array) -> Residuals:
    """The residuals of x ``[n]`` and the rows' duals y ``[m]``, with the reduced costs z = c - Aᵀy."""
    z = reduced_costs(problem, y)
    scale = 1 + float(np.abs(problem.costs).max(initial=0))
    wrong = [_wrong_sign(y, problem.row_lower, problem.row_upper), _wrong_sign(z, problem.lower, problem.upper)]
    value = float(problem.costs @ x)
    proved = dual_value(y, problem.row_lower, problem.row_upper) + dual_value(z, problem.lower, problem.upper)
    return Residuals(
        primal=_infeasibility(problem, x),
        dual=float(max(part.max(initial=0) for part in wrong)) / scale,
        gap=abs(value - proved) / (1 + max(abs(value), abs(proved))),
    )


def reduced_costs(problem: LinearProgram, y: Array) -> Array:
    """z = c - Aᵀy, ``[n]``: the only duals of the bounds that go with y."""
    return problem.costs - problem.matrix.T @ y


def lower_bound(problem: LinearProgram, y: Array) -> float:
    """A number that cᵀx + c₀ is not below for any feasible x.

    Σ min{yₐ a: L ≤ a ≤ U} over the rows and Σ min{zₓ x: l ≤ x ≤ u} over the columns, with z = c - Aᵀy. Any y gives one,
    a poor y a poor one, -inf where a reduced cost pulls towards a bound that is not there. A y that pulls towards a
    side that its row has not got counts as 0.

    Args:
        problem: the problem.
        y: the rows' duals, ``[m]``.
    """
    return float(lower_bounds(problem, y[None])[0])


def lower_bounds(problem: LinearProgram, y: Array) -> Array:
    """`lower_bound` of each of several duals: ``[P, m] -> [P]``."""
    return _proved(problem, *_possible_duals(problem, y))


def _possible_duals(problem: LinearProgram, y: Array) -> tuple[Array, Array]:
    """Duals, 0 where they pull towards a side that is not there, and the reduced costs that go with them."""
    y = np.where(_wrong_sign(y, problem.row_lower, problem.row_upper) > 0, 0.0, y)
    return y, problem.costs - (problem.matrix.T @ y.T).T


def _proved(problem: LinearProgram, y: Array, z: Array) -> Array:
    """What these prove: ``[P, m], [P, n] -> [P]``."""
    wrong = _wrong_sign(z, problem.lower, problem.upper)
    proved = _dual_values(y, problem.row_lower, problem.row_upper) + _dual_values(z, problem.lower, problem.upper)
    unbounded = (wrong > _ROUNDING * (1 + np.abs(problem.costs))).any(1)
    return np.where(unbounded, -np.inf, proved + problem.offset)


class Proofs:
    """`lower_bounds` of the same duals for problem after problem, which differ in sides and bounds alone.

    Args:
        y: ``[P, m]``.
    """

    def __init__(self, y: Array) -> None:
        self._y = y
        self._of: LinearProgram | None = None
        self._bounds, self._duals, self._reduced = np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0))

    def bounds(self, problem: LinearProgram) -> Array:
        """What each proves, ``[P]``: of the first problem by a product with its matrix, of later ones by what is new.

        Args:
            problem: of one matrix with all others that are asked about.
        """
        if not self._same_but_for_numbers(problem):
            self._of = problem
            self._duals, self._reduced = _possible_duals(problem, self._y)
            self._bounds = _proved(problem, self._duals, self._reduced)
            return self._bounds.copy()
        assert self._of is not None
        before, bounds = self._of, self._bounds + problem.offset - self._of.offset
        for duals, low, high in ((self._duals, "row_lower", "row_upper"), (self._reduced, "lower", "upper")):
            for field, part in ((low, np.maximum), (high, np.minimum)):
                old, new = getattr(before, field), getattr(problem, field)
                changed = np.flatnonzero(old != new)
                bounds = bounds + part(duals[:, changed], 0) @ (new[changed] - old[changed])
        return bounds

    def _same_but_for_numbers(self, problem: LinearProgram) -> bool:
        """Whether costs are those of the problem before, and sides infinite where they were."""
        before = self._of
        return (
            before is not None
            and np.array_equal(before.costs, problem.costs)
            and all(
                np.array_equal(np.isinf(getattr(before, field)), np.isinf(getattr(problem, field)))
                for field in ("row_lower", "row_upper", "lower", "upper")
            )
        )


def upper_bound(problem: LinearProgram, x: Array) -> float:
    """cᵀx + c₀ of an x that is feasible, within `TOLERANCE`; infinite for one that is not."""
    feasible = np.isfinite(x).all() and _infeasibility(problem, x) <= TOLERANCE
    return float(problem.costs @ x) + problem.offset if feasible else np.inf


def relative_gap(lower: float, upper: float) -> float:
    """By how much two bounds differ, relative to 1 + their size; infinite where one of them is."""
    if not (np.isfinite(lower) and np.isfinite(upper)):
        return np.inf
    return (upper - lower) / (1 + max(abs(lower), abs(upper)))


def _infeasibility(problem: LinearProgram, x: Array) -> float:
    """The largest violation of a row or a bound."""
    # What a row's activity has been rounded from may be much larger than the activity.
    rounded = abs(problem.matrix) @ np.abs(x)
    rows = _violation(problem.matrix @ x, problem.row_lower, problem.row_upper, rounded)
    columns = _violation(x, problem.lower, problem.upper)
    return float(max(rows.max(initial=0), columns.max(initial=0)))


def _violation(values: Array, lower: Array, upper: Array, size: Array | float = 0.0) -> Array:
    """By how much values lie outside, relative to 1 + the size of the bound, or to a thousandth of ``size``."""
    below, above = np.maximum(lower - values, 0), np.maximum(values - upper, 0)
    scale = 1 + np.maximum(np.where(below > 0, np.abs(lower), np.abs(upper)), 1e-3 * np.asarray(size))
    outside = np.maximum(below, above)
    return np.divide(outside, scale, out=np.zeros_like(outside), where=outside > 0)


def _wrong_sign(duals: Array, lower: Array, upper: Array) -> Array:
    """The size of duals that pull towards a bound which is not there."""
    return np.where(np.isinf(lower), np.maximum(duals, 0), 0) + np.where(np.isinf(upper), np.maximum(-duals, 0), 0)


def dual_value(duals: Array, lower: Array, upper: Array) -> float:
    """Σ of duals times the bounds that they pull towards, where these are there."""
    return float(_dual_values(duals, lower, upper))


def _dual_values(duals: Array, lower: Array, upper: Array) -> Array:
    """`dual_value` of each of several: ``[..., n] -> [...]``."""
    low, high = np.where(np.isinf(lower), 0.0, lower), np.where(np.isinf(upper), 0.0, upper)
    return np.maximum(duals, 0) @ low + np.minimum(duals, 0) @ high
