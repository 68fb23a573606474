"""Repairs a nearly feasible guess by moving it towards a feasible point, no further than necessary."""

from __future__ import annotations

import numpy as np

from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.certificate import dual_range, reduced_costs

#: Share of y that goes against rounding.
_STRICTLY = 1e-12


def repaired_primal(problem: LinearProgram, x: Array) -> Array:
    """x ``[n]`` clipped to its bounds, then moved towards a corner of the box until all rows hold.

    The two corners are all lower bounds and all upper bounds, with 0 for a missing one. A cover is feasible at the
    upper corner, a packing at the lower one. If both are feasible, the cheaper result is returned; if neither is, x is
    only clipped.
    """
    x = np.clip(x, problem.lower, problem.upper)
    activity, repaired = problem.matrix @ x, list[Array]()
    for bounds in (problem.lower, problem.upper):
        corner = np.where(np.isinf(bounds), np.clip(0.0, problem.lower, problem.upper), bounds)
        step = _step_to_feasible(activity, problem.matrix @ corner, problem.row_lower, problem.row_upper)
        if step is not None:
            repaired.append(x + step * (corner - x))
    return min(repaired, key=lambda point: float(problem.costs @ point), default=x)


def repaired_dual(problem: LinearProgram, y: Array) -> Array:
    """y ``[m]`` with signs that the rows' sides allow, shrunk towards 0 until all reduced costs are dual feasible.

    At y = 0 the reduced costs are the costs. If these are not dual feasible, y is not shrunk. It is shrunk a little
    further than that, so that rounding does not change the sign of a reduced cost.
    """
    y = np.clip(y, *dual_range(problem.row_lower, problem.row_upper))
    step = _step_to_feasible(reduced_costs(problem, y), problem.costs, *dual_range(problem.lower, problem.upper))
    return y if step is None else (1 - step) * (1 - _STRICTLY) * y


def _step_to_feasible(values: Array, target: Array, lower: Array, upper: Array) -> float | None:
    """The shortest step in [0, 1] from ``values`` towards ``target`` that ends between the sides; None if ``target``
    violates them."""
    if ((target < lower) | (target > upper)).any():
        return None
    below, above = values < lower, values > upper
    steps = (
        (lower - values)[below] / (target - values)[below],
        (values - upper)[above] / (values - target)[above],
    )
    return float(np.concatenate(steps).max(initial=0.0))
