"""Fine-tuning: it learns, it leaves the encoder alone, missing labels stay missing."""

from dataclasses import replace
from typing import Literal

import pytest
import torch

from jepakit.errors import DataError
from jepakit.graph import (
    EncoderConfig,
    FinetuneConfig,
    GraphDataset,
    GraphEncoder,
    Graphs,
    PretrainConfig,
    finetune,
    pretrain,
)


def rings_and_paths(count: int = 40) -> GraphDataset:
    """Rings (class 1) and paths (class 0) of the same sizes."""
    edges, start = [], 0
    for g in range(count):
        size = 5 + g // 2 % 4
        nodes = torch.arange(start, start + size)
        forward = torch.stack([nodes[:-1], nodes[1:]])
        if g % 2:
            forward = torch.cat([forward, torch.stack([nodes[-1:], nodes[:1]])], 1)
        edges += [forward, forward.flip(0)]
        start += size
    sizes = torch.tensor([5 + g // 2 % 4 for g in range(count)])
    graphs = Graphs.pack(torch.ones(start, 1), torch.cat(edges, 1), sizes, y=torch.arange(count) % 2)
    return GraphDataset("rings and paths", graphs, "graph classification", ("path", "ring"))


def encoder_for(dataset: GraphDataset) -> GraphEncoder:
    torch.manual_seed(0)
    encoder = GraphEncoder.for_data(dataset.graphs, EncoderConfig(hidden=16, layers=2))
    encoder.calibrate(dataset.graphs)
    return encoder


def test_it_learns_and_leaves_the_encoder_alone() -> None:
    dataset = rings_and_paths()
    encoder = encoder_for(dataset)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    state = torch.get_rng_state()
    model = finetune(encoder, dataset, torch.arange(20), FinetuneConfig(epochs=60, learning_rate=1e-2))
    rest = torch.arange(20, 40)
    assert (model.predict(dataset.graphs[rest]) == dataset.graphs.y[rest]).float().mean() > 0.9
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("export", ["context", "target"])
def test_every_layer_of_a_pre_trained_encoder_learns(export: Literal["context", "target"]) -> None:
    dataset = rings_and_paths()
    config = PretrainConfig(epochs=1, encoder=EncoderConfig(hidden=16, layers=2), export=export, progress=False)
    encoder = pretrain(dataset, config).encoder
    model = finetune(encoder, dataset, torch.arange(20), FinetuneConfig(epochs=2, weight_decay=0.0))
    tuned = dict(model.encoder.named_parameters())
    # The mask token stands for nothing here, and a bias in front of batch normalisation has no effect.
    weights = {n: p for n, p in encoder.named_parameters() if n.endswith("weight")}
    assert weights
    assert all(not torch.equal(p, tuned[n]) for n, p in weights.items())


def test_regression_is_scaled_by_the_labels_there_are() -> None:
    dataset = rings_and_paths()
    size = dataset.graphs.nodes_per_graph.float()
    y = torch.stack([10 + size, torch.full_like(size, float("nan"))], 1)
    y[::3, 0] = float("nan")
    regression = replace(dataset, graphs=replace(dataset.graphs, y=y), task="graph regression")
    model = finetune(encoder_for(dataset), regression, torch.arange(40), FinetuneConfig(epochs=30))
    known = y[~torch.isnan(y[:, 0]), 0]
    torch.testing.assert_close(model.target_mean[0], known.mean())
    torch.testing.assert_close(model.target_std[0], known.std(unbiased=False))
    assert (model.predict(regression.graphs)[:, 0] - (10 + size)).abs().mean() < 1.0


def test_a_batch_without_any_label_does_no_harm() -> None:
    dataset = rings_and_paths()
    y = torch.full((40, 1), float("nan"))
    y[:4, 0] = torch.tensor([0.0, 1, 0, 1])
    sparse = replace(dataset, graphs=replace(dataset.graphs, y=y), task="graph multilabel")
    model = finetune(encoder_for(dataset), sparse, torch.arange(40), FinetuneConfig(epochs=2, batch_size=4))
    predicted = model.predict(sparse.graphs)
    assert ((predicted > 0) & (predicted < 1)).all()


def test_nothing_to_learn_from_is_said() -> None:
    dataset = rings_and_paths()
    with pytest.raises(DataError, match="too few labelled graphs"):
        finetune(encoder_for(dataset), dataset, torch.arange(1), FinetuneConfig())
    with pytest.raises(DataError, match="labelled graphs"):
        finetune(encoder_for(dataset), replace(dataset, task="none"), torch.arange(9), FinetuneConfig())
