"""Objectives of others in our core, for the nodes of one graph: in the style of BGRL and of GraphMAE.

Both train a graph convolutional network of two layers for as many epochs as our recipe has at most. They are no
reproductions: published code has more epochs, and rates and drops that were chosen for each graph. On Cora, with other
draws of labels, 200 epochs were worse than 60 for both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core import JEPA, MLPPredictor, PredictorPerKey, SeparateTarget
from jepakit.graph import (
    EncoderConfig,
    GraphDataset,
    GraphEncoder,
    Graphs,
    GraphViews,
    Masking,
    ObjectiveConfig,
    PretrainConfig,
    ViewConfig,
    pretrain,
)
from jepakit.training import EpochLoader, FitConfig, fit

EPOCHS, QUICK_EPOCHS = 60, 3
TWO_LAYERS = EncoderConfig(
    conv="gcn", hidden=256, layers=2, jumping="last", scale_rows=True, norm="batch", prototypes=0
)


def bootstrapped(dataset: GraphDataset, seed: int, *, quick: bool) -> Tensor:
    """Nodes embedded after predicting an EMA copy's view by cosine (BGRL, Thakoor et al. 2022), ``[N, 256]``."""
    objective = ObjectiveConfig(target="ema", momentum=0.99, predictor="mlp", loss="cosine", normalize_target=False)
    config = PretrainConfig(
        encoder=TWO_LAYERS,
        views=ViewConfig(context="all", target="view", drop_edges=0.4, drop_features=0.2),
        objective=objective,
        export="context",
        **_training(seed, quick),
    )
    return pretrain(dataset, config).encoder.embed(dataset.graphs, key="node")


def reconstructed(dataset: GraphDataset, seed: int, *, quick: bool) -> Tensor:
    """Nodes embedded after reconstructing the features of masked nodes (GraphMAE, Hou et al. 2022), ``[N, 256]``."""
    graphs = replace(dataset.graphs, vocabulary=None)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = GraphEncoder.for_data(graphs, TWO_LAYERS)
        predictor = PredictorPerKey({"node": MLPPredictor(encoder.config.width, graphs.x.shape[1], width_factor=1.0)})
        jepa = JEPA(encoder, SeparateTarget(_Features(), stop_gradient=True), predictor, _scaled_cosine)
        views = GraphViews(graphs, Masking("random", ratio=0.5), ViewConfig(context="token", target="whole"))
        fit(jepa, EpochLoader(1, 1, views, seed=seed), FitConfig(**_training(seed, quick)))
    return encoder.cpu().eval().embed(graphs, key="node")


class _Features(nn.Module):
    def forward(self, graphs: Graphs) -> dict[str, Tensor]:
        return {"node": graphs.x}


def _scaled_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """GraphMAE's eq. 2 with γ = 2."""
    return (1 - F.cosine_similarity(prediction, target, dim=1)).square().mean()


def _training(seed: int, quick: bool) -> dict[str, Any]:
    epochs = QUICK_EPOCHS if quick else EPOCHS
    rates = {"learning_rate": 1e-3, "weight_decay": 0.0, "clip_norm": 0.0}
    return {"epochs": epochs, **rates, "seed": seed, "progress": False, "diagnose_every": 1000}
