"""Repairs: what is almost feasible becomes feasible and stays near, what is feasible stays as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from jepakit.lp import LinearProgram, SolveConfig, Solver, Start, lower_bound, upper_bound
from jepakit.lp.families.combinatorial import CombinatorialAuction, SetCover
from jepakit.lp.solving.repair import repaired_dual, repaired_primal
from lp.problems import INF

COVER, PACKING = SetCover(30, 40, 0.2), CombinatorialAuction(20, 40)


def test_by_hand() -> None:
    """x + y >= 2 in [0, 2]²: from (.5, .5) a third of the way to (2, 2); y <= 1 where x's cost of 1 asks for it."""
    problem = LinearProgram(
        np.array([1.0, 3.0]), sp.csc_array([[1.0, 1.0]]), np.array([2.0]), np.array([INF]), np.zeros(2), np.full(2, 2.0)
    )
    np.testing.assert_allclose(repaired_primal(problem, np.array([0.5, 0.5])), [1, 1])
    np.testing.assert_allclose(repaired_primal(problem, np.array([2.5, -1.0])), [2, 0])
    # In a box any reduced cost is held; without upper bounds none may be negative: 1 - y >= 0.
    np.testing.assert_allclose(repaired_dual(problem, np.array([1.5])), [1.5])
    np.testing.assert_allclose(repaired_dual(problem, np.array([-1.5])), [0])
    unboxed = replace(problem, upper=np.full(2, INF))
    np.testing.assert_allclose(repaired_dual(unboxed, np.array([1.5])), [1])


@pytest.mark.parametrize("family", [COVER, PACKING], ids=["cover", "packing"])
@pytest.mark.parametrize("noise", [0.0, 0.01, 1.0])
def test_a_noisy_optimum_proves_bounds_on_both_sides(family: SetCover | CombinatorialAuction, noise: float) -> None:
    for seed in range(5):
        problem = family.problem(seed)
        unboxed = replace(problem, upper=np.full(problem.columns, INF)) if family is COVER else problem
        solution = Solver().solve(unboxed)
        draw = np.random.default_rng(seed)
        x = solution.x + noise * draw.normal(size=problem.columns)
        y = solution.y + noise * np.abs(solution.y).max() * draw.normal(size=problem.rows)
        lower = lower_bound(unboxed, repaired_dual(unboxed, y))
        upper = upper_bound(problem, repaired_primal(problem, x))
        best = -solution.objective if unboxed.maximize else solution.objective
        assert -INF < lower <= best + 1e-6 * (1 + abs(best))
        assert best - 1e-6 * (1 + abs(best)) <= upper < INF
        if noise == 0:
            assert upper - lower <= 1e-6 * (1 + abs(best))
            np.testing.assert_allclose(repaired_primal(problem, solution.x), solution.x, atol=1e-9)


def test_where_no_corner_meets_the_rows_x_is_only_brought_between_its_bounds() -> None:
    problem = LinearProgram(
        np.ones(2), sp.csc_array([[1.0, -1.0]]), np.array([0.5]), np.array([0.5]), np.zeros(2), np.ones(2)
    )
    np.testing.assert_allclose(repaired_primal(problem, np.array([3.0, 0.2])), [1, 0.2])


def test_duals_keep_their_size_where_costs_pull_towards_nothing() -> None:
    problem = LinearProgram(
        np.array([-1.0]), sp.csc_array([[-1.0]]), np.array([-4.0]), np.array([INF]), np.zeros(1), np.full(1, INF)
    )
    np.testing.assert_allclose(repaired_dual(problem, np.array([1.0])), [1])
    assert lower_bound(problem, np.array([1.0])) == -4


def test_a_wide_gap_takes_a_guess_without_any_pivot_and_says_what_is_certain() -> None:
    for seed in range(5):
        problem = COVER.problem(seed)
        best = Solver().solve(problem)
        near = Start("near", np.clip(best.x + 1e-4, 0, 1), best.y * (1 - 1e-4))
        solution = Solver(SolveConfig(gap=0.01)).solve(problem, [near])
        assert (solution.status, solution.source, solution.pivots) == ("optimal", "near", 0)
        assert solution.lower <= best.objective <= solution.upper == solution.objective
        assert solution.gap <= 0.01
