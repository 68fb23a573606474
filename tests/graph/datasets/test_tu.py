"""The TU format: hand-made sets, every fault named by file and line, and the published counts."""

import shutil
from pathlib import Path

import pytest
import torch

from jepakit.errors import DataError
from jepakit.graph.datasets.tu import load_tu

TOY = {
    "A": "1, 2\n2, 1\n2, 3\n3, 2\n5, 6\n6, 5\n",
    "graph_indicator": "1\n1\n1\n2\n3\n3\n",
    "graph_labels": "1\n-1\n1\n",
    "node_labels": "6\n8\n6\n6\n17\n8\n",
    "node_attributes": "1.0, 5\n2.0, 5\n3.0, 5\n4.0, 5\n5.0, 5\n6.0, 5\n",
    "edge_labels": "0\n0\n2\n2\n0\n0\n",
}
"""A path of three nodes, a single node, and an edge."""


def write(folder: Path, files: dict[str, str | None]) -> Path:
    raw = folder / "TOY" / "raw"
    raw.mkdir(parents=True)
    for part, text in files.items():
        if text is not None:
            (raw / f"TOY_{part}.txt").write_text(text)
    return raw


def test_toy_by_hand(tmp_path: Path) -> None:
    dataset = load_tu(write(tmp_path, TOY))
    graphs = dataset.graphs
    assert (dataset.name, dataset.task, dataset.label_names) == ("TOY", "graph classification", ("-1", "1"))
    assert graphs.y is not None
    assert graphs.y.tolist() == [1, 0, 1]
    assert graphs.nodes_per_graph.tolist() == [3, 1, 2]
    assert graphs.edges_per_graph.tolist() == [4, 0, 2]
    assert graphs.edge_index.tolist() == [[1, 0, 2, 1, 5, 4], [0, 1, 1, 2, 4, 5]]
    assert graphs.x[:, :3].tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]]
    values = torch.arange(1.0, 7.0)
    torch.testing.assert_close(graphs.x[:, 3], (values - 3.5) / values.std(correction=0))
    assert graphs.x[:, 4].tolist() == [0] * 6
    assert graphs.edge_attr is not None
    assert graphs.edge_attr.tolist() == [[1, 0], [1, 0], [0, 1], [0, 1], [1, 0], [1, 0]]


def test_folder_above_raw_is_the_same(tmp_path: Path) -> None:
    raw = write(tmp_path, TOY)
    assert torch.equal(load_tu(raw.parent).graphs.x, load_tu(raw).graphs.x)


def test_without_features_x_is_ones(tmp_path: Path) -> None:
    bare = {part: TOY[part] for part in ("A", "graph_indicator")}
    dataset = load_tu(write(tmp_path, bare))
    assert dataset.graphs.x.tolist() == [[1.0]] * 6
    assert (dataset.graphs.edge_attr, dataset.graphs.y, dataset.task) == (None, None, "none")


def test_edges_are_made_simple_and_go_both_ways(tmp_path: Path) -> None:
    # 1-2 stands one way and twice, 2-2 is a loop, 2-3 stands both ways, 5-6 stands one way with two different labels.
    files = {"A": "1,2\n1,2\n2,2\n2,3\n3,2\n5,6\n5,6\n", "edge_labels": "0\n0\n0\n1\n2\n0\n1\n"}
    graphs = load_tu(write(tmp_path, TOY | files)).graphs
    assert graphs.edge_attr is not None
    labels = graphs.edge_attr.argmax(1).tolist()
    found = sorted(zip(*graphs.edge_index.tolist(), labels, strict=True))
    assert found == [(0, 1, 0), (1, 0, 0), (1, 2, 1), (2, 1, 2), (4, 5, 0), (4, 5, 1), (5, 4, 0), (5, 4, 1)]


def test_labels_in_several_columns_and_edge_attributes(tmp_path: Path) -> None:
    files = {"node_labels": "0, 1\n1, 1\n0, 2\n0, 1\n0, 1\n0, 1\n", "node_attributes": None, "edge_labels": None}
    graphs = load_tu(write(tmp_path, TOY | files | {"edge_attributes": "1\n1\n2\n2\n3\n3\n"})).graphs
    assert graphs.x[:3].tolist() == [[1, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1]]
    assert graphs.edge_attr is not None
    spread = (2 / 3) ** 0.5
    torch.testing.assert_close(graphs.edge_attr.squeeze(1), torch.tensor([-1, -1, 0, 0, 1, 1]) / spread)


def test_graph_attributes_are_regression_targets(tmp_path: Path) -> None:
    dataset = load_tu(write(tmp_path, TOY | {"graph_labels": None, "graph_attributes": "0.5, 1\n-2, nan\n1e3, 3\n"}))
    assert dataset.task == "graph regression"
    assert dataset.graphs.y is not None
    expected = torch.tensor([[0.5, 1], [-2, float("nan")], [1000, 3]])
    torch.testing.assert_close(dataset.graphs.y, expected, equal_nan=True)


def test_no_edges_at_all(tmp_path: Path) -> None:
    graphs = load_tu(write(tmp_path, TOY | {"A": "", "edge_labels": ""})).graphs
    assert (len(graphs), graphs.num_nodes, graphs.num_edges) == (3, 6, 0)


def test_blank_lines_and_windows_line_ends_do_not_matter(tmp_path: Path) -> None:
    messy = {part: "\n" + text.replace("\n", "\r\n") + "\r\n" for part, text in TOY.items()}
    clean = load_tu(write(tmp_path / "clean", TOY)).graphs
    graphs = load_tu(write(tmp_path / "messy", messy)).graphs
    assert torch.equal(graphs.x, clean.x)
    assert torch.equal(graphs.edge_index, clean.edge_index)


def change_line(part: str, number: int, line: str) -> dict[str, str]:
    lines = TOY[part].splitlines()
    lines[number - 1] = line
    return {part: "\n".join(lines) + "\n"}


FAULTS: dict[str, tuple[dict[str, str | None], str, str]] = {
    "no A": ({"A": None}, "raw: ", "expected NAME_A.txt"),
    "no indicator": ({"graph_indicator": None}, "graph_indicator.txt: ", "no such file"),
    "empty indicator": ({"graph_indicator": ""}, "graph_indicator.txt: ", "the file is empty"),
    "short labels": (
        {"graph_labels": "1\n-1\n"},
        "graph_labels.txt: ",
        "number of lines (found 2); expected 3, the number in TOY_graph_indicator.txt",
    ),
    "short node labels": ({"node_labels": "6\n8\n"}, "node_labels.txt: ", "number of lines (found 2); expected 6"),
    "long node attributes": (
        {"node_attributes": TOY["node_attributes"] + "7.0, 5\n"},
        "node_attributes.txt: ",
        "wrong number of lines (found 7); expected 6, the number in TOY_graph_indicator.txt",
    ),
    "short edge labels": (
        {"edge_labels": "0\n0\n"},
        "edge_labels.txt: ",
        "wrong number of lines (found 2); expected 6, the number in TOY_A.txt",
    ),
    "short indicator": (
        {"graph_indicator": "1\n1\n1\n2\n"},
        "graph_indicator.txt: ",
        "graph 3 has no nodes; expected nodes of each of the 3 graphs in TOY_graph_labels.txt",
    ),
    "cut line": (change_line("A", 6, "6,"), "A.txt:6: ", "not a whole number (found '')"),
    "words": (change_line("A", 3, "2, three"), "A.txt:3: ", "not a whole number (found 'three')"),
    "fraction": (change_line("node_labels", 5, "1.5"), "node_labels.txt:5: ", "not a whole number (found '1.5')"),
    "one value": (change_line("A", 2, "2"), "A.txt:2: ", "wrong number of values (found '2'); expected 2 values"),
    "three values": (change_line("A", 2, "2, 1, 1"), "A.txt:2: ", "wrong number of values (found '2, 1, 1')"),
    "not a number": (change_line("node_attributes", 4, "x, 5"), "node_attributes.txt:4: ", "not a number (found 'x')"),
    "nan": (change_line("node_attributes", 4, "nan, 5"), "node_attributes.txt:4: ", "not a finite number (found nan)"),
    "inf": (
        change_line("node_attributes", 6, "1, -inf"),
        "node_attributes.txt:6: ",
        "not a finite number (found -inf)",
    ),
    "node 0": (change_line("A", 1, "0, 2"), "A.txt:1: ", "does not exist (found 0); expected node ids from 1 to 6"),
    "node 7": (change_line("A", 5, "5, 7"), "A.txt:5: ", "does not exist (found 7); expected node ids from 1 to 6"),
    "two graphs": (change_line("A", 4, "3, 4"), "A.txt:4: ", "an edge joins two graphs, 1 and 2 (found [3, 4])"),
    "from 0": ({"graph_indicator": "0\n0\n0\n1\n2\n2\n"}, "graph_indicator.txt:1: ", "(found 0); expected 1"),
    "from 2": ({"graph_indicator": "2\n2\n2\n2\n3\n3\n"}, "graph_indicator.txt:1: ", "(found 2); expected 1"),
    "unsorted": (change_line("graph_indicator", 5, "1"), "graph_indicator.txt:5: ", "(found 1); expected 2 or 3"),
    "left out": (
        {"graph_indicator": "1\n1\n1\n3\n3\n3\n"},
        "graph_indicator.txt:4: ",
        "graph 2 has no nodes (found 3)",
    ),
    "number too long": (change_line("graph_labels", 2, "9" * 30), "graph_labels.txt: ", "cannot be read"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_name_file_and_line(name: str, tmp_path: Path) -> None:
    files, place, problem = FAULTS[name]
    raw = write(tmp_path, TOY | files)
    with pytest.raises(DataError) as caught:
        load_tu(raw)
    assert place in str(caught.value)
    assert problem in str(caught.value)


def test_line_numbers_count_blank_lines(tmp_path: Path) -> None:
    raw = write(tmp_path, TOY | {"A": "\n1, 2\n\n2, 1\n5, 9\n", "edge_labels": None})
    with pytest.raises(DataError, match=r"TOY_A\.txt:5: an edge names a node"):
        load_tu(raw)


def test_infinite_graph_attribute(tmp_path: Path) -> None:
    raw = write(tmp_path, TOY | {"graph_labels": None, "graph_attributes": "1\n2\ninf\n"})
    with pytest.raises(DataError, match=r"TOY_graph_attributes\.txt:3: a graph attribute is not a finite number"):
        load_tu(raw)


def test_two_sets_in_a_folder(tmp_path: Path) -> None:
    raw = write(tmp_path, TOY)
    (raw / "OTHER_A.txt").write_text("1, 2\n")
    with pytest.raises(DataError, match=r"more than one dataset in a folder \(found \['OTHER', 'TOY'\]\)"):
        load_tu(raw)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "num_graphs", "num_nodes", "num_edges", "num_features", "classes"),
    [
        ("MUTAG", 188, 3371, 7442, 7, {"-1": 63, "1": 125}),
        ("PROTEINS", 1113, 43471, 162088, 4, {"1": 663, "2": 450}),
        ("NCI1", 4110, 122747, 265506, 37, {"0": 2053, "1": 2057}),
        ("IMDB-BINARY", 1000, 19773, 193062, 1, {"0": 500, "1": 500}),
        ("REDDIT-BINARY", 2000, 859254, 1991016, 1, {"0": 1000, "2": 1000}),
    ],
)
def test_published_counts(
    data_dir: Path,
    name: str,
    num_graphs: int,
    num_nodes: int,
    num_edges: int,
    num_features: int,
    classes: dict[str, int],
) -> None:
    dataset = load_tu(data_dir / "tu" / name)
    graphs = dataset.graphs
    assert (len(graphs), graphs.num_nodes, graphs.num_edges) == (num_graphs, num_nodes, num_edges)
    assert graphs.x.shape[1] == num_features
    assert graphs.y is not None
    assert dict(zip(dataset.label_names, torch.bincount(graphs.y).tolist(), strict=True)) == classes
    reverse = graphs.edge_index.flip(0)
    order = torch.argsort(reverse[1] * num_nodes + reverse[0])
    assert torch.equal(reverse[:, order], graphs.edge_index)


@pytest.mark.data
@pytest.mark.parametrize("name", ["MUTAG", "PROTEINS"])
def test_same_graphs_as_torch_geometric(data_dir: Path, tmp_path: Path, name: str) -> None:
    geometric = pytest.importorskip("torch_geometric.datasets")
    # A copy, since TUDataset writes its processed files beside the raw ones.
    shutil.copytree(data_dir / "tu" / name / "raw", tmp_path / name / "raw")
    theirs = geometric.TUDataset(str(tmp_path), name)
    ours = load_tu(data_dir / "tu" / name).graphs
    assert len(theirs) == len(ours)
    labels = theirs[0].x.shape[1]
    for index in (0, 17, len(ours) // 2, len(ours) - 1):
        graph, expected = ours[index], theirs[index]
        assert torch.equal(graph.x[:, :labels], expected.x)
        assert graph.y is not None
        assert graph.y.item() == expected.y.item()
        order = torch.argsort(expected.edge_index[1] * graph.num_nodes + expected.edge_index[0])
        assert torch.equal(graph.edge_index, expected.edge_index[:, order])
        if graph.edge_attr is not None:
            assert torch.equal(graph.edge_attr, expected.edge_attr[order])


@pytest.mark.data
def test_attributes_are_standardised_over_the_set(data_dir: Path) -> None:
    attribute = load_tu(data_dir / "tu" / "PROTEINS").graphs.x[:, 3].double()
    lines = (data_dir / "tu/PROTEINS/raw/PROTEINS_node_attributes.txt").read_text().split()
    given = torch.tensor([float(line) for line in lines], dtype=torch.double)
    torch.testing.assert_close(attribute, (given - given.mean()) / given.std(correction=0), rtol=1e-5, atol=1e-6)
