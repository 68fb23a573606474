"""Message-passing layers: ``(node embeddings [N, D], messages, edge embeddings [E, D] or None) -> [N, D]``.

All are equivariant under permutations of the nodes, and no message passes between the graphs of a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core.distributed import is_distributed, mean_of_rows, row_range
from jepakit.graph.networks.messages import Messages

#: Names of the layers in configurations.
LAYERS = ("gin", "gcn", "gat", "gps")


class GCNLayer(nn.Module):
    """``W (Σ_{j ∈ N(i) ∪ {i}} (x_j + e_ij) / sqrt(d_i d_j))`` (Kipf & Welling 2017, eq. 2; edges added to the source).

    Args:
        dim: width D.
        first: omit W: the projection of the features in front of this layer already is a linear map, and a second map
            before the first nonlinearity makes pre-training worse.
    """

    def __init__(self, dim: int, *, first: bool = False) -> None:
        super().__init__()
        self.linear = nn.Identity() if first else nn.Linear(dim, dim)

    def forward(self, x: Tensor, messages: Messages, edges: Tensor | None = None) -> Tensor:
        """See the module."""
        weight = messages.gcn_weight
        received = messages.sum_neighbors(x, weight)
        if edges is not None:
            received = received + messages.sum_messages(edges * weight[:, None])
        return self.linear(received + x / (messages.degree + 1).to(x.dtype)[:, None])


class GINLayer(nn.Module):
    """``MLP((1 + ε) x_i + Σ_j x_j)`` (GIN, Xu et al. 2019, eq. 4.1); with edge features ``Σ_j relu(x_j + e_ij)``
    (GINE, Hu et al. 2020).

    Args:
        dim: width D.
        norm: returns the normalisation inside the MLP for a width.
    """

    def __init__(self, dim: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.eps = nn.Parameter(torch.zeros(()))
        self.mlp = nn.Sequential(nn.Linear(dim, dim), norm(dim), nn.ReLU(inplace=True), nn.Linear(dim, dim))

    def forward(self, x: Tensor, messages: Messages, edges: Tensor | None = None) -> Tensor:
        """See the module."""
        if edges is None:
            return self.mlp(messages.sum_neighbors_and_self(x, 1 + self.eps))
        received = messages.sum_messages(F.relu(messages.take_sources(x) + edges))
        return self.mlp((1 + self.eps) * x + received)


class GATLayer(nn.Module):
    """Attention over neighbours (GATv2, Brody et al. 2022, eq. 7), from PyTorch Geometric.

    Args:
        dim: width D, divisible by ``heads``.
        heads: attention heads.
        edges: whether edge embeddings will be given.
    """

    def __init__(self, dim: int, heads: int, edges: bool) -> None:
        super().__init__()
        # Importing PyTorch Geometric takes longer than all other imports together.
        from torch_geometric.nn import GATv2Conv

        self.conv = GATv2Conv(dim, dim // heads, heads=heads, edge_dim=dim if edges else None)

    def forward(self, x: Tensor, messages: Messages, edges: Tensor | None = None) -> Tensor:
        """See the module."""
        return self.conv(x, messages.graphs.edge_index, edges)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation ``[N, D] -> [N, D]`` for batches of any size.

    A training batch of fewer than two rows has no variance: it is normalised by the running statistics. The rows of a
    batch are those of all processes.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """``[N, D] -> [N, D]``."""
        if self.training and is_distributed():
            return self._over_processes(input)
        if input.shape[0] > 1 or not self.training:
            return super().forward(input)
        return self._at_rest(input)

    def _at_rest(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)

    def _over_processes(self, x: Tensor) -> Tensor:
        rows, count = x.float(), int(row_range(x)[1])
        if count < 2:
            return self._at_rest(x)
        mean = mean_of_rows(rows)
        variance = mean_of_rows((rows - mean).square())
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
            # Without a momentum the average is that of all batches, as `update_bn` wants it.
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach(), share)
            self.running_var.lerp_(variance.detach() * count / (count - 1), share)
        normalised = (rows - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias
        return normalised.to(x.dtype)


class GPSLayer(nn.Module):
    """Message passing in parallel with attention over all nodes of a graph (GPS, Rampášek et al. 2022, eq. 2 to 5).

    Args:
        dim: width D, divisible by ``heads``.
        heads: attention heads.
        norm: returns a normalisation for a width.
    """

    def __init__(self, dim: int, heads: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.heads = heads
        self.local = GINLayer(dim, norm)
        self.query_key_value, self.merge = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.norm_local, self.norm_global, self.norm_mlp = norm(dim), norm(dim), norm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor, messages: Messages, edges: Tensor | None = None) -> Tensor:
        """See the module."""
        local = self.norm_local(x + self.local(x, messages, edges))
        queries, keys, values = self.query_key_value(x).chunk(3, dim=-1)
        attended = self.merge(messages.attention(queries, keys, values, self.heads))
        joined = local + self.norm_global(x + attended)
        return self.norm_mlp(joined + self.mlp(joined))
