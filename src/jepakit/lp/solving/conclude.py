"""From what a solver says to what is proved: an optimum, that there is no point, or that there is no optimum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import scipy.sparse as sp

from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.basis import BASIC, Basis
from jepakit.lp.solving.certificate import TOLERANCE, reduced_costs, residuals
from jepakit.lp.solving.completion import BasicBlock, shifted_duals
from jepakit.lp.solving.exact import ExactOptimum, exact_optimum, exact_point, falls_for_ever
from jepakit.lp.solving.highs import STRICT_TOLERANCE, Answer, HighsSolver, Status
from jepakit.lp.solving.proof import Certificate, certify, feasibility, proves_infeasible, proves_unbounded
from jepakit.lp.solving.refine import corrected_answer, refinements
from jepakit.lp.solving.scaling import equilibrated

#: A reduced cost below this share of the terms it is made of counts as 0.
_DUAL_ROUNDING = 1e-9
#: Of a ray, entries smaller than this share of the largest count as 0.
_RAY_ROUNDING = 1e-9
#: Without being asked, a basis of so many columns is checked in rational arithmetic, for so long.
_SMALL, _SECONDS = 60, 1.0
#: With more rows, ways that take a linear solve per row are left out if only rounding is in the way.
_LARGE = 2000
#: With being asked, for so long if there is no time limit.
_EXACT_SECONDS = 600.0


@dataclass(frozen=True)
class Conclusion:
    """What is known of a problem after a solve.

    Args:
        status: what the solver says, or what was found instead.
        message: in words, with what is not proved.
        certified: whether it is proved.
        settled: whether it is, or more work is not likely to prove more.
        x: ``[n]``; NaN without a point.
        y: row duals, ``[m]``; NaN without duals.
        basis: of the optimum; None if there is none.
        lower: proved bound of the optimum.
        upper: the objective of x if x is feasible.
        gap: see `Certificate`.
    """

    status: Status
    message: str
    certified: bool
    x: Array
    y: Array
    basis: Basis | None
    lower: float = -np.inf
    upper: float = np.inf
    gap: float = np.inf
    settled: bool = False


@dataclass(frozen=True)
class _Near:
    """A point and duals near an answer.

    Args:
        x: the point.
        y: row duals.
        proof: row duals that are to prove a bound.
        completing: of the basis that completes these; None: they are taken as they are.
    """

    x: Array
    y: Array
    proof: Array
    completing: BasicBlock | None = None


@dataclass(frozen=True)
class Judge:
    """Concludes from the answers of a solver.

    Args:
        gap: largest gap of a certified optimum.
        row_tolerance: see `jepakit.lp.solving.proof.feasibility`.
        exact: whether an optimum is only certified if its basis is optimal in rational arithmetic.
        left: seconds that are left.
    """

    gap: float
    row_tolerance: Array
    exact: bool
    left: Callable[[], float]

    def conclude(self, problem: LinearProgram, answer: Answer) -> Conclusion:
        """What is known after an answer of HiGHS."""
        if answer.status == "optimal":
            return self._optimum(problem, answer)
        message = MESSAGES.get(answer.status, f"the solver stopped: {answer.word}")
        if answer.status == "time limit":
            x = np.clip(answer.x, problem.lower, problem.upper)
            proved = self.certificate(problem, x, answer.y)
            found = at_point(message, x, answer.y, answer.basis, proved)
            return replace(found, status="time limit", message=message, certified=False)
        proved = {"infeasible": self._no_point, "unbounded": self._no_optimum}.get(answer.status)
        if proved is None:
            return without_point(problem, answer.status, message, certified=False)
        certified = proved(problem, answer)
        message += "" if certified else ", says the solver; this is not proved"
        return without_point(problem, answer.status, message, certified=certified)

    def without_optimum(self, problem: LinearProgram) -> Conclusion | None:
        """What is proved of a problem whose optimum is not: that it is infeasible, or unbounded; None: neither."""
        nothing = Answer("failed", "", np.full(problem.columns, np.nan), np.full(problem.rows, np.nan), None, 0)
        if self._no_point(problem, nothing):
            return without_point(problem, "infeasible", MESSAGES["infeasible"], certified=True)
        if self._no_optimum(problem, nothing):
            return without_point(problem, "unbounded", MESSAGES["unbounded"], certified=True)
        return None

    def certificate(
        self, problem: LinearProgram, x: Array, y: Array, block: BasicBlock | None = None, *, of_infeasible: bool = True
    ) -> Certificate:
        """`certify` with these tolerances."""
        return certify(
            problem, x, y, block, gap=self.gap, row_tolerance=self.row_tolerance, of_infeasible=of_infeasible
        )

    def _optimum(self, problem: LinearProgram, answer: Answer) -> Conclusion:
        best: Conclusion | None = None
        why, last = "", None
        for x, y, basis in self._answers(problem, answer):
            for near in () if self.exact else self._near(problem, x, y, basis):
                proved = self.certificate(problem, near.x, near.proof, near.completing, of_infeasible=False)
                found = at_point("optimal", near.x, near.y, basis, proved)
                if proved.holds:
                    return found
                best = found if best is None else max(best, found, key=_progress)
                if best.settled and problem.rows > _LARGE:
                    break
            small = basis is not None and (basis.columns == BASIC).sum() <= _SMALL
            if basis is not None and (last is None or not basis.same_as(last)) and (self.exact or small):
                last = basis
                exact = exact_optimum(problem, basis, min(self.left(), _EXACT_SECONDS if self.exact else _SECONDS))
                if not isinstance(exact, str):
                    return _of_exact(exact, basis)
                why = why or exact
            if best is not None and best.settled:
                break
        if best is None:
            x = np.clip(answer.x, problem.lower, problem.upper)
            found = at_point("", x, answer.y, answer.basis, self.certificate(problem, x, answer.y))
            best = replace(
                found, message=f"{_TO_TOLERANCE}: {why or 'there is no basis'}", certified=False, settled=True
            )
        elif np.isinf(best.upper):
            best = at_point("optimal", best.x, best.y, best.basis, self.certificate(problem, best.x, best.y))
        return _checked(problem, best)

    def _answers(self, problem: LinearProgram, answer: Answer) -> Iterator[tuple[Array, Array, Basis | None]]:
        """The answer, that of the smallest tolerance from its basis, and refinements, each with its basis."""
        x, y, basis = np.clip(answer.x, problem.lower, problem.upper), answer.y, answer.basis
        yield x, y, basis
        if basis is None or self.left() <= 0:
            return
        # A few pivots more are mostly enough, where a refinement takes as long as the solve.
        strict = HighsSolver(tolerance=STRICT_TOLERANCE).solve(problem, basis, seconds=self.left(), reduce=False)
        if strict.status == "optimal" and strict.basis is not None:
            x, y, basis = np.clip(strict.x, problem.lower, problem.upper), strict.y, strict.basis
            yield x, y, basis
        yield from refinements(problem, x, y, basis, self.left)

    def _near(self, problem: LinearProgram, x: Array, y: Array, basis: Basis | None) -> Iterator[_Near]:
        """Points and duals near an answer, by ways of growing effort."""
        yield _Near(x, y, y)
        block = None if basis is None else BasicBlock.of(problem, basis)
        if block is None or (corrected := corrected_answer(problem, block)) is None:
            return
        x, y = corrected
        yield _Near(x, y, y)
        if feasibility(problem, x, self.row_tolerance).missing:
            return
        yield _Near(x, y, shifted_duals(problem, block, y))
        yield _Near(x, y, y, block)
        strict = self._strict_basis(problem, y, block.basis) if self.left() > 0 else None
        block = None if strict is None else BasicBlock.of(problem, strict)
        if block is not None and (corrected := corrected_answer(problem, block)) is not None:
            shifted = shifted_duals(problem, block, corrected[1])
            yield _Near(x, y, shifted)
            yield _Near(x, y, shifted, block)

    def _strict_basis(self, problem: LinearProgram, y: Array, basis: Basis) -> Basis | None:
        """A basis with optimal duals whose signs rounding cannot change, where there is one.

        Of the optimal duals those are chosen that are optimal for costs a little away from what the bounds allow.
        """
        z = reduced_costs(problem, y)
        size = np.abs(problem.costs) + abs(problem.matrix).T @ np.abs(y)
        low, high = np.isfinite(problem.lower), np.isfinite(problem.upper)
        away = np.where(low & ~high, -1.0, np.where(high & ~low, 1.0, 0.0))
        costs = np.where(np.abs(z) <= _DUAL_ROUNDING * size, 0.0, np.clip(z / _DUAL_ROUNDING, -1e3, 1e3))
        costs = costs + away * np.random.default_rng(0).uniform(0.5, 1.0, len(away))
        answer = HighsSolver().solve(replace(problem, costs=costs, offset=0.0), basis, seconds=self.left())
        return answer.basis if answer.status == "optimal" else None

    def _no_point(self, problem: LinearProgram, answer: Answer) -> bool:
        """Whether it is proved that no point meets all rows and bounds."""
        if answer.ray is not None and any(proves_infeasible(problem, sign * answer.ray) for sign in (1.0, -1.0)):
            return True
        if self.left() <= 0:
            return False
        # The least sum of violations, each in units of its row, is above 0.
        elastic = _elastic(problem)
        least = HighsSolver().solve(elastic, seconds=self.left(), presolve=False)
        if least.status != "optimal" or least.basis is None:
            return False
        judge = replace(self, gap=0.5, exact=False)
        return judge._optimum(elastic, least).lower > 0

    def _no_optimum(self, problem: LinearProgram, answer: Answer) -> bool:
        """Whether a ray is proved along which the objective falls, and there is a point to start from."""
        rays = () if answer.ray is None else _rays(answer.ray)
        if not any(proves_unbounded(problem, ray) for ray in rays) and not self._steepest_falls(problem):
            return False
        if np.isfinite(answer.x).all():
            x = np.clip(answer.x, problem.lower, problem.upper)
            if not feasibility(problem, x, self.row_tolerance).missing:
                return True
        anywhere = HighsSolver().solve(replace(problem, costs=np.zeros(problem.columns)), seconds=self.left())
        return anywhere.status == "optimal" and any(
            not feasibility(problem, near.x, self.row_tolerance).missing
            for x, y, basis in self._answers(problem, anywhere)
            for near in self._near(problem, x, y, basis)
        )

    def _steepest_falls(self, problem: LinearProgram) -> bool:
        """Whether the objective falls for ever along the steepest direction in a box, in rational arithmetic."""
        scaled, units = equilibrated(problem, exact=True)
        directions = _directions(scaled)
        steepest = HighsSolver().solve(directions, seconds=self.left(), presolve=False)
        if steepest.status != "optimal":
            return False
        for _, _, basis in self._answers(directions, steepest):
            point = None if basis is None else exact_point(directions, basis, min(self.left(), _SECONDS))
            if point is not None:
                pairs = zip(units.x.tolist(), point, strict=True)
                if falls_for_ever(problem, [Fraction(unit) * part for unit, part in pairs]):
                    return True
        return False


def _rays(ray: Array) -> Iterator[Array]:
    """The ray, and what it may be without rounding."""
    yield ray
    ray = np.where(np.abs(ray) <= _RAY_ROUNDING * np.abs(ray).max(initial=0), 0.0, ray)
    yield ray
    if ray.any():
        yield np.round(ray / np.abs(ray[ray != 0]).min(), 6)


def _elastic(problem: LinearProgram) -> LinearProgram:
    """The least violation of the rows, each in units of its largest entry: feasible, and bounded from below by 0."""
    size = np.asarray(abs(problem.matrix).max(axis=1).todense()).ravel()
    units = sp.diags_array(np.where(size > 0, size, 1.0))
    blank = np.zeros(problem.rows)
    return replace(
        problem,
        costs=np.concatenate([np.zeros(problem.columns), np.ones(2 * problem.rows)]),
        matrix=sp.csc_array(sp.hstack([problem.matrix, units, -units])),
        lower=np.concatenate([problem.lower, blank, blank]),
        upper=np.concatenate([problem.upper, blank + np.inf, blank + np.inf]),
        offset=0.0,
        column_names=(),
    )


def _directions(problem: LinearProgram) -> LinearProgram:
    """The directions that no side or bound stops, with entries of at most 1."""
    lower, upper = np.isfinite(problem.lower), np.isfinite(problem.upper)
    return replace(
        problem,
        row_lower=np.where(np.isfinite(problem.row_lower), 0.0, -np.inf),
        row_upper=np.where(np.isfinite(problem.row_upper), 0.0, np.inf),
        lower=np.where(lower, 0.0, -1.0),
        upper=np.where(upper, 0.0, 1.0),
        offset=0.0,
    )


def without_point(problem: LinearProgram, status: Status, message: str, *, certified: bool) -> Conclusion:
    """A conclusion that there is no optimum."""
    x, y = np.full(problem.columns, np.nan), np.full(problem.rows, np.nan)
    return Conclusion(status, message, certified, x, y, None, settled=certified)


def at_point(message: str, x: Array, y: Array, basis: Basis | None, proved: Certificate) -> Conclusion:
    """A conclusion that x is an optimum, certified if that is proved."""
    text = message if proved.holds else f"{_TO_TOLERANCE}: {proved.missing}"
    return Conclusion(
        "optimal", text, proved.holds, x, y, basis, proved.lower, proved.upper, proved.gap, proved.settled
    )


def _progress(found: Conclusion) -> tuple[bool, float]:
    return found.settled, found.lower - found.upper


def _of_exact(exact: ExactOptimum, basis: Basis) -> Conclusion:
    x, y = (np.array([float(part) for part in values]) for values in (exact.x, exact.y))
    value = float(exact.objective)
    lower = value if value <= exact.objective else float(np.nextafter(value, -np.inf))
    return Conclusion("optimal", "optimal", True, x, y, basis, lower, value, 0.0, True)


def _checked(problem: LinearProgram, conclusion: Conclusion) -> Conclusion:
    """The conclusion of an optimum that is not certified; failed if it misses even the solver's tolerance."""
    missed = residuals(problem, conclusion.x, conclusion.y)
    if missed.optimal:
        return conclusion
    message = (
        f"the solver says optimal, but rows and bounds are violated by {missed.primal:.1e}, dual signs by"
        f" {missed.dual:.1e}, and the duality gap is {missed.gap:.1e} (relative; {TOLERANCE:g} is allowed)"
    )
    return replace(conclusion, status="failed", message=message)


_TO_TOLERANCE = "solved to the solver's tolerance"
MESSAGES: dict[Status, str] = {
    "infeasible": "no point meets all rows and bounds",
    "unbounded": "the objective is unbounded",
    "infeasible or unbounded": "no optimum exists; whether a feasible point exists was not decided",
    "time limit": "the time limit was reached before an optimum was found",
}
