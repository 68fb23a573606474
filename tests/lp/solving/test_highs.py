"""HiGHS behind our types: bases from numbers, problems that change between solves, tolerances below its own."""

from __future__ import annotations

from dataclasses import replace

import highspy
import numpy as np
import pytest

from jepakit.lp.data import LinearProgram, all_bounds
from jepakit.lp.families.combinatorial import SetCover
from jepakit.lp.solving.basis import Basis
from jepakit.lp.solving.highs import HighsSolver
from lp.problems import conflicting, random_problem


def test_a_basis_from_numbers_is_the_one_that_highs_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for fixed rows and columns, whose bounds are one."""
    compared = 0
    quick = HighsSolver._basis_after_pivots

    def both(self: HighsSolver, given: LinearProgram, solution: highspy.HighsSolution) -> Basis | None:
        nonlocal compared
        found, own = quick(self, given, solution), Basis.of_highs(self._highs.getBasis())
        if found is not None:
            low, high = all_bounds(given)
            same = np.concatenate([found.columns == own.columns, found.rows == own.rows])
            assert (same | (low == high)).all()
            compared += 1
        return found

    monkeypatch.setattr(HighsSolver, "_basis_after_pivots", both)
    for seed in range(120):
        draw = np.random.default_rng(seed)
        problem = random_problem(seed, int(draw.integers(0, 12)), int(draw.integers(1, 16)))
        solver = HighsSolver()
        basis = solver.solve(problem).basis
        for _ in range(4):
            if basis is None:
                break
            noise = Basis(draw.integers(0, 4, problem.columns), draw.integers(0, 4, problem.rows))
            costs = problem.costs * draw.uniform(-1, 2, problem.columns)
            basis = solver.solve(replace(problem, costs=costs), basis if draw.random() < 0.5 else noise).basis
    assert compared > 100


def test_new_costs_are_solved_from_the_point_before() -> None:
    problem, draw = SetCover(60, 120, 0.1).problem(0), np.random.default_rng(0)
    solver, basis, pivots = HighsSolver(), None, list[int]()
    for _ in range(6):
        one = replace(problem, costs=problem.costs * draw.uniform(0.98, 1.02, problem.columns))
        answer, cold = solver.solve(one, basis), HighsSolver().solve(one)
        assert one.costs @ answer.x == pytest.approx(one.costs @ cold.x)
        pivots.append(answer.pivots)
        basis = answer.basis
    assert max(pivots[1:]) < pivots[0] / 3


def test_a_tolerance_below_that_of_highs() -> None:
    """Two rows conflict by 1e-11: within the least tolerance of HiGHS there is a point, within a smaller one none."""
    problem = conflicting(1e-11)
    assert HighsSolver(tolerance=1e-10).solve(problem, presolve=False).status == "optimal"
    assert HighsSolver(tolerance=1e-12).solve(problem, presolve=False).status == "infeasible"
