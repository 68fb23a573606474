"""Tables of nodes, edges and graphs, and the `GraphDataset` that they make."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from jepakit.errors import DataError
from jepakit.graph.data import GraphDataset, Graphs, Origins, Task
from jepakit.graph.datasets.edges import Edges, both_directions, drop_repeats
from jepakit.graph.datasets.identifiers import are_names, without_ids
from jepakit.graph.datasets.tables import LABELS, Rows, class_ids, feature_matrix, targets
from jepakit.graph.vocabulary import CONSTANT, DIRECTION, Attribute, Vocabulary


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
        origins: where the graphs come from.
    """

    nodes: Rows
    node_ids: pa.Array
    nodes_per_graph: np.ndarray
    edge_index: np.ndarray
    edges: Rows
    graphs: Rows
    directed: bool
    origins: Origins | None = None


def to_dataset(
    tables: GraphTables, *, name: str, fill_missing: bool = False, vocabulary: Vocabulary | None = None
) -> GraphDataset:
    """Converts attributes to features and labels, by the rules of `jepakit.graph.datasets.files.load_graph_files`.

    Raises:
        DataError: an attribute is unsupported, a graph has no nodes, or a category is not in the vocabulary.
    """
    if (tables.nodes_per_graph == 0).any():
        file, place = tables.graphs.place(int((tables.nodes_per_graph == 0).argmax()))
        raise DataError("the graph has no nodes", file=file, field=place, expected="at least one")
    x, node_names, node_y, node_classes = _node_values(tables, fill_missing, vocabulary)
    (edge_index, edge_attr), edge_names = _message_edges(tables, fill_missing, vocabulary)
    label = _label_of(tables.graphs)
    task: Task
    y, task, label_names = (None, "none", ()) if label is None else targets(tables.graphs, label)
    sizes = tables.nodes_per_graph
    graphs = Graphs.pack(
        x,
        edge_index,
        sizes,
        edge_attr=edge_attr,
        y=y,
        node_y=node_y,
        vocabulary=Vocabulary(node_names, edge_names),
        field_name=name,
    )
    if node_y is not None:
        task, label_names = "node classification", node_classes
    ids = [str(node) for node in tables.node_ids.to_pylist()]
    return GraphDataset(name, graphs, task, label_names, source="graph files", origins=tables.origins, node_ids=ids)


def _node_values(
    tables: GraphTables, fill_missing: bool, vocabulary: Vocabulary | None
) -> tuple[np.ndarray, tuple[Attribute, ...], np.ndarray | None, tuple[str, ...]]:
    """``x`` and its attributes, ``node_y`` or None, and the names of the node classes.

    What the vocabulary names is a feature, whatever it looks like here.
    """
    rows, label = tables.nodes, _label_of(tables.nodes)
    node_y, names = None, ()
    known = () if vocabulary is None else vocabulary.nodes
    features = {attribute.name for attribute in known}
    if len(tables.nodes_per_graph) == 1 and label is not None and label not in features:
        classes, names = class_ids(rows, label)
        if are_names(rows, label, classes, len(names)):
            names = ()
        node_y = classes if names else None
        rows = replace(rows, columns={key: column for key, column in rows.columns.items() if key != label})
    rows = without_ids(rows, tables.node_ids, but=features)
    x, attributes = feature_matrix(rows, categorical=label, fill_missing=fill_missing, known=known)
    if x is None:
        x, attributes = np.ones((rows.count, 1), dtype=np.float32), (Attribute(CONSTANT, "numbers", 1),)
    return x, attributes, node_y, names


def _message_edges(
    tables: GraphTables, fill_missing: bool, vocabulary: Vocabulary | None
) -> tuple[Edges, tuple[Attribute, ...]]:
    num_nodes, known = tables.nodes.count, () if vocabulary is None else vocabulary.edges
    values, attributes = feature_matrix(tables.edges, fill_missing=fill_missing, known=known)
    given = drop_repeats((tables.edge_index, values), num_nodes)
    if tables.directed:
        return both_directions(given, mark=True), (Attribute(DIRECTION, "numbers", 2), *attributes)
    # A file may give an undirected edge once or in both directions.
    return drop_repeats(both_directions(given, mark=False), num_nodes), attributes


def _label_of(rows: Rows) -> str | None:
    names = [name for name in LABELS if name in rows.columns]
    if len(names) == 2:
        raise DataError("both 'label' and 'y' are given", file=rows.place(0)[0], expected="one of them")
    return names[0] if names else None
