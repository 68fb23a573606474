"""What the probes of a large graph see: its labelled nodes, or a random part of them, and features of these alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from jepakit.graph.data import GraphDataset, Graphs
from jepakit.graph.encoder import GraphEncoder
from jepakit.graph.floors import FEATURES, SMOOTHING, SPREADING, Floor
from jepakit.graph.large.embedding import embedded, spread
from jepakit.graph.probe.propagation import RESTART, SMOOTHING_STEPS, SPREAD_STEPS


def probed_nodes(splits: Mapping[str, Tensor], most: int) -> dict[str, Tensor]:
    """The splits with at most so many nodes each, drawn at random."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: rows if len(rows) <= most else rows[torch.randperm(len(rows), generator=generator)[:most].sort().values]
        for name, rows in splits.items()
    }


def probed_part(dataset: GraphDataset, splits: Mapping[str, Tensor]) -> tuple[GraphDataset, Tensor]:
    """A data set of the nodes of the splits alone, without edges and features, and their rows in the whole."""
    node_y = dataset.graphs.node_y
    assert node_y is not None
    rows = torch.cat(list(splits.values()))
    sizes = [len(part) for part in splits.values()]
    own = dict(zip(splits, torch.arange(len(rows)).split(sizes), strict=True))
    graphs = Graphs(
        torch.zeros(len(rows), 0),
        torch.zeros(2, 0, dtype=torch.long),
        torch.tensor([0, len(rows)]),
        torch.tensor([0, 0]),
        node_y=node_y[rows],
    )
    return replace(dataset, graphs=graphs, splits=own, origins=None, node_ids=None), rows


def embedded_rows(encoder: GraphEncoder, graphs: Graphs, rows: Tensor) -> Tensor:
    """The embeddings of some nodes of a large graph: ``[n, width]``."""
    with embedded(encoder, graphs) as node:
        return node[rows]


def feature_rows(graphs: Graphs, rows: Tensor, floors: Sequence[Floor]) -> dict[str, Callable[[], Tensor]]:
    """The baselines of `jepakit.graph.floors.node_features` that need no more memory than a batch, for some nodes."""
    if "no network" not in floors:
        return {}

    def spread_rows(**how: Any) -> Tensor:
        with spread(graphs, **how) as node:
            return node[rows]

    return {
        FEATURES: lambda: graphs.x[rows],
        SMOOTHING: lambda: spread_rows(steps=SMOOTHING_STEPS, restart=0.0),
        SPREADING: lambda: spread_rows(steps=SPREAD_STEPS, restart=RESTART, unit_rows=True),
    }
