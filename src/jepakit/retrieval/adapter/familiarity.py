"""How similar a text is to the training texts. Far from them, search falls back to the base model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_NEIGHBOURS = 5


class Familiarity(nn.Module):
    """Remembers vectors and measures how familiar others are: ``[N, D] -> [N]``, from 0 to 1.

    Nearness is the mean cosine to the five nearest remembered vectors. Two quantiles of the nearness among the
    remembered vectors are mapped to 0 and 1, so no scale has to be chosen.

    Args:
        dim: width D.
        rows: remembered vectors; 0: every vector has familiarity 1.
    """

    reference: Tensor
    near: Tensor
    far: Tensor

    def __init__(self, dim: int, rows: int = 0) -> None:
        super().__init__()
        self.register_buffer("reference", torch.zeros(rows, dim))
        self.register_buffer("near", torch.ones(()))
        self.register_buffer("far", torch.zeros(()))

    def __len__(self) -> int:
        return len(self.reference)

    def forward(self, vectors: Tensor) -> Tensor:
        """The familiarity of unit vectors: ``[N, D] -> [N]``."""
        if not len(self):
            return torch.ones(len(vectors))
        nearness = mean_similarity(vectors, self.reference)
        return ((nearness - self.far) / (self.near - self.far).clamp(min=1e-6)).clamp(0, 1)

    @torch.no_grad()
    def fit(
        self,
        vectors: Tensor,
        group: Tensor,
        *,
        quantiles: tuple[float, float],
        limit: int = 4096,
        generator: torch.Generator | None = None,
    ) -> None:
        """Remembers vectors and sets the scale.

        Args:
            vectors: unit vectors ``[N, D]``.
            group: ``[N]`` int64; nearness is measured to vectors of other groups, like that of a new vector.
            quantiles: quantiles of the nearness that are mapped to 0 and 1.
            limit: the most vectors to remember; a random sample of a larger number.
            generator: draws the sample.
        """
        chosen = torch.randperm(len(vectors), generator=generator)[:limit].sort().values
        self.reference = vectors[chosen].clone()
        nearness = mean_similarity(self.reference, self.reference, group[chosen])
        self.far, self.near = torch.quantile(nearness, torch.tensor(quantiles)).unbind()


def mean_similarity(vectors: Tensor, reference: Tensor, group: Tensor | None = None) -> Tensor:
    """Mean cosine to the five nearest of ``reference``, all unit vectors: ``[N, D], [M, D] -> [N]``.

    ``group``: if both are the same vectors, ``[N]``: vectors of the same group do not count.
    """
    means: list[Tensor] = []
    for rows in torch.arange(len(vectors)).split(1024):
        similarity = vectors[rows] @ reference.T
        if group is not None:
            similarity.masked_fill_(group[rows, None] == group, -1.0)
        means.append(similarity.topk(min(_NEIGHBOURS, len(reference)), dim=1).values.mean(1))
    return torch.cat(means)
