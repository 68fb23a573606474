"""Predicted against true values of graphs that were not trained on, for a report."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from jepakit.graph.data import GraphDataset
from jepakit.graph.facts import graph_drawings, graph_names
from jepakit.graph.probe.repeated import predict_repeatedly
from jepakit.graph.probe.result import Floats, Ints, ProbeResult, as_array
from jepakit.graph.probe.targets import ridge_predictions
from jepakit.training.results import ReportScatter

#: Graphs that are drawn.
_SHOWN = 1000


def probe_scatter(
    dataset: GraphDataset, features: Tensor, result: ProbeResult, *, splits: Mapping[str, Tensor], seed: int
) -> ReportScatter:
    """What the probe predicts for the graphs it was tested on, for the first target and the first seed.

    Args:
        dataset: graphs with targets.
        features: of all graphs, ``[G, D]``.
        result: of the probe of these features.
        splits: the given splits; empty: the probe was cross-validated.
        seed: of its first shuffle, where it was cross-validated.
    """
    y = _targets(dataset)
    if splits:
        parts = as_array(splits["train"]), as_array(splits["test"])
        x = np.asarray(as_array(features), np.float64)
        rows, predicted = ridge_predictions(x, y[:, 0], parts, result.chosen[0][0])
    else:
        rows, predicted = predict_repeatedly(features, y, seed, result.chosen[0])
    return _scatter(dataset, "Ridge regression on the pre-trained encoder", rows, predicted)


def finetuned_scatter(dataset: GraphDataset, rows: Tensor, predicted: Tensor) -> ReportScatter:
    """What a fine-tuned encoder predicts for some graphs, ``[n, T]``, for the first target."""
    there = ~np.isnan(_targets(dataset)[rows.numpy(), 0])
    return _scatter(dataset, "The fine-tuned encoder", rows.numpy()[there], as_array(predicted)[there, 0])


def _targets(dataset: GraphDataset) -> Floats:
    assert dataset.graphs.y is not None
    y = np.asarray(as_array(dataset.graphs.y), np.float64)
    return y[:, None] if y.ndim == 1 else y


def _scatter(dataset: GraphDataset, title: str, rows: Ints, predicted: Floats) -> ReportScatter:
    kept = np.linspace(0, len(rows) - 1, min(_SHOWN, len(rows))).astype(int)
    shown = torch.from_numpy(rows[kept])
    sampled = "" if len(kept) == len(rows) else f" ({len(kept)} sampled of {len(rows)})"
    return ReportScatter(
        title=f"{title}, graphs that were not trained on{sampled}",
        label=dataset.label_names[0] if dataset.label_names else "target",
        true=tuple(_targets(dataset)[rows[kept], 0].tolist()),
        predicted=tuple(predicted[kept].tolist()),
        names=tuple(graph_names(dataset, shown)),
        drawings=graph_drawings(dataset, shown),
    )
