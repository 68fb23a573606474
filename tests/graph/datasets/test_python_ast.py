"""The built-in dataset: trees by hand, the shape of every tree, the same tensors in every process."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from jepakit.errors import DataError
from jepakit.graph.data import GraphDataset
from jepakit.graph.datasets import python_ast
from jepakit.graph.datasets.python_ast import EDGE_ROLES, NODE_KINDS, load_python


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "jepakit"


@pytest.fixture(scope="module")
def dataset(cache: Path) -> GraphDataset:
    return load_python()


def trees(folder: Path, text: str) -> list[tuple[list[str], list[int]]]:
    path = folder / "module.py"
    path.write_text(text)
    return [([NODE_KINDS[kind] for kind in kinds], list(parents)) for kinds, parents in python_ast._trees(path)]


def test_a_tree_by_hand(tmp_path: Path) -> None:
    assert trees(tmp_path, "def f(x, y=2):\n    'text'\n    return x.real + -1j\n") == [
        (
            [
                *("FunctionDef", "arguments", "arg", "arg", "number", "Expr", "string"),
                *("Return", "BinOp", "Attribute", "Name", "UnaryOp", "number"),
            ],
            [-1, 0, 1, 1, 1, 0, 5, 0, 7, 8, 9, 8, 11],
        )
    ]


def test_edges_by_hand(tmp_path: Path) -> None:
    """A root with children 1 and 2, and 3 below 2; the second tree is the same, four nodes on."""
    tree = ((0, 3, 5, 40), (-1, 0, 0, 2))
    graphs = python_ast._pack([tree, tree], torch.tensor([0, 1]))
    assert graphs.edge_attr is not None
    role = [EDGE_ROLES[int(column)] for column in graphs.edge_attr.argmax(1)]
    edges = [(*ends, name) for ends, name in zip(graphs.edge_index.T.tolist(), role, strict=True)]
    expected = [(0, 1, "child"), (0, 2, "child"), (2, 3, "child"), (1, 0, "parent"), (2, 0, "parent"), (3, 2, "parent")]
    expected += [(1, 2, "next sibling"), (2, 1, "previous sibling")]
    assert sorted(edges) == sorted(expected + [(a + 4, b + 4, name) for a, b, name in expected])
    assert graphs.x.argmax(1).tolist() == [0, 3, 5, 40] * 2


def test_names_and_values_leave_no_trace(tmp_path: Path) -> None:
    here = trees(tmp_path, "def send(self, data):\n    for part in data[1:]:\n        self.loop.add(part, key='a')\n")
    there = trees(tmp_path, "async def f(a, b):\n    async for c in b[22:]:\n        a.x.y(c, z='bcd')\n")
    assert here == there
    assert here != trees(
        tmp_path, "def send(self, data):\n    for part in data[1:]:\n        self.add(part, key='a')\n"
    )


def test_functions_are_found_wherever_they_stand_and_once(tmp_path: Path) -> None:
    text = """
def outer():
    def inner(): pass
class A:
    def method(self): pass
    class B:
        async def method(self): pass
if True:
    def one(): pass
else:
    def two(): pass
try:
    def three(): pass
except ImportError:
    def four(): pass
match 1:
    case 1:
        def five(): pass
f = lambda: 0
"""
    kinds = [kinds for kinds, _ in trees(tmp_path, text)]
    assert len(kinds) == 8
    assert kinds[0] == ["FunctionDef", "arguments", "FunctionDef", "arguments", "Pass"]


def test_an_invalid_escape_is_read_and_broken_files_have_no_trees(tmp_path: Path) -> None:
    text = "def f():\n    pass\ndef g(x):\n    return '\\d'\n"
    assert [len(kinds) for kinds, _ in trees(tmp_path, text)] == [3, 5]
    assert trees(tmp_path, "def f(:\n") == []
    assert trees(tmp_path, "def f(): pass\0") == []


def test_every_graph_is_a_tree_with_its_siblings(dataset: GraphDataset) -> None:
    graphs = dataset.graphs
    assert graphs.edge_attr is not None
    assert (graphs.edge_attr.sum(1) == 1).all()
    assert (graphs.x.sum(1) == 1).all()
    source, target = graphs.edge_index
    child, parent, following, previous = ((graphs.edge_attr[:, role] == 1) for role in range(4))
    roots = graphs.node_ptr[:-1]
    incoming = torch.bincount(target[child], minlength=graphs.num_nodes)
    assert torch.equal(graphs.graph_of_node[target[child]].bincount(), graphs.nodes_per_graph - 1)
    assert (incoming[roots] == 0).all()
    assert incoming.sum() == graphs.num_nodes - len(graphs)
    assert incoming.max() == 1
    # A parent stands before its children in the text, so there can be no cycle.
    assert (source[child] < target[child]).all()

    def pairs(chosen: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> list[int]:
        return (a[chosen] * graphs.num_nodes + b[chosen]).sort().values.tolist()

    assert pairs(child, source, target) == pairs(parent, target, source)
    assert pairs(following, source, target) == pairs(previous, target, source)
    parent_of = torch.full((graphs.num_nodes,), -1).scatter(0, target[child], source[child])
    assert torch.equal(parent_of[source[following]], parent_of[target[following]])
    children = torch.bincount(source[child], minlength=graphs.num_nodes)
    assert int(following.sum()) == int((children - 1).clamp(min=0).sum())


def test_classes_and_sizes(dataset: GraphDataset) -> None:
    graphs = dataset.graphs
    assert graphs.y is not None
    counts = graphs.y.bincount()
    assert dataset.task == "graph classification"
    assert 2 <= len(dataset.label_names) == len(counts) <= 10
    assert list(dataset.label_names) == sorted(dataset.label_names)
    assert counts.min() >= 80
    assert counts.max() <= 3000 // len(counts)
    assert 8 <= graphs.nodes_per_graph.min() <= graphs.nodes_per_graph.max() <= 200
    for name in dataset.label_names:
        assert (Path(os.__file__).parent / name).is_dir()


def test_no_two_graphs_are_equal(dataset: GraphDataset) -> None:
    graphs = dataset.graphs
    seen = {
        b"".join(tensor.numpy().tobytes() for tensor in (g.x, g.edge_index))
        for g in map(graphs.__getitem__, range(len(graphs)))
    }
    assert len(seen) == len(graphs)


def test_there_is_something_to_learn(dataset: GraphDataset) -> None:
    """Half of each class against the other half: the nearest mean of node-kind frequencies beats guessing twofold."""
    graphs = dataset.graphs
    assert graphs.y is not None
    counts = torch.zeros(len(graphs), len(NODE_KINDS)).index_add_(0, graphs.graph_of_node, graphs.x)
    frequencies = (counts / counts.sum(1, keepdim=True)).sqrt()
    train = torch.arange(len(graphs)) % 2 == 0
    classes = torch.eye(len(dataset.label_names))[graphs.y[train]]
    means = classes.T @ frequencies[train] / classes.sum(0).unsqueeze(1)
    guess = torch.cdist(frequencies[~train], means).argmin(1)
    truth = graphs.y[~train]
    floor = truth.bincount().max() / len(truth)
    assert (guess == truth).float().mean() > 2 * floor


def fingerprint(dataset: GraphDataset) -> str:
    graphs = dataset.graphs
    tensors = (graphs.x, graphs.edge_index, graphs.edge_attr, graphs.y, graphs.node_ptr, graphs.edge_ptr)
    content = b"".join(tensor.numpy().tobytes() for tensor in tensors if tensor is not None)
    return hashlib.sha256(content + repr(dataset.label_names).encode()).hexdigest()


def test_another_process_builds_the_same_tensors(dataset: GraphDataset, tmp_path: Path) -> None:
    """With a seed of its own for `hash` and a cache of its own, so that nothing is shared."""
    code = (
        "from test_python_ast import fingerprint, load_python; import sys; sys.stdout.write(fingerprint(load_python()))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "XDG_CACHE_HOME": str(tmp_path)}
    environment["PYTHONPATH"] = str(Path(__file__).parent)
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == fingerprint(dataset)


def test_the_cache_gives_the_same_and_a_damaged_one_is_built_again(cache: Path, dataset: GraphDataset) -> None:
    expected = fingerprint(dataset)
    assert fingerprint(load_python()) == expected
    (file,) = cache.glob("python-*.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    assert fingerprint(load_python()) == expected


def test_an_interpreter_without_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "email").mkdir()
    (tmp_path / "email" / "one.py").write_text("def f():\n    pass\n")
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"stdlib": str(tmp_path)})
    with pytest.raises(DataError, match=r"fewer than two packages with 80 functions of 8 to 200 nodes"):
        load_python()
