"""The entities around some entities, at most so many for each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from jepakit.kgqa.data import Ids, KnowledgeGraph, Subgraph, different
from jepakit.kgqa.retrievers.base import joined
from jepakit.kgqa.sampling import spread_entries

Similarity = Callable[[Ids], NDArray[np.float32]]
"""The similarity of entities, ``[n] -> [n]``, to a question."""

#: Triples of an entity that `sampled_around` draws, at most.
_TRIPLES_DRAWN = 4


def neighbours(graph: KnowledgeGraph, entities: Ids, most: int, similarity: Similarity) -> Ids:
    """The different neighbours of some entities, ascending; of more than ``most`` of one only the most similar."""
    entry, owner = graph.entries(entities)
    # A neighbour by several relations is one.
    pair = different(owner * graph.num_entities + graph.neighbour[entry])
    owner, neighbour = np.divmod(pair, graph.num_entities)
    counts = np.bincount(owner, minlength=len(entities))
    crowded = counts[owner] > most
    if not crowded.any():
        return different(neighbour)
    few, owner, neighbour = neighbour[~crowded], owner[crowded], neighbour[crowded]
    rows, place = np.unique(neighbour, return_inverse=True)
    order = np.lexsort((-similarity(rows)[place], owner))
    counts = counts[counts > most]
    position = np.arange(len(order)) - np.repeat(counts.cumsum() - counts, counts)
    return different(np.concatenate([few, neighbour[order[position < most]]]))


def around(graph: KnowledgeGraph, entities: Ids, hops: int, most: int, similarity: Similarity) -> Ids:
    """Some entities and those within ``hops`` steps of them, by at most ``most`` neighbours of each, ascending."""
    known = frontier = different(entities)
    for _ in range(hops):
        frontier = np.setdiff1d(neighbours(graph, frontier, most, similarity), known, assume_unique=True)
        known = different(np.concatenate([known, frontier]))
    return known


def triples_along(graph: KnowledgeGraph, pairs: Ids, entities: Ids) -> Subgraph:
    """The subgraph of some entities (ascending, ``[n]``) with the triples between the ends of each pair, ``[p, 2]``."""
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    size = graph.num_entities
    wanted = different(pairs[:, 0] * size + pairs[:, 1])
    heads = different(pairs[:, 0])
    entry, owner = graph.entries(heads)
    forward = graph.step[entry] < len(graph.relations)
    entry, owner = entry[forward], owner[forward]
    key = heads[owner] * size + graph.neighbour[entry]
    place = np.minimum(np.searchsorted(wanted, key), max(len(wanted) - 1, 0))
    entry, owner = (column[wanted[place] == key] for column in (entry, owner)) if len(wanted) else (entry, owner)
    head = np.searchsorted(entities, heads[owner])
    tail = np.searchsorted(entities, graph.neighbour[entry])
    return Subgraph(entities, np.stack([head, graph.step[entry].astype(np.int64), tail], 1))


def sampled_around(graph: KnowledgeGraph, entities: Ids, limit: int) -> Subgraph:
    """Some entities, all triples between them, and a few others of each, spread over its relations.

    Args:
        graph: the graph.
        entities: different rows, ``[n]``, at most ``limit``.
        limit: entities of the subgraph, at most. The same triples are drawn each time.
    """
    most = min(_TRIPLES_DRAWN, (limit - len(entities)) // max(len(entities), 1))
    owner, entry = spread_entries(graph.ptr[entities], graph.degree[entities], most, np.random.default_rng(0))
    pairs = np.stack([entities[owner], graph.neighbour[entry].astype(np.int64)], 1)
    return joined(graph, [graph.induced(entities), triples_along(graph, pairs, different(pairs.ravel()))])
