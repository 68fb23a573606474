"""A search as a retriever of LlamaIndex, with LlamaIndex itself."""

from __future__ import annotations

import asyncio
import sys

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import MetadataMode
from toy_collection import WordEncoder, collection

from jepakit.errors import ConfigError, MissingExtraError
from jepakit.retrieval.serving import llama_index
from jepakit.retrieval.serving.llama_index import llama_index_retriever
from jepakit.retrieval.serving.searcher import Searcher
from jepakit.search.index import Index


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    encoder, documents = WordEncoder(), collection().documents
    vectors = encoder.encode(documents.passages, "document")
    folder = tmp_path_factory.mktemp("llama") / "index"
    return Searcher(Index.build(folder, documents, vectors, base="words", fingerprint=encoder.fingerprint), encoder)


def test_it_finds_what_the_search_finds(searcher: Searcher) -> None:
    retriever = llama_index_retriever(searcher, k=3)
    assert isinstance(retriever, BaseRetriever)
    (found,) = searcher.search(["d1 d2"], 3)
    for answer in (retriever.retrieve("d1 d2"), asyncio.run(retriever.aretrieve("d1 d2"))):
        assert [one.node_id for one in answer] == [one.id for one in found]
        assert [one.score for one in answer] == [one.score for one in found]
        assert [one.node.get_content(MetadataMode.NONE) for one in answer] == [one.text for one in found]
        assert [one.metadata for one in answer] == [{**one.metadata, "title": ""} for one in found]


def test_a_document_that_two_queries_find_is_one_node(searcher: Searcher) -> None:
    retriever = llama_index_retriever(searcher, k=120, mode="dense")
    first, second = (
        {one.node_id: (one.node.hash, one.score) for one in retriever.retrieve(query)} for query in ("d1 d2", "d3")
    )
    assert first.keys() == second.keys()
    assert all(first[name][0] == second[name][0] and first[name][1] != second[name][1] for name in first)


def test_mode_and_filter_are_the_searchs(searcher: Searcher) -> None:
    by_words = llama_index_retriever(searcher, k=200, mode="words", where={"part": 1}).retrieve("d1")
    (found,) = searcher.search(["d1"], 200, mode="words", where={"part": 1})
    assert [one.node_id for one in by_words] == [one.id for one in found]
    assert {one.metadata["part"] for one in by_words} == {1}


def test_llama_index_fuses_two_of_them(searcher: Searcher) -> None:
    parts = [llama_index_retriever(searcher, k=5, mode=mode) for mode in ("dense", "words")]
    fused = QueryFusionRetriever(
        parts, llm=MockLLM(), mode=FUSION_MODES.RECIPROCAL_RANK, num_queries=1, similarity_top_k=20, use_async=False
    ).retrieve("d4 d5")
    rankings = [[one.node_id for one in part.retrieve("d4 d5")] for part in parts]
    # Reciprocal ranks (Cormack et al. 2009), with 60 and ranks from 0 as LlamaIndex has them.
    expected = {
        name: sum(1 / (60 + ranking.index(name)) for ranking in rankings if name in ranking)
        for name in {*rankings[0], *rankings[1]}
    }
    assert len(expected) < 10
    assert {one.node_id: one.score for one in fused} == pytest.approx(expected)


def test_bad_options_are_refused_at_once(searcher: Searcher) -> None:
    with pytest.raises(ConfigError, match="k = 0: expected at least 1"):
        llama_index_retriever(searcher, k=0)
    with pytest.raises(ConfigError, match="mode = 'magic': expected one of dense, fused, words"):
        llama_index_retriever(searcher, mode="magic")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"filter\.part = \{'above': 1\}: expected bounds"):
        llama_index_retriever(searcher, where={"part": {"above": 1}}).retrieve("d1")


def test_without_llama_index_the_message_says_what_to_install(
    searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llama_index.core.base.base_retriever", None)
    llama_index._retriever_class.cache_clear()
    with pytest.raises(
        MissingExtraError, match=r"^llama-index-core is not installed; .*pip install 'jepakit\[llama-index\]'$"
    ):
        llama_index_retriever(searcher)
