"""Reads a folder of Parquet files (nodes, edges, optionally graphs) into tables, without a loop over rows."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jepakit.errors import DataError
from jepakit.files import reading
from jepakit.graph.data import Origins
from jepakit.graph.datasets.assemble import GraphTables
from jepakit.graph.datasets.tables import LABELS, Rows


class _Ids(NamedTuple):
    """A column of ids, and where it is."""

    file: Path
    name: str
    values: pa.Array

    def refuse(self, bad: np.ndarray, problem: str) -> None:
        """Raises DataError for the first row where ``bad`` is true."""
        if bad.any():
            row = int(bad.argmax())
            field, value = f"row {row + 1}, column {self.name}", self.values[row].as_py()
            raise DataError(problem, file=self.file, field=field, value=value)


class _Table(NamedTuple):
    file: Path
    columns: dict[str, pa.Array]

    def ids(self, name: str) -> _Ids:
        return _Ids(self.file, name, self.columns[name])

    def without(self, *ids: str) -> dict[str, pa.Array]:
        return {name: column for name, column in self.columns.items() if name not in ids}


def read_parquet_tables(folder: Path) -> GraphTables:
    """Reads ``edges.parquet``, ``nodes.parquet`` and ``graphs.parquet``, which is optional.

    Graphs are in the order of ``graphs.parquet``, or else of their first nodes.

    Raises:
        DataError: a file or column is missing or unreadable, or an id is null, occurs twice or refers to no row.
    """
    nodes = _read(folder / "nodes.parquet", ("node",))
    edges = _read(folder / "edges.parquet", ("source", "target"))
    graphs = _read(folder / "graphs.parquet", ()) if (folder / "graphs.parquet").exists() else None
    num_nodes = len(nodes.columns["node"])
    if num_nodes == 0:
        raise DataError("the table has no rows", file=nodes.file, expected="a row for each node")
    num_graphs, graph_of_node, graph_of_edge = _graph_ids(nodes, edges, graphs)
    order = np.argsort(graph_of_node, kind="stable")
    packed_id = np.argsort(order)
    features = {name: column.take(pa.array(order)) for name, column in nodes.without("graph", "node").items()}
    labels = {} if graphs is None else {name: graphs.columns[name] for name in LABELS if name in graphs.columns}
    return GraphTables(
        nodes=Rows(features, lambda row: (nodes.file, f"row {order[row] + 1}"), num_nodes),
        node_ids=nodes.columns["node"].take(pa.array(order)),
        nodes_per_graph=np.bincount(graph_of_node, minlength=num_graphs),
        edge_index=packed_id[_edge_ends(nodes, edges, graph_of_node, graph_of_edge)],
        edges=Rows(
            edges.without("graph", "source", "target"), lambda row: (edges.file, f"row {row + 1}"), len(graph_of_edge)
        ),
        graphs=Rows(labels, lambda row: ((graphs or nodes).file, f"graph {row + 1}"), num_graphs),
        directed=False,
        origins=_origins(folder, graphs or nodes, num_graphs),
    )


def _origins(folder: Path, listed: _Table, num_graphs: int) -> Origins:
    """The ids of the graphs, in the order of their first rows."""
    columns: dict[str, Sequence[str | int]] = {"file": [str(folder)] * num_graphs}
    if "graph" in listed.columns:
        columns["id"] = [str(graph) for graph in listed.columns["graph"].unique().to_pylist()]
    return Origins.of_all(**columns)


def _read(file: Path, required: Sequence[str]) -> _Table:
    # `read_table` would add a column for a parent folder named like `graph=1`.
    with reading(file), pq.ParquetFile(file) as opened:
        table = opened.read()
    repeated = next((name for name, count in Counter(table.column_names).items() if count > 1), None)
    if repeated is not None:
        raise DataError("the column occurs twice", file=file, field=repeated, expected="each column once")
    for name in required:
        if name not in table.column_names:
            raise DataError(f"no column {name!r}", file=file, value=table.column_names)
    return _Table(file, {name: _plain(table.column(name)) for name in table.column_names})


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """One array of a type that can be sorted, joined and taken from."""
    joined = column.cast(_plain_type(column.type)).combine_chunks()
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """The type without dictionary encoding (categorical columns of data frames) and views (how polars writes)."""
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_list_view(kind) or pa.types.is_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    if pa.types.is_large_list_view(kind) or pa.types.is_large_list(kind):
        return pa.large_list(_plain_type(kind.value_type))
    return kind


def _graph_ids(nodes: _Table, edges: _Table, graphs: _Table | None) -> tuple[int, np.ndarray, np.ndarray]:
    """The number of graphs, the graph of each node and that of each edge."""
    tables = [nodes, edges] if graphs is None else [nodes, edges, graphs]
    without = [table for table in tables if "graph" not in table.columns]
    if len(without) == len(tables):
        if graphs is not None and any(len(column) != 1 for column in graphs.columns.values()):
            raise DataError("no column 'graph'", file=graphs.file, expected="the column, or a single row")
        of_node, of_edge = (
            np.zeros(len(rows), dtype=np.int64) for rows in (nodes.columns["node"], edges.columns["source"])
        )
        return 1, of_node, of_edge
    if without:
        expected = "the column in every file or in none"
        raise DataError("no column 'graph'", file=without[0].file, expected=expected)
    listed, of_nodes, of_edges = (graphs or nodes).ids("graph"), nodes.ids("graph"), edges.ids("graph")
    ids, of_node, of_edge = _codes(listed, of_nodes, of_edges)
    if graphs is not None:
        listed.refuse(ids != np.arange(len(ids)), "the graph occurs twice")
    num_graphs = int(ids.max(initial=-1)) + 1
    for column, codes in ((of_nodes, of_node), (of_edges, of_edge)):
        column.refuse(codes >= num_graphs, f"the graph is not in {listed.file.name}")
    return num_graphs, of_node, of_edge


def _edge_ends(nodes: _Table, edges: _Table, graph_of_node: np.ndarray, graph_of_edge: np.ndarray) -> np.ndarray:
    """``[2, E]`` rows of ``nodes.parquet``."""
    columns = nodes.ids("node"), edges.ids("source"), edges.ids("target")
    ids, *ends = _codes(*columns)
    width = int(max(codes.max(initial=0) for codes in (ids, *ends))) + 1
    key = graph_of_node * width + ids
    order = np.argsort(key, kind="stable")
    repeated = np.zeros(len(key), dtype=bool)
    repeated[order[1:]] = np.diff(key[order]) == 0
    columns[0].refuse(repeated, "the node occurs twice in its graph")
    rows = []
    for column, codes in zip(columns[1:], ends, strict=True):
        end_key = graph_of_edge * width + codes
        at = np.minimum(np.searchsorted(key[order], end_key), len(order) - 1)
        column.refuse(key[order][at] != end_key, "an edge names a node that does not exist in its graph")
        rows.append(order[at])
    return np.stack(rows)


def _codes(*columns: _Ids) -> list[np.ndarray]:
    """Numbers the distinct ids of all columns from 0, in order of first appearance."""
    for column in columns:
        column.refuse(column.values.is_null().to_numpy(zero_copy_only=False), "no id")
    arrays = [_comparable(column) for column in columns]
    try:
        joined = pa.concat_arrays([values.cast(arrays[0].type) for values in arrays])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        types = ", ".join(f"{file.name} {name}: {values.type}" for file, name, values in columns)
        raise DataError(f"ids of different types: {types}", file=columns[0].file.parent, expected="one type") from None
    codes = joined.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return np.split(codes, np.cumsum([len(column.values) for column in columns])[:-1])


def _comparable(column: _Ids) -> pa.Array:
    """The ids with whole numbers as int64, however they are stored: data frames turn integers with gaps into floats."""
    kind = column.values.type
    if pa.types.is_nested(kind):
        expected = "strings or whole numbers"
        raise DataError(f"ids of type {kind}", file=column.file, field=f"column {column.name}", expected=expected)
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        return column.values
    if pa.types.is_floating(kind):
        column.refuse(np.isnan(column.values.to_numpy(zero_copy_only=False)), "no id")
    try:
        return column.values.cast(pa.float64() if pa.types.is_float16(kind) else kind).cast(pa.int64())
    except pa.ArrowInvalid:
        return column.values
