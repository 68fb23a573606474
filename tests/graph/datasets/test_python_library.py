"""The standard library as one graph with labelled nodes: what must hold for a probe of it to mean something."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from jepakit.datasets.python_library import read_python_library
from jepakit.graph import load_dataset
from jepakit.graph.data import GraphDataset
from jepakit.graph.probe.nodes import probe_nodes


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphDataset]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield load_dataset("python-library")


def test_nodes_are_labelled_by_package_and_split_without_overlap(dataset: GraphDataset) -> None:
    graphs = dataset.graphs
    assert (len(graphs), dataset.task, len(dataset.label_names)) == (1, "node classification", 10)
    assert {"asyncio", "email"} <= set(dataset.label_names)
    assert graphs.node_y is not None
    rows = torch.cat(list(dataset.splits.values()))
    assert len(rows.unique()) == len(rows)
    assert (graphs.node_y[rows] >= 0).all()
    assert torch.bincount(graphs.node_y[dataset.splits["train"]]).tolist() == [20] * 10
    again = load_dataset("python-library")
    assert all(torch.equal(again.splits[name], rows) for name, rows in dataset.splits.items())


def test_edges_are_undirected_and_every_node_has_a_word_or_an_edge(dataset: GraphDataset) -> None:
    source, target = dataset.graphs.edge_index.numpy()
    pairs = set(zip(source.tolist(), target.tolist(), strict=True))
    assert len(pairs) == len(source)
    assert {(target, source) for source, target in pairs} == pairs
    assert not (source == target).any()
    words = dataset.graphs.x.sum(1).numpy()
    assert np.allclose(words[words > 0], 1)
    assert ((words > 0) | (dataset.graphs.in_degree.numpy() > 0)).all()


def test_what_defines_a_node_is_no_neighbour_by_that_alone(dataset: GraphDataset) -> None:
    library = read_python_library()
    defined = library.triples[library.triples[:, 1] == 0]
    assert dataset.graphs.num_edges < 2 * (len(library.triples) - len(defined)) + 1
    assert len(defined) > 8000


def test_the_label_is_neither_given_away_by_the_words_nor_unrelated_to_them(dataset: GraphDataset) -> None:
    assert dataset.graphs.node_y is not None
    accuracy = probe_nodes(dataset.graphs.x, dataset.graphs.node_y, dataset.splits).mean
    assert 0.35 < accuracy < 0.7
