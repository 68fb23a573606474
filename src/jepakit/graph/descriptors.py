"""Descriptors of whole graphs as targets of prediction: computed or measured properties that encoders do not see.

They are the columns of `Graphs.descriptors`: RDKit's for molecules, or the user's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from jepakit.core import MLPPredictor, Target, Where
from jepakit.errors import DataError
from jepakit.graph.networks.layers import BatchNorm

_MAX_SCORE = 4.0
"""Normal scores are clipped here: a single outlier among a million values has a score of 4.9."""


def normal_scores(values: Tensor) -> Tensor:
    """Replaces each column by the normal scores of its ranks, with mean 0 and variance 1.

    ``[G, D] -> [G, D']`` float32 between -4 and 4, without constant columns. Descriptors differ in scale, and some have
    heavy tails; normal scores weigh all of them alike. Equal values share their mean rank. A missing value (NaN,
    infinite) becomes 0, the mean of its column.

    Raises:
        DataError: all columns are constant.
    """
    columns = [scores for column in values.double().T if (scores := _column_scores(column)) is not None]
    if not columns:
        raise DataError("all descriptors are constant", field="descriptors", expected="a column with two values")
    return torch.stack(columns, dim=1).float()


def _column_scores(column: Tensor) -> Tensor | None:
    finite = torch.isfinite(column)
    _, inverse, counts = column[finite].unique(return_inverse=True, return_counts=True)
    if counts.numel() < 2:
        return None
    mean_rank = (counts.cumsum(0) - counts / 2).double() / counts.sum()
    scores = torch.special.ndtri(mean_rank)[inverse]
    scores = (scores - scores.mean()) / scores.std(correction=0)
    return torch.zeros_like(column).masked_scatter(finite, scores.clamp(-_MAX_SCORE, _MAX_SCORE))


class DescribedTarget(Target):
    """Adds the descriptors of the view's graphs, under the key ``descriptor``, to the embeddings of another target."""

    def __init__(self, embeddings: Target) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.trains = embeddings.trains

    def forward(self, view: Any, context_encoder: nn.Module) -> Any:
        """Embeddings and descriptors by key."""
        return {**self.embeddings(view, context_encoder), "descriptor": view.descriptors}

    def update(self, context_encoder: nn.Module) -> None:
        """Updates the other target."""
        self.embeddings.update(context_encoder)

    def check(self, context_encoder: nn.Module) -> None:
        """Checks the other target."""
        self.embeddings.check(context_encoder)


class DescriptorPredictor(nn.Module):
    """Predicts descriptors from graph embeddings: ``[G, dim] -> [M, out_dim]``.

    The input is the batch-normalised signed logarithm of the embeddings, because sums over nodes grow with the graph.

    Args:
        dim: width of the graph embeddings.
        out_dim: number of descriptors.
        hidden: width of the hidden layer.
    """

    def __init__(self, dim: int, out_dim: int, *, hidden: int) -> None:
        super().__init__()
        self.norm = BatchNorm(dim)
        self.layers = MLPPredictor(dim, out_dim, width_factor=hidden / dim)

    def forward(self, context: Tensor, where: Where | None = None) -> Tensor:
        """Predictions for the graphs that ``where`` selects, or for all."""
        return self.layers(self.norm(context.sign() * context.abs().log1p()), where)
