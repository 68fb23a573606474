"""Families: what each instance has to be, the same for the same seed, and published optima."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from jepakit.errors import ConfigError, DataError
from jepakit.lp import LinearProgram, Solver
from jepakit.lp.families.combinatorial import CombinatorialAuction, FacilityLocation, IndependentSet, SetCover
from jepakit.lp.families.named import LPFamily
from jepakit.lp.families.perturbed import Perturbed, RandomFeasible, moving_together
from jepakit.lp.families.power_flow import PowerFlow, read_matpower
from lp.problems import by_hand, random_problem

SMALL: list[LPFamily] = [
    SetCover(60, 50, 0.08),
    IndependentSet(80, 3),
    CombinatorialAuction(30, 50),
    FacilityLocation(6, 4, 2.0),
    RandomFeasible(),
    Perturbed((by_hand(),), costs=0.1, sides=0.1),
]


@pytest.mark.parametrize("family", SMALL, ids=lambda family: type(family).__name__)
def test_instances_have_optima_and_depend_on_their_seed_alone(family: LPFamily) -> None:
    first, again, other = family.problem(5), family.problem(5), family.problem(6)
    assert np.array_equal(first.costs, again.costs)
    assert abs(first.matrix - again.matrix).sum() == 0
    differs = first.matrix.shape != other.matrix.shape or abs(first.matrix - other.matrix).sum() > 0
    assert differs or not np.array_equal(first.costs, other.costs)
    for seed in range(5):
        assert Solver().solve(family.problem(seed)).status == "optimal"


def test_set_cover() -> None:
    problem = SetCover(200, 150, 0.02).problem(1)
    sets = problem.matrix.toarray()
    assert set(np.unique(sets)) == {0, 1}
    assert sets.sum() == 600
    assert sets.sum(0).min() >= 2
    assert sets.sum(1).min() >= 1
    assert (problem.costs.min() >= 1, problem.costs.max() <= 100) == (True, True)
    dense = SetCover(5, 4, 1.0).problem(0)
    assert dense.matrix.toarray().tolist() == np.ones((5, 4)).tolist()


def test_independent_set_rows_are_cliques_that_cover_all_edges() -> None:
    problem = IndependentSet(60, 3).problem(2)
    rows = problem.matrix.toarray()
    together = (rows.T @ rows > 0) & ~np.eye(60, dtype=bool)
    # 57 nodes bring 3 edges each; a row says that its nodes are all joined.
    assert together.sum() == 2 * 57 * 3
    assert rows.sum(1).min() == 2
    assert problem.maximize
    # One in so many of each clique is possible.
    assert Solver().solve(problem).objective >= 60 / rows.sum(1).max() - 1e-9


def test_auction_sells_every_item_once() -> None:
    problem = CombinatorialAuction(40, 60).problem(3)
    solution = Solver().solve(problem)
    assert (problem.matrix @ solution.x).max() <= 1 + 1e-9
    assert problem.columns == 60
    assert np.diff(problem.matrix.indptr).min() >= 1
    assert problem.maximize
    # A bidder's row names two bids or more, none of them with the same items.
    columns = [tuple(column) for column in problem.matrix.toarray().T]
    assert len(set(columns)) > 50


def test_facilities_serve_everybody_within_their_capacity() -> None:
    problem = FacilityLocation(8, 5, 1.5).problem(4)
    x = Solver().solve(problem).x
    served, opened = x[:40].reshape(8, 5), x[40:]
    np.testing.assert_allclose(served.sum(1), 1, atol=1e-9)
    assert (served <= opened + 1e-9).all()
    block = problem.matrix.toarray()[8:13]
    demand, capacity = block[0, :40:5], -np.diag(block[:, 40:])
    assert (demand @ served <= capacity * opened + 1e-6).all()
    assert capacity.sum() <= 1.5 * demand.sum() < capacity.sum() + 5


def test_perturbed_instances_keep_what_has_to_stay() -> None:
    problem = replace(random_problem(1), row_lower=np.zeros(12), row_upper=np.zeros(12))
    same = Perturbed((problem,), sides=0.0).problem(0)
    assert np.array_equal(same.costs, problem.costs)
    moved = Perturbed((problem,), costs=0.1, bounds=0.2).problem(0)
    assert np.array_equal(moved.row_lower, moved.row_upper)
    assert (np.abs(moved.costs / problem.costs - 1) <= 0.1 + 1e-9).all()
    for field in ("lower", "upper"):
        before, after = getattr(problem, field), getattr(moved, field)
        assert np.array_equal(np.isinf(before), np.isinf(after))
        finite = np.isfinite(before) & (before != 0)
        assert (np.abs(after[finite] / before[finite] - 1) <= 0.2 + 1e-9).all()
    with pytest.raises(DataError, match=r"problems\[1\]: of another matrix"):
        Perturbed((problem, random_problem(2)))
    with pytest.raises(DataError, match=r"other infinite sides \(lower\)"):
        Perturbed((problem, replace(problem, lower=np.full(18, -np.inf))))


def hours() -> tuple[LinearProgram, LinearProgram]:
    """Two hours of three loads, which one generator and a line each serve; a load that never changes, and a switch."""
    hour = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]], float)
    matrix = sp.csc_array(sp.block_diag([hour, hour, np.eye(2)]))
    sides = np.array([5.0, 2, 3, 5, 2, 4, 7, 1])
    one = LinearProgram(np.ones(10), matrix, sides, sides, np.zeros(10), np.full(10, 50.0))
    other = np.array([6.0, 2.5, 3, 4, 2.3, 2, 7, 0])
    return one, replace(one, row_lower=other, row_upper=other, lower=np.append(np.zeros(9), 0.5))


def test_of_several_problems_what_belongs_together_moves_together() -> None:
    one, other = hours()
    rows, columns = moving_together([one, other])
    assert rows[0] == rows[1] == columns[0]
    assert rows[3] == rows[4] == rows[5] == columns[4]
    # One hour is not the other, and what does not change is nobody's.
    assert len({rows[0], rows[3], rows[2], rows[6]}) == 4
    family = Perturbed((one, other))
    made = [family.problem(seed) for seed in range(300)]
    sides = np.stack([problem.row_lower for problem in made])
    assert np.array_equal(sides, np.stack([problem.row_upper for problem in made]))
    assert (sides[:, [2, 6]] == [3, 7]).all()
    assert set(sides[:, 7]) == {0.0, 1.0}
    assert (sides[:, :6] >= 0).all()
    # Where each lies on the line through its two values, 0 and 1 there.
    first, second = one.row_lower, other.row_lower
    loads = [0, 1, 3, 4, 5]
    parts = (sides - first)[:, loads] / (second - first)[loads]
    related = np.corrcoef(parts.T)
    assert min(related[0, 1], related[2, 3], related[2, 4]) > 0.45
    assert np.abs(related[:2, 2:]).max() < 0.35
    assert 0.4 < float(np.median(parts)) < 0.6
    assert 0.3 < float(parts[:, 0].std()) < 1.2
    assert len({float(problem.lower[9]) for problem in made}) > 2
    assert np.array_equal(family.problem(7).row_lower, made[7].row_lower)


def test_regions_that_change_in_one_proportion_are_one() -> None:
    sides = np.array([2.0, 3, 5, 7, 11, 13])
    one = LinearProgram(np.ones(6), sp.csc_array(np.eye(6)), sides, sides, np.zeros(6), np.full(6, 99.0))
    other = sides * [1.1, 1.1, 1.1, 1.1, 1.2, 1.2]
    rows, _ = moving_together([one, replace(one, row_lower=other, row_upper=other)])
    assert len(set(rows[:4])) == 1
    # Two rows of one proportion may be chance.
    assert len({*rows[3:]}) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SetCover(10, 100, 0.01), "density = 0.01: expected 0.2 to 1"),
        (lambda: IndependentSet(2, 2), "nodes = 2: expected more than affinity = 2"),
        (lambda: FacilityLocation(ratio=0.5), "ratio = 0.5"),
        (lambda: CombinatorialAuction(add_item=1.0), "add_item = 1.0"),
        (lambda: RandomFeasible(rows=0), "rows = 0"),
        (lambda: Perturbed((by_hand(),), sides=1.0), "sides = 1.0"),
        (lambda: Perturbed((by_hand(),), spread=-1.0), "spread = -1.0"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]


THREE = """function mpc = three
mpc.baseMVA = 100.0;
mpc.bus = [
 10 3 0 0 0 0 1 1 0 230 1 1.1 0.9;
 20 1 150 0 10 0 1 1 0 230 1 1.1 0.9;
 30 2 0 0 0 0 1 1 0 230 1 1.1 0.9
];
mpc.gen = [
 10 0 0 0 0 1 100 1 200 0;
 30 0 0 0 0 1 100 1 200 0;
 30 0 0 0 0 1 100 0 200 0;
];
mpc.gencost = [
 2 0 0 3 0 10 5; % the cheap one
 2 0 0 3 0 30 0;
 2 0 0 3 0 1 0;
];
mpc.branch = [
 10 20 0 0.1 0 60 0 0 0 0 1 -30 30;
 20 30 0 0.2 0 0 0 0 0 0 1 -30 30;
 10 30 0 0.1 0 0 0 0 0 0 0 -30 30;
];
"""


def test_power_flow_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "three.m"
    file.write_text(THREE)
    network, loads = read_matpower(file)
    solution = Solver().solve(network)
    # 160 MW at bus 20; the line from bus 10 carries 60, so 100 come from bus 30: 60 · 10 + 100 · 30 + 5.
    assert solution.objective == pytest.approx(3605)
    # θ falls by flow / b: 0.6 · 0.1 to bus 20, and rises by 1.0 · 0.2 to bus 30.
    np.testing.assert_allclose(solution.x, [0, -0.06, 0.14, 0.6, 1.0], atol=1e-9)
    assert loads.tolist() == [0, 1.5, 0]
    lighter = PowerFlow(network, loads, total=(0.5, 0.5), width=0.0).problem(0)
    assert lighter.row_lower[1] == pytest.approx(0.75 + 0.1)
    varied = PowerFlow(network, loads).problem(3)
    assert 0.6 * 0.85 * 1.5 <= varied.row_lower[1] - 0.1 <= 1.15 * 1.5
    assert varied.row_lower[0] == 0


@pytest.mark.parametrize(
    ("before", "after", "line", "field", "value"),
    [
        ("mpc.baseMVA = 100.0;", "", None, None, None),
        ("mpc.gencost", "mpc.costs", None, None, None),
        (" 20 30 0 0.2", " 20 31 0 0.2", None, "branch", 31),
        ("0.2 0 0", "0.2 0 x", 20, "branch", "could not convert string to float: 'x'"),
        (" 30 0 0 0 0 1 100 1 200 0;", " 30 0 0 0 0 1 100 1 200;", 10, "gen", "30 0 0 0 0 1 100 1 200"),
        (" 2 0 0 3 0 30 0;", " 2 0 0 3 0.1 30 0;", None, "gencost", None),
        (" 2 0 0 3 0 30 0;", " 1 0 0 3 0 30 0;", None, "gencost", None),
    ],
)
def test_a_case_with_a_fault_is_refused(
    tmp_path: Path, before: str, after: str, line: int | None, field: str | None, value: object
) -> None:
    file = tmp_path / "three.m"
    assert before in THREE
    file.write_text(THREE.replace(before, after, 1))
    with pytest.raises(DataError) as caught:
        PowerFlow.read(file)
    fault = caught.value
    assert (fault.file, fault.line, fault.field, fault.value) == (file, line, field, value)


@pytest.mark.data
@pytest.mark.parametrize(
    ("case", "cost"), [("14_ieee", 2.0515e3), ("118_ieee", 9.3101e4), ("300_ieee", 5.1785e5), ("1354_pegase", 1.2182e6)]
)
def test_power_flow_costs_what_pglib_says(data_dir: Path, case: str, cost: float) -> None:
    family = PowerFlow.read(data_dir / "lp" / "pglib_opf" / f"pglib_opf_case{case}.m")
    assert Solver().solve(family.network).objective == pytest.approx(cost, rel=5e-5)
    assert [Solver().solve(family.problem(seed)).status for seed in range(3)] == ["optimal"] * 3
