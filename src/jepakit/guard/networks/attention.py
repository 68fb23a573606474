"""Attention: of rows to the rows around them, and of calls to the calls before them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core.packed import segment_softmax, segment_sum


class WindowedLayer(nn.Module):
    """A transformer layer, normalised first, whose time and memory grow linearly with the rows.

    Rows are cut into blocks. A row attends to its own block, to those on either side, and to the global tokens; a
    global token attends to all rows and all global tokens (Beltagy et al. 2020, section 3).

    Args:
        dim: width of rows and tokens.
        heads: of attention.
        window: rows of a block.
        dropout: after attention and feed-forward.
    """

    def __init__(self, dim: int, heads: int, window: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.project = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.feed = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, rows: Tensor, real: Tensor, tokens: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """New rows and tokens.

        Args:
            rows: ``[B, L, D]``; L is a multiple of the window.
            real: which rows are not padding, ``[B, L]`` bool.
            tokens: global tokens, ``[B, G, D]``.
            present: which of them count, ``[B, G]`` bool; one at least in each example.
        """
        joined = torch.cat([tokens, rows], dim=1)
        seen = torch.cat([present, real], dim=1)
        query, key, value = self.project(self.norm(joined)).chunk(3, dim=2)
        count = tokens.shape[1]
        mixed = torch.cat(
            [
                self._attend(query[:, :count], key, value, seen),
                self._in_windows(query, key, value, seen, count),
            ],
            dim=1,
        )
        joined = joined + self.dropout(self.out(mixed))
        joined = joined + self.dropout(self.feed(self.after(joined)))
        return joined[:, count:], joined[:, :count]

    def _in_windows(self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor, count: int) -> Tensor:
        """What rows attend to: blocks become examples of a batch."""
        batch, length, dim = query[:, count:].shape
        blocks = length // self.window
        near = [
            torch.cat([_with_globals(part[:, :count], blocks), _with_neighbours(part[:, count:], self.window)], dim=1)
            for part in (key, value, seen[..., None])
        ]
        mixed = self._attend(
            query[:, count:].reshape(batch * blocks, self.window, dim), near[0], near[1], near[2].squeeze(2)
        )
        return mixed.reshape(batch, length, dim)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
        parts = [part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)]
        mixed = F.scaled_dot_product_attention(*parts, attn_mask=seen[:, None, None, :])
        return mixed.transpose(1, 2).flatten(2)


class CallLayer(nn.Module):
    """A transformer layer over a graph, normalised first: a node attends along the edges that end in it.

    Args:
        dim: width of nodes.
        heads: of attention.
        kinds: of edges, each with a learned bias for each head, 0 at first.
        dropout: after attention and feed-forward.
    """

    def __init__(self, dim: int, heads: int, kinds: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.project = nn.Linear(dim, 3 * dim)
        self.bias = nn.Parameter(torch.zeros(kinds, heads))
        self.edge = nn.Parameter(torch.zeros(kinds, dim))
        self.out = nn.Linear(dim, dim)
        self.feed = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, nodes: Tensor, edges: Tensor, kind: Tensor, ptr: Tensor, earlier: Tensor | None = None) -> Tensor:
        """``[C, D] -> [C, D]``.

        Args:
            nodes: ``[C, D]``.
            edges: source and target, ``[2, E]`` int64, ordered by target. Sources count from the first earlier node.
            kind: of each edge, ``[E]`` int64.
            ptr: the edges of each target, ``[C + 1]`` int64.
            earlier: nodes that edges may start from and that nothing is computed for, ``[P, D]``; None: there are none.
        """
        seen = nodes if earlier is None else torch.cat([earlier, nodes])
        query, key, value = self.project(self.norm(seen)).chunk(3, dim=1)
        source, target = edges
        query, key, value = query[len(seen) - len(nodes) :], key[source], value[source] + self.edge[kind]
        heads = (query[target] * key).unflatten(1, (self.heads, -1)).sum(2)
        weight = segment_softmax(heads * (self.heads / nodes.shape[1]) ** 0.5 + self.bias[kind], ptr)
        mixed = (value.unflatten(1, (self.heads, -1)) * weight[:, :, None]).flatten(1)
        nodes = nodes + self.dropout(self.out(segment_sum(mixed, ptr)))
        return nodes + self.dropout(self.feed(self.after(nodes)))


def _with_globals(tokens: Tensor, blocks: int) -> Tensor:
    """The tokens of each example for each of its blocks: ``[B, G, D] -> [B * blocks, G, D]``."""
    return tokens[:, None].expand(-1, blocks, -1, -1).flatten(0, 1)


def _with_neighbours(rows: Tensor, window: int) -> Tensor:
    """Each block with the block before and the one after it: ``[B, L, D] -> [B * blocks, 3 * window, D]``."""
    padded = F.pad(rows, (0, 0, window, window))
    return padded.unfold(1, 3 * window, window).transpose(2, 3).flatten(0, 1)
