"""Residuals and bounds: values by hand, and that bounds hold whatever is guessed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jepakit.lp import lower_bound, residuals, upper_bound
from jepakit.lp.families.perturbed import RandomFeasible
from jepakit.lp.solving.certificate import DualBounds, lower_bounds, reduced_costs
from lp.problems import INF, by_hand, optimum, random_problem

X, Y = np.array([2.0, 6.0]), np.array([0.0, -1.5, -1.0])


def test_an_optimum_misses_nothing_and_its_bounds_meet() -> None:
    problem = by_hand()
    missed = residuals(problem, X, Y)
    assert (missed.primal, missed.dual, missed.gap) == (0, 0, 0)
    assert missed.optimal
    assert reduced_costs(problem, Y).tolist() == [0, 0]
    assert lower_bound(problem, Y) == upper_bound(problem, X) == -26


@pytest.mark.parametrize(
    ("x", "y", "primal", "dual", "gap"),
    [
        # y = 7 breaks 2y ≤ 12 by 2, of 1 + 12, and 3x + 2y ≤ 18 by 2, of 1 + 18.
        ([2.0, 7.0], [0.0, -1.5, -1.0], 2 / 13, 0.0, 5 / 42),
        ([-1.0, 6.0], [0.0, -1.5, -1.0], 1.0, 0.0, 9 / 37),
        # Reduced costs (-3, 0): x has no upper bound to be pulled to. The dual's value is -2.5 · 12.
        ([2.0, 6.0], [0.0, -2.5, 0.0], 0.0, 3 / 6, 6 / 37),
        # A row without a lower side has a positive dual.
        ([2.0, 6.0], [1.0, -1.5, -1.0], 0.0, 1 / 6, 0.0),
    ],
)
def test_what_is_missed_by_hand(x: list[float], y: list[float], primal: float, dual: float, gap: float) -> None:
    missed = residuals(by_hand(), np.array(x), np.array(y))
    assert (missed.primal, missed.dual, missed.gap) == pytest.approx((primal, dual, gap))
    assert not missed.optimal


def test_a_poor_guess_proves_little_and_a_wrong_one_nothing() -> None:
    problem = by_hand()
    assert lower_bound(problem, np.zeros(3)) == -INF
    assert lower_bound(problem, np.array([-3.0, -2.5, 0.0])) == -12 - 30 + 10
    # A dual that its row cannot have counts as 0.
    assert lower_bound(problem, np.array([1.0, -1.5, -1.0])) == -26
    assert lower_bound(replace(problem, upper=np.array([10.0, 10.0])), np.zeros(3)) == -30 - 50 + 10
    assert upper_bound(problem, np.array([1.0, 1.0])) == 2
    assert upper_bound(problem, np.array([2.0, 6.1])) == upper_bound(problem, np.array([np.nan, 1.0])) == INF


@pytest.mark.parametrize("seed", range(40))
def test_bounds_hold_for_any_guess(seed: int) -> None:
    problem, draw = random_problem(seed), np.random.default_rng(seed)
    best = optimum(problem)
    boxed = replace(problem, lower=np.maximum(problem.lower, -50), upper=np.minimum(problem.upper, 50))
    tight = optimum(boxed)
    assert tight >= best - 1e-6
    for scale in (0.0, 0.1, 1.0):
        y = scale * draw.normal(size=problem.rows)
        assert lower_bound(problem, y) <= best + 1e-6
        assert -INF < lower_bound(boxed, y) <= tight + 1e-6


def test_proofs_are_lower_bounds_of_problem_after_problem() -> None:
    draw = np.random.default_rng(0)
    problem = RandomFeasible(12, 18).problem(0)
    y = draw.normal(size=(7, 12)) * np.array([0, 0.1, 0.1, 1, 1, 1, 5])[:, None]
    proofs = DualBounds(y)
    finite: list[int] = []
    for seed in range(12):
        sides = {name: getattr(problem, name).copy() for name in ("row_lower", "row_upper", "lower", "upper")}
        for values in sides.values():
            values[draw.random(len(values)) < 0.5] += draw.normal()
        other = replace(problem, offset=float(seed), **sides)
        if seed == 6:
            other = replace(other, costs=problem.costs + 1)
        if seed in (7, 8):
            other = replace(other, costs=problem.costs + 1, upper=np.full(18, INF))
        bounds = proofs.bounds(other)
        np.testing.assert_allclose(bounds, lower_bounds(other, y), rtol=1e-9)
        finite.append(int(np.isfinite(bounds).sum()))
        bounds[:] = 0  # theirs to change
    assert set(finite[:7]) == {7}
    assert max(finite[7:9]) < 7
