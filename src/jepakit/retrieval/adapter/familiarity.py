"""Does a text look like what the adapter was trained on? Away from it, the base model is the safer one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Familiarity"]

_NEIGHBOURS = 5


class Familiarity(nn.Module):
    """Remembers vectors, and tells how near others are to them: ``[N, D] -> [N]``, from 0 to 1.

    Nearness is the mean cosine to the five nearest remembered vectors, and 0 and 1 stand for two quantiles of it among
    vectors that were held out, so that no scale has to be chosen.

    Args:
        dim: width D.
        rows: how many vectors are remembered; 0: everything is familiar.
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
            group: ``[N]`` int64; a vector's nearness is measured to those of other groups, as a new one's will be.
            quantiles: of the nearness of remembered vectors that become 0 and 1.
            limit: how many are remembered; more are thinned out at random.
            generator: of that choice.
        """
        chosen = torch.randperm(len(vectors), generator=generator)[:limit].sort().values
        self.reference = vectors[chosen].clone()
        nearness = mean_similarity(self.reference, self.reference, group[chosen])
        self.far, self.near = torch.quantile(nearness, torch.tensor(quantiles)).unbind()


def mean_similarity(vectors: Tensor, reference: Tensor, group: Tensor | None = None) -> Tensor:
    """Mean cosine to the nearest few: ``[N, D], [M, D] -> [N]``.

    Args:
        vectors: unit vectors.
        reference: unit vectors.
        group: where both are the same vectors: ``[N]``; those of a vector's own group do not count.
    """
    found: list[Tensor] = []
    for start in range(0, len(vectors), 1024):
        similarity = vectors[start : start + 1024] @ reference.T
        if group is not None:
            similarity.masked_fill_(group[start : start + 1024, None] == group, -1.0)
        found.append(similarity.topk(min(_NEIGHBOURS, len(reference)), dim=1).values.mean(1))
    return torch.cat(found) if found else vectors.new_zeros(0)
