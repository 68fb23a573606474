"""NDCG, hand-computed and equal to that of trec_eval; the paired interval."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jepakit.errors import DataError
from jepakit.retrieval.data import Pairs
from jepakit.retrieval.measuring.comparison import measure
from jepakit.retrieval.measuring.metrics import ndcg, paired_interval, top_documents
from jepakit.search.hits import Hits


def test_a_hand_computed_case() -> None:
    pairs = Pairs.of([7, 7, 7, 3], [0, 1, 2, 5], [2, 1, 0, 1])
    found = torch.tensor([[1, 4, 0], [6, 7, 8]])
    ideal = 2 + 1 / math.log2(3)
    expected = torch.tensor([(1 + 2 / math.log2(4)) / ideal, 0.0])
    torch.testing.assert_close(ndcg(found, torch.tensor([7, 3]), pairs), expected)
    torch.testing.assert_close(ndcg(found, torch.tensor([7, 3]), pairs, at=1), torch.tensor([0.5, 0.0]))


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(2, 40))
def test_it_is_what_trec_eval_computes(seed: int, queries: int, documents: int) -> None:
    draw = np.random.default_rng(seed)
    judged = draw.choice(queries * documents, min(queries * documents, 3 * queries), replace=False)
    pairs = Pairs.of(
        (judged // documents).tolist(), (judged % documents).tolist(), draw.integers(0, 4, len(judged)).tolist()
    )
    rows = pairs.relevant.queries
    if not len(rows):
        return
    scores = torch.from_numpy(draw.permuted(np.tile(np.arange(documents), (len(rows), 1)), axis=1)).float()
    values, found = scores.topk(min(10, documents), dim=1)
    expected = measure(Hits(found, values), rows, pairs).values["NDCG@10"]
    np.testing.assert_allclose(ndcg(found, rows, pairs).numpy(), expected, atol=1e-6)


def test_the_nearest_documents_are_those_of_a_full_sort() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, documents = torch.randn(30, 8, generator=generator), torch.randn(50, 8, generator=generator)
    scores, rows = top_documents(queries, documents, 7)
    expected = (queries @ documents.T).sort(dim=1, descending=True)
    assert torch.equal(rows, expected.indices[:, :7])
    torch.testing.assert_close(scores, expected.values[:, :7])
    assert top_documents(queries, documents, 80)[1].shape == (30, 50)
    assert top_documents(queries[:0], documents, 7)[1].shape == (0, 7)


def test_recall_and_reciprocal_rank_by_hand_and_places_without_a_hit() -> None:
    pairs = Pairs.of([0, 0, 1], [3, 4, 9])
    hits = Hits(torch.tensor([[8, 4, -1], [-1, -1, -1]]), torch.tensor([[2.0, 1.0, -torch.inf], [-torch.inf] * 3]))
    values = measure(hits, torch.tensor([0, 1]), pairs).values
    assert values["Recall@100"].tolist() == [0.5, 0.0]
    assert values["MRR@10"].tolist() == [0.5, 0.0]
    assert values["NDCG@10"][0] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))


def test_a_query_that_nothing_answers_is_not_measured_as_a_miss() -> None:
    with pytest.raises(DataError, match="a query without a relevant document cannot be measured"):
        measure(Hits(torch.tensor([[0]]), torch.tensor([[1.0]])), torch.tensor([1]), Pairs.of([1], [0], [0]))


def test_the_interval_is_that_of_the_mean() -> None:
    difference = np.random.default_rng(0).normal(0.1, 1.0, 400)
    low, high = paired_interval(difference)
    error = difference.std() / 20
    assert low == pytest.approx(difference.mean() - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(difference.mean() + 1.96 * error, abs=0.2 * error)
    narrow_low, narrow_high = paired_interval(difference, confidence=0.5)
    assert low < narrow_low < narrow_high < high


def test_it_covers_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    inside = 0
    for repeat in range(200):
        low, high = paired_interval(draw.normal(0.0, 1.0, 80), confidence=0.9, samples=400, seed=repeat)
        inside += low <= 0 <= high
    assert 0.83 < inside / 200 < 0.96


def test_no_difference_is_no_gain() -> None:
    assert paired_interval(np.zeros(50)) == (0.0, 0.0)


def test_any_piece_of_a_page_is_the_whole_answer() -> None:
    """Query 0 is answered by the page of the documents 2, 5 and 7, query 1 by that of 2 and 5, and by document 3."""
    page = torch.tensor([2, 2, 2, 2, 2, -1])
    pairs = replace(Pairs.of([0, 0, 0, 1, 1, 1], [2, 5, 7, 2, 5, 3]), page=page)
    first, queries = 1 / math.log2(2), torch.tensor([0, 1])
    for rows, expected in (
        ([[7, 1, 0], [5, 3, 0]], [1.0, 1.0]),
        ([[1, 5, 2], [3, 5, 2]], [1 / math.log2(3), 1.0]),
        ([[1, 0, 9], [5, 2, 3]], [0.0, (first + 1 / math.log2(4)) / (first + 1 / math.log2(3))]),
        ([[5, 7, 2], [2, 5, -1]], [1.0, first / (first + 1 / math.log2(3))]),
    ):
        ranked = torch.tensor(rows)
        assert ndcg(ranked, queries, pairs).tolist() == pytest.approx(expected)
        scores = torch.tensor([[3.0, 2.0, 1.0]] * 2).masked_fill(ranked < 0, -torch.inf)
        assert measure(Hits(ranked, scores), queries, pairs).values["NDCG@10"] == pytest.approx(expected)
    some = measure(Hits(torch.tensor([[7, 5], [5, 2]]), torch.tensor([[2.0, 1.0]] * 2)), queries, pairs)
    assert some.values["Recall@100"].tolist() == [1.0, 0.5]


def test_a_place_without_a_hit_gains_nothing() -> None:
    """Row -1 of query 1 is not the last document of query 0."""
    assert ndcg(torch.tensor([[0], [-1]]), torch.tensor([0, 1]), Pairs.of([0, 1], [4, 0])).tolist() == [0.0, 0.0]
