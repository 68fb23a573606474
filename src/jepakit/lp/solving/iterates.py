"""A few steps of a first-order method: where a solution begins to show, for next to nothing.

Source: PDLP, Applegate et al. 2021 (arXiv 2106.04756): primal-dual hybrid gradient with steps that adapt, restarted
from the average or the last iterate, with a primal weight that balances the two sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, BASIC, Basis
from jepakit.lp.solving.certificate import dual_value

__all__ = ["balance_of", "guessed_basis", "primal_dual"]

#: Iterations between two looks at whether to restart.
_LOOK = 16
#: Restart where the error has come down to this share; or to this one, and grows again; or after a share of all steps.
_ENOUGH, _SOME, _LONG = 0.2, 0.8, 0.36


def primal_dual(problem: LinearProgram, iterations: int, balance: float = 1.0) -> tuple[Array, Array]:
    """x ``[n]`` between its bounds and duals y ``[m]`` of signs that fit the rows' sides, after so many iterations.

    Args:
        problem: scaled, see `jepakit.lp.solving.scaling.equilibrated`.
        iterations: two products with the matrix each.
        balance: the first primal weight, in units of the size of the costs over that of the sides; `balance_of` is the
            best one, afterwards.
    """
    steps = _Steps.of(problem)
    point = steps.point(np.clip(0.0, problem.lower, problem.upper), np.zeros(problem.rows))
    weight, step = balance * _unit(problem), steps.first
    start, start_error = point, steps.error(point, weight)
    error, mean = start_error, _Mean()
    for number in range(1, iterations + 1):
        moved, longest = steps.step(point, step, weight)
        taken, step = step, min((1 - (number + 1) ** -0.3) * longest, (1 + (number + 1) ** -0.6) * step)
        if taken <= longest:
            point = steps.priced(moved)
            mean.add(point, taken)
        if not mean.size or (number % _LOOK and number != iterations):
            continue
        nearest, now = min(((one, steps.error(one, weight)) for one in (point, mean.point)), key=lambda pair: pair[1])
        little = now <= _ENOUGH * start_error or (now <= _SOME * start_error and now > error)
        error = now
        if little or mean.count >= _LONG * number or number == iterations:
            # An average is off by a rounding, and so may be outside.
            point = steps.point(np.clip(nearest.x, problem.lower, problem.upper), nearest.y)
            weight = _rebalanced(weight, point.x - start.x, point.y - start.y)
            start, start_error = point, steps.error(point, weight)
            error, mean = start_error, _Mean()
    return point.x, point.y


def balance_of(problem: LinearProgram, x: Array, y: Array) -> float:
    """The balance with which `primal_dual` has as far to go to x as to y.

    Args:
        problem: scaled.
        x: of an optimum, or near one, ``[n]``.
        y: likewise, ``[m]``.
    """
    dx, dy = float(np.linalg.norm(x - np.clip(0.0, problem.lower, problem.upper))), float(np.linalg.norm(y))
    return dy / dx / _unit(problem) if min(dx, dy) > 0 else 1.0


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


@dataclass(frozen=True, eq=False)
class _Point:
    """An iterate with its products.

    Args:
        x: ``[n]``.
        y: ``[m]``.
        activity: Ax, ``[m]``.
        priced: Aᵀy, ``[n]``.
    """

    x: Array
    y: Array
    activity: Array
    priced: Array


class _Mean:
    """Of iterates, by the lengths of their steps; products are linear, so that theirs cost nothing."""

    def __init__(self) -> None:
        self.count, self.size = 0, 0.0
        self._sums: tuple[Array, ...] = ()

    def add(self, point: _Point, size: float) -> None:
        parts = (point.x, point.y, point.activity, point.priced)
        sums = self._sums or tuple(np.zeros_like(part) for part in parts)
        self._sums = tuple(total + size * part for total, part in zip(sums, parts, strict=True))
        self.count, self.size = self.count + 1, self.size + size

    @property
    def point(self) -> _Point:
        return _Point(*(total / self.size for total in self._sums))


@dataclass(frozen=True, eq=False)
class _Steps:
    """What the steps of a problem need, computed once.

    Args:
        problem: the problem.
        by_row: its matrix.
        by_column: the transposed one.
        first: length of the first step, which is short enough.
    """

    problem: LinearProgram
    by_row: sp.csr_array
    by_column: sp.csr_array
    first: float

    @classmethod
    def of(cls, problem: LinearProgram) -> _Steps:
        by_row, by_column = problem.matrix.tocsr(), problem.matrix.T.tocsr()
        # The largest singular value squared is at most the largest row sum times the largest column sum.
        sizes = [float(abs(one).sum(1).max(initial=0)) for one in (by_row, by_column)]
        largest = float(np.sqrt(sizes[0] * sizes[1]))
        return cls(problem, by_row, by_column, 1 / largest if largest > 0 else 1.0)

    def point(self, x: Array, y: Array) -> _Point:
        return _Point(x, y, self.by_row @ x, self.by_column @ y)

    def priced(self, point: _Point) -> _Point:
        return _Point(point.x, point.y, point.activity, self.by_column @ point.y)

    def step(self, point: _Point, step: float, weight: float) -> tuple[_Point, float]:
        """The next iterate, its prices not yet known, and how long the step may have been."""
        problem = self.problem
        x = np.clip(point.x - step / weight * (problem.costs - point.priced), problem.lower, problem.upper)
        activity = self.by_row @ x
        pulled = point.y / (step * weight) - 2 * activity + point.activity
        y = step * weight * (pulled - np.clip(pulled, -problem.row_upper, -problem.row_lower))
        dx, dy = x - point.x, y - point.y
        across = abs(float(dy @ (activity - point.activity)))
        along = weight * float(dx @ dx) + float(dy @ dy) / weight
        return _Point(x, y, activity, point.priced), 0.5 * along / across if across > 0 else np.inf

    def error(self, point: _Point, weight: float) -> float:
        """By how much the conditions of optimality are missed, each side by its weight."""
        problem = self.problem
        outside = point.activity - np.clip(point.activity, problem.row_lower, problem.row_upper)
        z = problem.costs - point.priced
        has_lower, has_upper = np.isfinite(problem.lower), np.isfinite(problem.upper)
        held = np.where(has_lower, np.maximum(z, 0), 0) + np.where(has_upper, np.minimum(z, 0), 0)
        wrong = z - held
        value = dual_value(point.y, problem.row_lower, problem.row_upper)
        value += dual_value(held, problem.lower, problem.upper)
        gap = float(problem.costs @ point.x) - value
        return float(np.sqrt(weight**2 * (outside @ outside) + (wrong @ wrong) / weight**2 + gap**2))


def _unit(problem: LinearProgram) -> float:
    """The size of the costs over that of the sides."""
    sides = np.concatenate([problem.row_lower, problem.row_upper])
    costs, right = np.linalg.norm(problem.costs), np.linalg.norm(sides[np.isfinite(sides)])
    return float(costs / right) if costs > 0 and right > 0 else 1.0


def _rebalanced(weight: float, x_moved: Array, y_moved: Array) -> float:
    """Half way, on a scale of logarithms, to where both sides move alike."""
    dx, dy = float(np.linalg.norm(x_moved)), float(np.linalg.norm(y_moved))
    if min(dx, dy) < 1e-10:
        return weight
    return float(np.exp(0.5 * np.log(dy / dx) + 0.5 * np.log(weight)))
