"""Reads a folder of Parquet files (nodes, edges, optionally graphs) into tables, without a loop over rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jepakit.errors import DataError
from jepakit.files import reading
from jepakit.graph.datasets.columns import Rows
from jepakit.graph.datasets.tables import LABELS, GraphTables

_Columns = dict[str, pa.Array]


def read_parquet_tables(folder: Path) -> GraphTables:
    """Reads ``edges.parquet``, ``nodes.parquet`` and ``graphs.parquet``, which is optional.

    Graphs are in the order of ``graphs.parquet``, or else of their first nodes.

    Raises:
        DataError: a file or column is missing or unreadable, or an id is null, occurs twice or refers to no row.
    """
    nodes = _read(folder / "nodes.parquet", ("node",))
    edges = _read(folder / "edges.parquet", ("source", "target"))
    graphs = _read(folder / "graphs.parquet", ()) if (folder / "graphs.parquet").exists() else None
    num_nodes, num_edges = len(nodes["node"]), len(edges["source"])
    if num_nodes == 0:
        raise DataError("there are no nodes", file=folder / "nodes.parquet", expected="a row for each node")
    num_graphs, graph_of_node, graph_of_edge = _graph_ids(folder, nodes, edges, graphs)
    order = np.argsort(graph_of_node, kind="stable")
    packed_id = np.empty(num_nodes, dtype=np.int64)
    packed_id[order] = np.arange(num_nodes)
    features = {name: column.take(pa.array(order)) for name, column in nodes.items() if name not in ("graph", "node")}
    return GraphTables(
        nodes=Rows(features, lambda row: (folder / "nodes.parquet", f"row {order[row] + 1}"), num_nodes),
        nodes_per_graph=np.bincount(graph_of_node, minlength=num_graphs).astype(np.int64),
        edge_index=packed_id[_edge_ends(folder, nodes, edges, graph_of_node, graph_of_edge)],
        edges=Rows(
            {name: column for name, column in edges.items() if name not in ("graph", "source", "target")},
            lambda row: (folder / "edges.parquet", f"row {row + 1}"),
            num_edges,
        ),
        graphs=Rows(
            {name: column for name, column in (graphs or {}).items() if name in LABELS},
            lambda row: (folder / ("nodes.parquet" if graphs is None else "graphs.parquet"), f"graph {row + 1}"),
            num_graphs,
        ),
        directed=False,
    )


def _read(file: Path, required: Sequence[str]) -> _Columns:
    # `read_table` would add a column for a parent folder named like `graph=1`.
    with reading(file), pq.ParquetFile(file) as opened:
        table = opened.read()
    for name in required:
        if name not in table.column_names:
            raise DataError(f"no column {name!r}", file=file, value=table.column_names)
    return {name: _plain(table.column(name)) for name in table.column_names}


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """One array without dictionary encoding, which categorical columns of data frames have."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    joined = column.cast(kind).combine_chunks()
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined


def _graph_ids(
    folder: Path, nodes: _Columns, edges: _Columns, graphs: _Columns | None
) -> tuple[int, np.ndarray, np.ndarray]:
    """The number of graphs, the graph of each node and that of each edge."""
    tables = {"nodes": nodes, "edges": edges} | ({} if graphs is None else {"graphs": graphs})
    without = [name for name, table in tables.items() if "graph" not in table]
    if len(without) == len(tables):
        if graphs is not None and any(len(column) != 1 for column in graphs.values()):
            expected = "the column, or a single row"
            raise DataError("no column 'graph'", file=folder / "graphs.parquet", expected=expected)
        return 1, np.zeros(len(nodes["node"]), dtype=np.int64), np.zeros(len(edges["source"]), dtype=np.int64)
    if without:
        expected = "the column in every file or in none"
        raise DataError("no column 'graph'", file=folder / f"{without[0]}.parquet", expected=expected)
    listed = "nodes" if graphs is None else "graphs"
    files = [folder / f"{name}.parquet" for name in (listed, "nodes", "edges")]
    ids, of_node, of_edge = _codes([tables[listed]["graph"], nodes["graph"], edges["graph"]], files, ["graph"] * 3)
    num_graphs = int(ids.max()) + 1
    if graphs is not None and num_graphs < len(ids):
        row = int((ids != np.arange(len(ids))).argmax())
        _refuse(files[0], row, "graph", "the graph occurs twice", graphs["graph"])
    for codes, file, table in ((of_node, files[1], nodes), (of_edge, files[2], edges)):
        if (codes >= num_graphs).any():
            row = int((codes >= num_graphs).argmax())
            _refuse(file, row, "graph", f"the graph is not in {listed}.parquet", table["graph"])
    return num_graphs, of_node, of_edge


def _edge_ends(
    folder: Path, nodes: _Columns, edges: _Columns, graph_of_node: np.ndarray, graph_of_edge: np.ndarray
) -> np.ndarray:
    """``[2, E]`` rows of ``nodes.parquet``."""
    node_file, edge_file = folder / "nodes.parquet", folder / "edges.parquet"
    columns = [nodes["node"], edges["source"], edges["target"]]
    ids, source, target = _codes(columns, [node_file, edge_file, edge_file], ["node", "source", "target"])
    width = int(max(codes.max(initial=0) for codes in (ids, source, target))) + 1
    key = graph_of_node * width + ids
    order = np.argsort(key, kind="stable")
    repeats = np.flatnonzero(np.diff(key[order]) == 0)
    if repeats.size:
        _refuse(node_file, int(order[repeats[0] + 1]), "node", "the node occurs twice in its graph", nodes["node"])
    ends = []
    for name, codes in (("source", source), ("target", target)):
        end_key = graph_of_edge * width + codes
        at = np.minimum(np.searchsorted(key[order], end_key), len(order) - 1)
        dangling = key[order][at] != end_key
        if dangling.any():
            row = int(dangling.argmax())
            _refuse(edge_file, row, name, "an edge names a node that does not exist in its graph", edges[name])
        ends.append(order[at])
    return np.stack(ends)


def _codes(columns: Sequence[pa.Array], files: Sequence[Path], names: Sequence[str]) -> list[np.ndarray]:
    """Numbers the distinct ids of all columns from 0, in order of first appearance."""
    for column, file, name in zip(columns, files, names, strict=True):
        if column.null_count:
            row = int(column.is_null().to_numpy(zero_copy_only=False).argmax())
            _refuse(file, row, name, "no id", column)
    try:
        joined = pa.concat_arrays([columns[0], *(column.cast(columns[0].type) for column in columns[1:])])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        types = ", ".join(f"{file.name} {name}: {c.type}" for c, file, name in zip(columns, files, names, strict=True))
        raise DataError(f"ids of different types: {types}", file=files[0].parent, expected="one type") from None
    codes = joined.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return np.split(codes, np.cumsum([len(column) for column in columns])[:-1])


def _refuse(file: Path, row: int, name: str, problem: str, column: pa.Array) -> None:
    raise DataError(problem, file=file, field=f"row {row + 1}, column {name}", value=column[row].as_py())
