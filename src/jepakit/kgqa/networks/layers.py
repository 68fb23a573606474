"""Layers that pass messages along typed edges: ``(entity embeddings [N, D], messages) -> [N, D]``.

The relation of an edge is part of its message. No message passes between the subgraphs of a batch, and a layer needs
nothing but the incoming edges of an entity.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core.packed import RowLists, offsets, segment_softmax, segment_sum, sum_rows
from jepakit.graph.networks.layers import GCNLayer, GINLayer
from jepakit.graph.networks.messages import Messages

#: Names of the layers in configurations.
LAYERS = ("gat", "rgcn", "gin", "gcn", "transformer")


class TypedEdges(nn.Module):
    """An embedding of each edge, by its type: ``messages -> [E, D]``.

    Args:
        steps: relations in both directions.
        dim: width D.
    """

    def __init__(self, steps: int, dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(steps, dim)
        nn.init.normal_(self.table.weight, std=0.5)

    def forward(self, messages: Messages) -> Tensor:
        """See the module."""
        return self.table(messages.graphs.edge_type)


class RelationalGIN(nn.Module):
    """GINE with relations as edge features, see `jepakit.graph.networks.layers.GINLayer`."""

    def __init__(self, dim: int, steps: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.edges, self.layer = TypedEdges(steps, dim), GINLayer(dim, norm)

    def forward(self, x: Tensor, messages: Messages) -> Tensor:
        """See the module."""
        return self.layer(x, messages, self.edges(messages))


class RelationalGCN(nn.Module):
    """GCN with the relation added to the source, see `jepakit.graph.networks.layers.GCNLayer`."""

    def __init__(self, dim: int, steps: int) -> None:
        super().__init__()
        self.edges, self.layer = TypedEdges(steps, dim), GCNLayer(dim)

    def forward(self, x: Tensor, messages: Messages) -> Tensor:
        """See the module."""
        return self.layer(x, messages, self.edges(messages))


class RelationalGAT(nn.Module):
    """``W x_i + Σ_j α_ij m_ij`` with m_ij = W_s x_j + r_ij and α = softmax_j(aᵀ leaky_relu(W_t x_i + m_ij)).

    GATv2 (Brody et al. 2022, eq. 7) with the embedding r of the edge's relation in scores and messages; each head has
    its own α.

    Args:
        dim: width D, divisible by ``heads``.
        heads: attention heads.
        steps: relations in both directions.
    """

    def __init__(self, dim: int, heads: int, steps: int) -> None:
        super().__init__()
        self.heads = heads
        self.edges = TypedEdges(steps, dim)
        self.own, self.source, self.target = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        self.score = nn.Parameter(nn.init.normal_(torch.empty(heads, dim // heads), std=(heads / dim) ** 0.5))

    def forward(self, x: Tensor, messages: Messages) -> Tensor:
        """See the module."""
        sent = messages.take_sources(self.source(x)) + self.edges(messages)
        seen = F.leaky_relu(sent + messages.take_targets(self.target(x)), 0.2)
        scores = (seen.unflatten(1, (self.heads, -1)) * self.score).sum(-1)
        return self.own(x) + _weighted(sent, scores, messages)


class RelationalTransformer(nn.Module):
    """A transformer block whose attention is along the edges (Shi et al. 2021, arXiv:2009.03509, eq. 1 and 2).

    The embedding of the edge's relation is added to key and value. Normalised before attention and perceptron.

    Args:
        dim: width D, divisible by ``heads``.
        heads: attention heads.
        steps: relations in both directions.
    """

    def __init__(self, dim: int, heads: int, steps: int) -> None:
        super().__init__()
        self.heads = heads
        self.edges = TypedEdges(steps, dim)
        self.query, self.key_value, self.merge = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.norm_attention, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor, messages: Messages) -> Tensor:
        """See the module."""
        normed, relation = self.norm_attention(x), self.edges(messages)
        key, value = (sent + relation for sent in messages.take_sources(self.key_value(normed)).chunk(2, dim=1))
        query = messages.take_targets(self.query(normed))
        scores = (query * key).unflatten(1, (self.heads, -1)).sum(-1) * (self.heads / x.shape[1]) ** 0.5
        x = x + self.merge(_weighted(value, scores, messages))
        return x + self.mlp(self.norm_mlp(x))


class RelationalGCNBases(nn.Module):
    """``W x_i + Σ_r mean_{j ∈ N_r(i)} W_r x_j`` with W_r = Σ_b a_rb V_b.

    R-GCN with basis matrices (Schlichtkrull et al. 2018, eq. 2 and 3).

    Args:
        dim: width D.
        bases: number of matrices V.
        steps: relations in both directions.
    """

    def __init__(self, dim: int, bases: int, steps: int) -> None:
        super().__init__()
        self.own = nn.Linear(dim, dim)
        self.bases = nn.Linear(bases * dim, dim, bias=False)
        self.coefficient = nn.Embedding(steps, bases)
        nn.init.normal_(self.coefficient.weight)

    def forward(self, x: Tensor, messages: Messages) -> Tensor:
        """See the module."""
        edge_type = messages.graphs.edge_type
        assert edge_type is not None
        # The neighbours of an entity by one relation form a group; groups are sorted by entity.
        steps = self.coefficient.num_embeddings
        key, order = (messages.target * steps + edge_type).sort(stable=True)
        group, size = key.unique_consecutive(return_counts=True)
        entity, step = group // steps, group % steps
        group_ptr = offsets(size)
        source = messages.source[order]
        members = RowLists(group_ptr, source, (1 / size.to(x.dtype)).repeat_interleave(size))

        def transposed() -> RowLists:
            back = source.argsort(stable=True)
            owner = torch.repeat_interleave(size)[back]
            count = torch.bincount(source, minlength=len(x))
            assert members.weight is not None
            return RowLists(offsets(count), owner, members.weight[back])

        mean = sum_rows(x, members, transposed)
        scaled = (self.coefficient(step)[:, :, None] * mean[:, None, :]).flatten(1)
        entity_ptr = offsets(torch.bincount(entity, minlength=len(x)))
        return self.own(x) + self.bases(segment_sum(scaled, entity_ptr))


def _weighted(values: Tensor, scores: Tensor, messages: Messages) -> Tensor:
    """The mean of the messages to each entity, weighted by the softmax of the scores: ``[E, D], [E, H] -> [N, D]``."""
    weight = segment_softmax(scores, messages.incoming.offsets)
    weighted = values.unflatten(1, (scores.shape[1], -1)) * weight[:, :, None]
    return messages.sum_messages(weighted.flatten(1))
