"""Tables of nodes, edges and graphs, and the `GraphDataset` that they make."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from jepakit.errors import DataError
from jepakit.graph.data import GraphDataset, Graphs, Task
from jepakit.graph.datasets.edges import Edges, both_directions, drop_repeats
from jepakit.graph.datasets.identifiers import are_names, without_ids
from jepakit.graph.datasets.tables import LABELS, Rows, class_ids, feature_matrix, targets


@dataclass(frozen=True)
class GraphTables:
    """Attributes of G graphs with N nodes and E edges, not yet converted to features.

    Args:
        nodes: attributes of the nodes, grouped by graph.
        node_ids: the ids of the nodes, in their order.
        nodes_per_graph: ``[G]`` int64.
        edge_index: ``[2, E]`` int64 packed node ids, as in the file.
        edges: attributes of the edges.
        graphs: the labels of the graphs.
        directed: whether the edges are directed.
    """

    nodes: Rows
    node_ids: pa.Array
    nodes_per_graph: np.ndarray
    edge_index: np.ndarray
    edges: Rows
    graphs: Rows
    directed: bool


def to_dataset(tables: GraphTables, *, name: str, fill_missing: bool = False) -> GraphDataset:
    """Converts attributes to features and labels, by the rules of `jepakit.graph.datasets.files.load_graph_files`.

    Raises:
        DataError: an attribute is unsupported, or a graph has no nodes.
    """
    if (tables.nodes_per_graph == 0).any():
        file, place = tables.graphs.place(int((tables.nodes_per_graph == 0).argmax()))
        raise DataError("the graph has no nodes", file=file, field=place, expected="at least one")
    x, node_y, node_classes = _node_values(tables, fill_missing)
    edge_index, edge_attr = _message_edges(tables, fill_missing)
    label = _label_of(tables.graphs)
    task: Task
    y, task, label_names = (None, "none", ()) if label is None else targets(tables.graphs, label)
    sizes = tables.nodes_per_graph
    graphs = Graphs.pack(x, edge_index, sizes, edge_attr=edge_attr, y=y, node_y=node_y, field_name=name)
    if node_y is not None:
        task, label_names = "node classification", node_classes
    return GraphDataset(name, graphs, task, label_names, source="graph files")


def _node_values(tables: GraphTables, fill_missing: bool) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """``x``, ``node_y`` or None, and the names of the node classes."""
    rows, label = tables.nodes, _label_of(tables.nodes)
    node_y, names = None, ()
    if len(tables.nodes_per_graph) == 1 and label is not None:
        classes, names = class_ids(rows, label)
        if are_names(rows, label, classes, len(names)):
            names = ()
        node_y = classes if names else None
        rows = replace(rows, columns={key: column for key, column in rows.columns.items() if key != label})
    x = feature_matrix(without_ids(rows, tables.node_ids), categorical=label, fill_missing=fill_missing)
    return np.ones((rows.count, 1), dtype=np.float32) if x is None else x, node_y, names


def _message_edges(tables: GraphTables, fill_missing: bool) -> Edges:
    num_nodes = tables.nodes.count
    given = drop_repeats((tables.edge_index, feature_matrix(tables.edges, fill_missing=fill_missing)), num_nodes)
    if tables.directed:
        return both_directions(given, mark=True)
    # A file may give an undirected edge once or in both directions.
    return drop_repeats(both_directions(given, mark=False), num_nodes)


def _label_of(rows: Rows) -> str | None:
    names = [name for name in LABELS if name in rows.columns]
    if len(names) == 2:
        raise DataError("both 'label' and 'y' are given", file=rows.place(0)[0], expected="one of them")
    return names[0] if names else None
