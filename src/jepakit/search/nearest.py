"""Two engines for nearest unit vectors: compare with all of them, or search a graph (HNSW).

Use them through `jepakit.search.vectors.VectorIndex`, which also keeps track of deleted rows.
"""

from __future__ import annotations

import importlib
import math
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jepakit.errors import MissingExtraError, ModelError
from jepakit.files.arrays import map_array
from jepakit.search.hits import Hits

#: Rows (24 MB of vectors of 384 numbers) and queries that are scored at once.
_BLOCK_ROWS, _BLOCK_QUERIES = 16_384, 256
#: If a filter allows fewer than one row in 8, the allowed rows are gathered; otherwise all are scored and masked.
_GATHER_BELOW_ONE_IN = 8

Chunk = tuple[np.ndarray, np.ndarray]
"""Row numbers ``[n]`` and their vectors ``[n, D]``."""


class Engine(ABC):
    """Vectors by row, and search by inner product.

    Attributes:
        file_name: name of its file in a folder.
        file: the file it was read from; None once rows were added.
        dim: width of a vector.
        count: number of rows.
    """

    file_name: str
    file: Path | None = None
    dim: int
    count: int

    @abstractmethod
    def add(self, vectors: np.ndarray) -> None:
        """Appends rows, ``[n, D]`` float32."""

    @abstractmethod
    def take(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of some rows, ``[n, D]``."""

    @abstractmethod
    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> Hits:
        """The ``k`` nearest rows of each query, among the rows in ``allowed`` (``[N]`` bool); None: among all."""

    @abstractmethod
    def write(self, file: Path) -> None:
        """Writes everything to a new file."""

    def save(self, folder: Path) -> None:
        """Writes into a folder; an unchanged file is linked, or copied where links are not supported."""
        target = folder / self.file_name
        if self.file is None:
            self.write(target)
            return
        try:
            os.link(self.file, target)
        except OSError:
            shutil.copyfile(self.file, target)


class Exact(Engine):
    """Every vector is compared, block by block, out of memory or a mapped file.

    A product of matrices and `torch.topk`, not `faiss.IndexFlatIP`: among 200 000 vectors of 384 numbers, one thread,
    it takes 11 ms for a query and 84 ms for 32 (FAISS: 12 ms and 380 ms, mapped or not), and rows that are not allowed
    need no second copy. The file is a plain array, so that a reader maps it at once.
    """

    file_name = "vectors.npy"

    def __init__(self, dim: int) -> None:
        self.dim, self.count = dim, 0
        self.blocks: list[np.ndarray] = []

    def add(self, vectors: np.ndarray) -> None:
        """See `Engine.add`."""
        self.blocks.append(vectors)
        self.count += len(vectors)
        self.file = None

    def take(self, rows: np.ndarray) -> np.ndarray:
        """See `Engine.take`."""
        taken = np.empty((len(rows), self.dim), np.float32)
        start = 0
        for block in self.blocks:
            here = (rows >= start) & (rows < start + len(block))
            taken[here] = block[rows[here] - start]
            start += len(block)
        return taken

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> Hits:
        """See `Engine.search`."""
        if allowed is None or np.count_nonzero(allowed) * _GATHER_BELOW_ONE_IN > len(allowed):
            return _scan(queries, k, self._chunks, allowed)
        return _scan(queries, k, lambda: _gathered(self, allowed), None)

    def _chunks(self) -> Iterator[Chunk]:
        first = 0
        for block in self.blocks:
            for start in range(0, len(block), _BLOCK_ROWS):
                part = block[start : start + _BLOCK_ROWS]
                yield np.arange(first + start, first + start + len(part)), part
            first += len(block)

    def write(self, file: Path) -> None:
        """See `Engine.write`."""
        with file.open("wb") as stream:
            header = {"descr": "<f4", "fortran_order": False, "shape": (self.count, self.dim)}
            np.lib.format.write_array_header_1_0(stream, header)
            for block in self.blocks:
                stream.write(block.astype("<f4", copy=False).data)

    @classmethod
    def read(cls, file: Path) -> Exact:
        """Maps a file that `write` made.

        Raises:
            ModelError: it is damaged.
        """
        matrix = map_array(file, np.float32, 2)
        engine = cls(matrix.shape[1])
        engine.add(matrix)
        engine.file = file
        return engine


class Graph(Engine):
    """A hierarchical navigable small world of FAISS (Malkov and Yashunin 2018): near-exact, in logarithmic time.

    Args:
        dim: width of a vector.
        links: edges of a vector in the graph.
        ef_construction: candidates looked at when a vector is added.
        ef_search: candidates looked at in a search.
    """

    file_name = "vectors.faiss"

    def __init__(self, dim: int, *, links: int, ef_construction: int, ef_search: int) -> None:
        faiss = _faiss()
        self.links, self.ef_construction, self.ef_search = links, ef_construction, ef_search
        self._use(faiss.IndexHNSWFlat(dim, links, faiss.METRIC_INNER_PRODUCT))

    def _use(self, index: Any) -> None:
        self.index, self.dim, self.count = index, int(index.d), int(index.ntotal)
        index.hnsw.efConstruction = self.ef_construction

    def add(self, vectors: np.ndarray) -> None:
        """See `Engine.add`."""
        if self.file is not None:
            # A mapped index cannot grow.
            self._use(_faiss().read_index(str(self.file)))
            self.file = None
        self.index.add(vectors)
        self.count = int(self.index.ntotal)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """See `Engine.take`."""
        return np.asarray(self.index.reconstruct_batch(rows)) if len(rows) else np.empty((0, self.dim), np.float32)

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> Hits:
        """See `Engine.search`."""
        faiss = _faiss()
        if allowed is None:
            return self._walk(queries, k, faiss.SearchParametersHNSW(efSearch=max(self.ef_search, k)))
        count = int(np.count_nonzero(allowed))
        # Disallowed candidates are dropped, so more candidates are needed. Each costs a comparison with all of its
        # links; where that exceeds a comparison with every allowed row, the allowed rows are scanned instead.
        candidates = math.ceil(max(self.ef_search, k) * self.count / max(count, 1))
        if candidates * self.links >= count:
            return _scan(queries, k, lambda: _gathered(self, allowed), None)
        selected = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        return self._walk(queries, k, faiss.SearchParametersHNSW(efSearch=candidates, sel=selected))

    def _walk(self, queries: np.ndarray, k: int, params: Any) -> Hits:
        scores, rows = self.index.search(queries, min(k, self.count), params=params)
        scores = np.where(rows < 0, -np.inf, scores)
        return Hits.ranked(torch.from_numpy(rows), torch.from_numpy(scores), k)

    def write(self, file: Path) -> None:
        """See `Engine.write`."""
        faiss = _faiss()
        # Written through Python's file: FAISS ignores a failed write of the last bytes (full disk) when it closes one.
        with file.open("wb") as stream:
            faiss.write_index(self.index, faiss.PyCallbackIOWriter(stream.write))

    @classmethod
    def read(cls, file: Path, *, links: int, ef_construction: int, ef_search: int) -> Graph:
        """Maps a file that `write` made.

        Raises:
            ModelError: it is damaged.
        """
        faiss = _faiss()
        engine = cls(1, links=links, ef_construction=ef_construction, ef_search=ef_search)
        try:
            index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise ModelError(f"{file}: damaged ({str(error).splitlines()[0][:200]})") from error
        if not isinstance(index, faiss.IndexHNSWFlat):
            raise ModelError(f"{file}: damaged (not an HNSW index)")
        engine._use(index)
        engine.file = file
        return engine


def _scan(queries: np.ndarray, k: int, chunks: Callable[[], Iterator[Chunk]], allowed: np.ndarray | None) -> Hits:
    """Compares the queries with the vectors of all chunks."""
    starts = range(0, len(queries), _BLOCK_QUERIES)
    parts = [_scan_block(queries[at : at + _BLOCK_QUERIES], k, chunks(), allowed) for at in starts]
    return Hits(torch.cat([hits.rows for hits in parts]), torch.cat([hits.scores for hits in parts]))


def _scan_block(queries: np.ndarray, k: int, chunks: Iterator[Chunk], allowed: np.ndarray | None) -> Hits:
    rows = torch.empty(len(queries), 0, dtype=torch.long)
    scores = torch.empty(len(queries), 0)
    for number, vectors in chunks:
        product = queries @ vectors.T
        if allowed is not None:
            product[:, ~allowed[number]] = -np.inf
        top, place = torch.from_numpy(product).topk(min(k, len(number)), dim=1)
        scores = torch.cat([scores, top], 1)
        rows = torch.cat([rows, torch.from_numpy(number)[place]], 1)
        scores, kept = scores.topk(min(k, scores.shape[1]), dim=1)
        rows = rows.gather(1, kept)
    return Hits.ranked(rows, scores, k)


def _gathered(engine: Engine, allowed: np.ndarray) -> Iterator[Chunk]:
    rows = np.flatnonzero(allowed)
    for start in range(0, len(rows), _BLOCK_ROWS):
        part = rows[start : start + _BLOCK_ROWS]
        yield part, engine.take(part)


def _faiss() -> Any:
    """FAISS, imported only for a graph, and as Any since its type stubs are incomplete."""
    try:
        return importlib.import_module("faiss")
    except ModuleNotFoundError as error:
        raise MissingExtraError("faiss-cpu", "retrieval") from error
