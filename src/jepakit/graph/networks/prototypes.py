"""Reading a graph out as a histogram over prototypes: which kinds of places its nodes have, and how many of each.

A sum or mean of node embeddings keeps only their average; two graphs with different substructures can share it.
Clusters of node embeddings act like the colours of Weisfeiler-Lehman refinement, but similar neighbourhoods share a
colour, and a trained encoder decides what is similar. Each layer has prototypes of its own, so that a histogram holds
neighbourhoods of several radii.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jepakit.core.packed import segment_sum
from jepakit.graph.networks.messages import Messages

__all__ = ["PrototypeReadout"]

_SAMPLE = 10_000
_ROUNDS = 10


class PrototypeReadout(nn.Module):
    """Node embeddings -> roots of soft counts over prototypes: ``[N, parts * hidden] -> [G, parts * prototypes]``.

    The distance of two square roots of histograms is Hellinger's: it tells rare kinds apart that counts would drown.

    Args:
        parts: layers that stand side by side in a node's embedding.
        hidden: width of each.
        prototypes: how many a layer has.
        temperature: of the assignment, in units of ``hidden`` (squared distances grow with it); 0 would be k-means.
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

    def forward(self, node: Tensor, messages: Messages) -> Tensor:
        layers = (node.unflatten(1, (self.parts, -1)) - self.centre) / self.scale
        counts = [
            segment_sum(torch.softmax(-_distances(x, prototypes) / self.temperature, dim=1), messages.node_ptr)
            for x, prototypes in zip(layers.unbind(1), self.prototypes, strict=True)
        ]
        return torch.cat(counts, dim=1).sqrt()

    @torch.no_grad()
    def fit(self, node: Tensor, generator: torch.Generator) -> None:
        """Places the prototypes by k-means on (a sample of) node embeddings ``[N, parts * hidden]``, without labels."""
        layers = node.unflatten(1, (self.parts, -1))
        self.centre.copy_(layers.mean(0))
        std = layers.std(0)
        self.scale.copy_(torch.where(std > 1e-6 * std.max(), std, torch.ones_like(std)))
        sample = torch.randperm(node.shape[0], generator=generator)[:_SAMPLE]
        for part, x in enumerate(((layers[sample] - self.centre) / self.scale).unbind(1)):
            self.prototypes[part] = _k_means(x, self.prototypes.shape[1], generator)
        self.fitted.fill_(True)


def _k_means(x: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Lloyd's algorithm from random rows: ``[N, D] -> [k, D]``; an empty cluster restarts at a random row."""
    rows = x.shape[0]

    def random_rows(count: int) -> Tensor:
        return x[torch.randint(rows, (count,), generator=generator)]

    centres = x[torch.randperm(rows, generator=generator)[:k]]
    centres = torch.cat([centres, random_rows(k - centres.shape[0])])
    for _ in range(_ROUNDS):
        nearest = _distances(x, centres).argmin(1)
        counts = torch.bincount(nearest, minlength=k)
        sums = torch.zeros_like(centres).index_add(0, nearest, x)
        centres = torch.where((counts > 0)[:, None], sums / counts.clamp(min=1)[:, None], random_rows(k))
    return centres


def _distances(x: Tensor, centres: Tensor) -> Tensor:
    """Squared distances up to a constant of each row of x, which neither argmin nor softmax sees: ``[N, K]``."""
    return centres.square().sum(1) - 2 * x @ centres.T
