"""An index of unit vectors: added, deleted, searched by cosine, kept in a folder and mapped from there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from jepakit.errors import ConfigError, DataError, ModelError, require_at_least, require_choice
from jepakit.files import read_json, reading, write_json
from jepakit.files.arrays import map_array, write_array
from jepakit.search.hits import Hits, existing_rows
from jepakit.search.nearest import Engine, Exact, Graph

Vectors = Tensor | np.ndarray
"""``[N, D]``; any float type is brought to float32."""

_SETTINGS, _ALIVE = "vectors.json", "alive.npy"
#: Small blocks of vectors are joined until they have this many rows.
_BLOCK = 65_536
#: The largest deviation of a vector's length from 1; rounding to half precision stays below it.
_TOLERANCE = 2e-3
#: Fraction of deleted rows above which an index is compacted.
_COMPACT_ABOVE = 0.25


@dataclass(frozen=True)
class IndexConfig:
    """How the nearest vectors are found.

    Args:
        kind: ``exact`` compares a query with every vector; ``hnsw`` walks a graph, which is faster from some hundred
            thousand vectors on, takes long to build, and misses a hit now and then.
        links: edges of a vector in the graph (HNSW's M); more links raise recall and memory.
        ef_construction: candidates examined when a vector is added; more give a better graph, more slowly.
        ef_search: candidates examined in a search; more raise recall and time.

    Raises:
        ConfigError: a value is out of range.
    """

    kind: Literal["exact", "hnsw"] = "exact"
    links: int = 32
    ef_construction: int = 200
    ef_search: int = 128

    def __post_init__(self) -> None:
        require_choice("kind", self.kind, ("exact", "hnsw"))
        require_at_least(self, links=2, ef_construction=1, ef_search=1)


class VectorIndex:
    """Unit vectors by row. Rows keep their numbers: deleted rows are skipped in searches, new rows are appended.

    Rows of zeros, the vectors of blank texts, are allowed; their cosine to every query is 0.

    Args:
        engine: searches the vectors.
        alive: ``[N]`` bool, False for deleted rows.
        config: configuration of the engine.
    """

    def __init__(self, engine: Engine, alive: np.ndarray, config: IndexConfig) -> None:
        self._engine, self._alive, self.config = engine, alive, config

    @classmethod
    def build(
        cls,
        vectors: Vectors | Iterable[Vectors],
        config: IndexConfig | None = None,
        *,
        names: Sequence[str] | None = None,
    ) -> VectorIndex:
        """An index in memory.

        Args:
            vectors: ``[N, D]``, all at once or in blocks of rows; float32 on the CPU is not copied.
            config: exact by default.
            names: ids of the rows, for messages.

        Raises:
            DataError: a vector is not finite or not of length 1 (or 0), blocks differ in width, or there is no block.
        """
        config = config or IndexConfig()
        index: VectorIndex | None = None
        for block in _joined([vectors] if isinstance(vectors, Tensor | np.ndarray) else vectors):
            if index is None:
                index = cls(_empty(block.shape[-1], config), np.zeros(0, bool), config)
            index.add(block, names=names if names is None else names[index.size :])
        if index is None:
            raise DataError("there are no vectors", field="vectors", expected="at least one block, which may be empty")
        return index

    @property
    def dim(self) -> int:
        """The width of a vector."""
        return self._engine.dim

    @property
    def size(self) -> int:
        """The number of rows, deleted ones included."""
        return len(self._alive)

    def __len__(self) -> int:
        return int(np.count_nonzero(self._alive))

    @property
    def sparse(self) -> bool:
        """Whether more than a quarter of the rows is deleted, so that `compacted` is worth its time."""
        return self.size - len(self) > _COMPACT_ABOVE * self.size

    @property
    def alive(self) -> np.ndarray:
        """``[N]`` bool: the rows that are not deleted."""
        return self._alive

    def add(self, vectors: Vectors, *, names: Sequence[str] | None = None) -> None:
        """Appends rows, ``[n, D]``.

        Raises:
            DataError: as `build`.
        """
        block = check_vectors(vectors, self.dim, first=self.size, names=names)
        if len(block):
            self._engine.add(block)
            self._alive = np.concatenate([self._alive, np.ones(len(block), bool)])

    def delete(self, rows: Vectors | Sequence[int]) -> None:
        """Deletes rows (int64): searches skip them.

        Raises:
            DataError: there is no such row, or it is deleted already.
        """
        numbers = existing_rows(rows, self._alive)
        self._alive = self._alive.copy()
        self._alive[numbers] = False

    def compacted(self) -> VectorIndex:
        """An index of the rows that are not deleted, in their order, numbered from 0. A graph is rebuilt."""
        rows = np.flatnonzero(self._alive)
        if not len(rows):
            return VectorIndex(_empty(self.dim, self.config), np.zeros(0, bool), self.config)
        return VectorIndex.build((self._engine.take(some) for some in _split(rows)), self.config)

    def search(self, queries: Vectors, k: int, allowed: np.ndarray | None = None) -> Hits:
        """The nearest rows of each query.

        Args:
            queries: ``[Q, D]``; a row of zeros has no hits.
            k: hits for each query.
            allowed: ``[N]`` bool, the rows to search; None: all.

        Returns:
            `Hits` ``[Q, k]``; scores are inner products.

        Raises:
            DataError: the queries are of another width, or not finite.
            ConfigError: ``k`` is less than 1.
        """
        if k < 1:
            raise ConfigError("k", k, "at least 1")
        wanted = check_vectors(queries, self.dim, field="queries")
        if allowed is not None or not self._alive.all():
            allowed = self._alive if allowed is None else self._alive & allowed
        if not len(wanted) or not len(self):
            return _nothing(len(wanted), k)
        hits = self._engine.search(wanted, k, allowed)
        blank = torch.from_numpy(~wanted.any(axis=1))[:, None]
        return Hits(hits.rows.masked_fill(blank, -1), hits.scores.masked_fill(blank, -torch.inf))

    def vectors(self, rows: Vectors | Sequence[int]) -> Tensor:
        """The vectors of some rows, ``[n, D]``.

        Raises:
            DataError: there is no such row, or it is deleted.
        """
        return torch.from_numpy(self._engine.take(existing_rows(rows, self._alive)))

    def save(self, folder: str | Path) -> None:
        """Writes into a folder. Files that have not changed since they were read are linked, not copied."""
        folder = Path(folder)
        self._engine.save(folder)
        write_array(folder / _ALIVE, self._alive)
        write_json(folder / _SETTINGS, {"dim": self.dim, **asdict(self.config)})

    @classmethod
    def load(cls, folder: str | Path) -> VectorIndex:
        """Opens a folder of `save`; the vectors are mapped from disk.

        Raises:
            ModelError: a file is missing or damaged; the message names it.
        """
        folder = Path(folder)
        with reading(folder / _SETTINGS, ModelError):
            settings = read_json(folder / _SETTINGS, ModelError)
            dim = int(settings.pop("dim"))
            config = IndexConfig(**settings)
        alive = map_array(folder / _ALIVE, np.bool_)
        engine = _read(folder, config)
        if (engine.dim, engine.count) != (dim, len(alive)):
            found = f"{engine.count} vectors of {engine.dim} numbers, {len(alive)} of {dim} expected"
            raise ModelError(f"{folder / engine.file_name}: damaged ({found})")
        return cls(engine, np.asarray(alive), config)


def _empty(dim: int, config: IndexConfig) -> Engine:
    return Exact(dim) if config.kind == "exact" else Graph(dim, **_graph_options(config))


def _read(folder: Path, config: IndexConfig) -> Engine:
    if config.kind == "exact":
        return Exact.read(folder / Exact.file_name)
    return Graph.read(folder / Graph.file_name, **_graph_options(config))


def _graph_options(config: IndexConfig) -> dict[str, int]:
    return {"links": config.links, "ef_construction": config.ef_construction, "ef_search": config.ef_search}


def _as_array(vectors: Vectors) -> np.ndarray:
    array = vectors.detach().cpu().float().numpy() if isinstance(vectors, Tensor) else vectors
    return np.ascontiguousarray(array, np.float32)


def _joined(blocks: Iterable[Vectors]) -> Iterator[np.ndarray]:
    waiting: list[np.ndarray] = []
    for block in blocks:
        array = _as_array(block)
        if waiting and array.shape[-1] != waiting[0].shape[-1]:
            raise DataError(
                "blocks of vectors differ in width",
                field="vectors",
                value=array.shape[-1],
                expected=str(waiting[0].shape[-1]),
            )
        waiting.append(array)
        if sum(map(len, waiting)) >= _BLOCK:
            yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
            waiting = []
    if waiting:
        yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting)


def _split(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), _BLOCK):
        yield rows[start : start + _BLOCK]


def check_vectors(
    given: Vectors, dim: int, *, first: int = 0, names: Sequence[str] | None = None, field: str = "vectors"
) -> np.ndarray:
    """Vectors as float32 on the CPU, ``[n, D]``.

    Args:
        given: vectors of any float type.
        dim: the expected width D.
        first: number of the first row, for messages.
        names: ids of the rows, for messages.
        field: name of the vectors, for messages.

    Raises:
        DataError: a row is no unit vector of this width and not zero.
    """
    vectors = _as_array(given)
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise DataError("vectors of another width", field=field, value=vectors.shape, expected=f"[N, {dim}]")
    # NaN and inf show in the length too, so the vectors need not be checked element by element.
    length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    sound = (np.abs(length - 1) <= _TOLERANCE) | (length == 0)
    if not sound.all():
        row = int(np.flatnonzero(~sound)[0])
        name = "" if names is None or row >= len(names) else f" (id {names[row]!r})"
        finite = bool(np.isfinite(vectors[row]).all())
        raise DataError(
            "the vector is not of length 1" if finite else "the vector is not finite",
            field=f"{field}: row {first + row}{name}",
            value=float(length[row]) if finite else None,
            expected="unit vectors, or rows of zeros for blank texts",
        )
    return vectors


def _nothing(queries: int, k: int) -> Hits:
    return Hits(torch.full((queries, k), -1), torch.full((queries, k), -torch.inf))
