"""A store from a folder of Parquet files, read some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jepakit.errors import DataError
from jepakit.files import reading
from jepakit.graph.datasets.tables import LABELS, Rows, class_ids, feature_matrix
from jepakit.graph.large.store import write_store

Ids = NDArray[np.int64]

_ROWS_AT_ONCE = 1 << 18
_NODE, _ENDS = "node", ("source", "target")


def store_parquet(source: str | Path, folder: str | Path, *, replace: bool = False) -> Path:
    """Writes a store of a single graph, from ``edges.parquet`` and ``nodes.parquet`` in a folder.

    The columns are those of `jepakit.graph.datasets.files.load_graph_files`: ``source`` and ``target`` of undirected
    edges; ``node``, an attribute for each other column, and ``label`` or ``y``, the class of a node. Ids are whole
    numbers, attributes are numbers or lists of them. Without attributes the nodes have a column of ones.

    Memory: as `jepakit.graph.large.store.write_store`, with 24 bytes more for each node.

    Args:
        source: the folder to read.
        folder: where to write.
        replace: take the place of a store that is there.

    Returns:
        ``folder``.

    Raises:
        DataError: a file or column is missing or of another type, an id is missing or occurs twice, or an edge names a
            missing node.
        ModelError: ``folder`` holds something, or cannot be written.
    """
    nodes = _Nodes(Path(source) / "nodes.parquet")
    edges = _Edges(Path(source) / "edges.parquet", nodes)
    node_y, names = nodes.classes()
    return write_store(folder, nodes.features(), edges.parts(), node_y=node_y, label_names=names, replace=replace)


class _Nodes:
    """The rows of ``nodes.parquet``: their ids are read first, their attributes when they are written."""

    def __init__(self, file: Path) -> None:
        self.file = file
        schema = _schema(file, (_NODE,))
        labels = [name for name in LABELS if name in schema.names]
        if len(labels) == 2:
            raise DataError("both 'label' and 'y' are given", file=file, expected="one of them")
        self.label = labels[0] if labels else None
        self.attributes = [name for name in schema.names if name not in (_NODE, self.label)]
        for name in self.attributes:
            if not _is_numbers(schema.field(name).type):
                expected = "numbers or lists of numbers; leave it out, or make numbers of it"
                raise DataError("not numbers", file=file, field=name, value=schema.field(name).type, expected=expected)
        parts = [_ids(file, batch, _NODE, before) for before, batch in _read(file, [_NODE])]
        self.ids = np.concatenate([np.zeros(0, np.int64), *parts])
        if not len(self.ids):
            raise DataError("the table has no rows", file=file, expected="a row for each node")
        self.numbered = bool((self.ids == np.arange(len(self.ids))).all())
        self.order = None if self.numbered else np.argsort(self.ids, kind="stable")
        if self.order is not None:
            twice = np.flatnonzero(np.diff(self.ids[self.order]) == 0)
            if len(twice):
                row = int(self.order[twice[0] + 1])
                raise DataError("the id occurs twice", file=file, field=_row(row, _NODE), value=int(self.ids[row]))

    def rows_of(self, ids: Ids, file: Path, column: str, before: int) -> Ids:
        """The rows of ids, which are in a column of a file, after ``before`` other rows."""
        count = len(self.ids)
        if self.order is None:
            rows, missing = ids, (ids < 0) | (ids >= count)
        else:
            place = np.searchsorted(self.ids, ids, sorter=self.order).clip(max=count - 1)
            rows = self.order[place]
            missing = self.ids[rows] != ids
        if missing.any():
            at = int(missing.argmax())
            expected = f"one of {self.file.name}"
            place = _row(before + at, column)
            raise DataError("no such node", file=file, field=place, value=int(ids[at]), expected=expected)
        return rows

    def features(self) -> Iterator[NDArray[np.float32]]:
        """Rows of ``x``."""
        for before, batch in _read(self.file, self.attributes or [_NODE]):
            if not self.attributes:
                yield np.ones((len(batch), 1), np.float32)
                continue
            matrix, _ = feature_matrix(self._rows(batch, before, self.attributes))
            assert matrix is not None
            yield matrix

    def classes(self) -> tuple[Ids | None, tuple[str, ...]]:
        """The class of each node, and the names of the classes in ascending order."""
        if self.label is None:
            return None, ()
        codes: list[Ids] = []
        numbers: dict[str, int] = {}
        for before, batch in _read(self.file, [self.label]):
            own, names = class_ids(self._rows(batch, before, [self.label]), self.label)
            table = np.array([numbers.setdefault(name, len(numbers)) for name in names] + [-1])
            codes.append(table[own])
        kind = self._plain_type(self.label)
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind)
        ascending = sorted(numbers, key=None if text else float)
        final = np.array([ascending.index(name) for name in numbers] + [-1])
        return final[np.concatenate(codes)], tuple(ascending)

    def _plain_type(self, name: str) -> pa.DataType:
        kind = _schema(self.file, ()).field(name).type
        return kind.value_type if pa.types.is_dictionary(kind) else kind

    def _rows(self, batch: pa.Table, before: int, names: Sequence[str]) -> Rows:
        columns = {name: _plain(batch.column(name)) for name in names}
        return Rows(columns, lambda row: (self.file, f"row {before + row + 1}"), len(batch))


class _Edges:
    def __init__(self, file: Path, nodes: _Nodes) -> None:
        self.file, self.nodes = file, nodes
        _schema(file, _ENDS)

    def parts(self) -> Iterator[Ids]:
        """Rows of the nodes that edges join, ``[2, e]``."""
        for before, batch in _read(self.file, _ENDS):
            ends = [self.nodes.rows_of(_ids(self.file, batch, name, before), self.file, name, before) for name in _ENDS]
            yield np.stack(ends)


def _schema(file: Path, required: Sequence[str]) -> pa.Schema:
    with reading(file), pq.ParquetFile(file) as opened:
        schema = opened.schema_arrow
    for name in required:
        if name not in schema.names:
            raise DataError(f"no column {name!r}", file=file, value=schema.names)
    if "graph" in schema.names:
        expected = "a single graph, without the column 'graph'"
        raise DataError("several graphs", file=file, field="graph", expected=expected)
    return schema


def _read(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
    """Tables of some rows, each with the number of rows before it."""
    before = 0
    with reading(file), pq.ParquetFile(file) as opened:
        for batch in opened.iter_batches(_ROWS_AT_ONCE, columns=list(columns)):
            table = pa.table(batch)
            yield before, table
            before += len(table)


def _ids(file: Path, batch: pa.Table, name: str, before: int) -> Ids:
    column = _plain(batch.column(name))
    if not pa.types.is_integer(column.type):
        raise DataError("not whole numbers", file=file, field=name, value=column.type, expected="numbers of nodes")
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError("an id is missing", file=file, field=_row(before + row, name))
    return column.to_numpy(zero_copy_only=False).astype(np.int64)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    kind = column.type
    plain = column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column
    return pa.concat_arrays(plain.chunks) if plain.num_chunks else pa.array([], plain.type)


def _is_numbers(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    value = kind.value_type if lists else kind
    return pa.types.is_integer(value) or pa.types.is_floating(value) or pa.types.is_boolean(value)


def _row(row: int, column: str) -> str:
    return f"row {row + 1}, column {column}"
