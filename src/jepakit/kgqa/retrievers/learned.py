"""The learned retriever as a `Retriever`: candidates by relation paths, with the triples along them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jepakit.kgqa.data import Questions, Subgraph
from jepakit.kgqa.paths.trace import trace
from jepakit.kgqa.retriever import PathRetriever, Ranked
from jepakit.kgqa.retrievers.base import Query, Retrieved, joined, require_limit

#: Entities of a subgraph, at most.
_ENTITIES = 64


class LearnedPaths:
    """The entities that a `PathRetriever` ranks; scores are logarithms of theirs, or those of texts as they are.

    The subgraph has the triples along the most probable paths to the candidates; of those found by text, a few of each.

    Args:
        retriever: learned.
        paths: so many paths are followed.
    """

    def __init__(self, retriever: PathRetriever, paths: int = 3) -> None:
        self.graph, self.retriever, self.paths = retriever.graph, retriever, paths

    def retrieve(self, queries: Sequence[Query], limit: int) -> list[Retrieved]:
        """See `Retriever.retrieve`."""
        require_limit(limit)
        asked = Questions(
            tuple(query.text for query in queries), tuple(query.topics for query in queries), ((),) * len(queries)
        )
        ranked = self.retriever.rank(asked, limit, paths=self.paths)
        return [
            Retrieved(one.entities, one.logits.astype(np.float32), self.subgraph(query.topics, one))
            for query, one in zip(queries, ranked, strict=True)
        ]

    def subgraph(self, topics: Sequence[int], ranked: Ranked) -> Subgraph:
        """The triples along the most probable paths to the entities that are ranked, and the topics; or around them."""
        if ranked.found_by == "text":
            return self.retriever.explain(ranked, _ENTITIES)
        parts = [self.graph.induced(np.array(topics, np.int64))]
        through, paths = self.retriever.through_topic, ranked.paths[: self.paths]
        for path in paths:
            most = _ENTITIES // len(paths)
            parts.append(trace(self.graph, path.topic, path.steps, ranked.entities, most, through_topic=through))
        return joined(self.graph, parts)
