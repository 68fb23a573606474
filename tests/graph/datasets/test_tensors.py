"""A graph dataset as named tensors: what comes back equals what was taken apart."""

import json

import torch

from jepakit.graph.data import GraphDataset, Graphs
from jepakit.graph.datasets.tensors import dataset_from_tensors, dataset_to_tensors
from jepakit.graph.vocabulary import Attribute, Vocabulary


def toy() -> GraphDataset:
    graphs = Graphs.pack(
        x=torch.tensor([[1.0, 0.0], [0.0, 1.0], [255.0, 3.0]]),
        edge_index=torch.tensor([[0, 1], [1, 0]]),
        nodes_per_graph=torch.tensor([2, 1]),
        edge_attr=torch.tensor([[-0.5], [256.0]]),
        y=torch.tensor([[1.0, torch.nan], [0.0, 1.0]]),
        vocabulary=Vocabulary(
            (Attribute("ö", "categories", values=("1", "2")),),
            (Attribute("w", "numbers", 1, mean=(0.1,), spread=(1e-300,)),),
        ),
    )
    splits = {"train": torch.tensor([1]), "val": torch.tensor([], dtype=torch.long), "test": torch.tensor([0])}
    return GraphDataset("toy", graphs, "graph multilabel", ("a", "ä"), splits, "made by hand")


def assert_same(left: GraphDataset, right: GraphDataset) -> None:
    for name in ("name", "task", "label_names", "source"):
        assert getattr(left, name) == getattr(right, name)
    assert list(left.splits) == list(right.splits)
    pairs: list[tuple[torch.Tensor | None, torch.Tensor | None]]
    pairs = [(left.splits[name], right.splits[name]) for name in left.splits]
    assert left.graphs.vocabulary == right.graphs.vocabulary
    names = left.graphs.tensors().keys() | right.graphs.tensors().keys()
    pairs += [(getattr(left.graphs, name), getattr(right.graphs, name)) for name in names]
    for a, b in pairs:
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert a.dtype == b.dtype
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_what_comes_back_equals_what_was_taken_apart() -> None:
    tensors, header = dataset_to_tensors(toy())
    assert_same(dataset_from_tensors(tensors, json.loads(json.dumps(header))), toy())


def test_whole_numbers_take_a_byte_each() -> None:
    tensors, _ = dataset_to_tensors(toy())
    assert tensors["graphs.x"].dtype == torch.uint8
    assert tensors["graphs.edge_attr"].dtype == torch.float32
