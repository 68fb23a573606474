"""Softmax attention within examples of different lengths, whose rows are packed end to end."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.core.packed import positions

Padded = tuple[Tensor, Tensor]
"""The rows of B examples, ``[B, L]`` int64 with 0 as padding, and which of them are no padding, ``[B, L]`` bool."""


@dataclass(frozen=True)
class GroupAttention:
    """Which rows attend to which: the queries of an example to the keys of the same example.

    Examples of like length, within a factor of two, are padded to one block. A single block would be as long as the
    longest example, for all of them: on the graphs of PROTEINS, of 4 to 620 nodes, it took six times as long.

    Args:
        blocks: queries and keys of the examples that are computed together.
        answered: rows of the queries that have keys, in the order of the blocks, ``[A]``.
        queries: number of queries M.
    """

    blocks: tuple[tuple[Padded, Padded], ...]
    answered: Tensor
    queries: int

    @classmethod
    def of(cls, query_group: Tensor, key_group: Tensor) -> GroupAttention:
        """For M queries and N keys; ``[M]`` and ``[N]`` int64: the example of each."""
        groups = 1 + max(int(group.max()) if group.numel() else -1 for group in (query_group, key_group))
        queries, keys = (torch.bincount(group, minlength=groups) for group in (query_group, key_group))
        powers = 2 ** torch.arange(63, device=queries.device)
        size = torch.where((queries > 0) & (keys > 0), torch.bucketize(torch.maximum(queries, keys), powers), -1)
        blocks: list[tuple[Padded, Padded]] = []
        for one in size.unique().tolist():
            if one >= 0:
                chosen = size == one
                blocks.append((_padded(query_group, chosen), _padded(key_group, chosen)))
        answered = [rows[mask] for (rows, mask), _ in blocks]
        return cls(tuple(blocks), torch.cat([query_group.new_zeros(0), *answered]), len(query_group))

    @property
    def has_keys(self) -> Tensor:
        """Whether each query has a key to attend to, ``[M]`` bool."""
        none = torch.zeros(self.queries, dtype=torch.bool, device=self.answered.device)
        return none.index_fill(0, self.answered, value=True)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
        """Softmax attention ``[M, D], [N, D], [N, D] -> [M, D]``; zeros for a query without keys."""
        # Without a block the result still depends on all three: another process may wait for their gradients.
        parts = [query[:0] + key[:0] + value[:0]]
        for (queries, asked), (keys, seen) in self.blocks:
            parts.append(attend(query[queries], key[keys], value[keys], seen, heads)[asked])
        found = torch.cat(parts)
        return found.new_zeros(self.queries, found.shape[1]).index_copy(0, self.answered, found)


def attend(query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor, heads: int) -> Tensor:
    """Softmax attention ``[B, L, D], [B, K, D], [B, K, D] -> [B, L, D]`` to the keys of a mask ``[B, K]``.

    An example without keys attends to its padding, because a softmax over no entries is NaN.
    """
    visible = (key_mask | ~key_mask.any(1, keepdim=True))[:, None, None, :]
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    # In half precision the gradient of torch's kernel for CPUs takes five times as long.
    on_cpu, half = query.device.type == "cpu", value.dtype in (torch.bfloat16, torch.float16)
    with torch.autocast("cpu", enabled=False) if on_cpu else nullcontext():
        parts = (x.float() if on_cpu and half else x for x in (q, k, v))
        attended = F.scaled_dot_product_attention(*parts, attn_mask=visible).to(value.dtype)
    return attended.transpose(1, 2).flatten(2)


def pad_groups(x: Tensor, group: Tensor, groups: int) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Rows ``[N, D]`` of several examples as one block; ``group`` (``[N]`` int64) is the example of each row.

    Returns:
        ``[groups, L, D]`` padded with zeros, the mask ``[groups, L]`` of rows, and the index that takes the rows back
        out in their order.
    """
    counts = torch.bincount(group, minlength=groups)
    within = torch.empty_like(group)
    within[torch.argsort(group, stable=True)] = positions(counts)
    longest = max(int(counts.max()) if groups else 0, 1)
    padded = x.new_zeros(groups, longest, x.shape[-1]).index_put((group, within), x)
    mask = torch.arange(longest, device=x.device) < counts[:, None]
    return padded, mask, (group, within)


def _padded(group: Tensor, chosen: Tensor) -> Padded:
    """The rows of the examples that are ``chosen``, ``[G]`` bool; ``group``: the example of each row."""
    rows = chosen[group].nonzero()
    number = chosen.cumsum(0) - 1
    padded, mask, _ = pad_groups(rows, number[group[rows.squeeze(1)]], int(chosen.sum()))
    return padded.squeeze(2), mask
