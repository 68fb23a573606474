"""The relation paths from a topic, and the set of entities that each reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from jepakit.kgqa.data import Ids, KnowledgeGraph, ranges


class PathTable:
    """Numbers the relation paths that occur: each is a shorter path, or the empty one (-1), and a step."""

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
        self._row: dict[int, int] = {}
        self._parent: list[int] = []
        self._step: list[int] = []

    def __len__(self) -> int:
        return len(self._step)

    def extend(self, parent: Ids, step: Ids) -> Ids:
        """The number of the path ``parent`` continued by ``step``, elementwise ``[G], [G] -> [G]``."""
        keys, inverse = np.unique((parent + 1) * self.num_steps + step, return_inverse=True)
        rows = np.empty(len(keys), np.int64)
        for place, key in enumerate(keys.tolist()):
            row = self._row.setdefault(key, len(self._step))
            if row == len(self._step):
                before, last = divmod(key, self.num_steps)
                self._parent.append(before - 1)
                self._step.append(last)
            rows[place] = row
        return rows[inverse]

    def steps(self, path: int) -> tuple[int, ...]:
        """The steps of a path."""
        backwards: list[int] = []
        while path >= 0:
            backwards.append(self._step[path])
            path = self._parent[path]
        return tuple(reversed(backwards))

    def row(self, steps: Sequence[int]) -> int | None:
        """The number of a path; None if it does not occur."""
        path = -1
        for step in steps:
            found = self._row.get((path + 1) * self.num_steps + step)
            if found is None:
                return None
            path = found
        return path


@dataclass(frozen=True)
class Reached:
    """The paths from some topics, with the entities that each reaches. G rows, in the order of the topics.

    Args:
        topic: place of the topic in the list that was asked for, ``[G]`` int64.
        path: number of the path in the `PathTable`, ``[G]`` int64.
        sets: ``[G, N]`` bool: the entities that each reaches, sorted in each row.
        num_entities: N.
    """

    topic: Ids
    path: Ids
    sets: csr_array
    num_entities: int

    @property
    def size(self) -> Ids:
        """Number of entities that each path reaches, ``[G]``."""
        return np.diff(self.sets.indptr).astype(np.int64)


class Walker:
    """Follows relation paths through a graph.

    Args:
        graph: where.
        through_topic: whether a path may return to the topic. A path that may not has the topic in none of its sets.
    """

    def __init__(self, graph: KnowledgeGraph, *, through_topic: bool = False) -> None:
        self.graph, self.through_topic = graph, through_topic
        owner = np.repeat(np.arange(graph.num_entities), graph.degree)
        first = np.ones(len(owner), bool)
        first[1:] = (owner[1:] != owner[:-1]) | (graph.step[1:] != graph.step[:-1])
        starts = np.flatnonzero(first)
        # A row for each pair of an entity and a step that it has: the neighbours by that step.
        self._step = graph.step[starts].astype(np.int64)
        self._ptr = np.searchsorted(owner[starts], np.arange(graph.num_entities + 1))
        ends = np.append(starts, len(owner))
        self._neighbours = csr_array(
            (np.ones(len(owner), bool), graph.neighbour, ends), shape=(len(starts), graph.num_entities)
        )

    def paths(self, topics: Ids, hops: int, table: PathTable) -> list[Reached]:
        """All paths of 1, 2, ... ``hops`` relations from each topic that reach an entity: one `Reached` a length."""
        levels: list[Reached] = []
        place, path = np.arange(len(topics)), np.full(len(topics), -1)
        sets = csr_array(
            (np.ones(len(topics), bool), topics, np.arange(len(topics) + 1)),
            shape=(len(topics), self.graph.num_entities),
        )
        for _ in range(hops):
            group, step, sets = self._expand(sets)
            place, path = place[group], table.extend(path[group], step)
            if not self.through_topic:
                sets = _without(sets, topics[place])
                kept = np.flatnonzero(np.diff(sets.indptr))
                place, path, sets = place[kept], path[kept], sets[kept]
            levels.append(Reached(place, path, sets, self.graph.num_entities))
        return levels

    def _expand(self, sets: csr_array) -> tuple[Ids, Ids, csr_array]:
        """Every step from every set: the row it comes from, the step, and the set that it leads to."""
        owner = np.repeat(np.arange(len(sets.indptr) - 1), np.diff(sets.indptr))
        starts = self._ptr[sets.indices]
        counts = self._ptr[sets.indices + 1] - starts
        pair = ranges(starts, counts)
        key = np.repeat(owner, counts) * self.graph.num_steps + self._step[pair]
        order = np.argsort(key, kind="stable")
        key, pair = key[order], pair[order]
        first = np.flatnonzero(np.diff(key, prepend=-1))
        chosen = csr_array(
            (np.ones(len(pair), bool), pair, np.append(first, len(pair))), shape=(len(first), len(self._step))
        )
        reached: Any = chosen @ self._neighbours
        reached.sort_indices()
        group, step = np.divmod(key[first], self.graph.num_steps)
        return group, step, reached


def _without(sets: csr_array, entity: NDArray[np.int64]) -> csr_array:
    """The sets, each without one entity."""
    lengths = np.diff(sets.indptr)
    keep = sets.indices != np.repeat(entity, lengths)
    removed = np.add.reduceat(np.append(~keep, False), sets.indptr[:-1]) if len(lengths) else lengths
    removed = np.where(lengths > 0, removed, 0)
    ptr = np.concatenate([[0], np.cumsum(lengths - removed)])
    return csr_array((sets.data[keep], sets.indices[keep], ptr), shape=sets.shape)
