"""A first-order method for linear programs, and the basis that its iterates suggest.

Source: PDLP, Applegate et al. 2021 (arXiv 2106.04756): primal-dual hybrid gradient with adaptive step sizes, adaptive
restarts from the average or the last iterate, and a primal weight that balances primal and dual steps. Restarts look at
the KKT error, as in cuPDLP (Lu and Yang 2023, arXiv 2311.12180).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import scipy.sparse as sp

from jepakit.lp.data import Array, LinearProgram, all_bounds
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, BASIC, Basis
from jepakit.lp.solving.certificate import dual_range, dual_value

#: Iterations between two checks for a restart.
_CHECK_EVERY = 16
#: Restart criteria: since the last restart the error has fallen to the share β_sufficient; or to the share β_necessary,
#: and no longer falls; or the share β_artificial of all iterations has passed. PDLP's names, cuPDLP's values.
_BETA_SUFFICIENT, _BETA_NECESSARY, _BETA_ARTIFICIAL = 0.2, 0.8, 0.36
#: Exponents of PDLP's step size rule, and θ of its primal weight update.
_REDUCTION_EXPONENT, _GROWTH_EXPONENT, _WEIGHT_SMOOTHING = 0.3, 0.6, 0.5
#: Moves shorter than this leave the primal weight as it is.
_SMALLEST_MOVE = 1e-10


def primal_dual(problem: LinearProgram, iterations: int, balance: float = 1.0) -> tuple[Array, Array]:
    """Runs the method: x ``[n]`` within its bounds, and y ``[m]`` with signs that the rows' sides allow.

    Args:
        problem: scaled, see `jepakit.lp.solving.scaling.equilibrated`.
        iterations: each takes two products with the matrix.
        balance: the first primal weight, in units of ‖costs‖ / ‖sides‖; see `balance_of`.
    """
    steps = _Steps.of(problem)
    point = steps.point(np.clip(0.0, problem.lower, problem.upper), np.zeros(problem.rows))
    weight, step = balance * _weight_unit(problem), steps.first
    start, start_error = point, steps.error(point, weight)
    error, mean = start_error, _Mean()
    for number in range(1, iterations + 1):
        candidate, limit = steps.step(point, step, weight)
        taken = step
        shrunk, grown = 1 - (number + 1) ** -_REDUCTION_EXPONENT, 1 + (number + 1) ** -_GROWTH_EXPONENT
        step = min(shrunk * limit, grown * step)
        if taken <= limit:
            point = replace(candidate, aty=steps.by_column @ candidate.y)
            mean.add(point, taken)
        if not mean.size or (number % _CHECK_EVERY and number != iterations):
            continue
        pairs = [(candidate, steps.error(candidate, weight)) for candidate in (point, mean.point)]
        nearest, now = min(pairs, key=lambda pair: pair[1])
        sufficient = now <= _BETA_SUFFICIENT * start_error
        necessary = now <= _BETA_NECESSARY * start_error and now > error
        error = now
        if sufficient or necessary or mean.count >= _BETA_ARTIFICIAL * number or number == iterations:
            # Rounding may put an average outside of the bounds.
            point = steps.point(np.clip(nearest.x, problem.lower, problem.upper), nearest.y)
            weight = _updated_weight(weight, point.x - start.x, point.y - start.y)
            start, start_error = point, steps.error(point, weight)
            error, mean = start_error, _Mean()
    return point.x, point.y


def balance_of(problem: LinearProgram, x: Array, y: Array) -> float:
    """The balance with which `primal_dual` has the same weighted distance to x ``[n]`` as to y ``[m]``.

    It is the best balance if both are optimal. The problem is scaled.
    """
    dx, dy = float(np.linalg.norm(x - np.clip(0.0, problem.lower, problem.upper))), float(np.linalg.norm(y))
    return dy / dx / _weight_unit(problem) if min(dx, dy) > 0 else 1.0


def guessed_basis(problem: LinearProgram, x: Array, y: Array) -> Basis:
    """The basis that a point near an optimum suggests.

    Basic are the m columns and rows with the largest distance to the bounds minus the size of the dual; the others are
    at the nearer bound.

    Args:
        problem: scaled, so that distances and duals are comparable.
        x: ``[n]``.
        y: row duals, ``[m]``.
    """
    values = np.concatenate([x, problem.matrix @ x])
    duals = np.concatenate([problem.costs - problem.matrix.T @ y, y])
    lower, upper = all_bounds(problem)
    surplus = np.minimum(values - lower, upper - values) - np.abs(duals)
    status = np.where(values - lower <= upper - values, AT_LOWER, AT_UPPER).astype(np.int8)
    status[np.argsort(-surplus, kind="stable")[: problem.rows]] = BASIC
    return Basis(status[: problem.columns], status[problem.columns :]).fitted(problem)


@dataclass(frozen=True, eq=False)
class _Point:
    """An iterate: x ``[n]``, y ``[m]``, Ax ``[m]`` and Aᵀy ``[n]``."""

    x: Array
    y: Array
    ax: Array
    aty: Array


class _Mean:
    """The average of iterates, weighted by step size, and of their products with the matrix."""

    def __init__(self) -> None:
        self.count, self.size = 0, 0.0
        self._sums: list[Array | float] = [0.0] * len(fields(_Point))

    def add(self, point: _Point, size: float) -> None:
        parts = (point.x, point.y, point.ax, point.aty)
        self._sums = [total + size * part for total, part in zip(self._sums, parts, strict=True)]
        self.count, self.size = self.count + 1, self.size + size

    @property
    def point(self) -> _Point:
        return _Point(*(np.asarray(total / self.size) for total in self._sums))


@dataclass(frozen=True, eq=False)
class _Steps:
    """The steps for one problem, with A and Aᵀ by rows; the first step size is at most 1 / ‖A‖₂."""

    problem: LinearProgram
    by_row: sp.csr_array
    by_column: sp.csr_array
    first: float

    @classmethod
    def of(cls, problem: LinearProgram) -> _Steps:
        by_row, by_column = problem.matrix.tocsr(), problem.matrix.T.tocsr()
        # ‖A‖₂² is at most the largest absolute row sum times the largest absolute column sum.
        sums = [float(abs(matrix).sum(1).max(initial=0)) for matrix in (by_row, by_column)]
        norm = float(np.sqrt(sums[0] * sums[1]))
        return cls(problem, by_row, by_column, 1 / norm if norm > 0 else 1.0)

    def point(self, x: Array, y: Array) -> _Point:
        return _Point(x, y, self.by_row @ x, self.by_column @ y)

    def step(self, point: _Point, step: float, weight: float) -> tuple[_Point, float]:
        """The next iterate, its Aᵀy still that of ``point``, and the largest step size that was allowed."""
        problem = self.problem
        x = np.clip(point.x - step / weight * (problem.costs - point.aty), problem.lower, problem.upper)
        ax = self.by_row @ x
        dual = point.y / (step * weight) - 2 * ax + point.ax
        y = step * weight * (dual - np.clip(dual, -problem.row_upper, -problem.row_lower))
        dx, dy = x - point.x, y - point.y
        interaction = abs(float(dy @ (ax - point.ax)))
        movement = weight * float(dx @ dx) + float(dy @ dy) / weight
        return _Point(x, y, ax, point.aty), 0.5 * movement / interaction if interaction > 0 else np.inf

    def error(self, point: _Point, weight: float) -> float:
        """The KKT error: primal and dual residual, weighted, and the duality gap."""
        problem = self.problem
        outside = point.ax - np.clip(point.ax, problem.row_lower, problem.row_upper)
        z = problem.costs - point.aty
        feasible = np.clip(z, *dual_range(problem.lower, problem.upper))
        wrong = z - feasible
        value = dual_value(point.y, problem.row_lower, problem.row_upper)
        value += dual_value(feasible, problem.lower, problem.upper)
        gap = float(problem.costs @ point.x) - value
        return float(np.sqrt(weight**2 * (outside @ outside) + (wrong @ wrong) / weight**2 + gap**2))


def _weight_unit(problem: LinearProgram) -> float:
    """‖costs‖ / ‖finite sides‖, PDLP's first primal weight; 1 if one of them is 0."""
    sides = np.concatenate([problem.row_lower, problem.row_upper])
    costs, right = np.linalg.norm(problem.costs), np.linalg.norm(sides[np.isfinite(sides)])
    return float(costs / right) if costs > 0 and right > 0 else 1.0


def _updated_weight(weight: float, dx: Array, dy: Array) -> float:
    """PDLP's primal weight after a restart: log-space average of the old weight and |Δy| / |Δx|."""
    primal, dual = float(np.linalg.norm(dx)), float(np.linalg.norm(dy))
    if min(primal, dual) < _SMALLEST_MOVE:
        return weight
    new = _WEIGHT_SMOOTHING * np.log(dual / primal) + (1 - _WEIGHT_SMOOTHING) * np.log(weight)
    return float(np.exp(new))
