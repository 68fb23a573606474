"""The KKT loss: 0 at optima that HiGHS finds and only there, by hand, one problem at a time or many, in any units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from jepakit.lp import LinearProgram, Solver, residuals
from jepakit.lp.families.combinatorial import FacilityLocation, SetCover
from jepakit.lp.networks.batch import LPBatch
from jepakit.lp.networks.kkt import kkt_terms
from jepakit.lp.solving.basis import Optimum
from jepakit.lp.solving.scaling import equilibrated
from lp.problems import by_hand, random_problem

TERMS = ("primal", "dual", "stationarity", "complementary_slackness", "gap")


def labelled(problem: LinearProgram) -> tuple[LinearProgram, Optimum]:
    solution = Solver().solve(problem)
    assert solution.basis is not None
    return problem, Optimum(solution.x, solution.y, solution.basis)


def terms(problem: LinearProgram, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    batch = LPBatch.of([problem])
    values = kkt_terms(batch, batch.at(torch.tensor(x).float(), torch.tensor(y).float()))
    return {name: float(value) for name, value in values.items()}


def test_by_hand() -> None:
    problem = by_hand()
    assert terms(problem, np.array([2.0, 6.0]), np.array([0.0, -1.5, -1.0])) == dict.fromkeys(TERMS, 0.0)
    # x = (5, 7): rows miss by 1, 2, 11; y = (1, -1, 0) has one wrong sign; z = (-4, -3) no bound holds it.
    found = terms(problem, np.array([5.0, 7.0]), np.array([1.0, -1.0, 0.0]))
    assert found["primal"] == pytest.approx((1 + 4 + 121) / 3)
    assert found["dual"] == pytest.approx(1 / 3)
    assert found["stationarity"] == pytest.approx((16 + 9) / 2)
    # Of the rows the second alone has a dual and a side: (1 · (12 - 14))² / 3.
    assert found["complementary_slackness"] == pytest.approx(4 / 3)
    # cᵀx = -50, the dual's value is -1 · 12.
    assert found["gap"] == pytest.approx((38 / 51) ** 2)


@pytest.mark.parametrize("seed", range(20))
def test_it_is_zero_at_an_optimum_and_only_there(seed: int) -> None:
    problem, _ = equilibrated(random_problem(seed))
    _, optimum = labelled(problem)
    assert max(terms(problem, optimum.x, optimum.y).values()) < 1e-9
    draw = np.random.default_rng(seed)
    for scale in (1e-2, 1.0):
        x = optimum.x + scale * draw.normal(size=problem.columns)
        y = optimum.y + scale * draw.normal(size=problem.rows)
        for some in ((x, optimum.y), (optimum.x, y), (x, y)):
            missed = residuals(problem, *some)
            found = terms(problem, *some)
            assert missed.optimal == (sum(found.values()) < 1e-9)
            # Both say the same of feasibility, one as a maximum, the other as a mean of squares.
            assert (missed.primal > 1e-6) == (found["primal"] > 1e-12)


def test_a_feasible_pair_that_is_not_optimal_has_slackness_and_a_gap() -> None:
    problem = by_hand()
    found = terms(problem, np.array([1.0, 1.0]), np.array([-3.0, -2.5, 0.0]))
    assert [found[name] for name in ("primal", "dual", "stationarity")] == [0, 0, 0]
    assert found["complementary_slackness"] > 1
    assert found["gap"] > 0.1


def test_problems_of_a_batch_do_not_meet(generator: torch.Generator) -> None:
    some = [labelled(equilibrated(random_problem(seed, 5 + seed, 9 + 2 * seed))[0]) for seed in range(4)]
    batch = LPBatch.of([problem for problem, _ in some], [optimum for _, optimum in some])
    x, y = torch.randn(len(batch.costs), generator=generator), torch.randn(len(batch.row_lower), generator=generator)
    together = kkt_terms(batch, batch.at(x, y))
    order = torch.tensor([2, 0, 3])
    picked = batch[order]
    assert picked.optima is not None
    found = kkt_terms(picked, picked.at(picked.optima.x, picked.optima.y))
    assert max(float(value.max()) for value in found.values()) < 1e-9
    assert picked.optima.row_status.tolist() == np.concatenate([some[n][1].basis.rows for n in order]).tolist()
    for place, number in enumerate(order.tolist()):
        columns = slice(int(batch.column_ptr[number]), int(batch.column_ptr[number + 1]))
        rows = slice(int(batch.row_ptr[number]), int(batch.row_ptr[number + 1]))
        own = LPBatch.of([some[number][0]])
        alone = kkt_terms(own, own.at(x[columns], y[rows]))
        for name in TERMS:
            assert float(alone[name]) == pytest.approx(float(together[name][number]), rel=1e-5)
        dense = some[number][0].matrix.toarray()
        np.testing.assert_allclose(own.activity(x[columns]), dense @ x[columns].numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(own.priced(y[rows]), dense.T @ y[rows].numpy(), rtol=1e-4, atol=1e-5)
        assert picked[torch.tensor([place])].entry_value.tolist() == own.entry_value.tolist()
        assert picked[torch.tensor([place])].entry_row.tolist() == own.entry_row.tolist()
        assert picked[torch.tensor([place])].entry_column.tolist() == own.entry_column.tolist()


def test_gradients_are_finite_where_sides_are_not() -> None:
    batch = LPBatch.of([by_hand(), random_problem(0)])
    x, y = torch.zeros(len(batch.costs), requires_grad=True), torch.zeros(len(batch.row_lower), requires_grad=True)
    torch.stack([value.sum() for value in kkt_terms(batch, batch.at(x, y)).values()]).sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert bool(x.grad.isfinite().all())
    assert bool(y.grad.isfinite().all())
    assert float(x.grad.abs().sum()) > 0


@pytest.mark.parametrize("family", [SetCover(30, 25, 0.1), FacilityLocation(5, 4, 2.0)], ids=["cover", "facilities"])
def test_units_do_not_matter(family: SetCover | FacilityLocation) -> None:
    problem = family.problem(0)
    # Everything in thousands: x in MW instead of kW, costs in cents, rows times ten.
    units = replace(
        problem,
        costs=problem.costs * 1e3 * 100,
        matrix=sp.csc_array(problem.matrix * 1e3 * 10),
        row_lower=problem.row_lower * 10,
        row_upper=problem.row_upper * 10,
        lower=problem.lower / 1e3,
        upper=problem.upper / 1e3,
    )
    (first, scaling), (second, other) = equilibrated(problem), equilibrated(units)
    for field in ("costs", "row_lower", "row_upper", "lower", "upper"):
        np.testing.assert_allclose(getattr(first, field), getattr(second, field), rtol=1e-9)
    assert abs(first.matrix).max() == pytest.approx(1)
    assert np.abs(first.costs).max() == pytest.approx(1)
    solution = Solver().solve(first)
    for given, scale in ((problem, scaling), (units, other)):
        assert residuals(given, scale.x * solution.x, scale.y * solution.y).optimal


def test_problems_without_rows_or_costs_can_be_scaled() -> None:
    none = np.zeros(0)
    empty = LinearProgram(np.zeros(2), sp.csc_array((0, 2)), none, none, np.zeros(2), np.full(2, np.inf))
    scaled, scaling = equilibrated(empty)
    assert (scaling.x.tolist(), scaling.y.tolist()) == ([1, 1], [])
    assert scaled.costs.tolist() == [0, 0]
