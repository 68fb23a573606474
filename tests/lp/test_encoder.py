"""Networks: what is hidden stays hidden, problems of a batch do not meet, outputs are possible."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from jepakit.core import Views, Where
from jepakit.errors import ConfigError, DataError
from jepakit.lp import LinearProgram
from jepakit.lp.encoder import (
    COLUMN_FEATURES,
    COLUMNS,
    ROW_FEATURES,
    ROWS,
    EncoderConfig,
    GNNPolicy,
    Heads,
    KKTNetMLP,
    messages,
)
from jepakit.lp.families.combinatorial import IndependentSet, SetCover
from jepakit.lp.model import LPModel, likeliest_basis
from jepakit.lp.networks.batch import LPBatch
from jepakit.lp.networks.kkt import kkt_terms
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, BASIC, FREE
from jepakit.lp.solving.iterates import guessed_basis, primal_dual
from jepakit.lp.solving.scaling import equilibrated
from jepakit.lp.views import Hidden, MaskConfig, ProblemViews, masked_view
from lp.problems import random_problem

SMALL = EncoderConfig(dim=12, depth=2)


def scaled(seed: int, rows: int = 12, columns: int = 18) -> LinearProgram:
    return equilibrated(random_problem(seed, rows, columns))[0]


def graph_network() -> GNNPolicy:
    torch.manual_seed(0)
    return GNNPolicy(SMALL).eval()


def perceptron() -> KKTNetMLP:
    torch.manual_seed(0)
    return KKTNetMLP(18, 12, SMALL).eval()


def test_messages_are_products_with_the_matrix_and_means(generator: torch.Generator) -> None:
    dense = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    dense[torch.rand(5, 7, generator=generator) < 0.5] = 0
    dense[2] = 0
    column, row = dense.T.nonzero(as_tuple=True)
    none = np.zeros(5), np.zeros(5), np.zeros(7), np.zeros(7)
    batch = LPBatch.of([LinearProgram(np.zeros(7), sp.csc_array(dense.numpy()), *none)])
    by_row, by_column = batch.lists(dense[row, column])
    present = (dense != 0).double()
    for size, lists, transposed, matrix in (
        (7, by_row, by_column, (dense, present)),
        (5, by_column, by_row, (dense.T, present.T)),
    ):
        values = torch.randn(size, 3, generator=generator).double().requires_grad_()
        weighted, mean = messages(values, lists, transposed).split(3, dim=1)
        torch.testing.assert_close(weighted, matrix[0] @ values)
        torch.testing.assert_close(mean, matrix[1] @ values / matrix[1].sum(1, keepdim=True).clamp(min=1))
        assert torch.autograd.gradcheck(partial(messages, lists=lists, transposed=transposed), values)


def test_problems_of_a_batch_do_not_meet() -> None:
    first, other, encoder = scaled(0), scaled(1, 7, 9), graph_network()
    alone, together = encoder(LPBatch.of([first])), encoder(LPBatch.of([other, first]))
    torch.testing.assert_close(together[COLUMNS][9:], alone[COLUMNS], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together[ROWS][7:], alone[ROWS], rtol=1e-4, atol=1e-5)


def test_the_order_of_rows_and_columns_is_that_of_the_embeddings() -> None:
    problem, encoder = scaled(1), graph_network()
    draw = np.random.default_rng(0)
    rows, columns = draw.permutation(12), draw.permutation(18)
    moved = replace(
        problem,
        costs=problem.costs[columns],
        matrix=sp.csc_array(problem.matrix.toarray()[rows][:, columns]),
        row_lower=problem.row_lower[rows],
        row_upper=problem.row_upper[rows],
        lower=problem.lower[columns],
        upper=problem.upper[columns],
    )
    before, after = encoder(LPBatch.of([problem])), encoder(LPBatch.of([moved]))
    torch.testing.assert_close(after[COLUMNS], before[COLUMNS][columns], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after[ROWS], before[ROWS][rows], rtol=1e-4, atol=1e-5)
    # Two nodes that differ are told apart.
    assert torch.pdist(before[COLUMNS]).min() > 1e-4


@pytest.mark.parametrize("hidden", ["nodes", "entries", "rows", "columns"])
@pytest.mark.parametrize("make", [graph_network, perceptron], ids=["graphs", "perceptron"])
def test_what_is_hidden_cannot_be_seen(make: object, hidden: Hidden, generator: torch.Generator) -> None:
    problems = LPBatch.of([scaled(0), scaled(1)], iterations=8)
    assert problems.near is not None
    encoder = make()  # type: ignore[operator]
    masked = masked_view(problems, MaskConfig(hidden, noise=0.0), generator)
    noise = torch.randn(2 * (COLUMN_FEATURES * 18 + ROW_FEATURES * 12) + len(masked.entries), generator=generator)
    changed = replace(
        problems,
        costs=problems.costs + masked.columns,
        lower=problems.lower.masked_fill(masked.columns, -7.0),
        row_upper=problems.row_upper.masked_fill(masked.rows, torch.inf),
        row_lower=problems.row_lower.masked_fill(masked.rows, -1.0),
        entry_value=problems.entry_value + 3.0 * masked.entries,
        near=replace(problems.near, x=problems.near.x + 1),
    )

    def seen(masks: object) -> torch.Tensor:
        found = encoder(masks)
        return found if isinstance(found, torch.Tensor) else torch.cat([found[COLUMNS], found[ROWS]])

    before = seen(masked)
    assert torch.equal(before, seen(replace(masked, problems=changed)))
    assert not torch.allclose(before, seen(problems))
    assert not torch.allclose(seen(problems), seen(changed))
    noisy = torch.equal(before, seen(replace(masked, noise=noise)))
    assert noisy == isinstance(encoder, GNNPolicy)


@pytest.mark.parametrize(("ratio", "columns", "rows"), [(0.3, [5, 1, 1], [4, 1, 1]), (0.99, [17, 1, 1], [11, 1, 2])])
def test_some_of_each_problem_is_hidden_and_some_is_left(
    ratio: float, columns: list[int], rows: list[int], generator: torch.Generator
) -> None:
    problems = LPBatch.of([scaled(0), scaled(1, 2, 2), scaled(2, 3, 2)])
    counts = []
    for _ in range(20):
        masked = masked_view(problems, MaskConfig("nodes", ratio_nodes=ratio), generator)
        assert [int(part.sum()) for part in masked.columns.split(problems.column_ptr.diff().tolist())] == columns
        assert [int(part.sum()) for part in masked.rows.split(problems.row_ptr.diff().tolist())] == rows
        counts.append(masked.columns[:18])
    # Every column has its turn.
    assert bool(torch.stack(counts).any(0).all())
    whole = masked_view(problems, MaskConfig("rows", ratio_nodes=ratio), generator)
    assert torch.equal(whole.entries, whole.rows[problems.entry_row])
    assert not whole.columns.any()
    half = masked_view(problems, MaskConfig("entries", ratio_entries=0.5), generator)
    assert 0.3 < float(half.entries.float().mean()) < 0.7


def test_the_hidden_nodes_are_what_is_asked_for(generator: torch.Generator) -> None:
    problems = LPBatch.of([scaled(0), scaled(1), scaled(2)])
    views = ProblemViews(problems, MaskConfig(), per_node=True)(torch.tensor([2, 0]), generator)
    assert isinstance(views, Views)
    assert isinstance(views.where, dict)
    asked = views.where[COLUMNS]
    assert isinstance(asked, Where)
    assert torch.equal(asked.target_rows, views.context.columns.nonzero().squeeze(1))
    assert torch.equal(views.target.costs[:18], problems.costs[36:])
    rows_alone = ProblemViews(problems, MaskConfig("rows"), per_node=True)(torch.tensor([0]), generator)
    assert isinstance(rows_alone.where, dict)
    # No column is hidden; what the hidden rows took from them is asked of all.
    assert rows_alone.where[COLUMNS].target_rows.tolist() == list(range(18))
    assert ProblemViews(problems, MaskConfig(), per_node=False)(torch.tensor([0]), generator).where is None


@pytest.mark.parametrize("make", [graph_network, perceptron], ids=["graphs", "perceptron"])
def test_predictions_are_possible(make: object) -> None:
    problems = LPBatch.of([scaled(seed) for seed in range(4)], iterations=20)
    encoder = make()  # type: ignore[operator]
    heads = Heads(encoder)
    with torch.no_grad():
        heads.of_columns.weight.normal_(std=10, generator=torch.Generator().manual_seed(0))
        heads.of_rows.weight.normal_(std=10, generator=torch.Generator().manual_seed(1))
        found = heads(encoder(problems), problems)
    assert bool((found.x >= problems.lower).all())
    assert bool((found.x <= problems.upper).all())
    assert not bool((found.y[problems.row_lower.isinf()] > 0).any())
    assert not bool((found.y[problems.row_upper.isinf()] < 0).any())
    for logits, lower, upper in (
        (found.column_status, problems.lower, problems.upper),
        (found.row_status, problems.row_lower, problems.row_upper),
    ):
        assert torch.equal(logits[:, AT_LOWER].isneginf(), lower.isinf())
        assert torch.equal(logits[:, AT_UPPER].isneginf(), upper.isinf())
        assert torch.equal(logits[:, FREE].isneginf(), lower.isfinite() | upper.isfinite())
        assert bool(logits[:, BASIC].isfinite().all())


def test_before_training_a_guess_is_what_the_iterates_come_to() -> None:
    family = SetCover(40, 50, 0.1)
    problems = [family.problem(seed) for seed in range(3)]
    model = LPModel(True, 0, 0, {"dim": 8, "depth": 1, "iterations": 200}, balance=0.3)
    for problem, start in zip(problems, model.starts(problems), strict=True):
        prepared, scaling = equilibrated(problem)
        x, y = primal_dual(prepared, 200, 0.3)
        guessed = guessed_basis(prepared, x, y)
        assert start.x is not None
        assert start.y is not None
        assert start.basis is not None
        np.testing.assert_allclose(start.x, scaling.x * x, atol=1e-6)
        np.testing.assert_allclose(start.y / scaling.y, y, atol=1e-6)
        same = np.concatenate([start.basis.columns == guessed.columns, start.basis.rows == guessed.rows])
        # Close calls may fall either way: the network computes in single precision.
        assert same.mean() > 0.95


def test_a_guess_is_no_further_from_an_optimum_than_the_iterates() -> None:
    problems = [SetCover(40, 50, 0.1).problem(0), IndependentSet(40).problem(0)]
    model = LPModel(True, 0, 0, {"dim": 8, "depth": 1, "iterations": 8})
    iterated = model.starts(problems)
    with torch.no_grad():
        # Of the duals of these two, smaller ones are better for the cover alone.
        model.heads.of_rows.bias[0] = -0.02
    cover, independent = model.starts(problems)
    for start, before, better in ((cover, iterated[0], True), (independent, iterated[1], False)):
        assert start.y is not None
        assert before.y is not None
        assert np.array_equal(start.y, before.y) == (not better)
    batch = LPBatch.of([equilibrated(problem)[0] for problem in problems], iterations=8)
    assert batch.near is not None
    raw = model.heads(model.encoder(batch), batch)
    missed = sum(kkt_terms(batch, batch.at(raw.x, raw.y)).values(), start=torch.zeros(2))
    before = sum(kkt_terms(batch, batch.near).values(), start=torch.zeros(2))
    assert (missed < before).tolist() == [True, False]


def test_the_likeliest_basis_has_as_many_basic_ones_as_rows() -> None:
    inf = np.inf
    columns = np.array([[0.0, 5.0, 1.0, -inf], [2.0, 1.0, -inf, -inf], [-inf, 0.5, -inf, 0.0]])
    rows = np.array([[0.0, 3.0, 4.0, -inf], [1.0, 0.0, -inf, -inf]])
    basis = likeliest_basis(columns, rows)
    # By how much basic is likelier than the next: 4, -1, .5; -1, -1.
    assert basis.columns.tolist() == [BASIC, AT_LOWER, BASIC]
    assert basis.rows.tolist() == [AT_UPPER, AT_LOWER]
    assert basis.basic == 2


def test_the_perceptron_is_for_one_size() -> None:
    with pytest.raises(DataError, match=r"another size than the perceptron's \(found \(9, 7\)\); expected 18 columns"):
        perceptron()(LPBatch.of([scaled(0), scaled(1, 7, 9)]))
    for options in ({"dim": 0}, {"depth": 0}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            EncoderConfig(**options)
    for masks in ({"ratio_nodes": 0.0}, {"ratio_entries": 1.0}, {"noise": -1.0}):
        with pytest.raises(ConfigError, match=next(iter(masks))):
            MaskConfig(**masks)
