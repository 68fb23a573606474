"""Reads the citation networks Cora, CiteSeer and PubMed from the files of Yang et al.

Reference: Yang, Cohen and Salakhutdinov 2016, "Revisiting semi-supervised learning with graph embeddings", ICML;
https://github.com/kimiyoung/planetoid.
"""

from itertools import chain
from pathlib import Path

import numpy as np
import torch

from jepakit.errors import DataError
from jepakit.files import numbered_lines, reading
from jepakit.graph.data import GraphDataset, Graphs
from jepakit.graph.datasets.download import PLANETOID_NAMES, named_set
from jepakit.graph.datasets.edges import add_missing_reverses, drop_repeats
from jepakit.graph.datasets.planetoid_pickle import read_adjacency_lists, read_matrix

_VALIDATION_NODES = 500
#: Of the id of a test node. The ids between those of the files are nodes without words, which take memory.
_MOST_DIGITS = 8


def load_planetoid(path: str | Path) -> GraphDataset:
    """Loads one citation network.

    - ``x``: the words of each paper, each row scaled to sum 1 (a row of zeros is kept).
    - Edges: both directions, no repeats, no self-loops.
    - ``node_y``: the classes; -1 for the papers of CiteSeer that the files omit, whose ``x`` is zero.
    - ``splits``: the public split: 20 training papers of each class, the next 500 (or fewer) for validation, and the
      1000 listed for testing.

    Args:
        path: a folder with ``ind.NAME.graph`` and its companions ``y``, ``tx``, ``ty``, ``allx``, ``ally`` and
            ``test.index``, or the parent of such a folder named ``raw``.

    Raises:
        DataError: a file is missing or damaged, holds anything but numbers, or does not match the others.
    """
    folder, stem = named_set(Path(path), "ind.", ".graph")
    with reading(folder):
        return _network(folder, stem)


def _network(folder: Path, stem: str) -> GraphDataset:
    files = {part: folder / f"ind.{stem}.{part}" for part in ("y", "tx", "ty", "allx", "ally", "graph", "test.index")}
    x, y = read_matrix(files["allx"]), read_matrix(files["ally"])
    test_x, test_y = read_matrix(files["tx"]), read_matrix(files["ty"])
    test = _test_nodes(files["test.index"], len(x), len(test_x))
    _check_shapes(files, x, y, test_x, test_y)
    num_nodes = max(len(x), int(test.max()) + 1)
    features, classes = (np.pad(rows, ((0, num_nodes - len(rows)), (0, 0))) for rows in (x, y))
    features[test], classes[test] = test_x, test_y
    edges = drop_repeats((_edges(files["graph"], num_nodes), None), num_nodes)
    edge_index, _ = add_missing_reverses(edges, num_nodes)
    train = len(read_matrix(files["y"]))
    name = {public.lower(): public for public in PLANETOID_NAMES}.get(stem, stem)
    total = features.sum(axis=1, keepdims=True)
    graphs = Graphs.pack(
        features / np.where(total == 0, 1, total),
        edge_index,
        np.array([num_nodes]),
        node_y=np.where(classes.any(axis=1), classes.argmax(axis=1), -1),
        field_name=name,
    )
    splits = {
        "train": torch.arange(train),
        "val": torch.arange(train, min(train + _VALIDATION_NODES, len(x))),
        "test": torch.from_numpy(test),
    }
    labels = tuple(str(label) for label in range(classes.shape[1]))
    return GraphDataset(name, graphs, "node classification", labels, splits, f"Planetoid files in {folder}")


def _test_nodes(path: Path, first: int, count: int) -> np.ndarray:
    """The node ids of the rows of ``tx``: ``count`` ids from ``first`` on, in any order."""
    nodes: dict[int, None] = {}
    for number, line in numbered_lines(path):
        text = line.strip()
        node = int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else -1
        if node < first or node in nodes:
            expected = f"a whole number from {first}, of at most {_MOST_DIGITS} digits, on one line only"
            raise DataError("not the id of a test node", file=path, line=number, value=text, expected=expected)
        nodes[node] = None
    if len(nodes) != count or not nodes:
        raise DataError("wrong number of lines", file=path, value=len(nodes), expected=f"{count}, the rows of tx")
    return np.array(list(nodes))


def _check_shapes(files: dict[str, Path], x: np.ndarray, y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray) -> None:
    for part, matrix, shape in (
        ("ally", y, (len(x), y.shape[1])),
        ("tx", test_x, (len(test_x), x.shape[1])),
        ("ty", test_y, (len(test_x), y.shape[1])),
    ):
        if matrix.shape != shape:
            raise DataError("wrong shape", file=files[part], value=matrix.shape, expected=str(shape))


def _edges(path: Path, num_nodes: int) -> np.ndarray:
    """The adjacency lists as ``[2, E]``."""
    neighbours = read_adjacency_lists(path)
    ids = [*neighbours, *chain.from_iterable(neighbours.values())]
    invalid = next((node for node in ids if not isinstance(node, int) or not 0 <= node < num_nodes), None)
    if invalid is not None:
        expected = f"node ids from 0 to {num_nodes - 1}"
        raise DataError("an edge names a node that does not exist", file=path, value=invalid, expected=expected)
    source = np.repeat(np.array(list(neighbours), dtype=np.int64), [len(ends) for ends in neighbours.values()])
    return np.stack([source, np.array(ids[len(neighbours) :], dtype=np.int64)])
