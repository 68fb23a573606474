"""The entities whose texts are nearest to the question."""

from __future__ import annotations

from collections.abc import Sequence

from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.retrievers.base import Query, Retrieved, require_limit, rows_of, with_triples_between
from jepakit.kgqa.retrievers.vectors import EntityVectors


class KNN:
    """The entities with the highest cosine to the question.

    Args:
        graph: the graph.
        vectors: of its entities.
    """

    def __init__(self, graph: KnowledgeGraph, vectors: EntityVectors) -> None:
        self.graph, self.vectors = graph, vectors

    def retrieve(self, queries: Sequence[Query], limit: int) -> list[Retrieved]:
        """See `Retriever.retrieve`."""
        require_limit(limit)
        more = max((len(query.topics) for query in queries), default=0)
        hits = self.vectors.nearest(self.vectors.encode([query.text for query in queries]), limit + more)
        found = zip(queries, rows_of(hits), strict=True)
        return [with_triples_between(self.graph, query, *ranking, limit) for query, ranking in found]
