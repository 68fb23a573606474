"""Planetoid files: a hand-made network with a gap as in CiteSeer, Cora as published, and pickles that are no data."""

import pickle
import random
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from jepakit.errors import DataError
from jepakit.graph.datasets.planetoid import load_planetoid

STEM = "ind.toy"


def write(folder: Path) -> Path:
    """Nodes 0 to 3, of which two train, test nodes 6 and 4 in that order, and 5, which no file describes."""
    classes = np.eye(2, dtype=np.int32)
    words = csr_matrix(np.array([[1, 1, 0], [0, 2, 0], [0, 0, 0], [1, 0, 3]], dtype=np.float32))
    neighbours = defaultdict(list, {0: [1, 1, 0], 1: [0, 2], 2: [], 3: [6], 4: [6], 5: [], 6: [3, 4]})
    parts = {
        "x": words[:2],
        "y": classes[[0, 1]],
        "tx": csr_matrix(np.array([[0, 0, 5], [4, 0, 4]], dtype=np.float32)),
        "ty": classes[[1, 0]],
        "allx": words,
        "ally": classes[[0, 1, 1, 0]],
        "graph": neighbours,
    }
    raw = folder / "raw"
    raw.mkdir()
    for part, value in parts.items():
        (raw / f"{STEM}.{part}").write_bytes(pickle.dumps(value, protocol=3))
    (raw / f"{STEM}.test.index").write_text("6\n4\n")
    return raw


def test_toy_by_hand(tmp_path: Path) -> None:
    dataset = load_planetoid(write(tmp_path))
    graphs = dataset.graphs
    assert graphs.x.tolist() == [
        [0.5, 0.5, 0],
        [0, 1, 0],
        [0, 0, 0],
        [0.25, 0, 0.75],
        [0.5, 0, 0.5],
        [0, 0, 0],
        [0, 0, 1],
    ]
    assert graphs.node_y is not None
    assert graphs.node_y.tolist() == [0, 1, 1, 0, 0, -1, 1]
    # 0-1 stands twice, 0-0 is a loop, and 1-2 and 4-6 stand with and without their reverse.
    assert list(zip(*graphs.edge_index.tolist(), strict=True)) == [
        (1, 0),
        (0, 1),
        (2, 1),
        (1, 2),
        (6, 3),
        (6, 4),
        (3, 6),
        (4, 6),
    ]
    assert {name: ids.tolist() for name, ids in dataset.splits.items()} == {
        "train": [0, 1],
        "val": [2, 3],
        "test": [6, 4],
    }
    assert (dataset.task, dataset.label_names, len(graphs)) == ("node classification", ("0", "1"), 1)


class RunsCode:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("part", ["y", "allx", "ty", "graph"])
def test_a_pickle_cannot_run_code(part: str, tmp_path: Path) -> None:
    raw, trace = write(tmp_path), tmp_path / "it ran"
    (raw / f"{STEM}.{part}").write_bytes(pickle.dumps(RunsCode(trace), protocol=3))
    with pytest.raises(DataError, match=rf"{STEM}\.{part}: not a Planetoid file: it names _?io\.open"):
        load_planetoid(raw)
    assert not trace.exists()


def test_sparse_indices_out_of_bounds(tmp_path: Path) -> None:
    raw = write(tmp_path)
    matrix = csr_matrix(np.ones((2, 3), dtype=np.float32))
    matrix.indices[3] = 1_000_000_000
    (raw / f"{STEM}.tx").write_bytes(pickle.dumps(matrix, protocol=3))
    with pytest.raises(DataError, match=rf"{STEM}\.tx: not a matrix of numbers: index 1000000000 is out of bounds"):
        load_planetoid(raw)


@pytest.mark.parametrize("part", ["y", "tx", "ty", "allx", "ally", "test.index"])
def test_missing_file(part: str, tmp_path: Path) -> None:
    raw = write(tmp_path)
    (raw / f"{STEM}.{part}").unlink()
    with pytest.raises(DataError) as caught:
        load_planetoid(raw)
    assert caught.value.file == raw / f"{STEM}.{part}"


def test_no_graph_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected ind\.NAME\.graph"):
        load_planetoid(tmp_path)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("graph", {0: [99]}, r"toy\.graph: an edge names a node .*\(found 99\); expected node ids from 0 to 6"),
        ("graph", {0: ["1"]}, r"toy\.graph: an edge names a node .*\(found '1'\)"),
        ("graph", [0, 1], r"toy\.graph: not adjacency lists \(found 'list'\); expected a dict"),
        ("ally", np.eye(2, dtype=np.int32), r"toy\.ally: wrong shape \(found \(2, 2\)\); expected \(4, 2\)"),
        ("tx", np.ones((2, 9), dtype=np.float32), r"toy\.tx: wrong shape \(found \(2, 9\)\); expected \(2, 3\)"),
        ("ty", np.array(["a", "b"]), r"toy\.ty: not a matrix of numbers: values of type 'U1'"),
        ("tx", np.array([[0, np.nan, 0], [1, 1, 1]]), r"toy\.tx: not a matrix of finite numbers"),
    ],
)
def test_pickles_that_do_not_fit(part: str, value: object, message: str, tmp_path: Path) -> None:
    raw = write(tmp_path)
    (raw / f"{STEM}.{part}").write_bytes(pickle.dumps(value, protocol=3))
    with pytest.raises(DataError, match=message):
        load_planetoid(raw)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("6\n", r"wrong number of lines \(found 1\); expected 2"),
        ("6\nsix\n", r"test\.index:2: not the id of a test node \(found 'six'\)"),
        ("6\n6\n", r"test\.index:2: not the id of a test node \(found '6'\)"),
        ("3\n6\n", r"test\.index:1: not the id of a test node \(found '3'\); expected a whole number from 4"),
    ],
)
def test_test_index_faults(text: str, message: str, tmp_path: Path) -> None:
    raw = write(tmp_path)
    (raw / f"{STEM}.test.index").write_text(text)
    with pytest.raises(DataError, match=message):
        load_planetoid(raw)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize("part", ["allx", "ally", "graph"])
def test_damaged_files_never_crash(part: str, tmp_path: Path) -> None:
    raw = write(tmp_path)
    file = raw / f"{STEM}.{part}"
    whole = file.read_bytes()
    chance = random.Random(0)
    problems = []
    for _ in range(60):
        damaged = bytearray(whole[: chance.randrange(len(whole))] if chance.random() < 0.3 else whole)
        for _ in range(chance.randrange(1, 4)):
            if damaged:
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        file.write_bytes(damaged)
        try:
            load_planetoid(raw)
        except DataError as error:
            problems.append(str(error))
    assert len(problems) > 20
    assert all(STEM in problem for problem in problems)


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:dtype")
def test_cora_is_what_torch_geometric_reads(data_dir: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("torch_geometric.datasets")
    transforms = pytest.importorskip("torch_geometric.transforms")
    # A copy, since Planetoid writes its processed files beside the raw ones.
    shutil.copytree(data_dir / "planetoid/Cora/raw", tmp_path / "Cora" / "raw")
    theirs = datasets.Planetoid(str(tmp_path), "Cora", transform=transforms.NormalizeFeatures())[0]
    dataset = load_planetoid(data_dir / "planetoid" / "Cora")
    graphs = dataset.graphs
    assert (dataset.name, len(graphs), graphs.num_nodes, graphs.num_edges) == ("Cora", 1, 2708, 10556)
    torch.testing.assert_close(graphs.x, theirs.x)
    order = torch.argsort(theirs.edge_index[1] * 2708 + theirs.edge_index[0])
    assert torch.equal(graphs.edge_index, theirs.edge_index[:, order])
    assert graphs.node_y is not None
    assert torch.equal(graphs.node_y, theirs.y)
    assert {name: len(ids) for name, ids in dataset.splits.items()} == {"train": 140, "val": 500, "test": 1000}
    for name, ids in dataset.splits.items():
        assert torch.equal(ids.sort().values, theirs[f"{name}_mask"].nonzero().squeeze(1))
    assert torch.bincount(graphs.node_y[dataset.splits["train"]]).tolist() == [20] * 7
