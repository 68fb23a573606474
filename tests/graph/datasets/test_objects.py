"""Graphs made of other libraries' objects are those that the loaders read from files of the same content."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import pytest
import torch

from jepakit.errors import DataError
from jepakit.graph import EncoderConfig, GraphEncoder, Graphs, load_dataset
from jepakit.graph.datasets.tu import load_tu

Data = pytest.importorskip("torch_geometric.data").Data


def assert_same(found: Graphs, expected: Graphs) -> None:
    ours, theirs = found.tensors(), expected.tensors()
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        torch.testing.assert_close(values, theirs[name], rtol=0, atol=0, equal_nan=True)


def drawn(*, directed: bool = False) -> list[nx.Graph]:
    graphs = []
    for seed in range(4):
        graph = nx.gnp_random_graph(6, 0.4, seed=seed, directed=directed)
        for node in graph:
            graph.nodes[node].update(element="CNO"[(node + seed) % 3], mass=node / 2)
        for source, target in graph.edges:
            graph.edges[source, target]["bond"] = "single" if (source + target) % 2 else "double"
        graph.graph["label"] = ["odd", "even"][seed % 2]
        graphs.append(graph)
    return graphs


@pytest.mark.parametrize("directed", [False, True])
def test_networkx_as_its_json(directed: bool, tmp_path: Path) -> None:
    graphs = drawn(directed=directed)
    (tmp_path / "g.json").write_text(json.dumps([nx.node_link_data(graph, edges="edges") for graph in graphs]))
    read, made = load_dataset(tmp_path / "g.json").graphs, Graphs.from_networkx(graphs)
    assert_same(made, read)
    assert made.vocabulary == read.vocabulary
    assert_same(Graphs.from_networkx(graphs[0]), Graphs.from_networkx(graphs[:1]))


def test_networkx_by_the_names_of_an_encoder() -> None:
    graphs = drawn()
    whole = Graphs.from_networkx(graphs)
    encoder = GraphEncoder.for_data(whole, EncoderConfig(hidden=4, layers=1, prototypes=0)).eval()
    for index, graph in enumerate(graphs):
        few = nx.subgraph(graph, [0, 1])
        one = Graphs.from_networkx(few, vocabulary=encoder.vocabulary)
        assert torch.equal(encoder.read_by_name(one).x, whole[[index]].x[:2])


def test_what_networkx_lacks_is_named() -> None:
    graph = nx.path_graph(3)
    graph.nodes[1]["mass"] = 1.0
    with pytest.raises(DataError, match=r"networkx: graphs\[0\].nodes\[0\] \(id 0\), attribute mass: .* is missing"):
        Graphs.from_networkx(graph)
    assert Graphs.from_networkx(graph, fill_missing=True).x.tolist() == [[0, 1], [1, 0], [0, 1]]
    with pytest.raises(DataError, match="networkx: no graphs"):
        Graphs.from_networkx([])
    with pytest.raises(DataError, match="the graph has no nodes"):
        Graphs.from_networkx([graph, nx.Graph()], fill_missing=True)
    grid = nx.grid_2d_graph(2, 2)
    assert Graphs.from_networkx(grid).num_edges == 8


def test_pyg_as_the_tu_folder_it_was_read_from(tmp_path: Path) -> None:
    """PyTorch Geometric's own reader of the format, without downloads."""
    raw = tmp_path / "T" / "raw"
    raw.mkdir(parents=True)
    pairs = [(1, 2), (2, 3), (4, 5), (5, 6), (6, 7), (4, 7)]
    files = {
        "A": [f"{a}, {b}" for pair in pairs for a, b in (pair, pair[::-1])],
        "graph_indicator": ["1"] * 3 + ["2"] * 4,
        "graph_labels": ["0", "1"],
        "node_labels": list("0120120"),
        "edge_labels": [str(place // 2 % 2) for place in range(2 * len(pairs))],
    }
    for name, lines in files.items():
        (raw / f"T_{name}.txt").write_text("\n".join(lines) + "\n")
    theirs = pytest.importorskip("torch_geometric.datasets").TUDataset(str(tmp_path), "T")
    assert_same(Graphs.from_pyg(list(theirs)), load_tu(raw).graphs)


EDGES = torch.tensor([[0, 1], [1, 0]])


def test_pyg_labels_by_their_shape() -> None:
    def made(*ys: torch.Tensor) -> Graphs:
        return Graphs.from_pyg([Data(edge_index=EDGES, num_nodes=2, y=y) for y in ys])

    classes = made(torch.tensor([3]), torch.tensor(1))
    assert classes.y is not None
    assert (classes.y.tolist(), classes.y.dtype, classes.node_y) == ([3, 1], torch.long, None)
    assert classes.x.tolist() == [[1]] * 4
    nodes = made(torch.tensor([0, 1]), torch.tensor([1, 1]))
    assert (nodes.y, nodes.node_y.tolist()) == (None, [0, 1, 1, 1])  # type: ignore[union-attr]
    targets = made(torch.tensor([[0.5, torch.nan]]), torch.tensor([[1.0, 2.0]]))
    torch.testing.assert_close(targets.y, torch.tensor([[0.5, torch.nan], [1, 2]]), equal_nan=True)
    alone = Graphs.from_pyg(Data(x=torch.arange(2), edge_index=EDGES, edge_attr=torch.ones(2), y=torch.tensor([0, 1])))
    assert (alone.x.tolist(), alone.edge_attr.tolist()) == ([[0], [1]], [[1], [1]])  # type: ignore[union-attr]


def test_a_pyg_batch_is_its_graphs() -> None:
    listed = [Data(x=torch.rand(2, 3), edge_index=EDGES) for _ in range(3)]
    batch = pytest.importorskip("torch_geometric.data").Batch.from_data_list(listed)
    assert_same(Graphs.from_pyg(batch), Graphs.from_pyg(listed))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"edge_index": EDGES, "num_nodes": 2}, r"data\[1\].x: is missing"),
        ({"x": torch.ones(2, 2)}, r"data\[1\].edge_index: .* no edges|the graph has no edges"),
        (
            {"x": torch.ones(2, 3), "edge_index": EDGES},
            r"data\[1\].x: features differ .*\(found 3\); expected 2 columns",
        ),
        ({"x": torch.ones(2, 2), "edge_index": EDGES + 1}, r"data.edge_index\[:, 2\]: .* does not exist"),
        ({"x": torch.ones(2, 2), "edge_index": EDGES, "y": torch.ones(2)}, r"data\[0\].y: is missing"),
    ],
)
def test_what_pyg_data_lack_is_named(second: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Graphs.from_pyg([Data(x=torch.ones(2, 2), edge_index=EDGES), Data(**second)])


def test_what_is_no_pyg_graph_is_named() -> None:
    hetero = pytest.importorskip("torch_geometric.data").HeteroData()
    for given, message in (([hetero], "HeteroData.*to_homogeneous"), ([], "no graphs"), ([3], "'int'")):
        with pytest.raises(DataError, match=message):
            Graphs.from_pyg(given)


def test_smiles_as_their_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rdkit")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    smiles = ["CCO", "c1ccccc1", "[2H]C", "C[C@H](N)C(=O)O", "[Na+].[Cl-]"]
    (tmp_path / "s.csv").write_text("\n".join(["smiles", *smiles]))
    read, made = load_dataset(tmp_path / "s.csv").graphs, Graphs.from_smiles(smiles)
    assert_same(made, read)
    assert made.vocabulary == read.vocabulary
    with pytest.raises(DataError, match=r"smiles\[1\]: a SMILES cannot be read \(found 'C\('\)"):
        Graphs.from_smiles(["C", "C("])
