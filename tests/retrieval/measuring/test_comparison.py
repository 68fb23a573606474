"""Searches beside each other: the table, the paired difference, seen documents apart from unseen ones, examples."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from jepakit.errors import DataError
from jepakit.retrieval.data import Pairs, Queries, RetrievalDataset
from jepakit.retrieval.measuring.comparison import Comparison, compare
from jepakit.search.documents import Documents
from jepakit.search.hits import Hits

#: Where the right document of a query stands second instead of first.
SECOND = 1 / math.log2(3)


COUNT = 60


def dataset() -> RetrievalDataset:
    """Sixty queries, each with its own document; the first two documents occur in training too."""
    names = tuple(f"d{n}" for n in range(COUNT))
    return RetrievalDataset(
        "toy",
        Documents(names, names, ("",) * COUNT, ({},) * COUNT),
        Queries(tuple(f"q{n}" for n in range(COUNT + 2)), tuple(f"question {n}" for n in range(COUNT + 2))),
        {
            "train": Pairs.of([COUNT], [0]),
            "dev": Pairs.of([COUNT + 1], [1]),
            "test": Pairs.of(list(range(COUNT)), list(range(COUNT))),
        },
        origin="by hand",
    )


def ranking(first: list[int]) -> Hits:
    """The given document first, then the right one; after those given, always the right one first."""
    first = first + list(range(len(first), COUNT))
    rows = [[row, query] if row != query else [row, (query + 1) % COUNT] for query, row in enumerate(first)]
    return Hits(torch.tensor(rows), torch.tensor([[1.0, 0.5]] * len(first)))


RIGHT, SHIFTED = list(range(COUNT)), [*range(1, COUNT), 0]


def compared(ours: list[int], floor: list[int]) -> Comparison:
    return compare(dataset(), "test", {"ours": ranking(ours)}, {"floor": ranking(floor)})


def test_values_means_and_the_recommendation() -> None:
    evaluation = compared(RIGHT, SHIFTED)
    values = {(row.method, row.metric): row.value for row in evaluation.rows}
    assert values["ours", "NDCG@10"] == 1.0
    assert values["floor", "NDCG@10"] == pytest.approx(SECOND)
    assert values["floor", "MRR@10"] == 0.5
    assert values["floor", "Recall@100"] == 1.0
    assert evaluation.recommendation.startswith("Use ours")
    assert f"{1 - SECOND:+.4f} NDCG@10 against floor" in evaluation.summary[0]
    assert f"{COUNT} of {COUNT} queries gained, 0 lost" in evaluation.summary[0]
    assert {row.method for row in evaluation.rows if row.ours} == {"ours"}
    noted = {row.method: row.note for row in evaluation.rows if row.metric == "NDCG@10"}
    assert noted == {"ours": "", "floor": f"ours {1 - SECOND:+.4f} ({1 - SECOND:+.4f} to {1 - SECOND:+.4f})"}
    assert compared(SHIFTED, RIGHT).recommendation.startswith("Use floor")
    same = compared(RIGHT, RIGHT).recommendation
    assert same.startswith("Use floor, which needs no training: ours finds the same.")


def test_copies_of_a_question_count_once() -> None:
    toy = dataset()
    # The same question sixty times, with other blanks: right once or sixty times, it is one question.
    blanks = tuple("what" + " " * n + "?" for n in range(1, COUNT + 3))
    evaluation = compare(
        replace(toy, queries=replace(toy.queries, texts=blanks)),
        "test",
        {"ours": ranking(RIGHT)},
        {"floor": ranking(SHIFTED)},
    )
    assert evaluation.recommendation.startswith("Use ours for now:")
    assert evaluation.recommendation.endswith("at least 50 different questions; 1 different one was measured.")


def test_documents_of_train_and_of_dev_count_as_seen() -> None:
    # Ours is right on the seen ones alone.
    evaluation = compared([0, 1, *SHIFTED[2:]], SHIFTED)
    values = {(row.method, row.metric): row.value for row in evaluation.rows}
    assert values["ours", "NDCG@10, documents seen in training"] == 1.0
    assert values["ours", "NDCG@10, unseen documents"] == pytest.approx(SECOND)
    assert f"2 of {COUNT} test queries share a relevant document with training" in evaluation.summary[1]
    assert [row["seen"] for row in evaluation.per_query] == [True, True] + [False] * (COUNT - 2)


def test_examples_are_shown_with_the_beginnings_of_their_documents() -> None:
    better, worse = compared([0, 2, 2, 3, 5, 0], [1, 1, 3, 4, 4, 0]).sections
    assert better.title == "Queries that gained most"
    assert better.columns[1:3] == ("NDCG@10, floor", "NDCG@10, ours")
    assert [row[0] for row in better.rows] == ["question 3", "question 2", "question 0"]
    assert better.rows[2] == ("question 0", pytest.approx(SECOND), 1.0, "d1: d1", "d0: d0", "d0: d0")
    assert [row[0] for row in worse.rows] == ["question 1", "question 4"]
    assert compared(RIGHT, RIGHT).sections[0].rows == ()


def test_an_example_stays_readable_whatever_is_in_it() -> None:
    words = "word " * 50
    toy = dataset()
    toy = replace(
        toy,
        documents=replace(toy.documents, texts=(f"{words}\n\tend",) * COUNT),
        queries=replace(toy.queries, texts=(words,) * (COUNT + 2)),
        splits={"test": Pairs.of([0] * 5, list(range(5)))},
    )
    nothing = Hits(torch.tensor([[-1]]), torch.tensor([[-torch.inf]]))
    evaluation = compare(
        toy, "test", {"ours": Hits(torch.tensor([[0, 1]]), torch.tensor([[1.0, 0.5]]))}, {"floor": nothing}
    )
    ((query, _, _, before, after, wanted),) = evaluation.sections[0].rows
    assert query == f"{words[:119]}…"
    assert (before, after) == ("nothing", f"d0: {words[:119]}…")
    assert str(wanted).startswith("d0: word")
    assert str(wanted).endswith("…; and 2 more")


def test_the_table_of_queries_holds_every_method() -> None:
    row = compared(RIGHT, SHIFTED).per_query[3]
    assert row == {"query": "q3", "text": "question 3", "seen": False, "ours": 1.0, "floor": pytest.approx(SECOND)}


def test_a_split_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"^split: .*validation"):
        compare(dataset(), "validation", {}, {})
