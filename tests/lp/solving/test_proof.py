"""Proofs: what is certified is true, in rational arithmetic, on problems of every kind that has fooled a solver."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from benchmarks.lp_exact import Truth, truth
from benchmarks.lp_hard_problems import hard_problem

from jepakit.errors import ConfigError
from jepakit.lp import Basis, LinearProgram, Solution, SolveConfig, Solver, Start, lower_bound
from jepakit.lp.solving import solver as solver_module
from jepakit.lp.solving.completion import BasicBlock, completed_duals, shifted_duals
from jepakit.lp.solving.exact import ExactOptimum, exact_optimum, falls_for_ever
from jepakit.lp.solving.implied import implied_bounds
from jepakit.lp.solving.proof import certify, feasibility, proves_infeasible, proves_unbounded
from jepakit.lp.solving.refine import corrected_answer
from lp.problems import INF, by_hand, random_problem


def agrees(problem: LinearProgram, solution: Solution, true: Truth) -> bool:
    """Whether a solution is right: the status, and the objective up to 1e-6 of its size or up to rounding."""
    status, optimum = true
    if solution.status != status:
        return False
    off = abs(Fraction(problem.in_user_sense(solution.objective)) - optimum) if status == "optimal" else Fraction(0)
    size = abs(float(optimum - Fraction(problem.offset)))
    terms = float(np.abs(problem.costs) @ np.abs(np.nan_to_num(solution.x))) + abs(problem.offset)
    return off <= 1e-6 * size + 1e-13 * terms


def check(seeds: range) -> Counter[str]:
    """Solves problems cold, from noise, and one after another, and counts what is not certified."""
    rolling, missed = Solver(), Counter[str]()
    for seed in seeds:
        kinds, problem = hard_problem(seed)
        true, draw = truth(problem), np.random.default_rng(seed)
        basis = Basis(draw.integers(0, 4, problem.columns), draw.integers(0, 4, problem.rows))
        noise = Start("noise", draw.normal(size=problem.columns), draw.normal(size=problem.rows), basis)
        cold = Solver().solve(problem)
        solutions = {
            "cold": cold,
            "noise": Solver().solve(problem, [noise]),
            "rolling": rolling.solve(problem, [Start("before", basis=cold.basis or basis)]),
        }
        for way, solution in solutions.items():
            assert agrees(problem, solution, true), (seed, way, kinds, true, solution.status, solution.message)
            missed[way] += not solution.certified
            if true[0] == "optimal":
                lower, upper = sorted((solution.lower, solution.upper))
                below = Fraction(lower) if np.isfinite(lower) else true[1] - 1
                sign = -1 if problem.maximize else 1
                # The proved bound is on its side of the optimum.
                proved = Fraction(upper) if problem.maximize and np.isfinite(upper) else below
                assert sign * proved <= true[1], (seed, way)
    return missed


def test_no_answer_is_wrong_and_nearly_all_are_certified() -> None:
    missed = check(range(400))
    assert max(missed.values()) <= 4


@pytest.mark.torture
def test_no_answer_is_wrong_on_thousands_of_problems() -> None:
    missed = check(range(400, 4400))
    assert max(missed.values()) <= 40


def cancelling(right: float) -> LinearProgram:
    """min 1000z, x - y + z >= right, with x = y = 1e9: 1000 times ``right``, and its rounding is not 1e9 times 1e-9."""
    return LinearProgram(
        np.array([0.0, 0.0, 1000.0]),
        sp.csc_array(np.array([[1.0, -1.0, 1.0]])),
        np.array([right]),
        np.array([INF]),
        np.array([1e9, 1e9, 0.0]),
        np.array([1e9, 1e9, INF]),
    )


def test_the_answer_does_not_depend_on_what_was_solved_before() -> None:
    solver = Solver()
    first = solver.solve(cancelling(0.0))
    second = solver.solve(cancelling(1.0), [Start("before", first.x, first.y, first.basis)])
    assert (first.objective, second.objective) == (0, 1000)
    assert first.certified
    assert second.certified


def test_small_costs_are_costs() -> None:
    problem = by_hand()
    for factor in (1e-30, 1e-10, 1e10, 1e30):
        solution = Solver().solve(replace(problem, costs=factor * problem.costs, offset=0.0))
        assert solution.objective == pytest.approx(-36 * factor, rel=1e-12)
        assert solution.certified


def test_a_coefficient_that_the_solver_drops_counts() -> None:
    for size in (1e-9, 1e-12, 1e-15):
        one = LinearProgram(
            np.array([-1.0]), sp.csc_array([[size]]), np.array([-INF]), np.array([1.0]), np.zeros(1), np.array([INF])
        )
        solution = Solver().solve(one)
        assert solution.status == "optimal"
        assert solution.certified
        assert solution.objective == pytest.approx(-1 / size, rel=1e-12)


def test_what_a_person_allows_is_in_the_units_of_a_row() -> None:
    problem = by_hand()
    x = np.array([2.0, 6.0 + 1e-4])
    assert "row 'plant2' is violated by 2.0e-04 (1.2e-08 is allowed)" in feasibility(problem, x).missing
    allowed = np.array([np.nan, 3e-4, 3e-4])
    assert not feasibility(problem, x, allowed).missing
    assert feasibility(problem, x, np.array([np.nan, 1e-4, 3e-4])).missing
    with pytest.raises(ConfigError, match="plant9"):
        Solver(SolveConfig(row_tolerances={"plant9": 1.0})).solve(problem)
    with pytest.raises(ConfigError, match="row_tolerances"):
        SolveConfig(row_tolerances={"plant1": -1.0})
    # What is allowed is not free: here a cost of -1.5 for each unit of the second row.
    y = np.array([0.0, -1.5, -1.0])
    proved = certify(problem, x, y, gap=1e-6, row_tolerance=allowed)
    assert "the violations of the rows are worth" in proved.missing
    assert certify(problem, x, y, gap=1e-3, row_tolerance=allowed).holds


def test_no_point_and_no_optimum_are_proved_by_hand() -> None:
    problem = by_hand()
    # 3x + 2y >= 50 contradicts x <= 4 and 2y <= 12: three times the first row and the second.
    infeasible = replace(problem, row_lower=np.array([-INF, -INF, 50.0]), row_upper=np.array([4.0, 12.0, 60.0]))
    assert proves_infeasible(infeasible, np.array([-3.0, -1.0, 1.0]))
    assert not proves_infeasible(infeasible, np.array([-3.0, -1.0, 0.4]))
    assert not proves_infeasible(problem, np.array([-3.0, -1.0, 1.0]))
    unbounded = replace(problem, row_upper=np.full(3, INF))
    assert proves_unbounded(unbounded, np.array([1.0, 0.0]))
    assert falls_for_ever(unbounded, [Fraction(1, 3), Fraction(0)])
    for direction in ([-1.0, 0.0], [0.0, 0.0]):
        assert not proves_unbounded(unbounded, np.array(direction))
        assert not falls_for_ever(unbounded, [Fraction(part) for part in direction])
    assert not proves_unbounded(problem, np.array([1.0, 0.0]))
    for given, status in ((infeasible, "infeasible"), (unbounded, "unbounded")):
        solution = Solver().solve(given)
        assert (solution.status, solution.certified) == (status, True)


@pytest.mark.parametrize("seed", range(40))
def test_bounds_hold_in_rational_arithmetic(seed: int) -> None:
    problem, draw = random_problem(seed, 5, 7), np.random.default_rng(seed)
    status, optimum = truth(problem)
    assert status == "optimal"
    for scale in (0.0, 1e-8, 1.0):
        solution = Solver().solve(problem)
        bound = lower_bound(problem, solution.y + scale * draw.normal(size=problem.rows))
        assert not np.isfinite(bound) or Fraction(bound) <= optimum
    basis = solution.basis
    assert basis is not None
    block = BasicBlock.of(problem, basis)
    assert block is not None
    if (completed := completed_duals(problem, block)) is not None:
        exact = exact_optimum(problem, basis, 10.0)
        if isinstance(exact, ExactOptimum):
            for enclosed, true in zip((completed[0].low, completed[0].high), (-1, 1), strict=True):
                # The duals that are meant differ from the exact ones by the shift alone.
                assert all(
                    true * (Fraction(part) - value) >= -Fraction(1e-9)
                    for part, value in zip(enclosed, exact.y, strict=True)
                )


def test_free_columns_are_bounded_by_their_rows() -> None:
    # x and y free: 0 <= x <= 3 by two rows, x - y in [-1, 1], so y in [-1, 4]; z by nothing.
    matrix = sp.csc_array(np.array([[1.0, 0.0, 0.0], [1.0, -1.0, 0.0], [0.0, 1.0, 1.0]]))
    problem = LinearProgram(
        np.array([1.0, 2.0, 3.0]),
        matrix,
        np.array([0.0, -1.0, 0.0]),
        np.array([3.0, 1.0, INF]),
        np.full(3, -INF),
        np.full(3, INF),
    )
    lower, upper = implied_bounds(problem)
    np.testing.assert_allclose(lower, [0, -1, -4], atol=1e-6)
    np.testing.assert_allclose(upper, [3, 4, INF], atol=1e-6)
    # Of the points that cost at most 10, z is at most (10 - x - 2y) / 3.
    _, upper = implied_bounds(problem, most=10.0)
    np.testing.assert_allclose(upper, [3, 4, 4], atol=1e-6)
    assert (lower <= [0, -1, -4]).all()
    assert (upper >= [3, 4, 4]).all()


@pytest.mark.parametrize("seed", range(20))
def test_the_answer_of_a_basis_is_exact_to_the_last_digits(seed: int) -> None:
    problem = random_problem(seed)
    basis = Solver().solve(problem).basis
    assert basis is not None
    block = BasicBlock.of(problem, basis)
    assert block is not None
    exact, corrected = exact_optimum(problem, basis, 10.0), corrected_answer(problem, block)
    assert corrected is not None
    assert isinstance(exact, ExactOptimum)
    for found, true in zip(corrected, (exact.x, exact.y), strict=True):
        np.testing.assert_allclose(found, [float(part) for part in true], rtol=1e-14, atol=1e-14)
    shifted = shifted_duals(problem, block, corrected[1])
    assert np.isfinite(shifted).all()
    np.testing.assert_allclose(shifted, corrected[1], rtol=1e-9, atol=1e-9)


def test_exact_is_asked_for_and_says_what_fails() -> None:
    solution = Solver(SolveConfig(exact=True)).solve(by_hand())
    assert solution.certified
    assert solution.objective == solution.lower == solution.upper == -26
    # 0.1x + 0.2x = 0.3 for x = 1, but not in doubles: no point meets all of 3 rows exactly.
    matrix = sp.csc_array(np.array([[1.0, 0.0], [0.0, 1.0], [0.1, 0.2]]))
    sides = np.array([1.0, 1.0, 0.3])
    tight = LinearProgram(np.array([1.0, 1.0]), matrix, sides, sides, np.zeros(2), np.full(2, INF))
    usual = Solver().solve(tight)
    assert (usual.status, usual.objective, usual.certified) == ("optimal", 2, True)
    exact = Solver(SolveConfig(exact=True)).solve(tight)
    assert (exact.status, exact.certified) == ("optimal", False)
    assert exact.message.endswith("row 'r2' is violated at the point of the basis")


def test_a_proof_that_runs_out_of_time_leaves_what_the_solver_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver_module, "_SECONDS", -1e9)
    problem = by_hand()
    # Contradicting rows of two columns: presolve finds it without a ray, and there is no time for another solve.
    matrix = sp.csc_array(np.array([[1.0, 1.0], [1.0, 1.0], [3.0, 2.0]]))
    sides = np.array([-INF, 9.0, -INF]), np.array([8.0, INF, 18.0])
    solution = Solver().solve(replace(problem, matrix=matrix, row_lower=sides[0], row_upper=sides[1]))
    assert solution.status == "infeasible"


def test_a_basis_that_is_not_optimal_is_named() -> None:
    problem = by_hand()
    at_zero = Basis(np.array([0, 0], np.int8), np.ones(3, np.int8))
    assert exact_optimum(problem, at_zero, 1.0) == "the reduced cost of column 'x' has the wrong sign"
    singular = Basis(np.array([1, 0], np.int8), np.array([1, 2, 1], np.int8))
    assert exact_optimum(problem, singular, 1.0) == "the basis is singular"
    outside = Basis(np.array([1, 1], np.int8), np.array([2, 2, 1], np.int8))
    assert exact_optimum(problem, outside, 1.0) == "row 'plant3' is violated at the point of the basis"
