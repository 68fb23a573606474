"""Splits that share no document: the guarantee for whatever hangs together, sizes, leaks by hand and on real data."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.errors import ConfigError, DataError
from jepakit.retrieval.data import Pairs, Queries, RetrievalDataset
from jepakit.retrieval.datasets import load_dataset
from jepakit.retrieval.datasets.splits import (
    ensure_splits,
    folds_by_document,
    folds_by_query,
    repeated_documents,
    seen_queries,
    shared_documents,
    split_by_document,
    split_by_query,
    without_shared,
)
from jepakit.search.documents import Documents

THIRDS = {"train": 0.5, "dev": 0.25, "test": 0.25}


def corpus(count: int, source: tuple[str, ...] = ()) -> Documents:
    return Documents(tuple(f"d{row}" for row in range(count)), ("text",) * count, ("",) * count, ({},) * count, source)


def collection(count: int, splits: dict[str, Pairs]) -> RetrievalDataset:
    queries = Queries(tuple(f"q{row}" for row in range(count)), ("text",) * count)
    return RetrievalDataset("toy", corpus(count), queries, splits, "by hand")


def rows(pairs: Pairs) -> list[tuple[int, int, int]]:
    return list(zip(pairs.query.tolist(), pairs.document.tolist(), pairs.grade.tolist(), strict=True))


@st.composite
def judged(draw: st.DrawFn) -> tuple[Pairs, Documents]:
    """Pairs of 30 documents at most, some of one source, all different."""
    count = draw(st.integers(1, 30))
    sources = draw(st.none() | st.lists(st.sampled_from("abcdefgh"), min_size=count, max_size=count))
    edges = draw(st.lists(st.tuples(st.integers(0, 20), st.integers(0, count - 1)), max_size=40, unique=True))
    grades = draw(st.lists(st.integers(0, 2), min_size=len(edges), max_size=len(edges)))
    pairs = Pairs.of([query for query, _ in edges], [document for _, document in edges], grades)
    return pairs, corpus(count, tuple(sources or ()))


def apart(parts: list[Pairs], documents: Documents) -> bool:
    """Whether no two parts have a query, document or source in common."""
    sources = documents.source or documents.ids
    for kind in (
        [set(part.query.tolist()) for part in parts],
        [{sources[row] for row in part.document.tolist()} for part in parts],
    ):
        if sum(map(len, kind)) != len(set[object]().union(*kind)):
            return False
    return True


@given(case=judged(), seed=st.integers(0, 1000))
@settings(max_examples=200)
def test_nothing_is_in_two_splits_and_every_pair_in_one(case: tuple[Pairs, Documents], seed: int) -> None:
    pairs, documents = case
    splits = split_by_document(pairs, documents, THIRDS, seed=seed)
    assert list(splits) == list(THIRDS)
    assert apart(list(splits.values()), documents)
    assert sorted(row for part in splits.values() for row in rows(part)) == sorted(rows(pairs))
    again = split_by_document(pairs, documents, THIRDS, seed=seed)
    assert all(rows(again[name]) == rows(part) for name, part in splits.items())


@given(case=judged(), folds=st.integers(2, 4), seed=st.integers(0, 1000))
@settings(max_examples=200)
def test_nothing_is_in_two_folds(case: tuple[Pairs, Documents], folds: int, seed: int) -> None:
    pairs, documents = case
    try:
        fold = folds_by_document(pairs, documents, folds, seed=seed)
    except DataError:
        # One split a pair at most: then there are fewer groups than folds.
        filled = split_by_document(pairs, documents, {str(n): 1 / 40 for n in range(40)}, seed=seed)
        assert sum(len(part) > 0 for part in filled.values()) < folds
        return
    parts = [pairs[fold == number] for number in range(folds)]
    assert fold.shape == pairs.query.shape
    assert all(len(part) for part in parts)
    assert sum(map(len, parts)) == len(pairs)
    assert apart(parts, documents)


def test_groups_by_hand() -> None:
    """Queries 0 and 1 share a document, 1 and 2 a source by way of documents 1 and 3; 3 stands alone."""
    pairs = Pairs.of([0, 1, 1, 2, 3], [0, 0, 1, 3, 2])
    for seed in range(5):
        documents = corpus(4, ("a", "b", "c", "b"))
        splits = split_by_document(pairs, documents, {"large": 0.8, "small": 0.2}, seed=seed)
        assert rows(splits["large"]) == [(0, 0, 1), (1, 0, 1), (1, 1, 1), (2, 3, 1)]
        assert rows(splits["small"]) == [(3, 2, 1)]
        alone = split_by_document(pairs, corpus(4), {"large": 0.6, "small": 0.4}, seed=seed)
        assert len(alone["large"]) == 3


def test_sizes_are_met_and_large_groups_go_everywhere() -> None:
    """100 groups of ten pairs and 1000 of one: both kinds are divided 70, 10, 20."""
    pairs = Pairs.of([*range(1000), *range(1000, 2000)], [row // 10 for row in range(1000)] + list(range(100, 1100)))
    splits = split_by_document(pairs, corpus(1100), {"train": 0.7, "dev": 0.1, "test": 0.2}, seed=0)
    assert {name: len(part) for name, part in splits.items()} == {"train": 1400, "dev": 200, "test": 400}
    large = {name: int((part.document < 100).sum()) for name, part in splits.items()}
    assert large == pytest.approx({"train": 700, "dev": 100, "test": 200}, abs=20)
    assert torch.bincount(folds_by_document(pairs, corpus(1100), 5, seed=0)).tolist() == [400] * 5


def test_the_seed_chooses() -> None:
    pairs = Pairs.of(list(range(40)), list(range(40)))
    one, other = (split_by_document(pairs, corpus(40), THIRDS, seed=seed)["dev"] for seed in (0, 1))
    assert len(one) == len(other) == 10
    assert rows(one) != rows(other)


def test_a_long_chain_is_one_group() -> None:
    count = 20_000
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
    pairs = Pairs.of([*order, *order[:-1]], [*range(count), *range(1, count)])
    splits = split_by_document(pairs, corpus(count), THIRDS, seed=0)
    assert sorted(len(part) for part in splits.values()) == [0, 0, 2 * count - 1]


@pytest.mark.parametrize("fractions", [{}, {"a": 0.5}, {"a": 1.2, "b": -0.2}, {"a": 1.0, "b": 0.0}])
def test_fractions_that_are_none(fractions: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="positive numbers that sum to 1"):
        split_by_document(Pairs.of([0], [0]), corpus(1), fractions, seed=0)


def test_folds_that_cannot_be() -> None:
    with pytest.raises(DataError, match=r"into 3 folds .* \(found 2\); expected at least 3 groups"):
        folds_by_document(Pairs.of([0, 1, 2], [0, 0, 1]), corpus(2), 3, seed=0)


def test_leaks_by_hand() -> None:
    """Documents 0 and 3 are relevant in both, 1 only judged in training, 2 only judged in the test."""
    train = Pairs.of([0, 0, 1, 2, 2], [0, 1, 2, 3, 4], [1, 0, 1, 1, 1])
    test = Pairs.of([5, 5, 6, 7, 8, 9], [0, 6, 1, 3, 7, 2], [2, 1, 1, 1, 1, 0])
    leak = shared_documents(train, test)
    assert (leak.documents, leak.queries, leak.of) == (2, 2, 4)
    assert leak.sentence == "2 of 4 test queries share a relevant document with training (2 documents)."
    assert seen_queries(train, test).tolist() == [5, 7]
    assert rows(without_shared(train, test, corpus(8))) == [(1, 2, 1)]
    kept = without_shared(train, test, corpus(8, ("a", "b", "c", "d", "e", "f", "g", "c")))
    assert len(kept) == 0
    none = shared_documents(kept, test)
    assert none.sentence == "None of the 4 test queries shares a relevant document with training."


@given(train=judged(), test=judged())
@settings(max_examples=100)
def test_without_shared_leaves_nothing_shared(train: tuple[Pairs, Documents], test: tuple[Pairs, Documents]) -> None:
    documents = max(train[1], test[1], key=len)
    kept = without_shared(train[0], test[0], documents)
    assert shared_documents(kept, test[0]).documents == 0
    asked = test[0].relevant
    assert apart([replace(kept.relevant, query=kept.relevant.query + 100), asked], documents)
    # A query goes whole or stays whole.
    gone = set(rows(train[0])) - set(rows(kept))
    assert not {query for query, _, _ in gone} & set(kept.query.tolist())


def test_splits_where_they_are_missing() -> None:
    pairs = Pairs.of(list(range(100)), list(range(100)))
    whole = ensure_splits(collection(200, {"all": pairs}))
    assert {name: len(part) for name, part in whole.splits.items()} == {"train": 70, "dev": 10, "test": 20}
    assert whole.origin == "by hand; all pairs divided by document into train 70 %, dev 10 %, test 20 % (seed 0)"
    test = Pairs.of([150, 151], [3, 150])
    trained = ensure_splits(collection(200, {"train": pairs, "test": test}), seed=4)
    assert {name: len(part) for name, part in trained.splits.items()} == {"train": 85, "dev": 15, "test": 2}
    assert trained.splits["test"] is test
    assert trained.origin == "by hand; the training pairs divided by document into train 85 %, dev 15 % (seed 4)"
    assert apart([trained.splits["train"], trained.splits["dev"]], trained.documents)


@pytest.mark.parametrize("names", [(), ("test",), ("train", "dev"), ("train", "dev", "test"), ("dev", "test")])
def test_splits_that_are_there_stay(names: tuple[str, ...]) -> None:
    dataset = collection(9, {name: Pairs.of([row], [row]) for row, name in enumerate(names)})
    assert ensure_splits(dataset) is dataset


@given(case=judged(), seed=st.integers(0, 1000))
@settings(max_examples=200)
def test_by_query_no_query_is_in_two_parts(case: tuple[Pairs, Documents], seed: int) -> None:
    pairs, _ = case
    splits = split_by_query(pairs, THIRDS, seed=seed)
    fold = folds_by_query(pairs, 3, seed=seed)
    for parts in ([*splits.values()], [pairs[fold == number] for number in range(3)]):
        assert sorted(row for part in parts for row in rows(part)) == sorted(rows(pairs))
        assert sum(len(part.queries) for part in parts) == len(pairs.queries)


def hanging(queries: int, documents: int, seed: int) -> Pairs:
    """Two answers a query, drawn at random."""
    draw = torch.Generator().manual_seed(seed)
    answers = [torch.randperm(documents, generator=draw)[:2].tolist() for _ in range(queries)]
    return Pairs.of([row for row in range(queries) for _ in range(2)], [row for some in answers for row in some])


@given(queries=st.integers(20, 60), documents=st.integers(2, 12), seed=st.integers(0, 1000), whole=st.booleans())
@settings(max_examples=60)
def test_pairs_that_hang_together_are_split_by_query(queries: int, documents: int, seed: int, whole: bool) -> None:
    """Each split has its share of the queries, and the origin the share of documents that are in training too."""
    pairs = hanging(queries, documents, seed)
    given = collection(max(queries, documents), {"all" if whole else "train": pairs})
    dataset = ensure_splits(given, seed=seed)
    shares = {"train": 0.7, "dev": 0.1, "test": 0.2} if whole else {"train": 0.85, "dev": 0.15}
    sizes = {name: len(part.queries) for name, part in dataset.splits.items()}
    assert sizes == pytest.approx({name: share * queries for name, share in shares.items()}, abs=1)
    assert sum(sizes.values()) == queries
    train = set(dataset.splits["train"].document.tolist())
    others = {row for name, part in dataset.splits.items() if name != "train" for row in part.document.tolist()}
    share = len(others & train) / len(others)
    assert f"by query (most hang together: {100 * share:.0f} % of the other splits' documents" in dataset.origin
    assert not dataset.own_dev


def test_repeated_documents_by_hand() -> None:
    """Of the documents 0, 1 and 2 held out, 0 is in training and 1 has the source of one that is; 3 is not relevant."""
    train = Pairs.of([0, 0], [0, 4])
    held_out = Pairs.of([1, 1, 2, 2], [0, 1, 2, 3], [1, 1, 2, 0])
    assert repeated_documents(train, held_out, corpus(5)) == pytest.approx(1 / 3)
    assert repeated_documents(train, held_out, corpus(5, ("a", "b", "c", "d", "b"))) == pytest.approx(2 / 3)


def test_pairs_of_one_query_cannot_be_split() -> None:
    pairs = Pairs.of([0] * 20, list(range(20)))
    with pytest.raises(
        DataError,
        match=r"splits: too few queries to divide .*1 queries on 20 documents.*without training",
    ):
        ensure_splits(collection(20, {"train": pairs}))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "queries", "of", "documents"),
    [
        ("scifact", 196, 300, 181),
        # Its split is by disease; but some diseases share a general answer, such as "generally not inherited".
        ("medquad", 119, 2793, 23),
        ("stackfaq", 0, 528, 0),
    ],
)
def test_leaks_of_public_splits(name: str, queries: int, of: int, documents: int, data_dir: Path) -> None:
    dataset = load_dataset(name, data_dir=data_dir)
    train, test = dataset.splits["train"], dataset.splits["test"]
    leak = shared_documents(train, test)
    assert (leak.queries, leak.of, leak.documents) == (queries, of, documents)
    assert len(seen_queries(train, test)) == queries
    clean = without_shared(train, test, dataset.documents)
    assert shared_documents(clean, test).queries == 0
    assert len(clean) > len(train) / 2
    assert shared_documents(*list(ensure_splits(dataset).splits.values())[:2]).documents == (
        9 if name == "medquad" else 0
    )
