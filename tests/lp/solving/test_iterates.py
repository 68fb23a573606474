"""First-order iterations: they come near optima, and keep what they promise on the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from jepakit.lp import LinearProgram, Solver, Start, residuals
from jepakit.lp.families.combinatorial import FacilityLocation, SetCover
from jepakit.lp.families.perturbed import RandomFeasible
from jepakit.lp.solving.highs import HighsSolver
from jepakit.lp.solving.iterates import balance_of, guessed_basis, primal_dual
from jepakit.lp.solving.scaling import equilibrated
from lp.problems import random_problem


@pytest.mark.parametrize("family", [SetCover(40, 50, 0.1), RandomFeasible(), FacilityLocation(6, 4, 2.0)], ids=str)
def test_they_come_near_the_optimum(family: SetCover | RandomFeasible | FacilityLocation) -> None:
    problem, _ = equilibrated(family.problem(1))
    best = Solver().solve(problem).objective
    missed = []
    for iterations in (16, 256, 8192):
        x, y = primal_dual(problem, iterations)
        found = residuals(problem, x, y)
        missed.append(max(found.primal, found.dual, found.gap))
        if iterations == 8192:
            assert problem.objective(x) == pytest.approx(best, abs=1e-3 * (1 + abs(best)))
    assert missed[2] < 1e-2 < missed[0]
    assert missed[2] < 0.3 * missed[1]


@pytest.mark.parametrize("family", [SetCover(40, 50, 0.1), FacilityLocation(6, 4, 2.0)], ids=str)
def test_an_optimum_looks_like_its_basis(family: SetCover | FacilityLocation) -> None:
    problem, _ = equilibrated(family.problem(2))
    solution = Solver().solve(problem)
    basis = guessed_basis(problem, solution.x, solution.y)
    assert basis.basic == problem.rows
    assert Solver().solve(problem, [Start("guess", basis=basis)]).pivots <= 0.2 * solution.pivots
    far = guessed_basis(problem, *primal_dual(problem, 400))
    assert Solver().solve(problem, [Start("guess", basis=far)]).pivots < solution.pivots


def test_the_balance_of_an_optimum_is_of_no_unit_and_helps() -> None:
    missed: dict[str, list[float]] = {"plain": [], "balanced": []}
    for seed in range(6):
        problem, _ = equilibrated(SetCover(100, 200, 0.1).problem(seed))
        solution = Solver().solve(problem)
        balance = balance_of(problem, solution.x, solution.y)
        dearer = replace(problem, costs=7 * problem.costs)
        assert balance_of(dearer, solution.x, 7 * solution.y) == pytest.approx(balance)
        for name, given in (("plain", 1.0), ("balanced", balance)):
            found = residuals(problem, *primal_dual(problem, 64, given))
            missed[name].append(max(found.primal, found.dual, found.gap))
    assert np.median(missed["balanced"]) < 0.8 * np.median(missed["plain"])
    assert balance_of(problem, np.zeros(problem.columns), solution.y) == 1


def test_the_iterations_of_highs_leave_it_as_it_was() -> None:
    problem, solver = SetCover(40, 50, 0.1).problem(3), HighsSolver()
    best = solver.solve(problem)
    off = []
    for iterations in (8, 512):
        x, y = solver.iterates(problem, iterations)
        found = residuals(problem, x, y)
        off.append(max(found.primal, found.dual, found.gap))
    assert off[1] < 1e-2 * off[0]
    again = solver.solve(problem)
    assert (again.status, again.pivots) == (best.status, best.pivots)
    np.testing.assert_array_equal(again.x, best.x)


@pytest.mark.parametrize("seed", range(10))
def test_values_lie_between_bounds_and_duals_fit_their_rows(seed: int) -> None:
    problem, _ = equilibrated(random_problem(seed))
    for iterations in (1, 33, 100):
        x, y = primal_dual(problem, iterations)
        assert (x >= problem.lower).all()
        assert (x <= problem.upper).all()
        assert not (y[np.isinf(problem.row_lower)] > 0).any()
        assert not (y[np.isinf(problem.row_upper)] < 0).any()
        assert np.isfinite(x).all()
        assert np.isfinite(y).all()


def test_nothing_to_iterate_on() -> None:
    empty = LinearProgram(
        np.zeros(2), sp.csc_array((3, 2)), np.zeros(3), np.ones(3), np.array([1.0, -np.inf]), np.full(2, np.inf)
    )
    x, y = primal_dual(empty, 40)
    assert (x.tolist(), y.tolist()) == ([1, 0], [0, 0, 0])
    x, _ = primal_dual(replace(empty, costs=np.array([1.0, 0.0])), 40)
    assert x[0] == 1
