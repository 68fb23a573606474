"""The entities around the topics, the most similar to the question first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from jepakit.errors import require_at_least
from jepakit.kgqa.data import KnowledgeGraph, different
from jepakit.kgqa.retrievers.base import Query, Retrieved, joined, require_limit, rows_of, with_triples_between
from jepakit.kgqa.retrievers.neighbourhood import around, triples_along
from jepakit.kgqa.retrievers.path import shortest_paths
from jepakit.kgqa.retrievers.vectors import EntityVectors


@dataclass(frozen=True)
class KHopConfig:
    """How far from the topics.

    Args:
        hops: steps from a topic.
        neighbours: most neighbours of an entity that are followed; of more, the most similar to the question.
        seeds: nearest entities to start from where a question has no topic.

    Raises:
        ConfigError: a value is out of range.
    """

    hops: int = 2
    neighbours: int = 64
    seeds: int = 3

    def __post_init__(self) -> None:
        require_at_least(self, hops=1, neighbours=1, seeds=1)


class KHop:
    """The entities within some steps of a topic, by their cosine to the question.

    The subgraph has a shortest path from each topic to each of them.

    Args:
        graph: the graph.
        vectors: of its entities.
        config: how far.
    """

    def __init__(self, graph: KnowledgeGraph, vectors: EntityVectors, config: KHopConfig | None = None) -> None:
        self.graph, self.vectors, self.config = graph, vectors, config or KHopConfig()

    def retrieve(self, queries: Sequence[Query], limit: int) -> list[Retrieved]:
        """See `Retriever.retrieve`."""
        require_limit(limit)
        vectors = self.vectors.encode([query.text for query in queries])
        nearest = rows_of(self.vectors.nearest(vectors, self.config.seeds))
        retrieved: list[Retrieved] = []
        for query, vector, (seeds, _) in zip(queries, vectors, nearest, strict=True):
            similarity = partial(self.vectors.similarity, vector)
            start = np.array(query.topics, np.int64) if query.topics else seeds
            entities = around(self.graph, start, self.config.hops, self.config.neighbours, similarity)
            best = with_triples_between(self.graph, query, entities, similarity(entities), limit)
            ways = [
                shortest_paths(self.graph, int(one), best.entities, self.config.hops, similarity)
                for one in query.topics
            ]
            pairs = np.concatenate([np.empty((0, 2), np.int64), *ways])
            way = triples_along(self.graph, pairs, different(pairs.ravel()))
            retrieved.append(replace(best, subgraph=joined(self.graph, [best.subgraph, way])))
        return retrieved
