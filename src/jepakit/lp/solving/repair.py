"""A guess that is almost feasible, made feasible: as little as it takes towards a point that is."""

from __future__ import annotations

import numpy as np

from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.certificate import reduced_costs

__all__ = ["repaired_dual", "repaired_primal"]


def repaired_primal(problem: LinearProgram, x: Array) -> Array:
    """x between its bounds, and as far towards a corner of the box as the rows ask for; no further than it helps.

    The corners are that of all lower and that of all upper bounds, the point 0 in place of missing ones: at one of them
    covers are covered, and packings empty. Where neither meets all rows, x is returned between its bounds.

    Args:
        problem: the problem.
        x: ``[n]``.
    """
    x = np.clip(x, problem.lower, problem.upper)
    activity = problem.matrix @ x
    ways = [
        (share, corner)
        for corner in (_corner(problem.lower, problem), _corner(problem.upper, problem))
        if (share := _share(activity, problem.matrix @ corner, problem.row_lower, problem.row_upper)) is not None
    ]
    if not ways:
        return x
    moved = [x + share * (corner - x) for share, corner in ways]
    return min(moved, key=lambda one: float(problem.costs @ one))


def repaired_dual(problem: LinearProgram, y: Array) -> Array:
    """y of signs that fit the rows' sides, and as much smaller as the reduced costs ask for.

    At y = 0 the reduced costs are the costs; where these pull towards a bound that is not there, y keeps its size.

    Args:
        problem: the problem.
        y: ``[m]``.
    """
    y = np.clip(y, *_possible(problem.row_lower, problem.row_upper))
    share = _share(reduced_costs(problem, y), problem.costs, *_possible(problem.lower, problem.upper))
    return y if share is None else (1 - share) * y


def _corner(bounds: Array, problem: LinearProgram) -> Array:
    return np.where(np.isinf(bounds), np.clip(0.0, problem.lower, problem.upper), bounds)


def _possible(lower: Array, upper: Array) -> tuple[Array, Array]:
    """Least and largest dual: it may be positive where there is a lower side, negative where there is an upper one."""
    return np.where(np.isinf(upper), 0.0, -np.inf), np.where(np.isinf(lower), 0.0, np.inf)


def _share(values: Array, there: Array, lower: Array, upper: Array) -> float | None:
    """Which part of the way from values to others there, which lie between the sides, makes all lie between; None where
    those others do not."""
    if ((there < lower) | (there > upper)).any():
        return None
    below, above = values < lower, values > upper
    shares = np.concatenate(
        [
            (lower - values)[below] / (there - values)[below],
            (values - upper)[above] / (values - there)[above],
        ]
    )
    return float(shares.max(initial=0.0))
