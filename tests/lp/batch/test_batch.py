"""Batches: every scenario gets what a solve of its own gives, and what is certified is true."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from benchmarks.lp_exact import truth
from benchmarks.lp_hard_problems import hard_problem

from jepakit.errors import ConfigError, DataError
from jepakit.lp import BatchSolver, LinearProgram, Scenarios, SolveConfig, Solver, solve_batch
from jepakit.lp.batch import search
from jepakit.lp.batch.certificate import DualProofs, PointCheck, WidestBounds
from jepakit.lp.batch.results import BatchSolution
from jepakit.lp.families.combinatorial import SetCover
from jepakit.lp.families.perturbed import RandomFeasible
from jepakit.lp.solving.proof import feasibility, lower_bound
from lp.problems import INF, by_hand, random_problem

BY_BASES = ("catalogue", "neighbour")


def varied(problem: LinearProgram, draw: np.random.Generator, width: float, count: int) -> Scenarios:
    """Scenarios whose finite sides, and for every other draw whose bounds, differ by shares of their size."""
    given: dict[str, np.ndarray] = {}
    for low, high in (("row_lower", "row_upper"), ("lower", "upper"))[: int(draw.integers(1, 3))]:
        lower, upper = getattr(problem, low), getattr(problem, high)
        factor = width * draw.normal(size=(count, len(lower))) * (draw.random(len(lower)) < 0.6)
        factor[: count // 4] = 0.0
        given[low], given[high] = (
            np.where(np.isfinite(side), side + factor * np.where(finite == 0, 1.0, finite), side)
            for side, finite in ((side, np.where(np.isfinite(side), np.abs(side), 0.0)) for side in (lower, upper))
        )
        given[high] = np.where(lower == upper, given[low], given[high])
    return Scenarios.of(problem, **given)


def checked_optimum(one: LinearProgram, solution: BatchSolution, place: int, seed: int) -> bool:
    """Checks what a scenario is certified to be in rational arithmetic; returns whether it has an optimum."""
    status, optimum = truth(one)
    assert solution.status[place] == status, (seed, place)
    if status != "optimal":
        return False
    off = abs(Fraction(one.in_user_sense(float(solution.objective[place]))) - optimum)
    terms = float(np.abs(one.costs) @ np.abs(solution.x[place])) + abs(one.offset)
    assert off <= 1e-6 * abs(float(optimum - Fraction(one.offset))) + 1e-13 * terms, (seed, place)
    assert Fraction(one.in_user_sense(float(solution.lower[place]))) <= optimum, (seed, place)
    return True


def test_right_hand_sides_by_hand() -> None:
    """Wyndor's second plant with 12 to 20 hours: each is worth 1.5, until it has what it needs."""
    hours = np.array([12.0, 13.0, 14.0, 18.0, 20.0, -1.0])
    solution = solve_batch(by_hand(), b={"plant2": hours})
    assert solution.status.tolist() == ["optimal"] * 5 + ["infeasible"]
    assert solution.certified.all()
    # At 18 the first plant's x ≥ 0 binds: y = 9, and more hours are worth nothing.
    assert solution.objective[:5] == pytest.approx([-26, -27.5, -29, -35, -35])
    assert solution.x[:2] == pytest.approx(np.array([[2, 6], [5 / 3, 6.5]]))
    assert solution.y[1] == pytest.approx([0, -1.5, -1])
    assert np.isnan(solution.x[5]).all()


def test_every_scenario_is_as_if_it_were_solved_alone() -> None:
    by_bases, solver = 0, Solver()
    for seed in range(24):
        draw = np.random.default_rng(seed)
        problem = random_problem(seed, int(draw.integers(1, 12)), int(draw.integers(1, 16)))
        scenarios = varied(problem, draw, float(draw.choice([0.01, 0.3, 2.0])), 16)
        solution = BatchSolver(problem).solve(scenarios)
        by_bases += int(np.isin(solution.source, BY_BASES).sum())
        for place in range(scenarios.count):
            one = scenarios.problem_of(place)
            alone = solver.solve(one)
            assert (solution.status[place], solution.certified[place]) == (alone.status, alone.certified), (seed, place)
            if alone.status == "optimal":
                assert solution.objective[place] == pytest.approx(alone.objective, rel=1e-6, abs=1e-9), (seed, place)
                assert not feasibility(one, solution.x[place]).missing
                assert solution.lower[place] <= one.objective(solution.x[place]) + 1e-9
    assert by_bases > 50


@pytest.mark.parametrize("first", [0, 30, 60])
def test_what_is_certified_is_true_in_rational_arithmetic(first: int) -> None:
    """On problems of every kind that has fooled a solver: cancelling, free, degenerate, of huge and tiny sizes."""
    by_bases = 0
    for seed in range(first, first + 30):
        _, problem = hard_problem(seed)
        draw = np.random.default_rng(seed)
        scenarios = varied(problem, draw, float(draw.choice([1e-3, 1.0])), 16)
        solution = BatchSolver(problem).solve(scenarios)
        for place in np.flatnonzero(solution.certified):
            optimal = checked_optimum(scenarios.problem_of(place), solution, place, seed)
            by_bases += optimal and solution.source[place] in BY_BASES
    assert by_bases > 50


def test_the_certificate_of_many_never_proves_more_than_that_of_one() -> None:
    """Points and duals of any origin, mostly wrong: what holds for the batch holds in the certificate of a solve."""
    held = 0
    for seed in range(120):
        draw = np.random.default_rng(seed)
        problem = random_problem(seed, int(draw.integers(1, 9)), int(draw.integers(1, 12)))
        scenarios = varied(problem, draw, 1e-6, 6)
        solved = Solver().solve(problem)
        noise = float(draw.choice([0.0, 1e-12, 1e-9, 1e-7, 1e-2]))
        x = solved.x[:, None] + noise * draw.normal(size=(problem.columns, scenarios.count))
        low, high = scenarios.bounds_of(np.arange(problem.columns))
        if (low > high).any():
            continue
        x, y = np.clip(x, low, high), solved.y + noise * draw.normal(size=problem.rows)
        tolerance = np.where(draw.random(problem.rows) < 0.3, 1e-6, np.nan)
        checked = PointCheck(problem, scenarios.bounded, tolerance).check(scenarios, x)
        widest = WidestBounds(scenarios)
        proofs = DualProofs(widest)
        proofs.add([0], y[None], lambda _: None)
        bounds = proofs.bounds(np.zeros(scenarios.count, np.intp), scenarios)
        own, _ = proofs.bounds_by_own(np.repeat(y[None], scenarios.count, 0), scenarios)
        for place in range(scenarios.count):
            one = scenarios.problem_of(place)
            if checked.feasible[place]:
                held += 1
                assert not feasibility(one, x[:, place], tolerance).missing, (seed, place)
                assert Fraction(checked.value[place]) >= _product(one.costs, x[:, place]), (seed, place)
                for row, entries in enumerate(one.matrix.toarray()):
                    activity = _product(entries, x[:, place])
                    worst = Fraction(float(checked.worst[row]))
                    assert activity + worst >= one.row_lower[row], (seed, place)
                    assert activity - worst <= one.row_upper[row], (seed, place)
            # Bounds that are not stated are those that the rows of all scenarios imply.
            lower, upper = (
                np.where(np.isinf(own), implied, own)
                for own, implied in zip((one.lower, one.upper), widest.implied, strict=True)
            )
            bounded = replace(one, lower=lower, upper=upper, offset=0.0)
            assert max(bounds[place], own[place]) <= lower_bound(bounded, y), (seed, place)
    assert held > 100


def test_infeasible_scenarios_are_proved_by_duals_of_others() -> None:
    """Three plants of 2 each, two of them behind a line of 3: they meet a demand of up to 5."""
    problem = LinearProgram(
        costs=np.array([1.0, 2.0, 3.0]),
        matrix=sp.csc_array(np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])),
        row_lower=np.array([1.0, -INF]),
        row_upper=np.array([1.0, 3.0]),
        lower=np.zeros(3),
        upper=np.array([2.0, 2.0, 2.0]),
    )
    demand = np.random.default_rng(0).uniform(0, 10, 400)
    demand[:4] = 5.0, np.nextafter(5.0, 6.0), 5.0 + 1e-6, 1.0
    demand[200:220] = 5.0 + np.linspace(0, 1e-8, 20)
    solution = solve_batch(problem, b={"r0": demand})
    alone = [
        Solver().solve(replace(problem, row_lower=np.array([one, -INF]), row_upper=np.array([one, 3.0])))
        for one in demand[:220]
    ]
    assert solution.status[:220].tolist() == [one.status for one in alone]
    assert (solution.status == "infeasible")[demand > 5 + 2e-8].all()
    assert solution.certified.all()
    assert solution.by_solver < 50
    assert (solution.source[solution.status == "infeasible"] == "catalogue").sum() > 150
    assert np.isnan(solution.x[solution.status == "infeasible"]).all()
    assert np.isnan(solution.y[solution.status == "infeasible"]).all()


def test_what_is_called_infeasible_is_in_rational_arithmetic() -> None:
    proved = 0
    for seed in range(60):
        _, problem = hard_problem(seed)
        draw = np.random.default_rng(seed)
        scenarios = varied(problem, draw, float(draw.choice([0.3, 1.0, 3.0])), 40)
        solution = BatchSolver(problem).solve(scenarios)
        for place in np.flatnonzero((solution.status == "infeasible") & (solution.source == "catalogue")):
            assert truth(scenarios.problem_of(place))[0] == "infeasible", (seed, place)
            proved += 1
    assert proved > 100


def test_bases_are_used_where_most_scenarios_have_no_point() -> None:
    problem = by_hand()
    hours = np.concatenate([np.full(60, -1.0), np.linspace(12, 18, 10), np.full(60, -2.0)])
    solution = solve_batch(problem, b={"plant2": hours})
    assert solution.status.tolist() == ["infeasible"] * 60 + ["optimal"] * 10 + ["infeasible"] * 60
    assert solution.by_solver <= 16


def test_bases_that_were_never_solved_are_reached_without_the_solver() -> None:
    """A knapsack of many items: which of them is cut depends on the room, one basis for each."""
    count = 40
    worth = np.linspace(2, 1, count)
    problem = LinearProgram(
        costs=-worth,
        matrix=sp.csc_array(np.ones((1, count))),
        row_lower=np.array([-INF]),
        row_upper=np.array([1.0]),
        lower=np.zeros(count),
        upper=np.ones(count),
    )
    room = np.random.default_rng(0).uniform(0, count, 500)
    solution = solve_batch(problem, b={"r0": room})
    whole = np.floor(room).astype(int)
    cumulated = np.concatenate([[0], np.cumsum(worth)])
    assert solution.objective == pytest.approx(-(cumulated[whole] + (room - whole) * worth[whole]))
    assert solution.by_solver <= 8
    assert {"catalogue", "neighbour"} <= set(solution.source.tolist())
    assert not solution.message[solution.certified & (solution.status == "optimal")].astype(bool).any()


def test_bases_are_remembered_from_call_to_call_and_given_ones_are_used() -> None:
    problem = random_problem(3, 8, 12)
    sides = Scenarios.of(problem, **_sides(problem, 30, 0.01))
    solver = BatchSolver(problem)
    first, second = solver.solve(sides), solver.solve(sides)
    assert first.by_solver > second.by_solver == 0
    assert second.objective == pytest.approx(first.objective)
    basis = Solver().solve(problem).basis
    assert basis is not None
    assert BatchSolver(problem, bases=[basis]).solve(sides).by_solver < first.by_solver


def test_a_basis_that_is_not_dual_feasible_does_no_harm() -> None:
    problem = random_problem(3, 8, 12)
    wrong = Solver().solve(replace(problem, costs=-problem.costs, lower=problem.lower, upper=problem.upper)).basis
    bases = [] if wrong is None else [wrong]
    slack = Solver().solve(replace(problem, costs=np.zeros(problem.columns))).basis
    assert slack is not None
    sides = Scenarios.of(problem, **_sides(problem, 30, 0.01))
    solution = BatchSolver(problem, bases=[*bases, slack]).solve(sides)
    assert solution.objective == pytest.approx(BatchSolver(problem).solve(sides).objective)
    assert solution.certified.all()


@pytest.mark.filterwarnings("error")
def test_bounds_that_some_scenarios_do_not_have() -> None:
    solver = Solver()
    for seed in range(12):
        problem, draw = random_problem(seed, 8, 12), np.random.default_rng(seed)
        sides = {
            name: np.where(draw.random((20, len(getattr(problem, name)))) < 0.3, infinite, getattr(problem, name))
            for name, infinite in (("lower", -INF), ("upper", INF), ("row_lower", -INF), ("row_upper", INF))
        }
        scenarios = Scenarios.of(problem, **sides)
        solution = BatchSolver(problem).solve(scenarios)
        for place in range(20):
            alone = solver.solve(scenarios.problem_of(place))
            assert solution.status[place] == alone.status, (seed, place)
            if alone.status == "optimal":
                assert solution.objective[place] == pytest.approx(alone.objective, rel=1e-6, abs=1e-9), (seed, place)


def test_bases_survive_a_change_of_what_is_fixed() -> None:
    problem = random_problem(3, 8, 12)
    solver = BatchSolver(problem)
    sides = _sides(problem, 30, 0.01)
    solver.solve(Scenarios.of(problem, **sides))
    columns = np.flatnonzero(np.isfinite(problem.lower) & np.isfinite(problem.upper))[:1]
    name = problem.column_name(int(columns[0]))
    fixed = np.full(30, problem.lower[columns[0]])
    later = Scenarios.of(problem, **sides, lower={name: fixed}, upper={name: fixed})
    assert solver.solve(later).objective == pytest.approx(BatchSolver(problem).solve(later).objective)


def test_bounds_that_cross_are_infeasible_whatever_is_remembered() -> None:
    problem = by_hand()
    basis = Solver().solve(problem).basis
    assert basis is not None
    for crossed in (replace(problem, lower=np.array([1e-12, 0.0]), upper=np.array([0.0, INF])), problem):
        given = {"x": [1e-12, 1.0]} if crossed is problem else {"x": [0.0, 0.0]}
        sides = Scenarios.of(crossed, lower=given, upper={"x": [0.0, 2.0]} if crossed is problem else None)
        solution = BatchSolver(crossed, bases=[basis]).solve(sides)
        expected = [Solver().solve(sides.problem_of(place)).status for place in range(2)]
        assert solution.status.tolist() == expected
        assert solution.status[0] == ("infeasible" if crossed is problem else expected[0])


def test_a_wide_gap_and_row_tolerances_mean_what_they_mean_in_a_solve() -> None:
    problem = by_hand()
    hours = {"plant2": np.linspace(12, 18, 20)}
    loose = solve_batch(problem, b=hours, config=SolveConfig(gap=0.5))
    assert loose.certified.all()
    assert (loose.gap <= 0.5).all()
    exact = solve_batch(problem, b=hours, config=SolveConfig(exact=True))
    assert exact.by_solver == 20
    with pytest.raises(ConfigError, match="row_tolerances"):
        solve_batch(problem, b=hours, config=SolveConfig(row_tolerances={"plant9": 1.0}))


def test_costs_that_vary() -> None:
    problem = by_hand()
    price = np.array([-3.0, -1.0, -9.0, 1.0])
    solution = solve_batch(problem, costs={"x": price})
    alone = [Solver().solve(replace(problem, costs=np.array([one, -5.0]))).objective for one in price]
    assert solution.objective == pytest.approx(alone)
    assert solution.certified.all()


def test_a_point_that_stays_optimal_needs_no_solver_and_within_a_gap_many_do() -> None:
    problem = SetCover(40, 60, 0.1).problem(0)
    draw = np.random.default_rng(0)
    for width, gap in ((1e-4, 1e-6), (0.01, 0.05)):
        costs = problem.costs * draw.uniform(1 - width, 1 + width, (60, problem.columns))
        solution = solve_batch(problem, costs=costs, config=SolveConfig(gap=gap))
        assert solution.certified.all()
        assert solution.by_solver < 30
        for place in range(0, 60, 7):
            one = replace(problem, costs=costs[place])
            alone = Solver().solve(one).objective
            assert solution.objective[place] == pytest.approx(one.objective(solution.x[place]))
            assert alone - 1e-9 <= solution.objective[place] <= (1 + gap) * alone
            assert solution.lower[place] <= alone + 1e-9
            assert lower_bound(one, solution.y[place]) >= solution.lower[place] - 1e-6


def test_bases_are_given_up_where_each_scenario_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = RandomFeasible(rows=30, columns=60, density=0.5).problem(0)
    shift = 0.2 * np.random.default_rng(0).normal(size=(70, problem.rows))
    sides = {"row_lower": problem.row_lower + shift, "row_upper": problem.row_upper + shift}
    monkeypatch.setattr(search, "_STEPS", 1)
    monkeypatch.setattr(search, "_NEW", 0)
    solution = BatchSolver(problem).solve(Scenarios.of(problem, **sides))
    alone = Solver()
    for place in range(0, 70, 9):
        one = Scenarios.of(problem, **sides).problem_of(place)
        expected = alone.solve(one)
        assert (solution.status[place], solution.certified[place]) == (expected.status, expected.certified)
        if expected.status == "optimal":
            assert solution.objective[place] == pytest.approx(expected.objective)
    assert solution.by_solver > 48


def test_costs_and_sides_that_vary_together_are_certified_in_rational_arithmetic() -> None:
    certified = 0
    for seed in range(40):
        _, problem = hard_problem(seed)
        problem = replace(problem, maximize=seed % 2 == 0)
        draw = np.random.default_rng(seed)
        costs = problem.costs * draw.uniform(0.9, 1.1, (12, problem.columns))
        scenarios = replace(varied(problem, draw, 1e-3, 12), priced=np.arange(problem.columns), costs=costs.T)
        solution = BatchSolver(problem).solve(scenarios)
        for place in np.flatnonzero(solution.certified):
            certified += checked_optimum(scenarios.problem_of(place), solution, place, seed)
    assert certified > 200


def test_a_maximum_keeps_its_sign() -> None:
    problem = replace(by_hand(), maximize=True)
    price = np.array([-3.0, -1.0, -9.0, 1.0])
    for given in ({"b": {"plant2": np.linspace(12, 17, 12)}}, {"costs": {"x": price}}):
        scenarios = Scenarios.of(problem, **given)  # type: ignore[arg-type]
        solution = BatchSolver(problem).solve(scenarios)
        alone = [Solver().solve(scenarios.problem_of(place)).objective for place in range(scenarios.count)]
        assert solution.objective == pytest.approx(alone)
        assert (solution.lower >= solution.objective).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nothing varies"),
        ({"b": {"plant9": [1.0]}}, "b: not a row of the problem (did you mean 'plant3'?) (found 'plant9')"),
        ({"costs": {"plant1": [1.0]}}, "costs: not a column of the problem"),
        ({"b": {"plant1": [1.0, np.nan]}}, "b[plant1], scenario 1: not a valid number (found nan)"),
        ({"upper": {"x": [1.0, -INF]}}, "upper[x], scenario 1: not a valid number (found -inf); expected a number, or"),
        ({"b": {"plant1": [1.0, 2.0], "plant2": [1.0]}}, "b: not one number for each scenario"),
        ({"b": {"plant1": [1.0, 2.0]}, "costs": {"x": [1.0]}}, "not as many scenarios in each"),
        ({"b": np.ones((2, 5))}, "b: of another shape (found (2, 5)); expected [S, 3]"),
        ({"b": {"plant1": [1.0]}, "row_upper": {"plant1": [1.0]}}, "b[plant1]: given twice; expected b, or row_upper"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(DataError) as caught:
        Scenarios.of(by_hand(), **given)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_row_with_two_sides_has_no_right_hand_side() -> None:
    problem = replace(by_hand(), row_lower=np.array([0.0, -INF, 0.0]))
    with pytest.raises(DataError, match=r"b\[plant1\]: not a right-hand side; expected an equation, or a row with one"):
        solve_batch(problem, b={"plant1": [1.0]})


def _product(a: np.ndarray, b: np.ndarray) -> Fraction:
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    return sum((Fraction(one) * Fraction(other) for one, other in pairs), Fraction(0))


def _sides(problem: LinearProgram, count: int, width: float) -> dict[str, np.ndarray]:
    shift = width * np.random.default_rng(0).normal(size=(count, problem.rows))
    return {"row_lower": problem.row_lower + shift, "row_upper": problem.row_upper + shift}
