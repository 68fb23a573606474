"""What is proved of a problem, in its own units: bounds of the optimum, that no point or no optimum exists.

Rounding is accounted for: a proved bound holds in exact arithmetic for the numbers of the problem.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.certificate import dual_range, reduced_costs
from jepakit.lp.solving.completion import BasicBlock, completed_duals
from jepakit.lp.solving.implied import implied_bounds
from jepakit.lp.solving.precise import EPSILON, Enclosed, dot, residual, rough_residual, two_sum
from jepakit.lp.solving.scaling import powers_of_two

#: A row may be violated by this share of its larger side; of its largest term if its sides are 0.
ROW_TOLERANCE = 1e-9
#: What rounding x to doubles moves an activity by, in units of Σ ``|aᵢⱼ xⱼ|``, with room for an ill-conditioned basis.
ROUNDING_OF_ACTIVITY = 16 * EPSILON
#: Of reduced costs, relative to the terms that they are sums of.
_ROUNDING_OF_DUALS = 1e-11
#: Bounds differ by rounding alone if they differ by less than this share of Σ ``|cⱼ xⱼ|``.
ROUNDING_OF_BOUNDS = 64 * EPSILON


@dataclass(frozen=True)
class Certificate:
    """What is proved of an optimum.

    Args:
        lower: no point that meets all rows and bounds has a smaller cᵀx + c₀.
        upper: cᵀx + c₀ at x; infinite if x violates a row by more than its tolerance.
        gap: ``upper - lower``, relative to the larger of their sizes without c₀; 0 if rounding explains it.
        missing: what keeps x from being a certified optimum; empty: nothing.
        settled: whether that is nothing, or only that rounding leaves the sign of reduced costs open.
    """

    lower: float
    upper: float
    gap: float
    missing: str
    settled: bool

    @property
    def holds(self) -> bool:
        """Whether x is a certified optimum."""
        return not self.missing


def certify(
    problem: LinearProgram,
    x: Array,
    y: Array,
    block: BasicBlock | None = None,
    *,
    gap: float,
    row_tolerance: Array | None = None,
    of_infeasible: bool = True,
) -> Certificate:
    """What x ``[n]`` and row duals y ``[m]`` prove.

    Args:
        problem: the problem.
        x: its bounds are not violated at all.
        y: any.
        block: of a basis that completes y where rounding alone leaves it without a proof.
        gap: largest gap of a certified optimum.
        row_tolerance: see `feasibility`.
        of_infeasible: whether a bound is computed if x is infeasible, and therefore no certified optimum.
    """
    feasible = feasibility(problem, x, row_tolerance)
    if feasible.missing and not of_infeasible:
        return Certificate(-np.inf, np.inf, np.inf, feasible.missing, settled=False)
    value = dot(problem.costs, x)
    upper = float(value.high[0]) if not feasible.missing else np.inf
    rounding = ROUNDING_OF_BOUNDS * float(np.abs(problem.costs) @ np.abs(x))
    best = -np.inf
    for lower in _lower_bounds(problem, y, block, upper):
        best = max(best, lower)
        if _gap(best, upper, rounding) <= gap:
            break
    found = _gap(best, upper, rounding)
    missing = feasible.missing
    if not missing and not found <= gap:
        missing = f"the bounds differ by {found:.1e}, relative to their size ({gap:g} is allowed)"
    if not missing:
        # By duality, moving the sides of the rows to where x has them changes the optimum by this.
        moved = float(np.abs(np.where(np.isfinite(y), y, 0.0)) @ feasible.violation)
        if moved > max(gap * max(abs(best), abs(upper)), rounding):
            missing = f"the violations of the rows are worth {moved:.1e} of the objective"
    at_x = np.inf if feasible.missing else float(problem.costs @ x) + problem.offset
    settled = not missing
    if not settled and not feasible.missing and not found <= gap and np.isfinite(y).all():
        off, estimate = _estimate(problem, y)
        settled = off <= _ROUNDING_OF_DUALS and _gap(estimate, upper, rounding) <= gap
        if settled:
            missing = f"the bounds meet, but for rounding errors of reduced costs, of {off:.1e} of their terms"
    return Certificate(_rounded_down(best, problem.offset), at_x, found, missing, settled)


def _estimate(problem: LinearProgram, y: Array) -> tuple[float, float]:
    """The largest reduced cost of the wrong sign, relative to its terms, and what y proves if they count as 0."""
    y = np.clip(y, *dual_range(problem.row_lower, problem.row_upper))
    z = reduced_costs(problem, y)
    low, high = dual_range(problem.lower, problem.upper)
    terms = np.abs(problem.costs) + abs(problem.matrix).T @ np.abs(y)
    right = np.clip(z, low, high)
    off = np.divide(np.abs(z - right), terms, out=np.zeros_like(z), where=terms > 0)
    sides = _side(y, problem.row_lower, problem.row_upper), _side(right, problem.lower, problem.upper)
    return float(off.max(initial=0)), float(y @ sides[0] + right @ sides[1])


def lower_bound(problem: LinearProgram, y: Array) -> float:
    """A lower bound of cᵀx + c₀ over all feasible x, for any row duals y ``[m]``, rounding included.

    Σ min{yᵢ a: Lᵢ ≤ a ≤ Uᵢ} over the rows plus Σ min{zⱼ x: lⱼ ≤ x ≤ uⱼ} over the columns, with z = c - Aᵀy. It is -inf
    if a reduced cost may have no bound on its side. A dual without a side on its side counts as 0.
    """
    exact = _exactly(problem, y)
    reduced = _negated(residual(problem.matrix, exact.middle, problem.costs))
    bound = _bound(problem, exact, reduced, problem.lower, problem.upper)
    return _rounded_down(bound, problem.offset)


def upper_bound(problem: LinearProgram, x: Array) -> float:
    """cᵀx + c₀ if x ``[n]`` is feasible, see `feasibility`; else infinite."""
    return np.inf if feasibility(problem, x).missing else float(problem.costs @ x) + problem.offset


def proves_infeasible(problem: LinearProgram, y: Array) -> bool:
    """Whether y ``[m]`` proves that no point meets all rows and bounds (Farkas' lemma).

    With costs of 0 the optimum is 0; a lower bound above 0 contradicts that.
    """
    without = replace(problem, costs=np.zeros(problem.columns), offset=0.0)
    return any(lower > 0 for lower in _lower_bounds(without, y, None, np.inf))


def proves_unbounded(problem: LinearProgram, direction: Array) -> bool:
    """Whether from every feasible point the objective falls for ever along ``direction`` ``[n]``."""
    activity = residual(problem.matrix.tocsr(), direction, np.zeros(problem.rows))
    low, high = (np.isfinite(side) for side in (problem.row_lower, problem.row_upper))
    inside = (
        not (low & ~(activity.low >= 0)).any()
        and not (high & ~(activity.high <= 0)).any()
        and not (np.isfinite(problem.lower) & ~(direction >= 0)).any()
        and not (np.isfinite(problem.upper) & ~(direction <= 0)).any()
    )
    return inside and bool(dot(problem.costs, direction).high[0] < 0)


@dataclass(frozen=True)
class Feasibility:
    """How far a point is from the rows.

    Args:
        violation: largest possible violation of each row, in its units, ``[m]``.
        missing: names a row that is violated by more than its tolerance, or a bound that is violated; empty: none.
    """

    violation: Array
    missing: str


def feasibility(problem: LinearProgram, x: Array, row_tolerance: Array | None = None) -> Feasibility:
    """How far x ``[n]`` is from feasible.

    Args:
        problem: the problem.
        x: the point.
        row_tolerance: allowed violation of each row in its own units, ``[m]``; None, or NaN for a row: `ROW_TOLERANCE`
            of its larger side, or of its largest term if its sides are 0, or what rounding of x amounts to.
            Fixed columns do not count as terms.
    """
    if not np.isfinite(x).all():
        return Feasibility(np.full(problem.rows, np.inf), "there is no point")
    outside = np.flatnonzero((x < problem.lower) | (x > problem.upper))
    if len(outside):
        at = int(outside[0])
        return Feasibility(np.full(problem.rows, np.inf), f"column {problem.column_name(at)!r} is outside its bounds")
    by_row = problem.matrix.tocsr()
    tolerance = _row_tolerances(problem, x, row_tolerance)
    violation = _violation(problem, rough_residual(by_row, x, np.zeros(problem.rows)))
    if (violation > tolerance / 2).any():
        violation = _violation(problem, residual(by_row, x, np.zeros(problem.rows)))
        usual = np.ones(problem.rows, bool) if row_tolerance is None else np.isnan(row_tolerance)
        if (violation > tolerance)[usual].any():
            tolerance = np.where(usual, np.maximum(tolerance, _noise(problem, x)), tolerance)
    beyond = np.flatnonzero(~(violation <= tolerance))
    if not len(beyond):
        return Feasibility(violation, "")
    at = int(np.argmax(violation - tolerance))
    missing = f"row {problem.row_name(at)!r} is violated by {violation[at]:.1e} ({tolerance[at]:.1e} is allowed)"
    return Feasibility(violation, missing)


def _noise(problem: LinearProgram, x: Array) -> Array:
    """What rounding of all of x amounts to in each row, ``[m]``, where rows and columns have comparable units."""
    rows, columns = powers_of_two(problem.matrix)
    largest = np.max(np.where(problem.lower < problem.upper, np.abs(x), 0.0) / columns, initial=0.0)
    return 4 * ROUNDING_OF_ACTIVITY * largest / rows


def _violation(problem: LinearProgram, activity: Enclosed) -> Array:
    below, above = problem.row_lower - activity.low, activity.high - problem.row_upper
    violation = np.maximum(np.maximum(below, above), 0.0)
    return np.where(np.isnan(activity.low) | np.isnan(activity.high), np.inf, violation)


def _row_tolerances(problem: LinearProgram, x: Array, given: Array | None) -> Array:
    sides = [np.where(np.isfinite(side), np.abs(side), 0.0) for side in (problem.row_lower, problem.row_upper)]
    side = np.maximum(*sides)
    size, length = np.abs(x), np.diff(problem.matrix.indptr)
    terms = np.abs(problem.matrix.data) * np.repeat(np.where(problem.lower < problem.upper, size, 0.0), length)
    largest = np.zeros(problem.rows)
    np.maximum.at(largest, problem.matrix.indices, terms)
    # What is at a bound is not rounded.
    inside = np.repeat((x != problem.lower) & (x != problem.upper), length)
    total = np.bincount(problem.matrix.indices, terms * inside, problem.rows)
    usual = np.maximum(ROW_TOLERANCE * np.where(side > 0, side, largest), ROUNDING_OF_ACTIVITY * total)
    return usual if given is None else np.where(np.isnan(given), usual, given)


def _lower_bounds(problem: LinearProgram, y: Array, block: BasicBlock | None, upper: float) -> Iterator[float]:
    """Lower bounds of cᵀx over the feasible x, by ways of growing effort.

    Those below ``upper`` are as good as any: points with a larger objective do not count.
    """
    implied: tuple[Array, Array] | None = None
    for precise, duals, reduced in _enclosed_duals(problem, y, block):
        bound = _bound(problem, duals, reduced, problem.lower, problem.upper)
        yield bound
        if precise and np.isinf(bound):
            implied = implied or implied_bounds(problem, upper + 1e-6 * abs(upper))
            yield min(_bound(problem, duals, reduced, *implied), upper)


def _enclosed_duals(
    problem: LinearProgram, y: Array, block: BasicBlock | None
) -> Iterator[tuple[bool, Enclosed, Enclosed]]:
    """Row duals and reduced costs, and whether they are as narrow as they get."""
    if np.isfinite(y).all():
        exact = _exactly(problem, y)
        yield False, exact, _negated(rough_residual(problem.matrix, exact.middle, problem.costs))
        yield True, exact, _negated(residual(problem.matrix, exact.middle, problem.costs))
    if block is not None and (completed := completed_duals(problem, block)) is not None:
        yield True, *completed


def _exactly(problem: LinearProgram, y: Array) -> Enclosed:
    """The row duals, without those that their rows cannot have."""
    y = np.clip(y, *dual_range(problem.row_lower, problem.row_upper))
    return Enclosed(y, np.zeros_like(y), np.zeros_like(y))


def _negated(values: Enclosed) -> Enclosed:
    return Enclosed(-values.middle, -values.rest, values.radius)


def _bound(problem: LinearProgram, y: Enclosed, z: Enclosed, lower: Array, upper: Array) -> float:
    """Σ min{yᵢ a: Lᵢ ≤ a ≤ Uᵢ} + Σ min{zⱼ x: lⱼ ≤ x ≤ uⱼ} with the worst y and z that are enclosed, rounded down."""
    factors, sides = list[Array](), list[Array]()
    for duals, low, high in ((y, problem.row_lower, problem.row_upper), (z, lower, upper)):
        # Concave in the dual: the worst is at an end.
        ends = [(end, _side(end, low, high)) for end in (duals.low, duals.high)]
        with np.errstate(invalid="ignore"):
            first = ends[0][0] * ends[0][1] <= ends[1][0] * ends[1][1]
        factors.append(np.where(first, ends[0][0], ends[1][0]))
        sides.append(np.where(first, ends[0][1], ends[1][1]))
    factor, side = np.concatenate(factors), np.concatenate(sides)
    if not np.isfinite(side).all() or not np.isfinite(factor).all():
        return -np.inf
    bound = float(dot(factor, side).low[0])
    return bound if np.isfinite(bound) else -np.inf


def _side(duals: Array, lower: Array, upper: Array) -> Array:
    """The side that minimises dual times side; 0 where the dual is 0."""
    return np.where(duals > 0, lower, np.where(duals < 0, upper, np.where(np.isnan(duals), np.nan, 0.0)))


def _rounded_down(a: float, b: float) -> float:
    """The sum, or the next double below it."""
    if not np.isfinite(a):
        return a
    total, error = two_sum(np.array(a), np.array(b))
    return float(total if not error < 0 else np.nextafter(total, -np.inf))


def _gap(lower: float, upper: float, rounding: float) -> float:
    """Relative to the larger of both; 0 if ``rounding`` explains the difference."""
    if not (np.isfinite(lower) and np.isfinite(upper)):
        return np.inf
    apart = upper - lower
    return 0.0 if apart <= rounding else apart / max(abs(lower), abs(upper))
