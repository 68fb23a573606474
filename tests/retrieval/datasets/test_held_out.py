"""The pairs held out of training: by document where they allow it, else the given dev split, else by query."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from toy_collection import WordEncoder, collection

from jepakit.errors import DataError
from jepakit.retrieval.adapter.selection import SelectionConfig
from jepakit.retrieval.data import Pairs, Queries, RetrievalDataset
from jepakit.retrieval.datasets.held_out import HeldOut, hold_out
from jepakit.retrieval.pretrain import PretrainConfig, pretrain
from jepakit.text import Kind


def with_pairs(count: int, **splits: Pairs) -> RetrievalDataset:
    toy = collection(count)
    return RetrievalDataset("toy", toy.documents, toy.queries, splits, "by hand")


def ring(first: int, last: int, documents: int) -> Pairs:
    """Query n is answered by documents n and n + 1 modulo ``documents``: all hang together."""
    rows = range(first, last)
    return Pairs.of(
        [row for row in rows for _ in range(2)], [(row + step) % documents for row in rows for step in (0, 1)]
    )


def held(dataset: RetrievalDataset, **more: bool) -> HeldOut:
    return hold_out(dataset, folds=5, enough=2000, seed=0, **more)


@given(queries=st.integers(5, 60), documents=st.integers(2, 10), seed=st.integers(0, 100))
@settings(max_examples=60)
def test_pairs_that_hang_together_are_held_out_by_query(queries: int, documents: int, seed: int) -> None:
    dataset = with_pairs(60, train=ring(0, queries, documents))
    found = hold_out(dataset, folds=5, enough=2000, seed=seed)
    assert len(found.parts) == 5
    assert sorted(row for _, part in found.parts for row in part.queries.tolist()) == list(range(queries))
    for train, part in found.parts:
        assert not set(train.query.tolist()) & set(part.query.tolist())
        assert len(train) + len(part) == 2 * queries
        assert abs(len(part.queries) - queries / 5) < 1
    assert found.how.startswith("pairs are held out by query; ")


def test_by_document_nothing_is_said() -> None:
    found = held(with_pairs(40, train=Pairs.of(list(range(40)), list(range(40)))))
    assert (len(found.parts), found.how) == (5, "")
    for train, part in found.parts:
        assert not set(train.document.tolist()) & set(part.document.tolist())


def test_a_large_group_and_some_small_ones_are_no_folds() -> None:
    """By document, the largest fold would be held out of a training on next to nothing."""
    large, small = ring(0, 40, 10), Pairs.of(list(range(40, 48)), list(range(40, 48)))
    found = held(with_pairs(48, train=with_pairs(48, train=large, dev=small).training))
    assert all(len(train.queries) > len(part.queries) for train, part in found.parts)


def test_the_given_dev_split_is_held_out_and_the_share_is_that_of_its_documents() -> None:
    """Dev asks for the documents 0 to 9; training has 0 to 7 of them."""
    train, dev = ring(0, 30, 8), ring(30, 40, 10)
    dataset = with_pairs(40, train=train, dev=dev)
    found = held(dataset)
    assert found.how == "the given dev split is held out; 80 % of their documents are in training too"
    ((used, part),) = found.parts
    assert torch.equal(part.query, dev.query)
    assert torch.equal(used.query, train.query)
    # The base was tuned on train: only dev is left, which shares documents with it all the same.
    assert (
        held(dataset, tuned=True).how
        == "the development pairs are held out; 80 % of their documents are in training too"
    )


def test_queries_of_dev_are_not_trained_on() -> None:
    dataset = with_pairs(40, train=ring(0, 35, 8), dev=ring(30, 40, 8))
    ((train, dev),) = held(dataset).parts
    assert train.queries.tolist() == list(range(30))
    assert dev.queries.tolist() == list(range(30, 40))


class Encoding(WordEncoder):
    def encode(self, texts: Sequence[str], kind: Kind) -> Tensor:
        raise AssertionError("encoded before it is known what can be held out")


def test_it_is_decided_before_anything_is_encoded() -> None:
    one = with_pairs(9, train=Pairs.of([0, 0], [0, 1]), dev=Pairs.of([1], [2], [0]))
    with pytest.raises(DataError, match=r"nothing can be held out .*pairs of at least two queries"):
        pretrain(one, Encoding(), PretrainConfig())


def test_an_adapter_is_trained_on_several_answers_a_query() -> None:
    """Question n asks for document n modulo 12 in the words of another language, and is also answered by the next."""
    toy = collection(12)
    texts = tuple(toy.queries.texts[row % 12] + f" q{100 + row}" for row in range(120))
    queries = Queries(tuple(f"Q{row}" for row in range(120)), texts)
    dataset = RetrievalDataset("toy", toy.documents, queries, {"all": ring(0, 120, 12)}, "made up")
    selection = SelectionConfig(predictive=[1.0], folds=3)
    config = PretrainConfig(epochs=10, selection=selection, progress=False, logger="none")
    choice = pretrain(dataset, WordEncoder(), config).choice
    assert choice.chosen > choice.base + 0.02
    assert choice.strength > 0
    assert choice.sentence.endswith("; pairs are held out by query; 100 % of their documents are in training too")
