"""A few steps of a first-order method: where a solution begins to show, for next to nothing.

Source: PDLP, Applegate et al. 2021 (arXiv 2106.04756): primal-dual hybrid gradient, restarted from the average, with a
primal weight that balances the two sides.
"""

from __future__ import annotations

import numpy as np

from jepakit.lp.basis import AT_LOWER, AT_UPPER, BASIC, Basis
from jepakit.lp.data import Array, LinearProgram

__all__ = ["guessed_basis", "primal_dual"]

#: Iterations between two restarts at least, and as a share of all so far.
_RESTART, _LONG = 32, 0.36
_POWER_STEPS = 20


def primal_dual(problem: LinearProgram, iterations: int) -> tuple[Array, Array]:
    """x ``[n]`` between its bounds and duals y ``[m]`` of signs that fit the rows' sides, after so many iterations.

    Args:
        problem: scaled, see `jepakit.lp.scaling.equilibrated`.
        iterations: two products with the matrix each.
    """
    by_row, by_column = problem.matrix.tocsr(), problem.matrix.T.tocsr()
    x, y = np.clip(0.0, problem.lower, problem.upper), np.zeros(problem.rows)
    step = 0.99 / _norm(by_row, by_column)
    weight = _balance(problem)
    x_sum, y_sum, count = np.zeros_like(x), np.zeros_like(y), 0
    x_start, y_start = x, y
    for number in range(1, iterations + 1):
        moved = np.clip(x - step / weight * (problem.costs - by_column @ y), problem.lower, problem.upper)
        pulled = y / (step * weight) - by_row @ (2 * moved - x)
        y = step * weight * (pulled - np.clip(pulled, -problem.row_upper, -problem.row_lower))
        x = moved
        x_sum, y_sum, count = x_sum + x, y_sum + y, count + 1
        if count >= max(_RESTART, _LONG * number) or number == iterations:
            # An average is off by a rounding, and so may be outside.
            x, y = np.clip(x_sum / count, problem.lower, problem.upper), y_sum / count
            weight = _rebalanced(weight, x - x_start, y - y_start)
            x_sum, y_sum, count = np.zeros_like(x), np.zeros_like(y), 0
            x_start, y_start = x, y
    return x, y


def guessed_basis(problem: LinearProgram, x: Array, y: Array) -> Basis:
    """The basis that a point near an optimum looks like.

    Basic is what lies further from its bounds than its dual is large, as many as there are rows; the others are at the
    nearer bound.

    Args:
        problem: scaled, so that distances and duals can be compared.
        x: ``[n]``.
        y: the rows' duals, ``[m]``.
    """
    values = np.concatenate([x, problem.matrix @ x])
    duals = np.concatenate([problem.costs - problem.matrix.T @ y, y])
    lower = np.concatenate([problem.lower, problem.row_lower])
    upper = np.concatenate([problem.upper, problem.row_upper])
    surplus = np.minimum(values - lower, upper - values) - np.abs(duals)
    status = np.where(values - lower <= upper - values, AT_LOWER, AT_UPPER).astype(np.int8)
    status[np.argsort(-surplus, kind="stable")[: problem.rows]] = BASIC
    return Basis(status[: problem.columns], status[problem.columns :]).fitted(problem)


def _norm(by_row: object, by_column: object) -> float:
    """The largest singular value, by power iteration from a fixed vector; 1 for a matrix of zeros."""
    vector = 1 + 0.1 * np.cos(np.arange(by_row.shape[1]))  # type: ignore[attr-defined]
    size = 0.0
    for _ in range(_POWER_STEPS):
        size = float(np.linalg.norm(vector))
        if size == 0:
            return 1.0
        vector = by_column @ (by_row @ (vector / size))  # type: ignore[operator]
    # The iteration comes from below.
    return 1.05 * float(np.sqrt(np.linalg.norm(vector))) or 1.0


def _balance(problem: LinearProgram) -> float:
    """The first primal weight: the size of the costs over that of the sides."""
    sides = np.concatenate([problem.row_lower, problem.row_upper])
    costs, right = np.linalg.norm(problem.costs), np.linalg.norm(sides[np.isfinite(sides)])
    return float(costs / right) if costs > 0 and right > 0 else 1.0


def _rebalanced(weight: float, x_moved: Array, y_moved: Array) -> float:
    """Half way, on a scale of logarithms, to where both sides move alike."""
    dx, dy = float(np.linalg.norm(x_moved)), float(np.linalg.norm(y_moved))
    if min(dx, dy) < 1e-10:
        return weight
    return float(np.exp(0.5 * np.log(dy / dx) + 0.5 * np.log(weight)))
