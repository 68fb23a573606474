"""The user's own graphs: node-link JSON, GraphML and Parquet edge lists."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import numpy as np

from jepakit.errors import DataError
from jepakit.files import parse_json, read_text, reading
from jepakit.graph.data import GraphDataset
from jepakit.graph.datasets.columns import Rows, arrow_column
from jepakit.graph.datasets.graphml import read_graphml
from jepakit.graph.datasets.parquet import read_parquet_tables
from jepakit.graph.datasets.tables import LABELS, GraphTables, to_dataset

__all__ = ["load_graph_files"]

_NODE_KEYS = ("id",)
_EDGE_KEYS = ("source", "target", "key")


@dataclass(frozen=True)
class _Record:
    """One graph as its file gives it."""

    file: Path
    place: str
    directed: bool
    attributes: dict[str, Any]
    nodes: list[dict[str, Any]]
    edges: list[dict[str, Any]]


def load_graph_files(path: str | Path) -> GraphDataset:
    """Loads graphs from files of the user's own.

    Formats:

    - ``.json``: networkx's node-link format, one graph or a list of them;
    - ``.graphml``: one graph or more;
    - a folder of ``.json`` or of ``.graphml`` files, read in the order of their names;
    - a folder with ``edges.parquet`` (columns ``graph``, ``source``, ``target`` and features), ``nodes.parquet``
      (``graph``, ``node``, label and features) and, where graphs have labels, ``graphs.parquet`` (``graph``,
      ``label``). For a single graph the column ``graph`` may be left out of all of them.

    What becomes of it:

    - ``x``: the nodes' numbers, truth values and lists of numbers as they stand, strings one-hot; every node must have
      each attribute. A column of ones where there are none.
    - Node ``label`` (or ``y``): for a single graph ``node_y``, -1 where it is missing; for several graphs a feature,
      one-hot even if it holds numbers, as in the TU format.
    - Graph ``label`` (or ``y``; in a JSON file within ``graph``): strings and whole numbers are classes, other numbers
      regression, lists of 0, 1 and null several tasks, other lists regression. Other attributes of a graph are ignored.
    - Edges: messages pass both ways, so each edge gets its reverse, with the same features. Where the file says that
      its edges are directed, the first two columns of ``edge_attr`` tell forward from backward. Parquet edges are
      undirected. Self-loops and exact repeats are dropped.

    Raises:
        DataError: a file cannot be read; a column, an id or an attribute is missing; an id stands twice; an edge names
            no node; a value cannot be used.
    """
    path = Path(path)
    source = "graph files"
    if (path / "edges.parquet").exists():
        return to_dataset(read_parquet_tables(path), name=path.name, source=source)
    records = [record for file in _files(path) for record in _read(file)]
    return to_dataset(_to_tables(path, records), name=path.name.removesuffix(path.suffix), source=source)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError("no such file or folder", file=path)
    if not path.is_dir():
        return [path]
    kinds = [found for kind in ("json", "graphml") if (found := sorted(path.glob(f"*.{kind}")))]
    if len(kinds) != 1:
        raise DataError(
            "both .json and .graphml files in a folder" if kinds else "no graph files in the folder",
            file=path,
            expected=".json files, .graphml files, or edges.parquet and nodes.parquet",
        )
    return kinds[0]


def _read(file: Path) -> list[_Record]:
    if file.suffix == ".graphml":
        return [_record(file, f"graphs[{index}].", graph) for index, graph in enumerate(read_graphml(file))]
    text = read_text(file)
    with reading(file):
        content = parse_json(text)
    if isinstance(content, list):
        return [_record(file, f"graphs[{index}].", graph) for index, graph in enumerate(content)]
    return [_record(file, "", content)]


def _record(file: Path, place: str, graph: object) -> _Record:
    if not isinstance(graph, dict):
        raise DataError("not a graph", file=file, field=place.rstrip("."), value=graph, expected="a node-link object")
    named = [name for name in ("edges", "links") if name in graph]
    if "nodes" not in graph or len(named) != 1:
        raise DataError(
            "not a node-link graph",
            file=file,
            field=place.rstrip(".") or None,
            value=sorted(graph),
            expected="'nodes', and 'edges' or 'links'",
        )
    attributes = graph.get("graph", {})
    if not isinstance(attributes, dict):
        raise DataError("not an object", file=file, field=f"{place}graph", value=attributes, expected='{"label": ...}')
    directed = graph.get("directed", False)
    if not isinstance(directed, bool):
        raise DataError("not a truth value", file=file, field=f"{place}directed", value=directed)
    nodes = _items(file, f"{place}nodes", graph["nodes"], _NODE_KEYS)
    edges = _items(file, f"{place}{named[0]}", graph[named[0]], _EDGE_KEYS[:2])
    return _Record(file, place, directed, attributes, nodes, edges)


def _items(file: Path, place: str, items: object, required: Sequence[str]) -> list[dict[str, Any]]:
    if not isinstance(items, list):
        raise DataError("not a list", file=file, field=place, value=items, expected="a list of objects")
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise DataError("not an object", file=file, field=f"{place}[{index}]", value=item)
        for name in required:
            if not isinstance(item.get(name), str | int | float | list):
                raise DataError(
                    "no usable id",
                    file=file,
                    field=f"{place}[{index}].{name}",
                    value=item.get(name),
                    expected="a string or a number",
                )
    return items


def _to_tables(path: Path, records: list[_Record]) -> GraphTables:
    if not records:
        raise DataError("no graphs", file=path, expected="at least one")
    odd = next((record for record in records if record.directed != records[0].directed), None)
    if odd is not None:
        problem = "directed and undirected graphs in one dataset"
        raise DataError(
            problem, file=odd.file, field=f"{odd.place}directed", value=odd.directed, expected=str(not odd.directed)
        )
    nodes_per_graph = [len(record.nodes) for record in records]
    offsets = [0, *accumulate(nodes_per_graph)]
    ends = [_edge_ends(record, offset) for record, offset in zip(records, offsets, strict=False)]
    return GraphTables(
        nodes=_rows([record.nodes for record in records], _NODE_KEYS, _placer(records, "nodes")),
        nodes_per_graph=np.array(nodes_per_graph, dtype=np.int64),
        edge_index=np.concatenate(ends, axis=1),
        edges=_rows([record.edges for record in records], _EDGE_KEYS, _placer(records, "edges")),
        graphs=_graph_rows(records),
        directed=records[0].directed,
    )


def _edge_ends(record: _Record, offset: int) -> np.ndarray:
    """``[2, E]`` packed ids of the ends of one graph's edges."""
    ids = {_key(node["id"]): offset + index for index, node in enumerate(record.nodes)}
    if len(ids) < len(record.nodes):
        index = next(i for i, node in enumerate(record.nodes) if ids[_key(node["id"])] != offset + i)
        value = record.nodes[index]["id"]
        raise DataError(
            "the node id stands twice",
            file=record.file,
            field=f"{record.place}nodes[{index}] and [{ids[_key(value)] - offset}]",
            value=value,
        )
    for index, edge in enumerate(record.edges):
        for end in ("source", "target"):
            if _key(edge[end]) not in ids:
                raise DataError(
                    "an edge names a node that does not exist",
                    file=record.file,
                    field=f"{record.place}edges[{index}].{end}",
                    value=edge[end],
                    expected="the id of a node of this graph",
                )
    pairs = [(ids[_key(edge["source"])], ids[_key(edge["target"])]) for edge in record.edges]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2).T


def _key(node_id: object) -> object:
    """Something hashable: networkx writes tuples, such as grid positions, as lists."""
    return repr(node_id) if isinstance(node_id, list) else node_id


def _rows(items: list[list[dict[str, Any]]], without: Sequence[str], place: Callable[[int], tuple[Path, str]]) -> Rows:
    flat = list(chain.from_iterable(items))
    names = [name for name in dict.fromkeys(chain.from_iterable(flat)) if name not in without]
    bare = Rows({}, place, len(flat))
    return Rows({name: arrow_column([item.get(name) for item in flat], bare, name) for name in names}, place, len(flat))


def _graph_rows(records: list[_Record]) -> Rows:
    def place(graph: int) -> tuple[Path, str]:
        return records[graph].file, f"{records[graph].place}graph"

    bare = Rows({}, place, len(records))
    names = [name for name in LABELS if any(name in record.attributes for record in records)]
    columns = {name: arrow_column([record.attributes.get(name) for record in records], bare, name) for name in names}
    return Rows(columns, place, len(records))


def _placer(records: list[_Record], kind: str) -> Callable[[int], tuple[Path, str]]:
    lists = [record.nodes if kind == "nodes" else record.edges for record in records]
    starts = np.cumsum([0, *map(len, lists)])

    def place(row: int) -> tuple[Path, str]:
        graph = int(np.searchsorted(starts, row, side="right")) - 1
        index = row - int(starts[graph])
        item = lists[graph][index]
        name = f"id {item['id']!r}" if kind == "nodes" else f"{item['source']!r} to {item['target']!r}"
        return records[graph].file, f"{records[graph].place}{kind}[{index}] ({name})"

    return place
