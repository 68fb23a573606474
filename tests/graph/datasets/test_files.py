"""The user's own files: what becomes of attributes, three formats that agree, and faults that name their place."""

import json
import random
from dataclasses import fields
from pathlib import Path
from typing import Any

import networkx as nx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jepakit.errors import DataError
from jepakit.graph.data import Graphs
from jepakit.graph.datasets.files import load_graph_files


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def node_link(nodes: list[dict[str, Any]], edges: list[dict[str, Any]], **rest: object) -> dict[str, Any]:
    return {"directed": False, "multigraph": False, "graph": {}, "nodes": nodes, "edges": edges, **rest}


def edges_of(graphs: Graphs) -> list[tuple[int, int]]:
    return list(zip(*graphs.edge_index.tolist(), strict=True))


PATH = node_link(
    [
        {"id": "a", "mass": 1, "charged": True, "kind": "C", "point": [0.5, 2], "label": "x"},
        {"id": "b", "mass": 2.5, "charged": False, "kind": "N", "point": [1, 3], "label": None},
        {"id": 3, "mass": -1, "charged": False, "kind": "C", "point": [0, 0], "label": "u"},
    ],
    [
        {"source": "b", "target": "a", "bond": "single", "length": 2},
        {"source": "b", "target": 3, "bond": "double", "length": 1},
    ],
)


def test_single_graph_by_hand(tmp_path: Path) -> None:
    dataset = load_graph_files(write_json(tmp_path / "molecule.json", PATH))
    graphs = dataset.graphs
    assert (dataset.name, dataset.task, dataset.label_names) == ("molecule", "node classification", ("u", "x"))
    # mass, charged, kind C, kind N, point
    assert graphs.x.tolist() == [[1, 1, 1, 0, 0.5, 2], [2.5, 0, 0, 1, 1, 3], [-1, 0, 1, 0, 0, 0]]
    assert graphs.node_y is not None
    assert graphs.node_y.tolist() == [1, -1, 0]
    assert edges_of(graphs) == [(1, 0), (0, 1), (2, 1), (1, 2)]
    # bond double, bond single, length
    assert graphs.edge_attr is not None
    assert graphs.edge_attr.tolist() == [[0, 1, 2], [0, 1, 2], [1, 0, 1], [1, 0, 1]]


def test_directed_edges_say_which_way(tmp_path: Path) -> None:
    graph = node_link([{"id": 0}, {"id": 1}, {"id": 2}], [], directed=True)
    graph["edges"] = [{"source": s, "target": t, "w": w} for s, t, w in [(0, 1, 5), (1, 2, 6), (2, 1, 7), (0, 1, 5)]]
    graphs = load_graph_files(write_json(tmp_path / "g.json", graph)).graphs
    assert graphs.edge_attr is not None
    found = sorted(zip(edges_of(graphs), map(tuple, graphs.edge_attr.tolist()), strict=True))
    assert found == [
        ((0, 1), (1, 0, 5)),
        ((1, 0), (0, 1, 5)),
        ((1, 2), (0, 1, 7)),
        ((1, 2), (1, 0, 6)),
        ((2, 1), (0, 1, 6)),
        ((2, 1), (1, 0, 7)),
    ]


def test_no_attributes_no_edges_and_old_links_key(tmp_path: Path) -> None:
    graph = {"nodes": [{"id": 0}, {"id": 1}], "links": []}
    dataset = load_graph_files(write_json(tmp_path / "g.json", graph))
    assert dataset.graphs.x.tolist() == [[1], [1]]
    assert (dataset.graphs.num_edges, dataset.graphs.edge_attr, dataset.task) == (0, None, "none")


def test_loops_and_repeats_go_parallel_edges_that_differ_stay(tmp_path: Path) -> None:
    edges = [{"source": s, "target": t, "kind": k} for s, t, k in [(0, 1, "a"), (1, 0, "a"), (0, 1, "b"), (1, 1, "a")]]
    graph = node_link([{"id": 0}, {"id": 1}], edges, multigraph=True)
    graphs = load_graph_files(write_json(tmp_path / "g.json", graph)).graphs
    assert edges_of(graphs) == [(1, 0), (1, 0), (0, 1), (0, 1)]


def test_node_labels_of_several_graphs_are_one_hot_features(tmp_path: Path) -> None:
    graphs = [
        node_link([{"id": 0, "label": 17}, {"id": 1, "label": 6}], [], graph={"label": "yes"}),
        node_link([{"id": 0, "label": 8}], [], graph={"label": "no"}),
    ]
    dataset = load_graph_files(write_json(tmp_path / "g.json", graphs))
    assert dataset.graphs.x.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert dataset.graphs.node_y is None
    assert dataset.graphs.y is not None
    assert (dataset.graphs.y.tolist(), dataset.task) == ([1, 0], "graph classification")
    assert dataset.label_names == ("no", "yes")


@pytest.mark.parametrize(
    ("labels", "task", "expected"),
    [
        ([3, -1, 3], "graph classification", [1, 0, 1]),
        ([True, False, True], "graph classification", [1, 0, 1]),
        ([0.5, 2, -1], "graph regression", [[0.5], [2], [-1]]),
        ([[0, 1], [1, None], [1, 1]], "graph multilabel", [[0, 1], [1, float("nan")], [1, 1]]),
        ([[0.5, 1], [1, None], [1, 1]], "graph regression", [[0.5, 1], [1, float("nan")], [1, 1]]),
    ],
)
def test_graph_labels(labels: list[Any], task: str, expected: list[Any], tmp_path: Path) -> None:
    graphs = [node_link([{"id": 0}], [], graph={"y": label, "name": "ignored"}) for label in labels]
    dataset = load_graph_files(write_json(tmp_path / "g.json", graphs))
    assert dataset.task == task
    assert dataset.graphs.y is not None
    torch.testing.assert_close(dataset.graphs.y, torch.tensor(expected), equal_nan=True)


def test_grid_positions_as_ids(tmp_path: Path) -> None:
    grid = nx.grid_2d_graph(3, 4)
    graphs = load_graph_files(write_json(tmp_path / "grid.json", nx.node_link_data(grid, edges="edges"))).graphs
    order = {node: index for index, node in enumerate(grid)}
    both = {(order[s], order[t]) for s, t in grid.edges} | {(order[t], order[s]) for s, t in grid.edges}
    assert set(edges_of(graphs)) == both


def random_graphs(seed: int, *, directed: bool) -> list[nx.Graph]:
    chance = random.Random(seed)
    graphs = []
    for index in range(7):
        graph = nx.gnp_random_graph(chance.randrange(1, 9), 0.4, seed=chance.randrange(1000), directed=directed)
        graph.graph = {"label": ["red", "blue"][index % 2]}
        for node in graph:
            graph.nodes[node].update(mass=chance.uniform(-2, 2), kind=chance.choice("CNO"), flag=chance.random() < 0.5)
        for edge in graph.edges:
            graph.edges[edge].update(weight=chance.randrange(9), bond=chance.choice(["single", "double"]))
        graphs.append(nx.relabel_nodes(graph, {node: f"n{node}" for node in graph}))
    return graphs


def write_parquet(folder: Path, graphs: list[nx.Graph], seed: int) -> Path:
    """The rows of nodes and edges in random order between the graphs, and within a graph as they are."""
    folder.mkdir()
    tables: dict[str, list[dict[str, Any]]] = {"nodes": [], "edges": [], "graphs": []}
    turns = [index for index, graph in enumerate(graphs) for _ in graph]
    random.Random(seed).shuffle(turns)
    rows = [iter(graph.nodes.data()) for graph in graphs]
    for index in turns:
        node, attributes = next(rows[index])
        tables["nodes"].append({"graph": f"g{index}", "node": node, **attributes})
    for index, graph in enumerate(graphs):
        tables["graphs"].append({"graph": f"g{index}", "label": graph.graph["label"]})
        for source, target, attributes in graph.edges.data():
            tables["edges"].append({"graph": f"g{index}", "source": source, "target": target, **attributes})
    random.Random(seed).shuffle(tables["edges"])
    for name, content in tables.items():
        pq.write_table(pa.Table.from_pylist(content), folder / f"{name}.parquet")
    return folder


def assert_same(found: Graphs, expected: Graphs) -> None:
    for f in fields(Graphs):
        ours, theirs = getattr(found, f.name), getattr(expected, f.name)
        assert (ours is None) == (theirs is None), f.name
        assert ours == theirs if f.name == "vocabulary" else ours is None or torch.equal(ours, theirs), f.name


@pytest.mark.parametrize("directed", [False, True])
def test_formats_agree_with_each_other_and_with_networkx(directed: bool, tmp_path: Path) -> None:
    graphs = random_graphs(0, directed=directed)
    listed = load_graph_files(
        write_json(tmp_path / "all.json", [nx.node_link_data(graph, edges="edges") for graph in graphs])
    )
    for kind in ("json", "graphml"):
        (tmp_path / kind).mkdir()
    for index, graph in enumerate(graphs):
        write_json(tmp_path / "json" / f"{index}.json", nx.node_link_data(graph, edges="links"))
        nx.write_graphml(graph, tmp_path / "graphml" / f"{index}.graphml")
    assert_same(load_graph_files(tmp_path / "json").graphs, listed.graphs)
    assert_same(load_graph_files(tmp_path / "graphml").graphs, listed.graphs)
    if not directed:
        parquet = load_graph_files(write_parquet(tmp_path / "parquet", graphs, seed=1))
        assert_same(parquet.graphs, listed.graphs)
        assert (parquet.task, parquet.label_names) == (listed.task, listed.label_names)
    for index, graph in enumerate(graphs):
        found = listed.graphs[index]
        masses = [float(torch.tensor(value)) for value in nx.get_node_attributes(graph, "mass").values()]
        assert found.x[:, 0].tolist() == masses
        order = {node: position for position, node in enumerate(graph)}
        whole = {(order[s], order[t]) for s, t in graph.to_undirected().to_directed().edges}
        assert set(edges_of(found)) == whole


def test_single_graph_parquet_without_graph_columns(tmp_path: Path) -> None:
    nodes = {
        "node": pa.array([10, 20, 30], pa.int32()),
        "text": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2)),
        "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
        "y": pa.array([1.0, None, 0.0]),
    }
    pq.write_table(pa.table(nodes), tmp_path / "nodes.parquet")
    pq.write_table(pa.table({"source": [30], "target": [10]}), tmp_path / "edges.parquet")
    dataset = load_graph_files(tmp_path)
    assert dataset.graphs.x.tolist() == [[1, 2, 1, 0], [3, 4, 0, 1], [5, 6, 1, 0]]
    assert edges_of(dataset.graphs) == [(2, 0), (0, 2)]
    assert dataset.graphs.node_y is not None
    assert dataset.graphs.node_y.tolist() == [1, -1, 0]
    assert dataset.task == "node classification"


def test_graphml_defaults_several_graphs_and_editor_data(tmp_path: Path) -> None:
    file = tmp_path / "g.graphml"
    file.write_text("""<?xml version="1.0"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key id="m" for="node" attr.name="mass" attr.type="double"><default>1.5</default></key>
  <key id="d" for="node" yfiles.type="nodegraphics"/>
  <graph edgedefault="undirected"><node id="0"><data key="d"><b/></data></node>
    <node id="1"><data key="m">3</data></node>
    <edge id="e" source="0" target="1"/></graph>
  <graph edgedefault="undirected"><node id="0"/></graph>
</graphml>""")
    graphs = load_graph_files(file).graphs
    assert graphs.x.tolist() == [[1.5], [3], [1.5]]
    assert graphs.edges_per_graph.tolist() == [2, 0]


A, B = {"id": "a"}, {"id": "b"}
JSON_FAULTS: dict[str, tuple[object, str]] = {
    "not a graph": (3, "g.json: not a graph (found 3)"),
    "empty list": ([], "g.json: no graphs; expected at least one"),
    "not a graph in a list": ([node_link([A], []), 3], "g.json: graphs[1]: not a graph (found 3)"),
    "no edges": ({"nodes": []}, "g.json: not a node-link graph (found ['nodes']); expected 'nodes', and 'edges'"),
    "edges twice": ({"nodes": [A], "edges": [], "links": []}, "expected 'nodes', and 'edges' or 'links'"),
    "no nodes": (node_link([], []), "g.json: graph: the graph has no nodes"),
    "no nodes in a list": ([node_link([A], []), node_link([], [])], "g.json: graphs[1].graph: the graph has no nodes"),
    "node without id": (node_link([A, {"name": "b"}], []), "g.json: nodes[1].id: no usable id"),
    "node is no object": (node_link([A, "b"], []), "g.json: nodes[1]: not an object (found 'b')"),
    "edge without target": (node_link([A], [{"source": "a"}]), "g.json: edges[0].target: no usable id"),
    "id twice": (node_link([A, B, A], []), "g.json: nodes[0] and [2]: the node id occurs twice (found 'a')"),
    "dangling edge": (
        [node_link([A], []), node_link([A, B], [{"source": "a", "target": "b"}, {"source": "b", "target": "c"}])],
        "g.json: graphs[1].edges[1].target: an edge names a node that does not exist (found 'c')",
    ),
    "missing attribute": (
        node_link([{"id": "a", "mass": 1}, B], []),
        "g.json: nodes[1] (id 'b'), attribute mass: the attribute is missing",
    ),
    "missing attribute in a list": (
        [node_link([{"id": "a", "mass": 1}], []), node_link([{"id": "a", "mass": 1}, B], [])],
        "g.json: graphs[1].nodes[1] (id 'b'), attribute mass: the attribute is missing",
    ),
    "missing edge attribute": (
        node_link([A, B], [{"source": "a", "target": "b", "w": 1}, {"source": "b", "target": "a"}]),
        "g.json: edges[1] ('b' to 'a'), attribute w: the attribute is missing",
    ),
    "mixed attribute": (
        node_link([{"id": "a", "mass": 1}, {"id": "b", "mass": "heavy"}], []),
        "g.json: nodes[1] (id 'b'), attribute mass: its type differs from that of earlier values (found 'heavy')",
    ),
    "nan": (
        node_link([{"id": "a", "mass": 1}, {"id": "b", "mass": float("nan")}], []),
        "g.json: nodes[1] (id 'b'), attribute mass: not a finite number (found nan)",
    ),
    "too big for a feature": (
        node_link([{"id": "a", "mass": 1e300}], []),
        "g.json: nodes[0] (id 'a'), attribute mass: not a finite number (found 1e+300); expected a magnitude of",
    ),
    "lists of two lengths": (
        node_link([{"id": "a", "p": [1, 2]}, {"id": "b", "p": [1]}], []),
        "g.json: nodes[1] (id 'b'), attribute p: lists differ in length (found 1); expected 2 numbers",
    ),
    "object attribute": (
        node_link([{"id": "a", "p": {"q": 1}}], []),
        "g.json: attribute p: values of type struct<q: int64>; expected numbers, booleans, strings",
    ),
    "names as features": (
        node_link([{"id": i, "name": f"node {i}"} for i in range(1001)], []),
        "g.json: attribute name: 1001 different values, too many for one-hot columns; expected at most 1000",
    ),
    "label and y": (node_link([{"id": "a", "label": 1, "y": 1}], []), "g.json: both 'label' and 'y' are given"),
    "class with a fraction": (
        node_link([{"id": "a", "y": 1.0}, {"id": "b", "y": 0.5}], []),
        "g.json: nodes[1] (id 'b'), attribute y: not a class (found 0.5)",
    ),
    "infinite target": (
        [node_link([A], [], graph={"y": value}) for value in (0.5, float("inf"))],
        "g.json: graphs[1].graph, attribute y: not a finite number (found inf)",
    ),
    "unlabelled graph": (
        [node_link([A], [], graph={"label": 1}), node_link([A], [])],
        "g.json: graphs[1].graph, attribute label: the graph has no label",
    ),
    "mixed directions": (
        [node_link([A], []), node_link([A], [], directed=True)],
        "g.json: graphs[1].directed: directed and undirected graphs in one dataset (found True)",
    ),
    "directed is no boolean": (node_link([A], [], directed="yes"), "g.json: directed: not a boolean"),
}


@pytest.mark.parametrize("name", JSON_FAULTS)
def test_json_faults_name_their_place(name: str, tmp_path: Path) -> None:
    content, message = JSON_FAULTS[name]
    with pytest.raises(DataError) as caught:
        load_graph_files(write_json(tmp_path / "g.json", content))
    assert message in str(caught.value)


def test_broken_json_names_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "g.json"
    file.write_text('{"nodes": [],\n  "edges": [}\n')
    with pytest.raises(DataError, match="at column 13") as caught:
        load_graph_files(file)
    assert (caught.value.file, caught.value.line) == (file, 2)


def test_missing_attribute_in_a_folder_names_the_file(tmp_path: Path) -> None:
    write_json(tmp_path / "one.json", node_link([{"id": "a", "mass": 1}], []))
    write_json(tmp_path / "two.json", node_link([A], []))
    with pytest.raises(DataError, match=r"two\.json: nodes\[0\] \(id 'a'\), attribute mass: the attribute is missing"):
        load_graph_files(tmp_path)


def test_a_folder_without_graphs_or_with_two_formats_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no graph files in the folder"):
        load_graph_files(tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        load_graph_files(tmp_path / "g.json")
    write_json(tmp_path / "g.json", node_link([A], []))
    nx.write_graphml(nx.path_graph(2), tmp_path / "g.graphml")
    with pytest.raises(DataError, match=r"both \.json and \.graphml files"):
        load_graph_files(tmp_path)


GRAPHML_FAULTS = {
    "broken": ("<graphml>\n<graph></graphml>", "g.graphml:2: broken XML at column 10: mismatched tag"),
    "no graph": ("<graphml></graphml>", "g.graphml: no graph in the file"),
    "dangling": (
        '<graphml><graph><node id="a"/><edge source="a" target="b"/></graph></graphml>',
        "g.graphml: graphs[0].edges[0].target: an edge names a node that does not exist (found 'b')",
    ),
    "no id": ("<graphml><graph><node/></graph></graphml>", "g.graphml: graphs[0].nodes[0].id: no usable id"),
    "wrong value": (
        '<graphml><key id="m" for="node" attr.name="mass" attr.type="int"/>'
        '<graph><node id="a"><data key="m">heavy</data></node></graph></graphml>',
        "g.graphml: graphs[0].nodes[0], attribute mass: not of its key's type (found 'heavy'); expected int",
    ),
    "wrong type": (
        '<graphml><key id="m" for="node" attr.name="mass" attr.type="weight"/>'
        '<graph><node id="a"><data key="m">1</data></node></graph></graphml>',
        "g.graphml: key m, attr.type: unknown type (found 'weight')",
    ),
    "hyperedge": ("<graphml><graph><hyperedge/></graph></graphml>", "graphs[0]: hyperedges are not supported"),
    "nested": (
        '<graphml><graph><node id="a"><graph/></node></graph></graphml>',
        "graphs[0]: nested graphs are not supported",
    ),
    "both kinds": (
        '<graphml><graph edgedefault="directed"><node id="a"/><node id="b"/><edge source="a" target="b"/>'
        '<edge source="b" target="a" directed="false"/></graph></graphml>',
        "g.graphml: graphs[0]: both directed and undirected edges in one graph",
    ),
}


@pytest.mark.parametrize("name", GRAPHML_FAULTS)
def test_graphml_faults_name_their_place(name: str, tmp_path: Path) -> None:
    content, message = GRAPHML_FAULTS[name]
    (tmp_path / "g.graphml").write_text(content)
    with pytest.raises(DataError) as caught:
        load_graph_files(tmp_path / "g.graphml")
    assert message in str(caught.value)


TABLES: dict[str, dict[str, list[Any]]] = {
    "nodes": {"graph": ["p", "p", "q"], "node": [1, 2, 1], "mass": [0.5, 1.5, 2.5]},
    "edges": {"graph": ["p"], "source": [1], "target": [2]},
    "graphs": {"graph": ["q", "p"], "label": [0, 1]},
}
PARQUET_FAULTS: dict[str, tuple[dict[str, dict[str, list[Any]] | None], str]] = {
    "no nodes file": ({"nodes": None}, "nodes.parquet: no such file"),
    "no node column": ({"nodes": {"graph": ["p"]}}, "nodes.parquet: no column 'node' (found ['graph'])"),
    "no target column": ({"edges": {"graph": ["p"], "source": [1]}}, "edges.parquet: no column 'target'"),
    "graph column in one": (
        {"edges": {"source": [1], "target": [2]}},
        "edges.parquet: no column 'graph'; expected the column in",
    ),
    "no nodes": ({"nodes": {"graph": [], "node": []}}, "nodes.parquet: the table has no rows"),
    "node twice": (
        {"nodes": {"graph": ["p", "q", "p"], "node": [1, 1, 1]}},
        "nodes.parquet: row 3, column node: the node occurs twice in its graph (found 1)",
    ),
    "dangling": (
        {"edges": {"graph": ["p", "q"], "source": [1, 1], "target": [2, 2]}},
        "edges.parquet: row 2, column target: an edge names a node that does not exist in its graph (found 2)",
    ),
    "unknown graph of an edge": (
        {"edges": {"graph": ["p", "r"], "source": [1, 1], "target": [2, 2]}},
        "edges.parquet: row 2, column graph: the graph is not in graphs.parquet (found 'r')",
    ),
    "unknown graph of a node": (
        {"graphs": {"graph": ["p"], "label": [0]}},
        "nodes.parquet: row 3, column graph: the graph is not in graphs.parquet (found 'q')",
    ),
    "graph twice": (
        {"graphs": {"graph": ["p", "q", "p"], "label": [0, 1, 0]}},
        "graphs.parquet: row 3, column graph: the graph occurs twice (found 'p')",
    ),
    "graph without nodes": (
        {"graphs": {"graph": ["p", "r", "q"], "label": [0, 1, 0]}},
        "graphs.parquet: graph 2: the graph has no nodes",
    ),
    "no id": (
        {"edges": {"graph": ["p"], "source": [None], "target": [2]}},
        "edges.parquet: row 1, column source: no id",
    ),
    "ids of two types": (
        {"edges": {"graph": ["p"], "source": ["one"], "target": ["two"]}},
        "ids of different types: nodes.parquet node: int64, edges.parquet source: string",
    ),
    "missing attribute": (
        {"nodes": {"graph": ["p", "q", "p"], "node": [1, 1, 2], "mass": [1.0, None, 2.0]}},
        "nodes.parquet: row 2, attribute mass: the attribute is missing",
    ),
    "infinite attribute": (
        {"nodes": {"graph": ["p", "q", "p"], "node": [1, 1, 2], "mass": [1.0, 2.0, float("inf")]}},
        "nodes.parquet: row 3, attribute mass: not a finite number (found inf)",
    ),
}


@pytest.mark.parametrize("name", PARQUET_FAULTS)
def test_parquet_faults_name_their_place(name: str, tmp_path: Path) -> None:
    changes, message = PARQUET_FAULTS[name]
    for table, columns in (TABLES | changes).items():
        if columns is not None:
            pq.write_table(pa.table(columns), tmp_path / f"{table}.parquet")
    with pytest.raises(DataError) as caught:
        load_graph_files(tmp_path)
    assert message in str(caught.value)


def test_graphs_are_in_the_order_of_their_table(tmp_path: Path) -> None:
    folder = tmp_path / "mass=7"
    folder.mkdir()
    for table, columns in TABLES.items():
        pq.write_table(pa.table(columns), folder / f"{table}.parquet")
    graphs = load_graph_files(folder).graphs
    assert graphs.x.tolist() == [[2.5], [0.5], [1.5]]
    assert graphs.nodes_per_graph.tolist() == [1, 2]
    assert edges_of(graphs) == [(2, 1), (1, 2)]


def test_not_a_parquet_file(tmp_path: Path) -> None:
    for name in ("nodes", "edges"):
        (tmp_path / f"{name}.parquet").write_text("graph,node\n")
    with pytest.raises(DataError) as caught:
        load_graph_files(tmp_path)
    assert caught.value.file == tmp_path / "nodes.parquet"
