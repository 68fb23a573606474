"""What the user brings: a knowledge graph, and questions about it with their answers.

A graph has entities (id, name, type, text) and triples (head, relation, tail). Every triple can be followed in both
directions. A *step* is a relation with a direction: step ``r`` goes from head to tail, step ``r + R`` back, where R is
the number of relations. A *relation path* is a sequence of steps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jepakit.errors import DataError, did_you_mean
from jepakit.kgqa.arrow import pc

Ids = NDArray[np.int64]

ENTITY_COLUMNS = ("id", "name", "type", "text")
"""The columns of `KnowledgeGraph.entities`, all of text."""


@dataclass(frozen=True)
class Relation:
    """A relation, and how it reads in the other direction.

    Args:
        name: as in the data, such as ``directed_by``.
        inverse: the name from tail to head, such as ``director of``; empty where it has none.
    """

    name: str
    inverse: str = ""


@dataclass(frozen=True)
class KnowledgeGraph:
    """Entities and typed relations, as the neighbours of each entity in both directions.

    With N entities, R relations and T different triples; the arrays may be mapped files, and are then not in memory.

    Args:
        name: for tables and messages.
        entities: a row for each entity, columns `ENTITY_COLUMNS`; no two ids are the same.
        relations: R relations.
        ptr: ``[N + 1]`` int64: entity ``e`` owns the entries ``ptr[e]:ptr[e + 1]`` of the next two.
        step: ``[2T]`` int32, ascending for each entity.
        neighbour: ``[2T]`` int32, ascending for each entity and step.
        stored_fingerprint: the fingerprint of a graph that is read from disk, where it stands beside the arrays.
    """

    name: str
    entities: pa.Table
    relations: tuple[Relation, ...]
    ptr: NDArray[np.int64]
    step: NDArray[np.int32]
    neighbour: NDArray[np.int32]
    stored_fingerprint: str | None = None

    @classmethod
    def from_rows(
        cls, name: str, entities: pa.Table, relations: Sequence[Relation], triples: NDArray[np.int64]
    ) -> KnowledgeGraph:
        """The graph of ``triples``, ``[T, 3]``: rows of head, relation and tail. Repeated triples count once.

        Raises:
            DataError: there is no triple, an id occurs twice, or a row does not exist.
        """
        entities = _checked_entities(entities)
        size, kinds = entities.num_rows, len(relations)
        if not len(triples):
            raise DataError("the graph has no triples", field=name, expected="at least one")
        for column, limit in (("head", size), ("relation", kinds), ("tail", size)):
            rows = triples[:, ("head", "relation", "tail").index(column)]
            if rows.min() < 0 or rows.max() >= limit:
                raise DataError("no such row", field=column, value=int(rows.max()), expected=f"below {limit}")
        head, relation, tail = triples.T
        # Both directions of each triple, sorted by entity, step and neighbour.
        owner = np.concatenate([head, tail])
        key = (owner * (2 * kinds) + np.concatenate([relation, relation + kinds])) * size
        key = different(key + np.concatenate([tail, head]))
        owner_step, neighbour = np.divmod(key, size)
        owner, step = np.divmod(owner_step, 2 * kinds)
        ptr = np.searchsorted(owner, np.arange(size + 1)).astype(np.int64)
        return cls(name, entities, tuple(relations), ptr, step.astype(np.int32), neighbour.astype(np.int32))

    @property
    def num_entities(self) -> int:
        """N."""
        return self.entities.num_rows

    @property
    def num_triples(self) -> int:
        """T."""
        return len(self.step) // 2

    @property
    def num_steps(self) -> int:
        """Relations in both directions, 2R."""
        return 2 * len(self.relations)

    @cached_property
    def degree(self) -> NDArray[np.int64]:
        """Triples of each entity, a self-loop counted twice, ``[N]``."""
        return np.diff(self.ptr)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all that the graph says: encoders, retrievers and answers keep it."""
        # Computing it reads the whole graph, which may be larger than memory.
        if self.stored_fingerprint is not None:
            return self.stored_fingerprint
        digest = hashlib.sha256(repr(self.relations).encode())
        for array in (self.ptr, self.step, self.neighbour):
            digest.update(np.ascontiguousarray(array).data)
        for column in ENTITY_COLUMNS:
            for chunk in self.entities[column].chunks:
                _, starts, content = chunk.buffers()
                ends = np.frombuffer(starts, np.int64, len(chunk) + 1, 8 * chunk.offset)
                digest.update(np.diff(ends).data)
                digest.update(memoryview(content)[ends[0] : ends[-1]] if content else b"")
        return digest.hexdigest()[:16]

    def triples(self) -> NDArray[np.int64]:
        """Head, relation and tail of each triple, ``[T, 3]``."""
        forward = self.step < len(self.relations)
        owner = np.repeat(np.arange(self.num_entities), self.degree)
        return np.stack([owner[forward], self.step[forward], self.neighbour[forward]], 1).astype(np.int64)

    def entries(self, entities: Ids) -> tuple[Ids, Ids]:
        """The entries of some entities, ``[n]``, in ``step`` and ``neighbour``; and the place of the owner of each."""
        starts = self.ptr[entities].astype(np.int64)
        lengths = self.ptr[entities + 1] - starts
        return ranges(starts, lengths), np.repeat(np.arange(len(entities)), lengths)

    def induced(self, entities: Ids) -> Subgraph:
        """The subgraph of some entities, ``[n]``, with all triples between them."""
        place = np.full(self.num_entities, -1)
        place[entities] = np.arange(len(entities))
        entry, head = self.entries(entities)
        step, tail = self.step[entry], place[self.neighbour[entry]]
        inside = (tail >= 0) & (step < len(self.relations))
        return Subgraph(entities, np.stack([head[inside], step[inside], tail[inside]], 1).astype(np.int64))

    def column(self, name: str, rows: Iterable[int] | None = None) -> list[str]:
        """The ids, names, types or texts of some entities, or of all."""
        column = self.entities[name]
        return (column if rows is None else column.take(pa.array(rows, pa.int64()))).to_pylist()

    def rows(self, ids: Sequence[str], *, field: str = "entity") -> Ids:
        """The row of each id.

        Raises:
            DataError: the graph has no such entity; the message has the nearest.
        """
        found = self.find(ids)
        if (unknown := np.flatnonzero(found < 0)).size:
            value = ids[int(unknown[0])]
            hint = did_you_mean(value, self.column("id", range(min(self.num_entities, 50_000))))
            raise DataError(
                f"not an entity of the graph {self.name}", field=field, value=value, expected=f"an id of it{hint}"
            )
        return found

    def find(self, ids: Sequence[str]) -> Ids:
        """The row of each id, -1 for one that the graph does not have."""
        # The ids that are asked for are hashed, not those of the graph, which may be larger than memory.
        asked = pa.array(list(ids), pa.large_utf8()).dictionary_encode()
        place = pc.fill_null(pc.index_in(self.entities["id"], value_set=asked.dictionary), -1).to_numpy()
        row = np.full(len(asked.dictionary) + 1, -1)
        known = np.flatnonzero(place >= 0)
        row[place[known]] = known
        return row[asked.indices.to_numpy()]

    def step_name(self, step: int) -> str:
        """The relation of a step; in the inverse direction its inverse name, or the name with ``~`` before it."""
        relation = self.relations[step % len(self.relations)]
        if step < len(self.relations):
            return relation.name
        return relation.inverse or f"~{relation.name}"


@dataclass(frozen=True)
class Subgraph:
    """A part of a knowledge graph.

    Args:
        entities: rows of its n entities in the graph, ``[n]``; no two the same.
        triples: its m triples, ``[m, 3]``: place of the head in ``entities``, relation, place of the tail.
    """

    entities: Ids
    triples: Ids


@dataclass(frozen=True)
class Questions:
    """Questions about a graph with their answers.

    Args:
        texts: the questions.
        topics: rows of the entities that each question names; none where it names none, or they are not known.
        answers: rows of the entities that answer each.
        paths: steps of the gold path from the (only) topic; None where it is not known.
        missing: number of answers of each question that the graph does not have.
        unknown: number of topics of each question that the graph does not have.
        hops: the number of hops of each question as the data states it; None where it does not.
    """

    texts: tuple[str, ...]
    topics: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[int, ...], ...]
    paths: tuple[tuple[int, ...] | None, ...] = ()
    missing: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()
    hops: int | None = None

    def __post_init__(self) -> None:
        for field in ("topics", "answers", "paths", "missing", "unknown"):
            column: tuple[Any, ...] = getattr(self, field)
            if len(column) != len(self.texts) and (column or field in ("topics", "answers")):
                raise DataError("not one for each question", field=field, value=len(column), expected=str(len(self)))

    def __len__(self) -> int:
        return len(self.texts)

    def sample(self, count: int, *, seed: int) -> Questions:
        """``count`` of the questions at random, or all where there are fewer; a smaller sample is part of a larger."""
        return self.divide(count, seed=seed)[0]

    def divide(self, count: int, *, seed: int) -> tuple[Questions, Questions]:
        """The questions of `sample`, and the others."""
        order = np.random.default_rng(seed).permutation(len(self))
        return self[order[:count]], self[order[count:]]

    def __getitem__(self, rows: Iterable[int]) -> Questions:
        chosen = [int(row) for row in rows]

        def select(column: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(column[row] for row in chosen) if column else ()

        columns = (self.texts, self.topics, self.answers, self.paths, self.missing, self.unknown)
        return Questions(*map(select, columns), hops=self.hops)


def ranges(starts: Ids, lengths: Ids) -> Ids:
    """Concatenates ``arange(s, s + n)`` over the pairs (s, n)."""
    return np.arange(lengths.sum()) + np.repeat(starts - (lengths.cumsum() - lengths), lengths)


def different(numbers: Ids) -> Ids:
    """The different values among ``numbers``, ``[n]``, ascending.

    For millions of numbers many times faster than `numpy.unique`, which hashes them since NumPy 2.3.
    """
    ordered = np.sort(numbers)
    return ordered[np.diff(ordered, prepend=ordered[:1] - 1) > 0]


def entity_table(
    ids: Sequence[str] | pa.Array,
    *,
    names: Sequence[str] | pa.Array | None = None,
    types: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
) -> pa.Table:
    """The table of entities; the names are the ids where there are none, types and texts then empty."""
    blank = pa.repeat(pa.scalar("", pa.large_utf8()), len(ids))
    columns = {"id": ids, "name": ids if names is None else names, "type": types, "text": texts}
    return pa.table({name: blank if column is None else _text(column) for name, column in columns.items()})


def _text(column: Any) -> pa.Array:
    return pa.array(column, pa.large_utf8()) if isinstance(column, list | tuple) else column.cast(pa.large_utf8())


def _checked_entities(entities: pa.Table) -> pa.Table:
    for name in ENTITY_COLUMNS:
        if name not in entities.column_names:
            raise DataError("the column is missing", field=name, expected=f"the columns {', '.join(ENTITY_COLUMNS)}")
        if entities[name].null_count:
            raise DataError("a value is missing", field=name, expected="a text for each entity, which may be empty")
    counts = entities["id"].value_counts()
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        raise DataError("an id occurs twice", field="id", value=repeated[0]["values"].as_py(), expected="different ids")
    return entities.select(ENTITY_COLUMNS)
