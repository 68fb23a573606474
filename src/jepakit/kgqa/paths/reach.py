"""The relation paths from a topic, and the set of entities that each reaches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from jepakit.errors import require_at_least
from jepakit.kgqa.data import Ids, KnowledgeGraph, ranges

BEAM = 3_000_000
"""Default beam of a `Walker`: the number of triples it follows from one topic for all paths of one length."""

#: On a graph of so many triples paths are followed from one topic at a time.
_TRIPLES_AT_ONCE = 50_000_000

Preference = Callable[[Ids, Ids], NDArray[np.float64]]
"""Place of the topic and number of each of G paths of one length, ``[G], [G]`` -> values ``[G]``: higher is followed
first, and -inf not at all."""


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
    """The paths of one length from some topics, with what each reaches. G rows, in the order of the topics.

    Args:
        topic: place of the topic in the list that was asked for, ``[G]`` int64.
        path: number of the path in the `PathTable`, ``[G]`` int64.
        sets: ``[G, N]`` bool: the entities that each reaches, sorted in each row; none for a path that a beam left out.
        num_entities: N.
    """

    topic: Ids
    path: Ids
    sets: csr_array
    num_entities: int

    @property
    def size(self) -> Ids:
        """Number of entities that each path reaches, ``[G]``; 0 where it was not followed."""
        return np.diff(self.sets.indptr).astype(np.int64)


class Walker:
    """Follows all relation paths from some entities, shortest first.

    From a hub, or where relations are many, the sets of all paths are too large to compute. A *beam* bounds the triples
    that are followed from a topic for the paths of one length. Where those of all paths are at most so many, all are
    followed; else those that are preferred, as many as the beam has room for, and those whose triples may all lead back
    to the topic. A path that takes more triples than the beam by itself is thus not followed, however preferred. The
    others are known to exist, but not what they reach, and they are not extended.

    Args:
        graph: the graph.
        through_topic: whether a path may come back to its topic and go on; the topic is then an answer like any other.
        beam: triples that are followed from a topic for the paths of each length; None: all.

    Raises:
        ConfigError: the beam is less than 1.
    """

    def __init__(self, graph: KnowledgeGraph, *, through_topic: bool = False, beam: int | None = BEAM) -> None:
        self.graph, self.through_topic, self.beam = graph, through_topic, beam
        require_at_least(self, beam=1)
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
        #: Triples of each entity by each step.
        self._triples = csr_array((np.diff(ends), self._step, self._ptr), shape=(graph.num_entities, graph.num_steps))

    def at_once(self, most: int) -> int:
        """From how many topics to follow paths together, at most ``most``: fewer on a large graph, for the memory."""
        return max(1, min(most, _TRIPLES_AT_ONCE // max(1, self.graph.num_triples)))

    def paths(self, topics: Ids, hops: int, table: PathTable, prefer: Preference | None = None) -> list[Reached]:
        """The paths of 1, 2, ... ``hops`` relations from each topic that reach an entity: one `Reached` a length.

        Args:
            topics: rows of entities, ``[T]``; each has a beam of its own.
            hops: relations of the longest paths.
            table: numbers the paths; new ones are added.
            prefer: which paths are followed where the beam has no room for all; None: those of the fewest triples.
        """
        levels: list[Reached] = []
        place, path = np.arange(len(topics)), np.full(len(topics), -1)
        sets = csr_array(
            (np.ones(len(topics), bool), topics, np.arange(len(topics) + 1)),
            shape=(len(topics), self.graph.num_entities),
        )
        for _ in range(hops):
            triples: Any = sets @ self._triples
            triples.sort_indices()
            group = np.repeat(np.arange(len(place)), np.diff(triples.indptr))
            step = triples.indices.astype(np.int64)
            place, path = place[group], table.extend(path[group], step)
            followed = self._followed(topics, place, path, step, triples.data, prefer)
            sets = self._reached(sets, group, step, followed)
            if not self.through_topic:
                sets = _without(sets, topics[place])
                kept = np.flatnonzero(np.diff(sets.indptr) + ~followed)
                place, path, sets = place[kept], path[kept], sets[kept]
            levels.append(Reached(place, path, sets, self.graph.num_entities))
        return levels

    def _followed(
        self, topics: Ids, place: Ids, path: Ids, step: Ids, triples: Ids, prefer: Preference | None
    ) -> NDArray[np.bool_]:
        """Which paths are followed, ``[G]``: each has its topic's place, its last step, and the triples to follow."""
        if self.beam is None:
            return np.ones(len(place), bool)
        wide = np.bincount(place, triples, len(topics)) > self.beam
        followed = ~wide[place]
        if not wide.any():
            return followed
        if not self.through_topic:
            # A path whose triples may all lead to the topic exists only if one does not.
            inverse = (step + len(self.graph.relations)) % self.graph.num_steps
            own: Any = self._triples[topics]
            followed |= triples <= own.toarray()[place, inverse]
        rest = np.flatnonzero(~followed & (triples <= self.beam))
        value = -triples[rest].astype(np.float64) if prefer is None else prefer(place[rest], path[rest])
        rest, value = rest[value > -np.inf], value[value > -np.inf]
        rest = rest[np.lexsort((-value, place[rest]))]
        total = np.cumsum(triples[rest])
        before = np.searchsorted(place[rest], place[rest])
        spent = total - np.concatenate([[0], total])[before]
        followed[rest[spent <= self.beam]] = True
        return followed

    def _reached(self, sets: csr_array, group: Ids, step: Ids, followed: NDArray[np.bool_]) -> csr_array:
        """The entities that the followed paths reach, each from a set by a step; none for the others."""
        rows, steps = len(sets.indptr) - 1, self.graph.num_steps
        chosen = np.flatnonzero(followed)
        number = np.full(rows * steps, -1, np.int32)
        number[group[chosen] * steps + step[chosen]] = np.arange(len(chosen))
        used = np.zeros(rows, bool)
        used[group[chosen]] = True
        owner = np.repeat(np.arange(rows), np.diff(sets.indptr))
        inside = used[owner]
        owner, entity = owner[inside], sets.indices[inside]
        starts = self._ptr[entity]
        counts = self._ptr[entity + 1] - starts
        pair = ranges(starts, counts)
        row = number[np.repeat(owner, counts) * steps + self._step[pair]]
        pair, row = pair[row >= 0], row[row >= 0]
        pairs = coo_array((np.ones(len(pair), bool), (row, pair)), shape=(len(chosen), len(self._step))).tocsr()
        reached: Any = pairs @ self._neighbours
        reached.sort_indices()
        lengths = np.zeros(len(group), np.int64)
        lengths[chosen] = np.diff(reached.indptr)
        ptr = np.concatenate([[0], np.cumsum(lengths)])
        return csr_array((reached.data, reached.indices, ptr), shape=(len(group), self.graph.num_entities))


def _without(sets: csr_array, entity: NDArray[np.int64]) -> csr_array:
    """The sets, each without one entity."""
    lengths = np.diff(sets.indptr)
    keep = sets.indices != np.repeat(entity, lengths)
    removed = np.add.reduceat(np.append(~keep, False), sets.indptr[:-1]) if len(lengths) else lengths
    removed = np.where(lengths > 0, removed, 0)
    ptr = np.concatenate([[0], np.cumsum(lengths - removed)])
    return csr_array((sets.data[keep], sets.indices[keep], ptr), shape=sets.shape)
