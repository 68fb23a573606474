"""The entities around some entities, at most so many for each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from jepakit.kgqa.data import Ids, KnowledgeGraph, Subgraph, different

Similarity = Callable[[Ids], NDArray[np.float32]]
"""The similarity of entities, ``[n] -> [n]``, to a question."""


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
