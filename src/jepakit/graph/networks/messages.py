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

from jepakit.core.packed import RowLists, offsets, segment_sum, sum_rows
from jepakit.graph.data import Graphs


class Messages:
    """Sums over neighbours along the edges of a batch.

    Sums of half precision are computed and returned in single precision.

    Args:
        graphs: the batch.
    """

    def __init__(self, graphs: Graphs) -> None:
        self.source, self.target = graphs.edge_index
        self.num_nodes = graphs.num_nodes
        self.graph_of_node = graphs.graph_of_node
        self.num_graphs = len(graphs)
        self.node_ptr = graphs.node_ptr

    @cached_property
    def in_ptr(self) -> Tensor:
        """Offsets of the incoming edges of each node, ``[N + 1]``."""
        return offsets(torch.bincount(self.target, minlength=self.num_nodes))

    @cached_property
    def out_ptr(self) -> Tensor:
        """Offsets in `by_source` of the outgoing edges of each node, ``[N + 1]``."""
        return offsets(torch.bincount(self.source, minlength=self.num_nodes))

    @cached_property
    def by_source(self) -> Tensor:
        """The order of the edges by source, ``[E]``."""
        return torch.argsort(self.source, stable=True)

    @cached_property
    def incoming(self) -> RowLists:
        """For each node, the sources of its incoming edges."""
        return RowLists(self.in_ptr, self.source)

    @cached_property
    def outgoing(self) -> RowLists:
        """For each node, the targets of its outgoing edges."""
        return RowLists(self.out_ptr, self.target[self.by_source])

    @cached_property
    def gcn_weight(self) -> Tensor:
        """``1 / sqrt(d_i d_j)`` of each edge, degrees counted with the self loop, ``[E]`` (Kipf & Welling 2017)."""
        scale = (self.in_ptr.diff() + 1).float().rsqrt()
        return scale[self.source] * scale[self.target]

    def sum_neighbors(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """``Σ_{j→i} w_ij x_j``: ``[N, D], [E] -> [N, D]``; no gradient reaches the weights."""
        if weight is None:
            return sum_rows(x, self.incoming, lambda: self.outgoing)
        weighted = replace(self.incoming, weight=weight)
        return sum_rows(x, weighted, lambda: replace(self.outgoing, weight=weight[self.by_source]))

    def sum_neighbors_and_self(self, x: Tensor, scale: Tensor) -> Tensor:
        """``scale x_i + Σ_{j→i} x_j`` in one pass: ``[N, D], [] -> [N, D]``; both arguments receive gradients."""
        return _SumNeighborsAndSelf.apply(x, self, scale)  # pyright: ignore[reportReturnType]

    def take_sources(self, x: Tensor) -> Tensor:
        """The rows of the edges' sources: ``[N, D] -> [E, D]``."""
        return _TakeSources.apply(x, self)  # pyright: ignore[reportReturnType]

    def sum_messages(self, messages: Tensor) -> Tensor:
        """The sum of the messages to each node: ``[E, D] -> [N, D]``."""
        return segment_sum(messages, self.in_ptr)


class _SumNeighborsAndSelf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, messages: Messages, scale: Tensor) -> Tensor:
        total = messages.incoming.sum(x)
        ctx.messages = messages
        ctx.save_for_backward(x, scale)
        return total.addcmul_(x.to(total.dtype), scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        x, scale = ctx.saved_tensors
        m: Messages = ctx.messages
        gradient = gradients[0].contiguous()
        to_x = to_scale = None
        if ctx.needs_input_grad[0]:
            to_x = m.outgoing.sum(gradient).addcmul_(gradient, scale)
        if ctx.needs_input_grad[2]:
            to_scale = torch.dot(gradient.flatten(), x.to(gradient.dtype).flatten())
        return to_x, None, to_scale


class _TakeSources(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, messages: Messages) -> Tensor:
        ctx.messages = messages
        return x[messages.source]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        m: Messages = ctx.messages
        return RowLists(m.out_ptr, m.by_source).sum(gradients[0].contiguous()), None
