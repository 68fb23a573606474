"""Solving: the optimum whatever is guessed, and the truth where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from jepakit.errors import ConfigError, DataError
from jepakit.lp import Basis, LinearProgram, SolveConfig, Solver, Start, linprog, read_problem
from jepakit.lp.families.perturbed import Perturbed, RandomFeasible
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, BASIC, FREE
from jepakit.lp.solving.conclude import Judge
from jepakit.lp.solving.highs import SMALLEST_TOLERANCE, EdgeWeights, HighsSolver
from jepakit.lp.solving.proof import feasibility
from lp.problems import INF, by_hand, conflicting, optimum, random_problem


def random_start(problem: LinearProgram, seed: int) -> Start:
    draw = np.random.default_rng(seed)
    basis = Basis(draw.integers(0, 4, problem.columns), draw.integers(0, 4, problem.rows))
    return Start("noise", draw.normal(size=problem.columns), draw.normal(size=problem.rows), basis)


def test_by_hand() -> None:
    solution = Solver().solve(by_hand())
    assert (solution.status, solution.source, solution.fell_back) == ("optimal", "solver", False)
    np.testing.assert_allclose(solution.x, [2, 6])
    np.testing.assert_allclose(solution.y, [0, -1.5, -1])
    np.testing.assert_allclose(solution.z, [0, 0], atol=1e-12)
    assert solution.objective == solution.lower == solution.upper == -26
    assert solution.gap == 0
    assert solution.basis is not None
    assert solution.basis.columns.tolist() == [BASIC, BASIC]
    assert solution.basis.rows.tolist() == [BASIC, AT_UPPER, AT_UPPER]


def test_the_objective_is_told_as_it_was_asked() -> None:
    most = replace(by_hand(), maximize=True)
    solution = Solver().solve(most)
    assert solution.objective == 26
    cheap = replace(most, costs=np.array([-1.0, -1.0]))
    # Half way: what is proved is a least and a most in the sense of the one who asks.
    halfway = Solver(SolveConfig(gap=1e9)).solve(cheap, [Start("me", np.zeros(2), np.array([-1.0, -0.5, 0.0]))])
    assert halfway.objective == halfway.upper == -10
    assert halfway.lower == 10 - 10


@pytest.mark.parametrize("seed", range(30))
def test_the_optimum_is_found_from_any_guess(seed: int) -> None:
    problem, solver = random_problem(seed), Solver()
    best = optimum(problem)
    cold = solver.solve(problem)
    for solution in (cold, solver.solve(problem, [random_start(problem, seed), random_start(problem, seed + 1)])):
        assert solution.status == "optimal"
        assert solution.objective == pytest.approx(best, abs=1e-6)
        assert solution.gap <= 1e-6
    again = solver.solve(problem, [random_start(problem, seed), Start("me", basis=cold.basis)])
    assert again.objective == pytest.approx(best, abs=1e-6)
    own = solver.solve(problem, [Start("me", basis=cold.basis)])
    assert (own.pivots, own.source, own.fell_back) == (0, "me", False)
    proved = solver.solve(problem, [random_start(problem, seed), Start("proof", cold.x, cold.y, cold.basis)])
    assert (proved.pivots, proved.source) == (0, "proof")
    assert proved.certified


def test_a_guess_that_leads_nowhere_is_given_up() -> None:
    problem = random_problem(3)
    solution = Solver(SolveConfig(pivots=0)).solve(problem, [random_start(problem, 0)])
    assert (solution.status, solution.source, solution.fell_back) == ("optimal", "solver", True)
    assert solution.objective == pytest.approx(optimum(problem), abs=1e-6)


@pytest.mark.parametrize("presolve", [True, False])
def test_what_has_no_optimum_is_told_apart(presolve: bool) -> None:
    problem, solver = by_hand(), Solver(SolveConfig(presolve=presolve))
    unbounded = replace(problem, row_upper=np.full(3, INF))
    infeasible = replace(problem, row_lower=np.array([-INF, -INF, 50.0]), row_upper=np.array([4.0, 12.0, 60.0]))
    both = replace(infeasible, costs=np.array([-1.0, 0.0]), lower=np.array([-INF, 0.0]))
    for given, status in ((unbounded, "unbounded"), (infeasible, "infeasible"), (both, "infeasible")):
        for starts in ([], [random_start(given, 1)], [Start("me", np.zeros(2), np.zeros(3))]):
            solution = solver.solve(given, starts)
            assert solution.status == status
            assert solution.message
            assert np.isnan(solution.x).all()
            assert (solution.lower, solution.upper) == (-INF, INF)


@pytest.mark.data
@pytest.mark.parametrize("name", ["adlittle", "scsd1", "nesm"])
def test_what_the_simplex_method_gives_up_on_is_found_out_in_another_way(data_dir: Path, name: str) -> None:
    problem = read_problem(data_dir / "lp" / "netlib" / f"{name}.mps.gz")
    best = Solver().solve(problem).objective
    # A row that asks of the objective what no point can give.
    asked = replace(
        problem,
        matrix=sp.csc_array(sp.vstack([problem.matrix, problem.costs[None]])),
        row_lower=np.append(problem.row_lower, -INF),
        row_upper=np.append(problem.row_upper, best - problem.offset - 0.1 * (1 + abs(best))),
        row_names=(),
    )
    assert Solver().solve(asked).status == "infeasible"


def test_bounds_that_cross_are_named() -> None:
    crossed = replace(by_hand(), lower=np.array([0.0, 7.0]), upper=np.array([1.0, 6.5]))
    solution = Solver().solve(crossed)
    assert (solution.status, solution.message) == ("infeasible", "column 'y' has to be at least 7 and at most 6.5")
    rows = replace(by_hand(), row_lower=np.array([5.0, 0.0, 0.0]))
    assert Solver().solve(rows).message == "row 'plant1' has to be at least 5 and at most 4"


def test_empty_rows_and_columns_and_nothing_at_all() -> None:
    matrix = sp.csc_array(np.array([[1.0, 0.0], [0.0, 0.0]]))
    problem = LinearProgram(
        np.array([1.0, -1.0]), matrix, np.array([2.0, -1.0]), np.array([INF, 1.0]), np.zeros(2), np.array([9.0, 3.0])
    )
    assert Solver().solve(problem).objective == -1
    assert Solver().solve(replace(problem, row_lower=np.array([2.0, 0.5]))).status == "infeasible"
    assert Solver().solve(replace(problem, upper=np.array([9.0, INF]))).status == "unbounded"
    none = np.zeros(0)
    assert Solver().solve(LinearProgram(none, sp.csc_array((0, 0)), none, none, none, none, offset=3.0)).objective == 3
    free = LinearProgram(np.array([0.0]), sp.csc_array((0, 1)), none, none, np.array([-INF]), np.array([INF]))
    assert Solver().solve(free).status == "optimal"


def test_time_is_kept() -> None:
    draw = np.random.default_rng(0)
    matrix = sp.csc_array(draw.random((300, 300)))
    problem = LinearProgram(
        np.ones(300), matrix, 1 + draw.random(300), np.full(300, INF), np.zeros(300), np.full(300, INF)
    )
    solution = Solver(SolveConfig(seconds=0.0)).solve(problem)
    assert solution.status == "time limit"
    assert solution.message == "the time limit was reached before an optimum was found"
    solver = Solver(SolveConfig(seconds=60.0))
    assert [solver.solve(problem).status for _ in range(3)] == ["optimal"] * 3


@pytest.mark.parametrize("edge_weights", ["choose", "devex", "steepest"])
def test_from_its_own_last_basis_highs_goes_on_and_finds_the_same(edge_weights: EdgeWeights) -> None:
    family = Perturbed((RandomFeasible(60, 90).problem(0),), sides=0.02)
    going_on = Solver()
    before = going_on.solve(family.problem(0))
    pivots = []
    for seed in range(1, 8):
        problem = family.problem(seed)
        start = Start("before", basis=before.basis, edge_weights=edge_weights)
        now, anew = going_on.solve(problem, [start]), Solver().solve(problem)
        assert now.status == anew.status == "optimal"
        assert now.objective == pytest.approx(anew.objective, rel=1e-6)
        assert now.gap <= 1e-6
        pivots.append((now.pivots, anew.pivots))
        before = now
    assert np.sum(pivots, axis=0)[0] < 0.5 * np.sum(pivots, axis=0)[1]
    # Another problem of the same shape is not gone on with, whatever the basis.
    other = RandomFeasible(60, 90).problem(1)
    found = going_on.solve(other, [Start("before", basis=before.basis)])
    assert found.objective == pytest.approx(Solver().solve(other).objective)


def test_a_basis_is_fitted_to_the_bounds_that_there_are() -> None:
    basis = Basis(np.array([AT_UPPER, FREE]), np.array([AT_LOWER, BASIC, FREE]))
    fitted = basis.fitted(by_hand())
    assert fitted.columns.tolist() == [AT_LOWER, AT_LOWER]
    assert fitted.rows.tolist() == [AT_UPPER, BASIC, AT_UPPER]
    assert basis.fitted(replace(by_hand(), lower=np.full(2, -INF))).columns.tolist() == [FREE, FREE]


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (Start("me", x=np.zeros(3)), r"x: a start of another size \(found \(3,\)\); expected \(2,\)"),
        (Start("me", y=np.zeros(2)), r"y: a start of another size"),
        (Start("me", basis=Basis(np.zeros(3), np.zeros(3))), r"columns: a basis of another size"),
    ],
)
def test_a_guess_for_another_problem_is_refused(start: Start, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Solver().solve(by_hand(), [start])


@pytest.mark.parametrize(
    "options",
    [{"gap": -1.0}, {"gap": np.nan}, {"pivots": -1}, {"seconds": -1.0}, {"threads": 0}],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        SolveConfig(**options)  # type: ignore[arg-type]


def test_edge_weights_that_there_are_not_are_refused() -> None:
    with pytest.raises(ConfigError, match="edge_weights = 'steep'"):
        Start("noise", edge_weights="steep")  # type: ignore[arg-type]


def test_in_the_shape_of_linprog() -> None:
    solution = linprog([-3, -5], [[1, 0], [0, 2], [3, 2]], [4, 12, 18])
    assert solution.objective == -36
    free = linprog([1.0, 1.0], A_eq=[[1, -1]], b_eq=[1], bounds=[(None, None), (-4, 9)])
    assert free.x.tolist() == [-3, -4]


def test_an_answer_that_is_only_near_is_corrected_from_its_basis(data_dir: Path) -> None:
    """HiGHS may violate rows by 1e-7; of some rows of this problem that is more than their tolerance."""
    (file,) = sorted((data_dir / "lp" / "unit_commitment").glob("*_NetCopperPlate_*.mps.gz"))[:1]
    problem = read_problem(file, relax=True)
    answer = HighsSolver(tolerance=1e-7).solve(problem)
    assert feasibility(problem, np.clip(answer.x, problem.lower, problem.upper)).missing
    # `Solver` asks for the smallest tolerance, and needs no second solve.
    strict = HighsSolver(tolerance=SMALLEST_TOLERANCE).solve(problem)
    assert not feasibility(problem, np.clip(strict.x, problem.lower, problem.upper)).missing
    judge = Judge(1e-6, np.full(problem.rows, np.nan), False, lambda: np.inf)
    assert judge.conclude(problem, answer).certified


@pytest.mark.parametrize("apart", [1e-9, 1e-8, 5e-8])
def test_a_point_within_the_tolerance_of_a_row_is_found_where_the_rows_conflict(apart: float) -> None:
    problem = conflicting(apart)
    within = Solver(SolveConfig(row_tolerance=1e-6)).solve(problem)
    assert (within.status, within.certified) == ("optimal", True)
    without = Solver(SolveConfig(row_tolerance=1e-10)).solve(problem)
    assert (without.status, without.certified) == ("infeasible", True)
