"""Reads the user's own graphs: node-link JSON, GraphML and Parquet tables."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jepakit.errors import DataError
from jepakit.files import parse_json, read_text, reading
from jepakit.graph.data import GraphDataset, Origins
from jepakit.graph.datasets.assemble import GraphTables, to_dataset
from jepakit.graph.datasets.graphml import read_graphml
from jepakit.graph.datasets.parquet import read_parquet_tables
from jepakit.graph.datasets.tables import LABELS, Place, Rows, arrow_column
from jepakit.graph.vocabulary import Vocabulary

_LOG = logging.getLogger(__name__)

_NODE_KEYS = ("id",)
_EDGE_KEYS = ("source", "target", "key")
_GRAPH_KEYS = ("directed", "multigraph", "graph", "nodes", "edges", "links")


@dataclass(frozen=True)
class NodeLink:
    """One graph as read from a file; ``place`` is the prefix of its fields in messages."""

    file: Path
    place: str
    directed: bool
    attributes: dict[str, Any]
    nodes: list[dict[str, Any]]
    edges: list[dict[str, Any]]


def load_graph_files(
    path: str | Path, *, fill_missing: bool = False, vocabulary: Vocabulary | None = None
) -> GraphDataset:
    """Loads graphs from the user's own files.

    Formats:

    - ``.json``: networkx's node-link format, one graph or a list of graphs;
    - ``.graphml``: one or more graphs;
    - a folder of ``.json`` or of ``.graphml`` files, read in the order of their names;
    - a folder with ``edges.parquet`` (columns ``graph``, ``source``, ``target`` and features), ``nodes.parquet``
      (``graph``, ``node``, label and features) and, if graphs have labels, ``graphs.parquet`` (``graph``, ``label``).
      For a single graph, all files may omit the column ``graph``.

    Conversion:

    - ``x``: numbers, booleans and lists of numbers are kept, strings are one-hot; every node must have each attribute,
      unless ``fill_missing``: then a missing value is 0, and each attribute has a column more, 1 where it is missing.
      Without attributes, ``x`` is a column of ones.
    - Node ``label`` (or ``y``): in a single graph ``node_y``, -1 where it is missing; in several graphs a feature,
      one-hot even if it holds numbers, as in the TU format.
    - Graph ``label`` (or ``y``; within ``graph`` in a JSON file): see `jepakit.graph.datasets.tables.targets`. Other
      attributes of a graph are ignored.
    - Node attributes that are names or ids (`jepakit.graph.datasets.identifiers`) are neither label nor feature.
    - What else a file holds and is not read, such as undeclared GraphML keys, is named in a warning.
    - Edges: each edge gets a reverse with the same features, which are made as those of the nodes. In a directed file,
      the first two columns of ``edge_attr`` mark forward and backward edges. Parquet edges are undirected. Self-loops
      and exact repeats are dropped.
    - ``vocabulary``, that of an encoder: the attributes that it names are features, be they labels or ids here, and
      categories that are not in it are refused with their place.

    Raises:
        DataError: a file cannot be read, a column, id or attribute is missing, an id occurs twice, an edge names a
            missing node, a value is unsupported, or a category is not in the vocabulary.
    """
    path = Path(path)
    if (path / "edges.parquet").exists():
        tables, name = read_parquet_tables(path), path.name
    else:
        records = [record for file in _files(path) for record in read_node_link(file)]
        tables, name = to_tables(path, records), path.name.removesuffix(path.suffix)
    return to_dataset(tables, name=name, fill_missing=fill_missing, vocabulary=vocabulary)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError("no such file or folder", file=path)
    if not path.is_dir():
        return [path]
    by_format = [files for suffix in ("json", "graphml") if (files := sorted(path.glob(f"*.{suffix}")))]
    if len(by_format) != 1:
        problem = "both .json and .graphml files in a folder" if by_format else "no graph files in the folder"
        raise DataError(problem, file=path, expected=".json files, .graphml files, or edges.parquet and nodes.parquet")
    return by_format[0]


def read_node_link(file: Path) -> Iterator[NodeLink]:
    """The graphs in a ``.graphml`` or node-link ``.json`` file; every node has an id and every edge has ends.

    Raises:
        DataError: it is no such file.
    """
    if file.suffix == ".graphml":
        content: Any = read_graphml(file)
    else:
        text = read_text(file)
        with reading(file):
            # NaN marks a missing label; in features it is refused with its place.
            content = parse_json(text, finite=False)
    graphs = content if isinstance(content, list) else [content]
    for index, graph in enumerate(graphs):
        yield _record(file, f"graphs[{index}]." if isinstance(content, list) else "", graph)
    _say_unread(file, graphs)


def _say_unread(file: Path, graphs: list[dict[str, Any]]) -> None:
    unread = dict.fromkeys(name for graph in graphs for name in graph if name not in _GRAPH_KEYS and graph[name] != [])
    if unread:
        places = "attributes of a graph stand within 'graph'"
        _LOG.warning("%s: left out, since no part of node-link JSON: %s (%s)", file, ", ".join(unread), places)


def _record(file: Path, place: str, graph: object) -> NodeLink:
    field = place.rstrip(".") or None
    if not isinstance(graph, dict):
        raise DataError("not a graph", file=file, field=field, value=graph, expected="a node-link object")
    edge_keys = [name for name in ("edges", "links") if name in graph]
    if "nodes" not in graph or len(edge_keys) != 1:
        expected = "'nodes', and 'edges' or 'links'"
        raise DataError("not a node-link graph", file=file, field=field, value=sorted(graph), expected=expected)
    for name in graph:
        if name.lower() == "hyperedges" and graph[name]:
            expected = "edges between two nodes; a node for each hyperedge, joined to its nodes, says the same"
            problem = "hyperedges are not supported"
            raise DataError(problem, file=file, field=f"{place}{name}", expected=expected)
    attributes = graph.get("graph", {})
    if not isinstance(attributes, dict):
        raise DataError("not an object", file=file, field=f"{place}graph", value=attributes, expected='{"label": ...}')
    directed = graph.get("directed", False)
    if not isinstance(directed, bool):
        raise DataError("not a boolean", file=file, field=f"{place}directed", value=directed)
    nodes = _items(file, f"{place}nodes", graph["nodes"], _NODE_KEYS)
    edges = _items(file, f"{place}{edge_keys[0]}", graph[edge_keys[0]], _EDGE_KEYS[:2])
    return NodeLink(file, place, directed, attributes, nodes, edges)


def _items(file: Path, place: str, items: object, required: Sequence[str]) -> list[dict[str, Any]]:
    if not isinstance(items, list):
        raise DataError("not a list", file=file, field=place, value=items, expected="a list of objects")
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise DataError("not an object", file=file, field=f"{place}[{index}]", value=item)
        for name in required:
            if not isinstance(item.get(name), str | int | float | list):
                field, expected = f"{place}[{index}].{name}", "a string or a number"
                raise DataError("no usable id", file=file, field=field, value=item.get(name), expected=expected)
    return items


def to_tables(path: Path, records: list[NodeLink]) -> GraphTables:
    """The attributes of all graphs; ``path`` is where they come from, for messages."""
    if not records:
        raise DataError("no graphs", file=path, expected="at least one")
    directed = records[0].directed
    for record in records:
        if record.directed != directed:
            problem, field = "directed and undirected graphs in one dataset", f"{record.place}directed"
            raise DataError(problem, file=record.file, field=field, value=record.directed, expected=str(directed))
    nodes_per_graph = np.array([len(record.nodes) for record in records])
    offsets = nodes_per_graph.cumsum() - nodes_per_graph
    nodes = list(chain.from_iterable(record.nodes for record in records))
    edges = list(chain.from_iterable(record.edges for record in records))
    labels = [{key: record.attributes[key] for key in LABELS if key in record.attributes} for record in records]
    return GraphTables(
        nodes=_rows(nodes, _NODE_KEYS, _item_places(records, "nodes")),
        node_ids=pa.array([str(node["id"]) for node in nodes], pa.string()),
        nodes_per_graph=nodes_per_graph,
        edge_index=np.concatenate([_edge_ends(*pair) for pair in zip(records, offsets, strict=True)], axis=1),
        edges=_rows(edges, _EDGE_KEYS, _item_places(records, "edges")),
        graphs=_rows(labels, (), lambda graph: (records[graph].file, f"{records[graph].place}graph")),
        directed=directed,
        origins=_origins(records),
    )


def _origins(records: list[NodeLink]) -> Origins:
    """The file of each graph, and which it is in its file."""
    files = [str(record.file) for record in records]
    seen: Counter[str] = Counter()
    rows: list[int] = []
    for file in files:
        seen[file] += 1
        rows.append(seen[file])
    return Origins.of_all(file=files, row=rows)


def _edge_ends(record: NodeLink, offset: int) -> np.ndarray:
    """``[2, E]`` packed ids of the ends of a graph's edges."""
    ids = {_hashable(node["id"]): offset + index for index, node in enumerate(record.nodes)}
    if len(ids) < len(record.nodes):
        index = next(i for i, node in enumerate(record.nodes) if ids[_hashable(node["id"])] != offset + i)
        value = record.nodes[index]["id"]
        field = f"{record.place}nodes[{index}] and [{ids[_hashable(value)] - offset}]"
        raise DataError("the node id occurs twice", file=record.file, field=field, value=value)
    for index, edge in enumerate(record.edges):
        for end in ("source", "target"):
            if _hashable(edge[end]) not in ids:
                problem, field = "an edge names a node that does not exist", f"{record.place}edges[{index}].{end}"
                expected = "the id of a node of this graph"
                raise DataError(problem, file=record.file, field=field, value=edge[end], expected=expected)
    pairs = [(ids[_hashable(edge["source"])], ids[_hashable(edge["target"])]) for edge in record.edges]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2).T


def _hashable(node_id: object) -> object:
    """The node id as a key of a dict: networkx writes tuples, such as grid positions, as lists."""
    return repr(node_id) if isinstance(node_id, list) else node_id


def _rows(items: list[dict[str, Any]], keys: Sequence[str], place: Place) -> Rows:
    """A column for each attribute of ``items``, without the ids under ``keys``."""
    bare = Rows({}, place, len(items))
    names = [name for name in dict.fromkeys(chain.from_iterable(items)) if name not in keys]
    columns = {name: arrow_column([item.get(name) for item in items], bare, name) for name in names}
    return Rows(columns, place, len(items))


def _item_places(records: list[NodeLink], kind: str) -> Place:
    lists = [record.nodes if kind == "nodes" else record.edges for record in records]
    starts = np.cumsum([0, *map(len, lists)])

    def place(row: int) -> tuple[Path, str]:
        graph = int(np.searchsorted(starts, row, side="right")) - 1
        index = row - int(starts[graph])
        item = lists[graph][index]
        name = f"id {item['id']!r}" if kind == "nodes" else f"{item['source']!r} to {item['target']!r}"
        return records[graph].file, f"{records[graph].place}{kind}[{index}] ({name})"

    return place
