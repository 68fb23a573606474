"""Pools the nodes of a graph to a histogram over prototypes, the cluster centres of node embeddings.

Graphs with different substructures can have the same sum or mean of node embeddings. Clusters keep them apart like the
colours of Weisfeiler-Lehman refinement, except that similar neighbourhoods share a cluster. Each layer has its own
prototypes, so that a histogram covers neighbourhoods of several radii.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jepakit.core.packed import segment_sum

_K_MEANS_NODES = 10_000
_K_MEANS_ITERATIONS = 10


class PrototypeReadout(nn.Module):
    """Square roots of soft counts over prototypes: ``[N, parts * hidden] -> [G, parts * prototypes]``.

    The Euclidean distance of the square roots is the Hellinger distance of the histograms, in which rare clusters have
    more weight than in a distance of counts.

    Args:
        parts: number of layers concatenated in a node embedding.
        hidden: width of each.
        prototypes: prototypes per layer.
        temperature: of the softmax over prototypes, in units of ``hidden``, with which squared distances grow.
    """

    centre: Tensor
    scale: Tensor
    prototypes: Tensor
    fitted: Tensor

    def __init__(self, parts: int, hidden: int, prototypes: int, temperature: float = 0.05) -> None:
        super().__init__()
        self.parts, self.temperature = parts, temperature * hidden
        self.register_buffer("centre", torch.zeros(parts, hidden))
        self.register_buffer("scale", torch.ones(parts, hidden))
        self.register_buffer("prototypes", torch.zeros(parts, prototypes, hidden))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    def forward(self, node: Tensor, node_ptr: Tensor) -> Tensor:
        """Graph embeddings from nodes and their offsets ``[G + 1]``; `fit` must have placed the prototypes."""
        layers = (node.unflatten(1, (self.parts, -1)) - self.centre) / self.scale
        counts = [
            segment_sum(torch.softmax(-_distances(x, prototypes) / self.temperature, dim=1), node_ptr)
            for x, prototypes in zip(layers.unbind(1), self.prototypes, strict=True)
        ]
        return torch.cat(counts, dim=1).sqrt()

    @torch.no_grad()
    def fit(self, node: Tensor, generator: torch.Generator) -> None:
        """Places the prototypes by k-means on node embeddings ``[N, parts * hidden]``, or on a sample of them."""
        layers = node.unflatten(1, (self.parts, -1))
        self.centre.copy_(layers.mean(0))
        std = layers.std(0)
        self.scale.copy_(torch.where(std > 1e-6 * std.max(), std, torch.ones_like(std)))
        sample = torch.randperm(len(node), generator=generator)[:_K_MEANS_NODES]
        for part, x in enumerate(((layers[sample] - self.centre) / self.scale).unbind(1)):
            self.prototypes[part] = _k_means(x, self.prototypes.shape[1], generator)
        self.fitted.fill_(True)


def _k_means(x: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Lloyd's algorithm from random rows: ``[N, D] -> [k, D]``; an empty cluster moves to a random row."""

    def random_rows(count: int) -> Tensor:
        return x[torch.randint(len(x), (count,), generator=generator)]

    centres = x[torch.randperm(len(x), generator=generator)[:k]]
    centres = torch.cat([centres, random_rows(k - len(centres))])
    for _ in range(_K_MEANS_ITERATIONS):
        nearest = _distances(x, centres).argmin(1)
        counts = torch.bincount(nearest, minlength=k)
        sums = torch.zeros_like(centres).index_add(0, nearest, x)
        centres = torch.where((counts > 0)[:, None], sums / counts.clamp(min=1)[:, None], random_rows(k))
    return centres


def _distances(x: Tensor, centres: Tensor) -> Tensor:
    """Squared distances ``[N, K]`` minus the squared norm of each row, which neither argmin nor softmax depends on."""
    return centres.square().sum(1) - 2 * x @ centres.T
