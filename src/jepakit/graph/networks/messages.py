"""Message passing along the edges of a batch, as sums over lists of rows (`jepakit.core.packed.RowLists`).

Edges are sorted by target, so the messages to a node are adjacent rows. The backward pass sums over outgoing edges in
the same way; their order is computed on demand.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from jepakit.core.attention import GroupAttention
from jepakit.core.packed import RowLists, offsets, segment_sum, sum_rows
from jepakit.graph.data import Graphs


class Messages:
    """Sums over neighbours along the edges of a batch.

    Sums of half precision are computed and returned in single precision. Where the batch is a part of a graph and has
    k of the d edges of a node, each counts d / k times: with edges drawn at random, sums are right in the mean.

    Args:
        graphs: the batch.
        degree: in-degree of each node, ``[N]``; None: that of ``graphs.degree``, or counted.
    """

    def __init__(self, graphs: Graphs, degree: Tensor | None = None) -> None:
        self.graphs = graphs
        self.source, self.target = graphs.edge_index
        known = graphs.degree if degree is None else degree
        self.degree = graphs.in_degree if known is None else known

    @cached_property
    def stands_for(self) -> Tensor | None:
        """How many edges of the whole graph each edge counts for, ``[E]``; None where each is one."""
        whole, here = self.graphs.degree, self.graphs.in_degree
        if whole is None or not bool(((whole != here) & (here > 0)).any()):
            return None
        return (whole / here.clamp(min=1)).float()[self.target]

    @cached_property
    def incoming(self) -> RowLists:
        """For each node, the sources of its incoming edges."""
        return RowLists(offsets(self.graphs.in_degree), self.source, self.stands_for)

    @cached_property
    def outgoing_edges(self) -> RowLists:
        """For each node, its outgoing edges."""
        out_degree = torch.bincount(self.source, minlength=self.graphs.num_nodes)
        return RowLists(offsets(out_degree), torch.argsort(self.source, stable=True))

    @cached_property
    def outgoing(self) -> RowLists:
        """For each node, the targets of its outgoing edges."""
        edges = self.outgoing_edges.rows
        weight = None if self.stands_for is None else self.stands_for[edges]
        return replace(self.outgoing_edges, rows=self.target[edges], weight=weight)

    @cached_property
    def attention(self) -> GroupAttention:
        """From each node to all nodes of its graph."""
        return GroupAttention.of(self.graphs.graph_of_node, self.graphs.graph_of_node)

    @cached_property
    def gcn_weight(self) -> Tensor:
        """``1 / sqrt(d_i d_j)`` of each edge, degrees counted with the self loop, ``[E]`` (Kipf & Welling 2017)."""
        scale = (self.degree + 1).float().rsqrt()
        return scale[self.source] * scale[self.target]

    def sum_neighbors(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """``Σ_{j→i} w_ij x_j``: ``[N, D], [E] -> [N, D]``; no gradient reaches the weights."""
        if weight is None:
            return sum_rows(x, self.incoming, lambda: self.outgoing)
        weight = weight if self.stands_for is None else weight * self.stands_for
        incoming = replace(self.incoming, weight=weight)
        return sum_rows(x, incoming, lambda: replace(self.outgoing, weight=weight[self.outgoing_edges.rows]))

    def smooth(self, x: Tensor) -> Tensor:
        """``Â x`` with ``Â = D^-½ (A + I) D^-½``, degrees counted with the self loop: ``[N, D] -> [N, D]``."""
        return self.sum_neighbors(x, self.gcn_weight) + x / (self.degree + 1).to(x.dtype)[:, None]

    def spread(self, x: Tensor, steps: int, restart: float) -> Tensor:
        """Personalised PageRank ``Z ← (1 - α) Â Z + α x`` from ``Z = x``, ``[N, D] -> [N, D]``.

        Args:
            x: what is spread.
            steps: how often; 0 returns ``x``.
            restart: α.

        Source: APPNP, Gasteiger et al. 2019, eq. 4.
        """
        z = x
        for _ in range(steps):
            z = (1 - restart) * self.smooth(z) + restart * x
        return z

    def sum_neighbors_and_self(self, x: Tensor, scale: Tensor) -> Tensor:
        """``scale x_i + Σ_{j→i} x_j`` in one pass: ``[N, D], [] -> [N, D]``; both arguments receive gradients."""
        return _SumNeighborsAndSelf.apply(x, self, scale)  # pyright: ignore[reportReturnType]

    def take_sources(self, x: Tensor) -> Tensor:
        """The rows of the edges' sources: ``[N, D] -> [E, D]``."""
        each = RowLists(torch.arange(len(self.source) + 1, device=x.device), self.source)
        return sum_rows(x, each, lambda: self.outgoing_edges).to(x.dtype)

    def take_targets(self, x: Tensor) -> Tensor:
        """The rows of the edges' targets: ``[N, D] -> [E, D]``."""
        each = torch.arange(len(self.target) + 1, device=x.device)
        lists = RowLists(each, self.target)
        return sum_rows(x, lists, lambda: RowLists(self.incoming.offsets, each[:-1])).to(x.dtype)

    def sum_messages(self, messages: Tensor) -> Tensor:
        """The sum of the messages to each node: ``[E, D] -> [N, D]``."""
        messages = messages if self.stands_for is None else messages * self.stands_for[:, None]
        return segment_sum(messages, self.incoming.offsets)


class _SumNeighborsAndSelf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, messages: Messages, scale: Tensor) -> Tensor:
        total = messages.incoming.sum(x)
        ctx.messages = messages
        ctx.save_for_backward(x, scale)
        return total.addcmul_(x.to(total.dtype), scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor]:
        x, scale = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        to_x = ctx.messages.outgoing.sum(gradient).addcmul_(gradient, scale)
        return to_x, None, torch.dot(gradient.flatten(), x.to(gradient.dtype).flatten())
