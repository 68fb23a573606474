"""Losses: ``(prediction, target) -> scalar``. ``docs/objective.md`` recommends losses for kinds of data."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core.regularizer import standardize
from jepakit.errors import ConfigError


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over all entries: ``[N, D], [N, D] -> []``."""
    return F.mse_loss(prediction, target)


def normalized_mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean over all entries of the squared difference of L2-normalised rows: ``[N, D], [N, D] -> []``.

    Equal to `cosine` divided by D.
    """
    return F.mse_loss(F.normalize(prediction, dim=-1), F.normalize(target, dim=-1))


def cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """``2 − 2 cos`` of each pair of rows, averaged: ``[N, D], [N, D] -> []``, from 0 to 4 (BYOL, eq. 2)."""
    return (2 - 2 * F.cosine_similarity(prediction, target, dim=-1)).mean()


def smooth_l1(prediction: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """Quadratic below ``beta``, linear above: ``[N, D], [N, D] -> []`` (Girshick 2015)."""
    return F.smooth_l1_loss(prediction, target, beta=beta)


def huber(prediction: Tensor, target: Tensor, delta: float = 1.0) -> Tensor:
    """`smooth_l1` times ``delta``: slope ``delta`` in the linear part (Huber 1964): ``[N, D], [N, D] -> []``."""
    return F.huber_loss(prediction, target, delta=delta)


def hyperbolic_coordinates(embedding: Tensor) -> Tensor:
    """A point of the unit hyperbola for each row: ``[N, D] -> [N, 2]``, ``(cosh m, sinh m)`` of the row's mean m."""
    angle = embedding.mean(-1)
    return torch.stack([torch.cosh(angle), torch.sinh(angle)], dim=-1)


def hyperbolic(prediction: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """Smooth-L1 to the target's hyperbolic angle: ``[N, 2], [N, D] -> []`` (Graph-JEPA, Skenderi et al. 2023, §3.3).

    Raises:
        ConfigError: the prediction does not have two columns.
    """
    if prediction.shape[-1] != 2:
        raise ConfigError("prediction", tuple(prediction.shape), "2 columns for the hyperbolic loss (out_dim=2)")
    return F.smooth_l1_loss(prediction, hyperbolic_coordinates(target), beta=beta)


class NormalizedTarget(nn.Module):
    """A loss on targets that are layer-normalised first, as data2vec (Baevski et al. 2022) and I-JEPA do.

    ``groups`` equal parts of a row, such as the layers of a concatenated embedding, are normalised separately.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor], groups: int = 1) -> None:
        super().__init__()
        self.loss, self.groups = loss, groups

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss to the normalised target: ``[N, D], [N, D] -> []``."""
        if target.shape[-1] % self.groups:
            raise ConfigError("groups", self.groups, f"a divisor of the target's width {target.shape[-1]}")
        parts = target.unflatten(-1, (self.groups, -1))
        return self.loss(prediction, F.layer_norm(parts, parts.shape[-1:]).flatten(-2))


class StandardizedBatch(nn.Module):
    """A loss on predictions and targets that are first standardised, column by column, over the global batch.

    With `mse` it is the invariance term of CCA-SSG (Zhang et al. 2021, eq. 5). It depends on correlations only, and
    needs `jepakit.core.regularizer.decorrelation` against collapse, not a stop-gradient.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss between standardised columns: ``[N, D], [N, D] -> []``."""
        return self.loss(standardize(prediction), standardize(target))


#: The plain losses by the names configurations use.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": mse,
    "normalized_mse": normalized_mse,
    "cosine": cosine,
    "smooth_l1": smooth_l1,
    "huber": huber,
    "hyperbolic": hyperbolic,
}

#: Width of the prediction, for losses whose prediction has another width than the target.
PREDICTION_WIDTHS: dict[str, int] = {"hyperbolic": 2}
