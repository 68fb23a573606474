"""GraphML and node-link JSON: both are the same graph; what is refused."""

import json
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from jepakit.errors import DataError
from jepakit.kgqa.data import KnowledgeGraph, Relation
from jepakit.kgqa.datasets import load_graph
from jepakit.kgqa.datasets.property_graphs.node_link import NO_RELATION, load_node_link


def named(graph: KnowledgeGraph) -> set[tuple[str, ...]]:
    ids = graph.column("id")
    return {(ids[h], graph.relations[r].name, ids[t]) for h, r, t in graph.triples().tolist()}


@pytest.fixture
def films() -> nx.MultiDiGraph:
    graph = nx.MultiDiGraph()
    graph.add_node("m1", name="Kismet\t“1944”", type="film", description="A <film>, & more.")
    graph.add_node("p1", Title="William")
    graph.add_node("alone")
    graph.add_edge("m1", "p1", relation="directed by")
    graph.add_edge("m1", "p1", relation="written by")
    graph.add_edge("p1", "p1")
    return graph


def test_both_formats_are_the_same_graph(tmp_path: Path, films: nx.MultiDiGraph) -> None:
    nx.write_graphml(films, tmp_path / "a.graphml")
    (tmp_path / "a.json").write_text(json.dumps(nx.node_link_data(films, edges="edges")))
    (tmp_path / "b.json").write_text(json.dumps(nx.node_link_data(films, edges="links")))
    for name in ("a.graphml", "a.json", "b.json"):
        graph = load_graph(tmp_path / name)
        assert named(graph) == {
            ("m1", "directed by", "p1"),
            ("m1", "written by", "p1"),
            ("p1", NO_RELATION, "p1"),
        }
        assert graph.entities.to_pylist() == [
            {"id": "m1", "name": "Kismet\t“1944”", "type": "film", "text": "A <film>, & more."},
            {"id": "p1", "name": "William", "type": "", "text": ""},
            {"id": "alone", "name": "alone", "type": "", "text": ""},
        ]


def test_an_undirected_edge_is_followed_by_its_relation_from_both_ends(tmp_path: Path) -> None:
    graph = nx.Graph()
    graph.add_edge(1, 2, label="married to")
    (tmp_path / "a.json").write_text(json.dumps(nx.node_link_data(graph, edges="edges")))
    loaded = load_node_link(tmp_path / "a.json")
    assert named(loaded) == {("1", "married to", "2"), ("2", "married to", "1")}
    assert loaded.relations == (Relation("married to", "married to"),)


NODES = [{"id": "a"}, {"id": "b"}]
EDGES = [{"source": "a", "target": "b"}]


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ({"nodes": NODES, "edges": [{"source": "a", "target": "c"}]}, "c"),
        ({"nodes": [*NODES, {"id": "a"}], "edges": EDGES}, "a"),
        ({"nodes": NODES, "edges": []}, None),
        ([{"nodes": NODES, "edges": EDGES}] * 2, 2),
        ({"nodes": NODES}, ["nodes"]),
        ({"nodes": [{"name": "x"}], "edges": EDGES}, None),
    ],
)
def test_files_without_one_whole_graph_are_named(tmp_path: Path, content: Any, value: object) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DataError) as error:
        load_node_link(tmp_path / "a.json")
    assert (error.value.file, error.value.value) == (tmp_path / "a.json", value)
