"""The shortest paths from the topics to the entities nearest to the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from jepakit.errors import require_at_least
from jepakit.kgqa.data import Ids, KnowledgeGraph, different
from jepakit.kgqa.retrievers.base import Query, Retrieved, ranked, require_limit, rows_of
from jepakit.kgqa.retrievers.neighbourhood import Similarity, triples_along
from jepakit.kgqa.retrievers.vectors import EntityVectors


@dataclass(frozen=True)
class PathConfig:
    """Which paths.

    Args:
        targets: nearest entities to which paths lead, besides the other topics.
        length: most steps of a path.

    Raises:
        ConfigError: a value is out of range.
    """

    targets: int = 10
    length: int = 3

    def __post_init__(self) -> None:
        require_at_least(self, targets=1, length=1)


class Path:
    """The entities on shortest paths between topics, and from topics to the nearest entities.

    Where a question has no topic, the paths start at the nearest entity. Of several shortest paths to one entity that
    with the entities more similar to the question is taken. Entities are ranked by their cosine to the question.

    Args:
        graph: the graph.
        vectors: of its entities.
        config: which paths.
    """

    def __init__(self, graph: KnowledgeGraph, vectors: EntityVectors, config: PathConfig | None = None) -> None:
        self.graph, self.vectors, self.config = graph, vectors, config or PathConfig()

    def retrieve(self, queries: Sequence[Query], limit: int) -> list[Retrieved]:
        """See `Retriever.retrieve`."""
        require_limit(limit)
        vectors = self.vectors.encode([query.text for query in queries])
        nearest = rows_of(self.vectors.nearest(vectors, self.config.targets))
        retrieved: list[Retrieved] = []
        for query, vector, (hits, _) in zip(queries, vectors, nearest, strict=True):
            similarity = partial(self.vectors.similarity, vector)
            topics = np.array(query.topics, np.int64)
            steps = [
                shortest_paths(self.graph, int(start), np.append(hits, topics), self.config.length, similarity)
                for start in (topics if len(topics) else hits[:1])
            ]
            pairs = np.concatenate([np.empty((0, 2), np.int64), *steps])
            subgraph = triples_along(self.graph, pairs, different(np.append(pairs, topics)))
            entities, scores = ranked(query, subgraph.entities, similarity(subgraph.entities), limit)
            retrieved.append(Retrieved(entities, scores, subgraph))
        return retrieved


def shortest_paths(graph: KnowledgeGraph, start: int, targets: Ids, length: int, similarity: Similarity) -> Ids:
    """The steps of a shortest path from ``start`` to each target within ``length`` steps, as pairs ``[n, 2]``."""
    distance = _distances(graph, start, targets, length)
    pairs: list[tuple[int, int]] = []
    for target in targets[distance[targets] > 0].tolist():
        here = target
        for steps in range(int(distance[target]), 0, -1):
            near = different(graph.neighbour[graph.ptr[here] : graph.ptr[here + 1]].astype(np.int64))
            before = near[distance[near] == steps - 1]
            previous = int(before[similarity(before).argmax()])
            pairs.append((previous, here))
            here = previous
    return np.array(pairs, np.int64).reshape(-1, 2)


def _distances(graph: KnowledgeGraph, start: int, targets: Ids, length: int) -> NDArray[np.int16]:
    """Steps from ``start`` to each entity, ``[N]``; -1 for entities farther than all targets, or than ``length``."""
    distance = np.full(graph.num_entities, -1, np.int16)
    distance[start] = 0
    frontier = np.array([start])
    for steps in range(1, length + 1):
        if (distance[targets] >= 0).all() or not len(frontier):
            break
        reached = np.zeros(graph.num_entities, bool)
        reached[graph.neighbour[graph.entries(frontier)[0]]] = True
        frontier = np.flatnonzero(reached & (distance < 0))
        distance[frontier] = steps
    return distance
