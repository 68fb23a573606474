"""Residuals and bounds that check a solution without trusting the solver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jepakit.lp.data import Array, LinearProgram

#: Largest accepted violation of a row, bound or sign, relative to 1 + the size of what is violated. HiGHS' own
#: tolerance of 1e-7 is absolute, and holds for the scaled problem.
TOLERANCE = 1e-6
#: A reduced cost this small, relative to 1 + the cost, counts as 0 in a column without a bound on that side, as in
#: solvers. The lower bound then holds for costs that differ by as much.
_ZERO_REDUCED_COST = 1e-7
#: A row's activity is computed with rounding errors in proportion to Σ |aᵢⱼ xⱼ|; this share of it counts as its size.
_CANCELLATION = 1e-8


@dataclass(frozen=True)
class Residuals:
    """Violations of the optimality conditions (Karush, Kuhn, Tucker); 0 at an optimum.

    Args:
        primal: largest violation of a row or bound, relative to 1 + the size of its side.
        dual: largest dual or reduced cost of the wrong sign, relative to 1 + the largest cost.
        gap: difference of cᵀx and the dual objective, relative to 1 + their size.
    """

    primal: float
    dual: float
    gap: float

    @property
    def optimal(self) -> bool:
        """Whether all are within `TOLERANCE`."""
        return max(self.primal, self.dual, self.gap) <= TOLERANCE


def residuals(problem: LinearProgram, x: Array, y: Array) -> Residuals:
    """The residuals of x ``[n]`` and the row duals y ``[m]``, with reduced costs z = c - Aᵀy."""
    z = reduced_costs(problem, y)
    scale = 1 + float(np.abs(problem.costs).max(initial=0))
    wrong = [_wrong_sign(y, problem.row_lower, problem.row_upper), _wrong_sign(z, problem.lower, problem.upper)]
    primal = float(problem.costs @ x)
    dual = float(dual_value(y, problem.row_lower, problem.row_upper) + dual_value(z, problem.lower, problem.upper))
    return Residuals(
        primal=_infeasibility(problem, x),
        dual=float(max(part.max(initial=0) for part in wrong)) / scale,
        gap=abs(primal - dual) / (1 + max(abs(primal), abs(dual))),
    )


def reduced_costs(problem: LinearProgram, y: Array) -> Array:
    """z = c - Aᵀy, ``[n]``: the duals of the bounds, given y."""
    return problem.costs - problem.matrix.T @ y


def lower_bounds(problem: LinearProgram, y: Array) -> Array:
    """Lower bounds that several y prove, up to rounding: ``[P, m] -> [P]``; see `proof.lower_bound`."""
    return DualBounds(y).bounds(problem)


class DualBounds:
    """`lower_bounds` of the same duals for a sequence of problems with one matrix.

    The first problem costs a product with the matrix. Later ones only cost what has changed, as long as the costs and
    the infinite bounds and sides stay.

    Args:
        y: ``[P, m]``.
    """

    def __init__(self, y: Array) -> None:
        self._y = y
        self._problem: LinearProgram | None = None
        self._bounds, self._duals, self._reduced = np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0))

    def bounds(self, problem: LinearProgram) -> Array:
        """The lower bound that each y proves, ``[P]``."""
        first = self._problem
        if first is None or not _same_costs_and_infinities(first, problem):
            y = np.clip(self._y, *dual_range(problem.row_lower, problem.row_upper))
            z = problem.costs - (problem.matrix.T @ y.T).T
            wrong = _wrong_sign(z, problem.lower, problem.upper)
            values = dual_value(y, problem.row_lower, problem.row_upper) + dual_value(z, problem.lower, problem.upper)
            unbounded = (wrong > _ZERO_REDUCED_COST * (1 + np.abs(problem.costs))).any(1)
            self._problem, self._duals, self._reduced = problem, y, z
            self._bounds = np.where(unbounded, -np.inf, values + problem.offset)
            return self._bounds.copy()
        bounds = self._bounds + problem.offset - first.offset
        for duals, low, high in ((self._duals, "row_lower", "row_upper"), (self._reduced, "lower", "upper")):
            for field, part in ((low, np.maximum), (high, np.minimum)):
                old, new = getattr(first, field), getattr(problem, field)
                changed = np.flatnonzero(old != new)
                bounds = bounds + part(duals[:, changed], 0) @ (new[changed] - old[changed])
        return bounds


def _same_costs_and_infinities(first: LinearProgram, second: LinearProgram) -> bool:
    return np.array_equal(first.costs, second.costs) and all(
        np.array_equal(np.isinf(getattr(first, field)), np.isinf(getattr(second, field)))
        for field in ("row_lower", "row_upper", "lower", "upper")
    )


def _infeasibility(problem: LinearProgram, x: Array) -> float:
    """The largest relative violation of a row or bound."""
    size = abs(problem.matrix) @ np.abs(x)
    rows = _violations(problem.matrix @ x, problem.row_lower, problem.row_upper, size)
    columns = _violations(x, problem.lower, problem.upper)
    return float(max(rows.max(initial=0), columns.max(initial=0)))


def _violations(values: Array, lower: Array, upper: Array, size: Array | float = 0.0) -> Array:
    """Violations relative to 1 + the size of the side, or relative to `_CANCELLATION` times ``size`` if larger."""
    below, above = np.maximum(lower - values, 0), np.maximum(values - upper, 0)
    scale = 1 + np.maximum(np.where(below > 0, np.abs(lower), np.abs(upper)), _CANCELLATION * np.asarray(size))
    outside = np.maximum(below, above)
    return np.divide(outside, scale, out=np.zeros_like(outside), where=outside > 0)


def dual_range(lower: Array, upper: Array) -> tuple[Array, Array]:
    """Smallest and largest dual: positive only with a lower side, negative only with an upper side."""
    return np.where(np.isinf(upper), 0.0, -np.inf), np.where(np.isinf(lower), 0.0, np.inf)


def _wrong_sign(duals: Array, lower: Array, upper: Array) -> Array:
    """The distance of each dual from its range."""
    return np.abs(duals - np.clip(duals, *dual_range(lower, upper)))


def dual_value(duals: Array, lower: Array, upper: Array) -> Array:
    """Positive duals times lower sides plus negative duals times upper sides: ``[..., n] -> [...]``.

    It is their part of the dual objective. Infinite sides count as 0.
    """
    low, high = np.where(np.isinf(lower), 0.0, lower), np.where(np.isinf(upper), 0.0, upper)
    return np.maximum(duals, 0) @ low + np.minimum(duals, 0) @ high
