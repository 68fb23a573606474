"""How similar a text is to the training texts. Far from them, search falls back to the base model and BM25.

There are two scales. One tells training texts from other topics. The stricter one tells them from their near
neighbours: clusters of the training documents are held out, and what is as near as documents of a held-out cluster is
not at home.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NEIGHBOURS = 5
#: Clusters that are held out, one after the other, and the passes of k-means that find them.
_CLUSTERS, _PASSES = 8, 10
#: Quantile of the nearness of held-out clusters at which a vector is not at home.
_NEAR_NEIGHBOURS = 0.9
#: Quantile of the nearness of single vectors, held out, at which a vector is at home.
_AT_HOME = 0.8
#: Cosine from which a vector counts as a remembered one.
_SAME = 0.999


class Familiarity(nn.Module):
    """Remembers vectors and measures how familiar others are: ``[N, D] -> [N]``, from 0 to 1.

    Nearness is the mean cosine to the five nearest remembered vectors. Two quantiles of the nearness among the
    remembered vectors are mapped to 0 and 1, so no scale has to be chosen. `at_home` has a stricter scale.

    Args:
        dim: width D.
        rows: remembered vectors; 0: every vector has familiarity 1.
        home: whether `at_home` has a scale of its own; otherwise it is that of familiarity.
    """

    reference: Tensor
    near: Tensor
    far: Tensor
    home: Tensor | None

    def __init__(self, dim: int, rows: int = 0, *, home: bool = False) -> None:
        super().__init__()
        self.register_buffer("reference", torch.zeros(rows, dim))
        self.register_buffer("near", torch.ones(()))
        self.register_buffer("far", torch.zeros(()))
        # Nearness at which a vector is not at home, and at which it is; None: the scale of familiarity is used.
        self.register_buffer("home", torch.zeros(2) if home else None)

    def __len__(self) -> int:
        return len(self.reference)

    def forward(self, vectors: Tensor) -> Tensor:
        """The familiarity of unit vectors: ``[N, D] -> [N]``."""
        return self.both(vectors)[:, 0]

    def at_home(self, vectors: Tensor) -> Tensor:
        """Whether unit vectors are of the training collection, not of a near neighbour: ``[N, D] -> [N]``, 0 to 1.

        A remembered vector is.
        """
        return self.both(vectors)[:, 1]

    def both(self, vectors: Tensor) -> Tensor:
        """The familiarity of unit vectors, and `at_home`: ``[N, D] -> [N, 2]``."""
        if not len(self):
            return torch.ones(len(vectors), 2)
        nearness, nearest = _similarity(vectors, self.reference)
        familiar = _scaled(nearness, self.far, self.near)
        if self.home is None:
            return torch.stack([familiar, familiar], 1)
        home = torch.where(nearest > _SAME, 1.0, _scaled(nearness, *self.home.unbind()))
        return torch.stack([familiar, home], 1)

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
        """Remembers vectors and sets the scales.

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
        if self.home is None:
            return
        others = mean_similarity(self.reference, self.reference, clusters(self.reference, generator=generator))
        self.home = torch.stack([torch.quantile(others, _NEAR_NEIGHBOURS), torch.quantile(nearness, _AT_HOME)])


def clusters(vectors: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """The cluster of each unit vector by spherical k-means, ``[N, D] -> [N]`` int64, at most eight clusters.

    Source: Dhillon & Modha 2001.
    """
    centres = vectors[torch.randperm(len(vectors), generator=generator)[:_CLUSTERS]]
    nearest = (vectors @ centres.T).argmax(1)
    for _ in range(_PASSES):
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        # A cluster without vectors keeps its centre.
        centres = torch.where(sums.any(1, keepdim=True), F.normalize(sums, dim=1), centres)
        nearest = (vectors @ centres.T).argmax(1)
    return nearest


def _scaled(nearness: Tensor, far: Tensor, near: Tensor) -> Tensor:
    return ((nearness - far) / (near - far).clamp(min=1e-6)).clamp(0, 1)


def mean_similarity(vectors: Tensor, reference: Tensor, group: Tensor | None = None) -> Tensor:
    """Mean cosine to the five nearest of ``reference``, all unit vectors: ``[N, D], [M, D] -> [N]``.

    ``group``: if both are the same vectors, ``[N]``: vectors of the same group do not count.
    """
    return _similarity(vectors, reference, group)[0]


def _similarity(vectors: Tensor, reference: Tensor, group: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`mean_similarity`, and the cosine to the nearest: ``[N]`` each."""
    means: list[Tensor] = []
    highest: list[Tensor] = []
    for rows in torch.arange(len(vectors)).split(1024):
        similarity = vectors[rows] @ reference.T
        if group is not None:
            similarity.masked_fill_(group[rows, None] == group, -1.0)
        best = similarity.topk(min(_NEIGHBOURS, len(reference)), dim=1).values
        means.append(best.mean(1))
        highest.append(best[:, 0])
    return torch.cat([torch.zeros(0), *means]), torch.cat([torch.zeros(0), *highest])
