"""What a retriever is asked and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jepakit.errors import ConfigError
from jepakit.kgqa.data import Ids, KnowledgeGraph, Subgraph, different
from jepakit.search import Hits

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Query:
    """A question as a retriever sees it.

    Args:
        text: the question.
        topics: rows of the entities that it names; none where it names none.
    """

    text: str
    topics: tuple[int, ...] = ()


@dataclass(frozen=True)
class Retrieved:
    """What a retriever returns for a question.

    Args:
        entities: rows of candidates for the answer, best first, ``[n]``; the question's topics are none of them.
        scores: of the candidates, descending, ``[n]`` float32.
        subgraph: the part of the graph to answer from, which may hold topics and entities on the way to candidates.
    """

    entities: Ids
    scores: Scores
    subgraph: Subgraph


class Retriever(Protocol):
    """Finds the part of a graph that answers a question."""

    def retrieve(self, queries: Sequence[Query], limit: int) -> list[Retrieved]:
        """At most ``limit`` candidates for each question.

        Raises:
            ConfigError: ``limit`` is less than 1.
        """
        ...


def require_limit(limit: int) -> None:
    """Raises ConfigError where ``limit`` is less than 1."""
    if limit < 1:
        raise ConfigError("limit", limit, "at least 1")


def ranked(query: Query, entities: Ids, scores: Scores, limit: int) -> tuple[Ids, Scores]:
    """The entities with the highest scores, without the topics of the question."""
    kept = ~np.isin(entities, query.topics)
    entities, scores = entities[kept], scores[kept]
    order = np.argsort(-scores, kind="stable")[:limit]
    return entities[order], scores[order]


def with_triples_between(graph: KnowledgeGraph, query: Query, entities: Ids, scores: Scores, limit: int) -> Retrieved:
    """The best of some entities, with the subgraph of them and the topics."""
    entities, scores = ranked(query, entities, scores, limit)
    return Retrieved(entities, scores, graph.induced(different(np.append(entities, np.array(query.topics, np.int64)))))


def rows_of(hits: Hits) -> list[tuple[Ids, Scores]]:
    """The rows and scores of the hits of each question, without padding."""
    pairs = zip(hits.rows.numpy(), hits.scores.numpy(), strict=True)
    return [(rows[rows >= 0], scores[rows >= 0]) for rows, scores in pairs]


def joined(graph: KnowledgeGraph, parts: Sequence[Subgraph]) -> Subgraph:
    """The entities and triples of several subgraphs of one graph."""
    entities = different(np.concatenate([part.entities for part in parts]))
    kinds, size = len(graph.relations), len(entities)
    keys: list[Ids] = []
    for part in parts:
        place = np.searchsorted(entities, part.entities)
        head, relation, tail = part.triples.T
        keys.append((place[head] * kinds + relation) * size + place[tail])
    rest, tail = np.divmod(different(np.concatenate(keys)), max(size, 1))
    head, relation = np.divmod(rest, kinds)
    return Subgraph(entities, np.stack([head, relation, tail], 1))
