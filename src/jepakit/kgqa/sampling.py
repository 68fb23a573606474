"""Subgraphs of a knowledge graph around given entities, of bounded size, for many entities at once.

Only the entries of the graph that are drawn or scanned are read, so its arrays may be files larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from jepakit.errors import require_at_least, require_choice
from jepakit.kgqa.data import Ids, KnowledgeGraph, Subgraph, different, ranges

Method = Literal["fanout", "khop", "walk"]

_ROOTS_AT_ONCE = 256
"""Bounds the memory of a chunk; the draws of a chunk depend on it."""
_DRAWS_PER_PLACE = 4
"""``khop`` draws so many triples of a ring for each place that is left, since many lead to the same entity."""
_SLOTS_PER_ENTITY = 16
"""Slots of the filter for each entity of a subgraph: one in so many other entities passes it."""


@dataclass(frozen=True)
class Sampling:
    """Draws a subgraph around each root: ``sampling(graph, roots, generator)``.

    Methods:

    - ``fanout``: up to ``fanout`` triples of each entity, ring by ring (GraphSAGE, Hamilton et al. 2017).
    - ``khop``: all entities within ``hops``. A ring with far more triples than places left is drawn at random from
      its triples.
    - ``walk``: the entities that ``walks`` random walks of ``length`` steps from the root visit first.

    A subgraph has the triples that were followed and all others between its entities, but for those between two hubs:
    entities of more than ``scan`` triples, which are not searched.

    Args:
        method: one of the above.
        nodes: most entities of a subgraph; of the last ring, or of the last steps, those beyond it are left out.
        hops: rings, for ``fanout`` and ``khop``.
        fanout: most triples drawn at each entity, evenly spread over its relations.
        walks: number of walks.
        length: steps of a walk.
        scan: triples of an entity up to which all are searched for other entities of the subgraph.
    """

    method: Method = "fanout"
    nodes: int = 128
    hops: int = 2
    fanout: int = 16
    walks: int = 16
    length: int = 16
    scan: int = 256

    def __post_init__(self) -> None:
        require_choice("method", self.method, get_args(Method))
        require_at_least(self, nodes=2, hops=1, fanout=1, walks=1, length=1, scan=0)

    def __call__(self, graph: KnowledgeGraph, roots: Ids, generator: np.random.Generator) -> Subgraphs:
        """A subgraph for each root (``[G]``), which is the first of its entities."""
        chunks = [
            _Chunk(self, graph, roots[start : start + _ROOTS_AT_ONCE], generator).subgraphs()
            for start in range(0, len(roots), _ROOTS_AT_ONCE)
        ]
        return packed(chunks)


@dataclass(frozen=True)
class Subgraphs:
    """Subgraphs of one graph, packed: the ``g``-th owns entities ``entity_ptr[g]:entity_ptr[g + 1]``.

    With G subgraphs, N entities and M triples in all:

    Args:
        entities: rows in the graph, ``[N]`` int64; no two of one subgraph the same.
        entity_ptr: ``[G + 1]`` int64.
        triples: ``[M, 3]`` int64: place of the head in ``entities``, relation, place of the tail; sorted by subgraph.
        triple_ptr: ``[G + 1]`` int64.
    """

    entities: Ids
    entity_ptr: Ids
    triples: Ids
    triple_ptr: Ids

    def __len__(self) -> int:
        return len(self.entity_ptr) - 1


class _Chunk:
    """Grows the subgraphs of some roots together.

    An entity of a subgraph is the number ``subgraph * N + row``: a *key*. ``found`` has the keys of all subgraphs,
    ascending, and ``order`` the ring or time at which each was found.
    """

    def __init__(self, sampling: Sampling, graph: KnowledgeGraph, roots: Ids, generator: np.random.Generator) -> None:
        self.options, self.generator, self.size, self.count = sampling, generator, graph.num_entities, len(roots)
        self.relations = len(graph.relations)
        # Plain views of mapped files: indexing them reads what is asked for, and no more.
        self.ptr, self.step, self.neighbour = (np.asarray(a) for a in (graph.ptr, graph.step, graph.neighbour))
        self.found = np.arange(self.count) * self.size + roots
        self.order = np.zeros(self.count, np.int64)
        self.followed: list[tuple[Ids, Ids]] = []

    def subgraphs(self) -> Subgraphs:
        """Draws, then looks for the triples between the entities."""
        if self.options.method == "walk":
            self._walk()
        else:
            self._grow_rings()
        return self._packed()

    def _grow_rings(self) -> None:
        rim = self.found
        for ring in range(1, self.options.hops + 1):
            missing = self.options.nodes - np.bincount(self.found // self.size, minlength=self.count)
            rim = rim[missing[rim // self.size] > 0]
            if not len(rim):
                break
            owner, entry = self._ring(rim, missing) if self.options.method == "khop" else self._fan(rim)
            reached = different(self._follow(owner, entry))
            rim = self._quota(reached[self._place(reached) < 0], missing)
            self._add(rim, ring)

    def _fan(self, rim: Ids) -> tuple[Ids, Ids]:
        """Up to ``fanout`` entries of each entity: the key that owns each, and its place in the graph's arrays."""
        owner, entry = spread_entries(*self._entries(rim), self.options.fanout, self.generator)
        return rim[owner], entry

    def _ring(self, rim: Ids, missing: Ids) -> tuple[Ids, Ids]:
        """All entries of the entities of each subgraph's rim or, where they are too many, some at random."""
        start, degree = self._entries(rim)
        graph = rim // self.size
        total = np.bincount(graph, degree, minlength=self.count).astype(np.int64)
        budget = _DRAWS_PER_PLACE * missing
        few = (total <= budget)[graph]
        owner, entry = [np.repeat(rim[few], degree[few])], [ranges(start[few], degree[few])]
        many = np.flatnonzero(total > budget)
        # A draw is a place among all entries of the rim, which is sorted by subgraph.
        before = np.cumsum(degree) - degree
        first = before[np.searchsorted(graph, many)]
        draw = np.repeat(first, budget[many])
        draw += (self.generator.random(len(draw)) * np.repeat(total[many], budget[many])).astype(np.int64)
        # An entity without entries has the same `before` as the next, which `right` prefers.
        place = np.searchsorted(before, draw, side="right") - 1
        owner.append(rim[place])
        entry.append(start[place] + draw - before[place])
        return np.concatenate(owner), np.concatenate(entry)

    def _walk(self) -> None:
        walker = np.repeat(self.found, self.options.walks)
        first = np.zeros(len(self.found), np.int64)
        keys, times = [self.found], [first]
        for time in range(1, self.options.length + 1):
            start, degree = self._entries(walker)
            movable = degree > 0
            walker, start, degree = walker[movable], start[movable], degree[movable]
            entry = start + (self.generator.random(len(walker)) * degree).astype(np.int64)
            walker = self._follow(walker, entry)
            keys.append(walker)
            times.append(np.full(len(walker), time))
        key, time = np.concatenate(keys), np.concatenate(times)
        order = np.lexsort((self.generator.random(len(key)), time, key))
        key, time = key[order], time[order]
        earliest = np.flatnonzero(np.diff(key, prepend=-1))
        key, time = key[earliest], time[earliest]
        graph = key // self.size
        by_time = np.lexsort((self.generator.random(len(key)), time, graph))
        kept = np.sort(by_time[_places(graph[by_time]) < self.options.nodes])
        self.found, self.order = key[kept], time[kept]

    def _follow(self, owner: Ids, entry: Ids) -> Ids:
        """Notes entries as followed; returns the keys that they lead to."""
        self.followed.append((owner, entry))
        return owner - owner % self.size + self.neighbour[entry]

    def _quota(self, new: Ids, missing: Ids) -> Ids:
        """At most ``missing`` (``[G]``) of the new keys of each subgraph, ascending; chosen at random."""
        graph = new // self.size
        order = np.lexsort((self.generator.random(len(new)), graph))
        return np.sort(new[order[_places(graph[order]) < missing[graph[order]]]])

    def _add(self, new: Ids, ring: int) -> None:
        both = np.concatenate([self.found, new])
        order = np.argsort(both, kind="stable")
        self.found = both[order]
        self.order = np.concatenate([self.order, np.full(len(new), ring)])[order]

    def _entries(self, keys: Ids) -> tuple[Ids, Ids]:
        """Where the entries of each entity start, and how many there are."""
        row = keys % self.size
        start = self.ptr[row]
        return start.astype(np.int64), (self.ptr[row + 1] - start).astype(np.int64)

    def _packed(self) -> Subgraphs:
        graph = self.found // self.size
        # The root first, then ring by ring.
        order = np.lexsort((self.order, graph))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        bounds = np.arange(self.count + 1)
        entity_ptr = np.searchsorted(graph, bounds)
        head, step, tail = (np.concatenate(column) for column in zip(*self._inside(graph), strict=True))
        forward = step < self.relations
        head, tail = place[np.where(forward, head, tail)], place[np.where(forward, tail, head)]
        # Each triple may have been found twice, once in each direction: it has one number.
        kinds, width = self.relations, self.options.nodes
        tail -= entity_ptr[graph[head]]
        rest, tail = np.divmod(different((head * kinds + step % kinds) * width + tail), width)
        head, relation = np.divmod(rest, kinds)
        owner = graph[head]
        triples = np.stack([head, relation, tail + entity_ptr[owner]], 1)
        return Subgraphs((self.found % self.size)[order], entity_ptr, triples, np.searchsorted(owner, bounds))

    def _inside(self, graph: Ids) -> Iterator[tuple[Ids, Ids, Ids]]:
        """The entries with both ends in one subgraph: places of the ends in ``found``, and the step."""
        slots = 1 << (_SLOTS_PER_ENTITY * self.options.nodes - 1).bit_length()
        base, row = graph * self.size, self.found % self.size
        # Few of the entries that are scanned lead back into the subgraph: a small table, which stays in a core's cache,
        # leaves out nearly all others before the search.
        taken = np.zeros(self.count * slots, bool)
        taken[graph * slots + row % slots] = True
        for owner, entry in self._candidates(row):
            reached = self.neighbour[entry].astype(np.int64)
            near = np.flatnonzero(taken[(graph * slots)[owner] + reached % slots])
            tail = self._place(base[owner[near]] + reached[near])
            inside = near[tail >= 0]
            yield owner[inside], self.step[entry[inside]].astype(np.int64), tail[tail >= 0]

    def _candidates(self, row: Ids) -> Iterator[tuple[Ids, Ids]]:
        """The entries that were followed, and all of the entities that are no hubs: place of the owner, and entry."""
        for key, entry in self.followed:
            owner = self._place(key)
            known = owner >= 0
            yield owner[known], entry[known]
        start, degree = self._entries(row)
        scanned = np.flatnonzero(degree <= self.options.scan)
        yield np.repeat(scanned, degree[scanned]), ranges(start[scanned], degree[scanned])

    def _place(self, keys: Ids) -> Ids:
        """The place of each key in ``found``, -1 where it is not there."""
        place = np.minimum(np.searchsorted(self.found, keys), len(self.found) - 1)
        return np.where(self.found[place] == keys, place, -1)


def spread_entries(start: Ids, degree: Ids, most: int | None, generator: np.random.Generator) -> tuple[Ids, Ids]:
    """At most so many entries of each list, all different and evenly spread over it.

    The entries of an entity are sorted by step, so each relation has about its share.

    Args:
        start: first entry of each list, ``[K]``.
        degree: length of each, ``[K]``.
        most: entries of a list; None: all.
        generator: chooses where lists are longer.

    Returns:
        The list of each entry, ascending, and the entry.
    """
    count = degree if most is None else np.minimum(degree, most)
    owner = np.repeat(np.arange(len(count)), count)
    place = ranges(np.zeros_like(count), count)
    # An entry of each of `count` parts of nearly the same length.
    low, high = ((place + end) * degree[owner] // count[owner] for end in (0, 1))
    return owner, start[owner] + low + (generator.random(len(owner)) * (high - low)).astype(np.int64)


def _places(group: Ids) -> Ids:
    """The place of each row in its group, from 0; groups are sorted."""
    first = np.flatnonzero(np.diff(group, prepend=-1))
    return np.arange(len(group)) - np.repeat(first, np.diff(np.append(first, len(group))))


def packed(parts: Sequence[Subgraph | Subgraphs]) -> Subgraphs:
    """Subgraphs of one graph end to end, each alone or packed with others already."""
    first = np.cumsum([0, *(len(part.entities) for part in parts)])
    shift = np.array([1, 0, 1])
    entities = [np.zeros(0, np.int64), *(part.entities for part in parts)]
    triples = [np.zeros((0, 3), np.int64), *(part.triples + at * shift for part, at in zip(parts, first, strict=False))]
    sizes, counts = [0], [0]
    for part in parts:
        if isinstance(part, Subgraph):
            sizes.append(len(part.entities))
            counts.append(len(part.triples))
        else:
            sizes += np.diff(part.entity_ptr).tolist()
            counts += np.diff(part.triple_ptr).tolist()
    return Subgraphs(np.concatenate(entities), np.cumsum(sizes), np.concatenate(triples), np.cumsum(counts))
