"""The entities whose texts share words with the question."""

from __future__ import annotations

from collections.abc import Sequence

from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.retrievers.base import Query, Retrieved, require_limit, rows_of, with_triples_between
from jepakit.kgqa.retrievers.vectors import entity_passages
from jepakit.search import BM25Config, LexicalIndex


class BM25:
    """The entities with the highest BM25 for the question.

    Args:
        graph: the graph, whose entities are indexed now.
        config: constants and stemmer.
    """

    def __init__(self, graph: KnowledgeGraph, config: BM25Config | None = None) -> None:
        self.graph = graph
        self._index = LexicalIndex.build(entity_passages(graph), config)

    def retrieve(self, queries: Sequence[Query], limit: int) -> list[Retrieved]:
        """See `Retriever.retrieve`."""
        require_limit(limit)
        more = max((len(query.topics) for query in queries), default=0)
        hits = self._index.search([query.text for query in queries], limit + more)
        found = zip(queries, rows_of(hits), strict=True)
        return [with_triples_between(self.graph, query, *ranking, limit) for query, ranking in found]
