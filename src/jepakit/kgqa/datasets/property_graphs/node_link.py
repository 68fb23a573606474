"""Graphs in GraphML and in node-link JSON, as networkx, Gephi, Neo4j and others write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jepakit.errors import DataError
from jepakit.files import reading
from jepakit.graph.datasets.files import read_node_link
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.datasets.property_graphs.properties import RELATIONS, graph_of_nodes, text_of

NO_RELATION = "related to"
"""The relation of an edge that names none."""


def load_node_link(file: Path) -> KnowledgeGraph:
    """A graph from a ``.graphml`` or ``.json`` file with one graph in it.

    The name, type and text of a node, and the relation of an edge, are attributes, looked for under the names in
    `jepakit.kgqa.datasets.property_graphs.properties`: a node without a name has its id for it, an edge without a
    relation is of `NO_RELATION`. In an undirected graph each edge is a triple in both directions. Nodes without edges
    and self-loops are kept; of equal edges with the same relation one is.

    Raises:
        DataError: it is no such file, has several graphs or no edges, an id occurs twice, or an edge names a node that
            is not there.
    """
    graphs = list(read_node_link(file))
    if len(graphs) != 1:
        raise DataError("not one graph", file=file, value=len(graphs), expected="one knowledge graph in a file")
    (graph,) = graphs
    with reading(file):
        return graph_of_nodes(
            file.stem,
            [_id(node["id"]) for node in graph.nodes],
            [{name: value for name, value in node.items() if name != "id"} for node in graph.nodes],
            [(_id(edge["source"]), _id(edge["target"])) for edge in graph.edges],
            [text_of(edge, RELATIONS, NO_RELATION) for edge in graph.edges],
            directed=graph.directed,
        )


def _id(given: Any) -> str:
    return given if isinstance(given, str) else json.dumps(given)
