"""The nearest entities, connected by a prize-collecting Steiner tree (G-Retriever, He et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from jepakit.errors import require_at_least
from jepakit.kgqa.data import Ids, KnowledgeGraph, Subgraph, different
from jepakit.kgqa.retrievers.base import Query, Retrieved, ranked, require_limit, rows_of
from jepakit.kgqa.retrievers.neighbourhood import Similarity, around, triples_along
from jepakit.kgqa.retrievers.steiner import Numbers, steiner_tree
from jepakit.kgqa.retrievers.vectors import EntityVectors, Vectors

#: Prizes of the next relation are smaller by this fraction at least, and the cost of an edge by half of it.
_STEP_DOWN = 0.01


@dataclass(frozen=True)
class PCSTConfig:
    """Prizes, costs and where the tree is looked for.

    Args:
        topk: the nearest entities, which have the prizes ``topk``, ..., 2, 1. Topics have the prize ``topk`` too.
        topk_e: the relations nearest to the question, whose triples share the prizes ``topk_e``, ..., 2, 1; 0: triples
            have no prize. Where relations are few and triples many, prizes of triples say little.
        cost_e: cost of a triple.
        preference: of two ways the one through entities more similar to the question is taken: a triple costs
            ``cost_e * (1 + preference * (1 - mean cosine of its ends))``. 0: any of them.
        clusters: most trees.
        hops: most steps from the nearest entities and topics to entities that may be in a tree; no more are made than
            connect them.
        neighbours: most neighbours of an entity that may be in a tree; of more, the most similar to the question.

    Raises:
        ConfigError: a value is out of range.
    """

    topk: int = 10
    topk_e: int = 0
    cost_e: float = 1.0
    preference: float = 0.1
    clusters: int = 1
    hops: int = 2
    neighbours: int = 64

    def __post_init__(self) -> None:
        require_at_least(self, topk=1, topk_e=0, cost_e=0, preference=0, clusters=1, hops=1, neighbours=1)


class PCST:
    """The entities of a prize-collecting Steiner tree around the nearest entities, by their cosine to the question.

    Args:
        graph: the graph.
        vectors: of its entities.
        config: prizes, costs and bounds.
    """

    def __init__(self, graph: KnowledgeGraph, vectors: EntityVectors, config: PCSTConfig | None = None) -> None:
        self.graph, self.vectors, self.config = graph, vectors, config or PCSTConfig()

    @cached_property
    def _relations(self) -> Vectors:
        """The vector of each relation, ``[R, D]``."""
        names = [relation.name.replace("_", " ") for relation in self.graph.relations]
        return self.vectors.encoder.encode(names, "document").numpy()

    def retrieve(self, queries: Sequence[Query], limit: int) -> list[Retrieved]:
        """See `Retriever.retrieve`."""
        require_limit(limit)
        vectors = self.vectors.encode([query.text for query in queries])
        nearest = rows_of(self.vectors.nearest(vectors, self.config.topk))
        retrieved: list[Retrieved] = []
        for query, vector, (hits, _) in zip(queries, vectors, nearest, strict=True):
            subgraph = self._tree(query, vector, hits)
            similarity = self.vectors.similarity(vector, subgraph.entities)
            retrieved.append(Retrieved(*ranked(query, subgraph.entities, similarity, limit), subgraph))
        return retrieved

    def _tree(self, query: Query, vector: Vectors, hits: Ids) -> Subgraph:
        topics = np.array(query.topics, np.int64)
        seeds = different(np.append(hits, topics))
        part = _without_loops(self._surroundings(seeds, partial(self.vectors.similarity, vector)))
        prizes = np.zeros(len(part.entities))
        prizes[np.searchsorted(part.entities, hits)] = np.arange(self.config.topk, self.config.topk - len(hits), -1)
        prizes[np.searchsorted(part.entities, topics)] = self.config.topk
        cosines = self.vectors.similarity(vector, part.entities).astype(np.float64)
        ends = part.triples[:, [0, 2]]
        dearer = 1 + self.config.preference * (1 - cosines[ends].mean(1))
        if self.config.topk_e:
            gains = triple_prizes(part.triples[:, 1], self._relations @ vector, self.config.topk_e)
            return _with_edge_prizes(part, prizes, gains, self.config.cost_e, dearer, self.config.clusters)
        nodes, edges = steiner_tree(ends, prizes, self.config.cost_e * dearer, self.config.clusters)
        pairs = part.entities[ends[edges]]
        return triples_along(self.graph, pairs, part.entities[nodes])

    def _surroundings(self, seeds: Ids, similarity: Similarity) -> Subgraph:
        """The subgraph around the seeds, as many hops as connect them."""
        part = self.graph.induced(seeds)
        for hops in range(1, self.config.hops + 1):
            if _connects(part, seeds):
                break
            part = self.graph.induced(around(self.graph, seeds, hops, self.config.neighbours, similarity))
        return part


def triple_prizes(relation: Ids, similarity: Vectors, topk: int) -> Numbers:
    """The prize of each triple, ``[m]``: those of the nearest relation share ``topk``, of the next ``topk - 1``, ...

    As in the code of G-Retriever, a triple of a relation never has a larger prize than one of a nearer relation.

    Args:
        relation: of each triple, ``[m]``.
        similarity: of each relation to the question, ``[R]``.
        topk: how many relations have prizes.
    """
    counts = np.bincount(relation, minlength=len(similarity))
    nearest = [one for one in np.argsort(-similarity, kind="stable").tolist() if counts[one]][:topk]
    prizes, most = np.zeros(len(similarity)), float(topk)
    for rank, one in enumerate(nearest):
        prizes[one] = min((topk - rank) / counts[one], most)
        most = prizes[one] * (1 - _STEP_DOWN)
    return prizes[relation]


def _with_edge_prizes(
    part: Subgraph, prizes: Numbers, gains: Numbers, cost: float, dearer: Numbers, clusters: int
) -> Subgraph:
    """The tree where triples have prizes too.

    A prize below the cost of its triple lowers that cost. A larger one becomes the prize of a node of its own, between
    the ends of the triple, for what is left of it.
    """
    count = len(part.entities)
    ends = part.triples[:, [0, 2]]
    # At least one triple is worth its cost.
    costs = min(cost, float(gains.max(initial=0)) * (1 - _STEP_DOWN / 2)) * dearer
    rich = np.flatnonzero(gains > costs)
    poor = np.flatnonzero(gains <= costs)
    middle = count + np.arange(len(rich))
    halves = np.concatenate([np.stack([ends[rich, side], middle], 1) for side in (0, 1)])
    nodes, edges = steiner_tree(
        np.concatenate([ends[poor], halves]),
        np.concatenate([prizes, (gains - costs)[rich]]),
        np.concatenate([(costs - gains)[poor], np.zeros(len(halves))]),
        clusters,
    )
    triples = np.concatenate([poor[edges[edges < len(poor)]], rich[nodes[nodes >= count] - count]])
    kept = different(np.concatenate([nodes[nodes < count], ends[triples].ravel()]))
    head, relation, tail = part.triples[np.sort(triples)].T
    place = [np.searchsorted(kept, head), relation, np.searchsorted(kept, tail)]
    return Subgraph(part.entities[kept], np.stack(place, 1))


def _without_loops(part: Subgraph) -> Subgraph:
    return Subgraph(part.entities, part.triples[part.triples[:, 0] != part.triples[:, 2]])


def _connects(part: Subgraph, seeds: Ids) -> bool:
    size = len(part.entities)
    ends = part.triples[:, 0], part.triples[:, 2]
    label = connected_components(coo_array((np.ones(len(part.triples), bool), ends), shape=(size, size)), False)[1]
    return len(set(label[np.searchsorted(part.entities, seeds)].tolist())) <= 1
