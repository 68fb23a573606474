"""Points and duals more exact than the solver's: its tolerances are absolute, and those of the problem may be small.

Source: Gleixner, Steffy & Wolter 2016, "Iterative refinement for linear programming": what an answer misses is
magnified, and is a linear program again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse as sp

from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, BASIC, Basis
from jepakit.lp.solving.completion import CORRECTIONS, BasicBlock, corrected_duals
from jepakit.lp.solving.highs import SMALLEST_TOLERANCE, HighsSolver
from jepakit.lp.solving.precise import residual
from jepakit.lp.solving.scaling import powers_of_two

#: Rounds that solve for what is missed.
_REFINEMENTS = 5
#: What is missed is magnified by at most this in one round.
_LARGEST_STEP = 2.0**36
#: Scaled, an answer that misses no more than this is not refined.
_NEGLIGIBLE = 2.0**-100


def corrected_answer(problem: LinearProgram, block: BasicBlock) -> tuple[Array, Array] | None:
    """The point ``[n]`` and the row duals ``[m]`` of a basis, to the last digits; None if they are too large."""
    basis, by_row = block.basis, sp.csr_array(problem.matrix.tocsr()[block.rows])
    x = _at_bounds(basis.columns, problem.lower, problem.upper)
    sides = _at_bounds(basis.rows, problem.row_lower, problem.row_upper)[block.rows]
    for _ in range(CORRECTIONS):
        x[block.columns] -= block.solve(residual(by_row, x, sides).middle, transposed=False)
    y = corrected_duals(problem, block, problem.costs[block.columns], np.zeros(problem.rows))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    return np.clip(x, problem.lower, problem.upper), y


def refinements(
    problem: LinearProgram, x: Array, y: Array, basis: Basis, left: Callable[[], float]
) -> Iterator[tuple[Array, Array, Basis]]:
    """Better and better points, duals and bases, from an answer of the solver.

    Args:
        problem: the problem.
        x: the answer's point, ``[n]``.
        y: its row duals, ``[m]``.
        basis: its basis.
        left: seconds that are left.
    """
    by_row, highs = problem.matrix.tocsr(), HighsSolver(tolerance=SMALLEST_TOLERANCE)
    rows, columns = powers_of_two(problem.matrix)
    # The activity of a row has a cost, its dual: it is a column of its own.
    matrix = sp.csc_array(
        sp.hstack([sp.diags_array(rows) @ problem.matrix @ sp.diags_array(columns), -sp.eye_array(problem.rows)])
    )
    blank = np.zeros(problem.rows)
    primal_step = dual_step = 1.0
    for _ in range(_REFINEMENTS):
        activity = residual(by_row, x, blank)
        sides = [rows * ((side - activity.middle) - activity.rest) for side in (problem.row_lower, problem.row_upper)]
        lower, upper = (
            np.concatenate([(bound - x) / columns, side])
            for bound, side in zip((problem.lower, problem.upper), sides, strict=True)
        )
        costs = np.concatenate([-columns * residual(problem.matrix, y, problem.costs).middle, y / rows])
        statuses = np.concatenate([basis.columns, basis.rows])
        missed = float(np.maximum(lower, -upper).max(initial=0))
        wrong = _misplaced(costs, statuses, lower, upper)
        if max(missed, wrong) <= _NEGLIGIBLE or left() <= 0:
            return
        bounds = np.concatenate([lower, upper])
        primal_step = _magnified(missed, bounds[np.isfinite(bounds)], primal_step)
        dual_step = _magnified(wrong, costs, dual_step)
        given = LinearProgram(
            dual_step * costs,
            matrix,
            row_lower=blank,
            row_upper=blank,
            lower=primal_step * lower,
            upper=primal_step * upper,
        )
        answer = highs.solve(given, Basis(statuses, np.full(problem.rows, AT_LOWER, np.int8)), seconds=left())
        if answer.status != "optimal" or answer.basis is None:
            return
        x = np.clip(x + columns * answer.x[: problem.columns] / primal_step, problem.lower, problem.upper)
        y = y + rows * answer.y / dual_step
        basis = Basis(*np.split(answer.basis.columns, [problem.columns]))
        yield x, y, basis


def _at_bounds(statuses: Array, lower: Array, upper: Array) -> Array:
    """The values of what is nonbasic; 0 for the rest."""
    return np.where(statuses == AT_LOWER, lower, np.where(statuses == AT_UPPER, upper, 0.0))


def _misplaced(duals: Array, statuses: Array, lower: Array, upper: Array) -> float:
    """The largest dual of what is basic, and of the wrong sign for the side that a nonbasic row or column is at."""
    wrong = np.where(statuses == AT_LOWER, -duals, np.where(statuses == AT_UPPER, duals, np.abs(duals)))
    return float(np.where((statuses != BASIC) & (lower == upper), 0.0, wrong).max(initial=0))


def _magnified(missed: float, values: Array, before: float) -> float:
    """The power of two by which what is missed becomes about 1, not too much more than before.

    If nothing is missed, that by which the largest of the values becomes about 1.
    """
    size = missed if missed > 0 else float(np.abs(values).max(initial=0))
    return float(np.ldexp(1.0, np.frexp(min(1.0 / size, before * _LARGEST_STEP))[1] - 1)) if size > 0 else before
