"""Rows of a single entry as bounds: the same optimum, and bases and duals that hold for the whole problem."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from jepakit.lp import Basis, LinearProgram, SolveConfig, Solver, Start, residuals
from jepakit.lp.families.perturbed import Perturbed
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, BASIC
from jepakit.lp.solving.reduce import reduced
from lp.problems import INF, by_hand, optimum, random_problem


def with_single_rows(seed: int) -> LinearProgram:
    """A random problem with a dozen rows of one entry: of both signs, several of a column, some that fix one."""
    problem, draw = random_problem(seed), np.random.default_rng(seed)
    inside = Solver().solve(problem).x
    column, entry = draw.integers(0, 18, 12), draw.choice([-2.0, -1.0, 0.5, 3.0], 12)
    activity, kind = entry * inside[column], draw.random(12)
    lower = np.where(kind < 0.6, activity - np.where(draw.random(12) < 0.6, 0, draw.random(12)), -INF)
    upper = np.where(kind > 0.3, activity + np.where(draw.random(12) < 0.6, 0, draw.random(12)), INF)
    # Rounded outwards, so that they do not cut off the point.
    lower, upper = np.floor(1024 * lower) / 1024, np.ceil(1024 * upper) / 1024
    single = sp.csc_array((entry, (np.arange(12), column)), shape=(12, 18))
    order = draw.permutation(24)
    return replace(
        problem,
        matrix=sp.csc_array(sp.vstack([problem.matrix, single]).tocsr()[order]),
        row_lower=np.concatenate([problem.row_lower, lower])[order],
        row_upper=np.concatenate([problem.row_upper, upper])[order],
    )


def test_by_hand() -> None:
    reduction = reduced(by_hand())
    assert reduction is not None
    problem = reduction.problem
    np.testing.assert_array_equal(problem.matrix.toarray(), [[3, 2]])
    np.testing.assert_array_equal(problem.lower, [0, 0])
    np.testing.assert_array_equal(problem.upper, [4, 6])
    # (2, 6): y is at the bound that its row gives it. z = c - A'(-1) = (-3 + 3, -5 + 2).
    found = Basis(np.array([BASIC, AT_UPPER], np.int8), np.array([AT_UPPER], np.int8))
    whole, duals = reduction.whole_of(found, np.array([-1.0]))
    assert whole.columns.tolist() == [BASIC, BASIC]
    assert whole.rows.tolist() == [BASIC, AT_UPPER, AT_UPPER]
    assert duals.tolist() == [0, -1.5, -1]
    again = reduction.basis(whole)
    assert (again.columns.tolist(), again.rows.tolist()) == (found.columns.tolist(), found.rows.tolist())


@pytest.mark.parametrize("seed", range(40))
def test_answers_hold_for_the_whole_problem(seed: int) -> None:
    problem, draw = with_single_rows(seed), np.random.default_rng(seed)
    assert reduced(problem) is not None
    best = optimum(problem)
    noise = Start("noise", basis=Basis(draw.integers(0, 4, problem.columns), draw.integers(0, 4, problem.rows)))
    found = Solver(SolveConfig(pivots=10**6)).solve(problem, [noise])
    assert (found.status, found.source) == ("optimal", "noise")
    assert found.objective == pytest.approx(best, abs=1e-6)
    assert residuals(problem, found.x, found.y).optimal
    assert found.gap <= 1e-6
    assert found.basis is not None
    assert found.basis.basic == problem.rows
    for reduce in (True, False):
        again = Solver(SolveConfig(reduce=reduce)).solve(problem, [Start("me", basis=found.basis)])
        assert (again.pivots, again.source) == (0, "me")
        np.testing.assert_allclose(again.x, found.x, atol=1e-7)
    # A basis that was found without reduction is as good with it.
    plain = Solver(SolveConfig(reduce=False)).solve(problem, [noise])
    assert Solver().solve(problem, [Start("plain", basis=plain.basis)]).pivots == 0


def test_highs_goes_on_from_a_reduced_problem() -> None:
    family = Perturbed((with_single_rows(3),), sides=0.02)
    solver, before = Solver(), None
    for seed in range(6):
        problem = family.problem(seed)
        start = [] if before is None else [Start("before", basis=before.basis)]
        found, cold = solver.solve(problem, start), Solver().solve(problem)
        assert found.status == cold.status
        if cold.status == "optimal":
            assert found.objective == pytest.approx(cold.objective, abs=1e-6)
            assert not found.fell_back
            before = found


def test_a_column_that_its_rows_fix_is_held_by_the_one_it_pulls_towards() -> None:
    # min x - 2y, x + y <= 10, with x and y fixed at 1 and 3 by two rows each.
    matrix = sp.csc_array(np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
    problem = LinearProgram(
        np.array([1.0, -2.0]),
        matrix,
        np.array([-INF, 1.0, -INF, 3.0, -INF]),
        np.array([10.0, INF, 1.0, INF, 3.0]),
        np.zeros(2),
        np.full(2, INF),
    )
    any_basis = Start("me", basis=Basis(np.full(2, AT_LOWER), np.full(5, BASIC)))
    found = Solver().solve(problem, [any_basis])
    assert found.pivots == 0
    np.testing.assert_allclose(found.y, [0, 1, 0, 0, -2])
    assert found.basis is not None
    assert found.basis.rows.tolist() == [BASIC, AT_LOWER, BASIC, BASIC, AT_UPPER]
    assert (found.objective, found.lower, found.upper) == (-5, -5, -5)


def test_what_cannot_be_reduced_stays() -> None:
    assert reduced(random_problem(0)) is None
    problem = by_hand()
    # 5 <= x <= 4: whoever solves it will say so.
    assert reduced(replace(problem, lower=np.array([5.0, 0.0]))) is None
    tiny = problem.matrix.copy()
    tiny.data[:] = [1e-8, 3.0, 2e8, 2.0]
    assert reduced(replace(problem, matrix=tiny)) is None
    crossed = Solver().solve(
        replace(problem, lower=np.array([5.0, 0.0])), [Start("me", basis=Basis(np.zeros(2), np.ones(3)))]
    )
    assert crossed.status == "infeasible"


def test_nothing_but_bounds_is_left() -> None:
    # min -x + y with x <= 4 (as a row), y >= 1 (as a row).
    matrix = sp.csc_array(np.array([[1.0, 0.0], [0.0, -2.0]]))
    problem = LinearProgram(
        np.array([-1.0, 1.0]), matrix, np.full(2, -INF), np.array([4.0, -2.0]), np.zeros(2), np.full(2, INF)
    )
    for statuses in ([AT_LOWER, AT_LOWER], [BASIC, BASIC]):
        start = Start("me", basis=Basis(np.array(statuses, np.int8), np.array([BASIC, BASIC], np.int8)))
        found = Solver().solve(problem, [start])
        assert (found.status, found.objective, found.gap) == ("optimal", -3, 0)
        np.testing.assert_allclose(found.y, [-1, -0.5])
        assert found.basis is not None
        assert found.basis.rows.tolist() == [AT_UPPER, AT_UPPER]
    endless = replace(problem, row_upper=np.array([INF, -2.0]))
    assert Solver().solve(endless, [Start("me", basis=Basis(np.zeros(2), np.ones(2)))]).status == "unbounded"
