"""A set of embeddings brought down to what an eye can take in: a plane, and a spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

#: Below this number of rows neighbourhoods say little, and the axes of PCA are exact.
_TSNE_ROWS = 50


@dataclass(frozen=True)
class PlaneMap:
    """Points ``[n, 2]`` and the name of the method that placed them."""

    points: np.ndarray
    method: str


def sample_rows(count: int, most: int, *, seed: int = 0) -> Tensor:
    """Sorted ids of at most ``most`` of ``count`` rows, drawn without replacement; the same for the same seed."""
    if count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:most].sort().values


def project_to_plane(embedding: Tensor) -> PlaneMap:
    """Maps ``[N, D]`` to ``[N, 2]``: by t-SNE with scikit-learn installed and 50 rows or more, else by PCA.

    t-SNE (van der Maaten and Hinton 2008) keeps neighbourhoods and makes distances between groups meaningless; PCA
    keeps the two directions of largest variance, and its axes say how much.
    """
    if len(embedding) >= _TSNE_ROWS:
        points = _tsne(embedding)
        if points is not None:
            return PlaneMap(points, "t-SNE")
    return _pca(embedding)


def singular_values(embedding: Tensor) -> np.ndarray:
    """Singular values of the centred rows ``[N, D]``, largest first: ``[min(N - 1, D)]``.

    N centred rows add up to zero, so an N-th value would only be rounding noise.
    """
    rows = embedding.double()
    return torch.linalg.svdvals(rows - rows.mean(0)).numpy()[: len(rows) - 1]


def _pca(embedding: Tensor) -> PlaneMap:
    rows = embedding.double()
    centred = rows - rows.mean(0)
    left, singular, _ = torch.linalg.svd(centred, full_matrices=False)
    points = torch.zeros(len(rows), 2, dtype=torch.double)
    kept = min(2, singular.numel())
    points[:, :kept] = left[:, :kept] * singular[:kept]
    energy = singular.square().sum()
    share = float(singular[:kept].square().sum() / energy) if float(energy) > 0 else 0.0
    return PlaneMap(points.numpy(), f"PCA, {share:.0%} of the variance")


def _tsne(embedding: Tensor) -> np.ndarray | None:
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        return None
    # Not UMAP: it compiles for half a minute in each process, and keeps neighbourhoods no better at this size.
    start = _pca(embedding).points
    # One scale for all embeddings, and its small one for the start, as scikit-learn takes them.
    unit = max(float(start[:, 0].std()), torch.finfo(torch.double).tiny)
    return TSNE(init=1e-4 * start / unit, random_state=0, max_iter=500, n_jobs=1).fit_transform(
        embedding.double().numpy() / unit
    )
