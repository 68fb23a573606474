"""Views: every candidate that is right is either the positive or left out, whatever the candidates are."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from jepakit.core import Contrast, Where
from jepakit.errors import ConfigError, DataError
from jepakit.retrieval.data import Pairs
from jepakit.retrieval.views import RetrievalViews, ViewConfig

GENERATOR = torch.Generator()


def rows_of(vectors: Tensor, among: Tensor) -> list[int]:
    """Which row of ``among`` each vector is; all of them differ."""
    return (vectors[:, None] == among[None]).all(-1).int().argmax(1).tolist()


@given(
    seed=st.integers(0, 2**31),
    candidates=st.sampled_from(["positives", "corpus", "batch"]),
    hard=st.integers(0, 3),
    direction=st.sampled_from(["query", "document", "both"]),
)
def test_right_answers_are_the_positive_or_excluded_and_wrong_ones_count(
    seed: int, candidates: Literal["positives", "corpus", "batch"], hard: int, direction: Literal["query", "document"]
) -> None:
    draw = torch.Generator().manual_seed(seed)
    queries, documents = torch.randn(6, 4, generator=draw), torch.randn(9, 4, generator=draw)
    chosen = torch.randperm(54, generator=draw)[:12]
    grade = torch.randint(0, 3, (12,), generator=draw)
    grade[0] = 1
    pairs = Pairs(chosen // 9, chosen % 9, grade)
    config = ViewConfig(candidates, 0 if candidates == "corpus" else hard)
    views = RetrievalViews(queries, documents, pairs, config, direction)
    right = set(zip(pairs.relevant.query.tolist(), pairs.relevant.document.tolist(), strict=True))
    indices = torch.randperm(len(views), generator=draw)[:4]
    for contrast in views(indices, GENERATOR):
        forth = contrast.context.kind == "query"
        contexts, targets = (queries, documents) if forth else (documents, queries)
        context = rows_of(contrast.context.content, contexts)
        target = rows_of(contrast.target.content, targets)
        assert len(set(target)) == len(target)
        assert isinstance(contrast.where, Where)
        assert contrast.where.backward is not forth
        for place, row in enumerate(context):
            pair = views.pairs[indices][torch.tensor([place])]
            assert contrast.where.target_rows[place] == target.index(int(pair.document if forth else pair.query))
            for column, other in enumerate(target):
                answers = ((row, other) if forth else (other, row)) in right
                assert contrast.excluded is not None
                assert bool(contrast.excluded[place, column]) is (
                    answers and column != int(contrast.where.target_rows[place])
                )


def candidates_of(config: ViewConfig) -> set[int]:
    documents = torch.eye(6)
    pairs = Pairs.of([0, 1], [0, 1])
    (contrast,) = RetrievalViews(documents[[5, 4]], documents, pairs, config)(torch.tensor([0]), GENERATOR)
    return set(rows_of(contrast.target.content, documents))


def test_the_candidates_are_those_that_were_asked_for() -> None:
    assert candidates_of(ViewConfig("corpus")) == {0, 1, 2, 3, 4, 5}
    assert candidates_of(ViewConfig("positives")) == {0, 1}
    assert candidates_of(ViewConfig("batch")) == {0}
    # Query 0 is document 5 to the base, which is therefore its hardest negative.
    assert candidates_of(ViewConfig("batch", hard_negatives=1)) == {0, 5}
    assert candidates_of(ViewConfig("positives", hard_negatives=1)) == {0, 1, 5}


def test_a_candidate_that_the_base_holds_nearer_than_the_positive_may_be_a_right_answer() -> None:
    documents = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.5], [0.0, 1.0]]), dim=-1)
    queries = torch.nn.functional.normalize(torch.tensor([[1.0, 0.6]]), dim=-1)
    pairs = Pairs.of([0], [0])

    def excluded(margin: float | None) -> list[bool]:
        config = ViewConfig("corpus", false_negatives=margin)
        (contrast,) = RetrievalViews(queries, documents, pairs, config)(torch.tensor([0]), GENERATOR)
        assert contrast.excluded is not None
        return contrast.excluded[0].tolist()

    assert excluded(None) == [False, False, False]
    assert excluded(0.0) == [False, True, False]
    assert excluded(0.5) == [False, False, False]


def test_pairs_without_a_right_one_and_options_that_do_not_go_together() -> None:
    with pytest.raises(DataError, match="no pair is relevant"):
        RetrievalViews(torch.eye(2), torch.eye(2), Pairs.of([0], [1], [0]), ViewConfig())
    with pytest.raises(ConfigError, match="hard_negatives = 2: expected 0 where every document is a candidate"):
        ViewConfig("corpus", hard_negatives=2)


def test_a_contrast_is_one_direction() -> None:
    views = RetrievalViews(torch.eye(3), torch.eye(3), Pairs.of([0, 1], [1, 2]), ViewConfig(), "both")
    contrasts = views(torch.arange(2), GENERATOR)
    assert all(isinstance(contrast, Contrast) for contrast in contrasts)
    assert [contrast.context.kind for contrast in contrasts] == ["query", "document"]
