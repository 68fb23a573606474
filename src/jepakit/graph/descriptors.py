"""Descriptors of whole graphs as something to predict: what can be computed or measured about each graph, but is not
in its nodes and edges for an encoder to read off.

The target encoder of these is no network but whoever wrote the descriptors down: RDKit for molecules
(`jepakit.graph.datasets.molecules.descriptors`), or the user's own columns in `Graphs.descriptors`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from jepakit.core import MLPPredictor, Target, Where
from jepakit.errors import DataError
from jepakit.graph.networks.layers import BatchNorm

__all__ = ["DescribedTarget", "DescriptorPredictor", "normal_scores"]

_FARTHEST = 4.0


def normal_scores(values: Tensor) -> Tensor:
    """Each column replaced by the normal scores of its ranks, at mean 0 and variance 1.

    Descriptors are counts, masses and energies of any scale, some with tails over many orders of magnitude; of their
    ranks each counts alike. Equal values share their mean rank. A missing value becomes 0, the column's mean.

    Args:
        values: ``[G, D]``; NaN and infinities are missing.

    Returns:
        ``[G, D']`` float32 between -4 and 4, without the columns that have one value only.

    Raises:
        DataError: no column has two values.
    """
    columns = [scores for column in values.double().T if (scores := _column_scores(column)) is not None]
    if not columns:
        raise DataError("no descriptor tells two graphs apart", field="descriptors", expected="a column of two values")
    return torch.stack(columns, dim=1).float()


def _column_scores(column: Tensor) -> Tensor | None:
    known = torch.isfinite(column)
    _, inverse, counts = column[known].unique(return_inverse=True, return_counts=True)
    if counts.numel() < 2:
        return None
    mean_rank = (counts.cumsum(0) - counts / 2).double() / counts.sum()
    scores = torch.special.ndtri(mean_rank)[inverse]
    scores = (scores - scores.mean()) / scores.std(correction=0)
    return torch.zeros_like(column).masked_scatter(known, scores.clamp(-_FARTHEST, _FARTHEST))


class DescribedTarget(Target):
    """The embeddings of another target, and under ``descriptor`` the descriptors of the view's graphs as they are.

    Args:
        embeddings: encodes everything else.
    """

    def __init__(self, embeddings: Target) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.trains = embeddings.trains

    def forward(self, view: Any, context_encoder: nn.Module) -> Any:
        return {**self.embeddings(view, context_encoder), "descriptor": view.descriptors}

    def update(self, context_encoder: nn.Module) -> None:
        self.embeddings.update(context_encoder)

    def check(self, context_encoder: nn.Module) -> None:
        self.embeddings.check(context_encoder)


class DescriptorPredictor(nn.Module):
    """From graph embeddings to descriptors: ``[G, dim] -> [M, out_dim]``.

    Sums over nodes grow with the graph, so their signed logarithms are normalised first.

    Args:
        dim: width of the graph embeddings.
        out_dim: number of descriptors.
        hidden: width of the one hidden layer.
    """

    def __init__(self, dim: int, out_dim: int, *, hidden: int) -> None:
        super().__init__()
        self.norm = BatchNorm(dim)
        self.layers = MLPPredictor(dim, out_dim, width_factor=hidden / dim)

    def forward(self, context: Tensor, where: Where | None = None) -> Tensor:
        return self.layers(self.norm(context.sign() * context.abs().log1p()), where)
