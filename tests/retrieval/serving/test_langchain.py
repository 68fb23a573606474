"""A search as a retriever of LangChain, with LangChain itself."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import get_args

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from toy_collection import WordEncoder, collection

from jepakit.errors import ConfigError, MissingExtraError
from jepakit.retrieval.serving import langchain
from jepakit.retrieval.serving.langchain import langchain_retriever
from jepakit.retrieval.serving.searcher import Mode, Searcher
from jepakit.search.index import Index


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    encoder, documents = WordEncoder(), collection().documents
    vectors = encoder.encode(documents.passages, "document")
    folder = tmp_path_factory.mktemp("langchain") / "index"
    return Searcher(Index.build(folder, documents, vectors, base="words", fingerprint=encoder.fingerprint), encoder)


def test_it_finds_what_the_search_finds(searcher: Searcher) -> None:
    retriever = langchain_retriever(searcher, k=3)
    assert isinstance(retriever, BaseRetriever)
    (found,) = searcher.search(["d1 d2"], 3)
    expected = [
        Document(
            id=one.id, page_content=one.text, metadata={**one.metadata, "id": one.id, "title": "", "score": one.score}
        )
        for one in found
    ]
    assert retriever.invoke("d1 d2") == expected
    assert asyncio.run(retriever.ainvoke("d1 d2")) == expected
    assert retriever.batch(["d1 d2", "d3"])[0] == expected


def test_mode_and_filter_are_the_searchs(searcher: Searcher) -> None:
    by_words = langchain_retriever(searcher, k=200, mode="words", where={"part": 1}).invoke("d1")
    (found,) = searcher.search(["d1"], 200, mode="words", where={"part": 1})
    assert [one.id for one in by_words] == [one.id for one in found]
    assert {one.metadata["part"] for one in by_words} == {1}
    assert all("d1" in one.page_content.split() for one in by_words)


def test_options_of_one_call_replace_those_of_the_retriever(searcher: Searcher) -> None:
    retriever = langchain_retriever(searcher, k=3)
    for options in ({"k": 1}, {"k": 200, "mode": "words"}, {"k": 5, "where": {"part": 1}}, {"where": None}):
        (found,) = searcher.search(["d1 d2"], **{"k": 3, **options})
        ids = [one.id for one in found]
        assert [one.id for one in retriever.invoke("d1 d2", **options)] == ids
        assert [one.id for one in asyncio.run(retriever.ainvoke("d1 d2", **options))] == ids
        assert [one.id for one in retriever.batch(["d1 d2"], **options)[0]] == ids
    assert len(retriever.invoke("d1 d2", verbose=False)) == 3
    with pytest.raises(ConfigError, match="k = 0: expected at least 1"):
        retriever.invoke("d1", k=0)
    with pytest.raises(ConfigError, match="top = 1: expected k, mode or where"):
        retriever.invoke("d1", top=1)


@pytest.mark.parametrize("count", [1, 2])
def test_a_collection_of_one_document(count: int, tmp_path: Path) -> None:
    encoder, documents = WordEncoder(), collection(count).documents
    vectors = encoder.encode(documents.passages, "document")
    index = Index.build(tmp_path / "index", documents, vectors, base="words", fingerprint=encoder.fingerprint)
    for mode in get_args(Mode):
        found = langchain_retriever(Searcher(index, encoder), mode=mode).invoke(documents.texts[0])
        assert found[0].id == documents.ids[0]


def test_it_is_a_part_of_a_chain(searcher: Searcher) -> None:
    def numbered(documents: list[Document]) -> str:
        return "\n".join(f"[{place}] {one.page_content}" for place, one in enumerate(documents, start=1))

    chain = langchain_retriever(searcher, k=2) | RunnableLambda(numbered) | RunnableLambda(str.upper)
    first, second = searcher.search(["d4 d5"], 2)[0]
    assert chain.invoke("d4 d5") == f"[1] {first.text.upper()}\n[2] {second.text.upper()}"


def test_bad_options_are_refused_at_once(searcher: Searcher) -> None:
    with pytest.raises(ConfigError, match="k = 0: expected at least 1"):
        langchain_retriever(searcher, k=0)
    with pytest.raises(ConfigError, match="mode = 'magic': expected one of dense, fused, words"):
        langchain_retriever(searcher, mode="magic")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"filter\.part = \{'above': 1\}: expected bounds"):
        langchain_retriever(searcher, where={"part": {"above": 1}}).invoke("d1")


def test_without_langchain_the_message_says_what_to_install(
    searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "langchain_core.retrievers", None)
    langchain._retriever_class.cache_clear()
    with pytest.raises(
        MissingExtraError, match=r"^langchain-core is not installed; .*pip install 'jepakit\[langchain\]'$"
    ):
        langchain_retriever(searcher)
