"""A search as a retriever of LlamaIndex."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from jepakit.errors import MissingExtraError
from jepakit.retrieval.serving.searcher import Found, Mode, Searcher, require_search
from jepakit.search.filters import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.schema import NodeWithScore, QueryBundle


def llama_index_retriever(
    searcher: Searcher, *, k: int = 10, mode: Mode = "fused", where: Filter | None = None
) -> BaseRetriever:
    """A LlamaIndex retriever: ``retrieve``, ``aretrieve``, and a part of query engines.

    A node has the text and the id of its document; ``title`` is added to its metadata and replaces a field of that
    name. The score is not part of the node, so that two queries with the same document return equal nodes. Arguments
    are those of `Searcher.search`.

    Raises:
        ConfigError: ``k`` is less than 1, or no such mode.
        MissingExtraError: llama-index-core is not installed.
    """
    require_search(k, mode)
    return _retriever_class()(partial(searcher.search, k=k, mode=mode, where=where))


@cache
def _retriever_class() -> Callable[[Callable[[list[str]], Sequence[Sequence[Found]]]], BaseRetriever]:
    """Defines the class on first use, so that LlamaIndex is imported only then."""
    try:
        from llama_index.core.base.base_retriever import BaseRetriever
        from llama_index.core.schema import NodeWithScore, TextNode
    except ModuleNotFoundError as error:
        raise MissingExtraError("llama-index-core", "llama-index") from error

    class JepakitRetriever(BaseRetriever):
        """The documents that a `Searcher` finds."""

        def __init__(self, search: Callable[[list[str]], Sequence[Sequence[Found]]]) -> None:
            super().__init__()
            self._search = search

        def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            (answer,) = self._search([query_bundle.query_str])
            return [
                NodeWithScore(
                    node=TextNode(id_=found.id, text=found.text, metadata={**found.metadata, "title": found.title}),
                    score=found.score,
                )
                for found in answer
            ]

    return JepakitRetriever
