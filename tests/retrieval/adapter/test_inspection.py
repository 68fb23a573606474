"""What adapting does to vectors: distances and cosines by hand, and against every pair formed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from jepakit.core.diagnostics import effective_rank
from jepakit.retrieval.adapter.inspection import mean_cosine, prediction_error, prediction_section, spread_section
from jepakit.retrieval.data import Pairs

EAST, NORTH, WEST = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)


def test_errors_by_hand() -> None:
    # The first query meets its answer; the second stands at a right angle to its own and opposite the other.
    error = prediction_error(torch.tensor([EAST, WEST]), torch.tensor([NORTH, EAST, NORTH]), Pairs.of([0, 1], [1, 0]))
    assert error.answers == pytest.approx((0 + 2) / 2)
    assert error.shuffled == pytest.approx((2 + 4) / 2)


def test_shuffled_pairs_are_all_that_are_none_and_lengths_do_not_count(generator: torch.Generator) -> None:
    queries, documents = torch.randn(9, 5, generator=generator), torch.randn(12, 5, generator=generator)
    # Queries with several answers, one document that answers two, one that is judged and does not answer.
    pairs = Pairs.of([0, 0, 2, 3, 3, 8], [1, 4, 4, 7, 0, 11], [1, 2, 1, 1, 1, 0])
    error = prediction_error(queries * 3, documents * 0.2, pairs)
    distance = (F.normalize(queries)[:, None] - F.normalize(documents)[None]).square().sum(-1)
    right = {(0, 1), (0, 4), (2, 4), (3, 7), (3, 0)}
    wrong = {(q, d) for q in (0, 2, 3) for d in (0, 1, 4, 7)} - right
    for value, some in ((error.answers, right), (error.shuffled, wrong)):
        assert value == pytest.approx(float(torch.stack([distance[place] for place in some]).mean()), rel=1e-5)


def test_where_everything_is_an_answer_there_is_nothing_to_shuffle() -> None:
    vectors = torch.tensor([EAST, NORTH])
    assert prediction_error(vectors, vectors, Pairs.of([0], [1])).shuffled is None
    section = prediction_section({"base": (vectors, vectors)}, Pairs.of([0], [1]))
    assert section.rows == (("base", pytest.approx(2.0), None, None),)


def test_the_ratio_of_a_perfect_prediction_is_0_and_of_a_blind_one_1(generator: torch.Generator) -> None:
    documents = torch.randn(200, 16, generator=generator)
    pairs = Pairs.of(list(range(200)), list(range(200)))
    section = prediction_section(
        {"told": (documents, documents), "blind": (documents[:1].expand(200, -1), documents)}, pairs
    )
    told, blind = (row[3] for row in section.rows)
    assert told == pytest.approx(0, abs=1e-9)
    assert blind == pytest.approx(1)


def test_mean_cosine_by_hand() -> None:
    assert mean_cosine(torch.tensor([EAST, NORTH, WEST]) * 7) == pytest.approx((0 - 1 + 0) / 3)
    assert mean_cosine(torch.ones(4, 3)) == pytest.approx(1)


def test_the_spread_stands_side_by_side(generator: torch.Generator) -> None:
    wide = torch.randn(50, 8, generator=generator)
    narrow = wide * torch.tensor([1, 1] + [0.01] * 6)
    few = {"base": wide[:2], "adapter": narrow[:2]}
    section = spread_section({"queries": {"base": wide, "adapter": narrow}, "documents": few})
    assert section.columns == ("Diagnostic", "Vectors of", "base", "adapter", "How to read it")
    rows = {row[0]: row for row in section.rows}
    assert {row[1] for row in section.rows} == {"queries"}
    assert rows["Effective rank"][2:4] == (effective_rank(wide), effective_rank(narrow))
    assert rows["Mean cosine"][2] == mean_cosine(wide)
    assert rows["Mean cosine"][4] == "of different rows; 1 is a point, 0 is best"
    assert not spread_section({"queries": few}).rows
