"""Sums along the entries of sparse matrices, fast on a CPU in both directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Passing"]


@dataclass(frozen=True)
class Passing:
    """A matrix ``[M, N]`` as lists of entries, once by row and once by column.

    Args:
        by_row: of each row, the columns it has entries in.
        by_column: of each column, the rows.
    """

    by_row: _Lists
    by_column: _Lists

    @classmethod
    def of(cls, row: Tensor, column: Tensor, weight: Tensor, by_row: Tensor, rows: int, columns: int) -> Passing:
        """From entries column by column, ``[E]`` each.

        Args:
            row: of each entry.
            column: of each entry, in order.
            weight: of each entry.
            by_row: the entries row by row, ``[E]`` int64.
            rows: M.
            columns: N.
        """
        return cls(
            _Lists.of(row[by_row], column[by_row], weight[by_row], rows), _Lists.of(column, row, weight, columns)
        )

    def to_rows(self, columns: Tensor) -> Tensor:
        """What rows hear: the sum weighted by the matrix, and the mean: ``[N, D] -> [M, 2 D]``."""
        return _heard(columns, self.by_row, self.by_column)

    def to_columns(self, rows: Tensor) -> Tensor:
        """What columns hear: ``[M, D] -> [N, 2 D]``."""
        return _heard(rows, self.by_column, self.by_row)


@dataclass(frozen=True)
class _Lists:
    """Of each of T targets a list of sources with weights, one after another.

    Args:
        source: ``[E]`` int64.
        start: where the list of each target begins, ``[T]`` int64.
        weight: ``[E]``.
        size: of each list, at least 1, ``[T]``.
    """

    source: Tensor
    start: Tensor
    weight: Tensor
    size: Tensor

    @classmethod
    def of(cls, target: Tensor, source: Tensor, weight: Tensor, targets: int) -> _Lists:
        """From entries target by target."""
        size = torch.bincount(target, minlength=targets)
        return cls(source, size.cumsum(0) - size, weight, size.clamp(min=1).to(weight.dtype))

    def summed(self, values: Tensor, weight: Tensor) -> Tensor:
        """``[S, D] -> [T, D]``."""
        if not len(self.start) or not len(values):
            return values.new_zeros(len(self.start), values.shape[1])
        return F.embedding_bag(self.source, values, self.start, mode="sum", per_sample_weights=weight)


class _Sum(torch.autograd.Function):
    """A matrix times values; its gradient is the transposed matrix times the gradient, which is there already."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, lists: _Lists, transposed: _Lists, weighted: bool) -> Tensor:
        ctx.lists, ctx.transposed, ctx.weighted = lists, transposed, weighted
        if weighted:
            return lists.summed(values, lists.weight)
        return lists.summed(values, torch.ones_like(lists.weight)) / lists.size[:, None]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        grad, transposed = grads[0].contiguous(), ctx.transposed
        if ctx.weighted:
            return transposed.summed(grad, transposed.weight), None, None, None
        shared = grad / ctx.lists.size[:, None]
        return transposed.summed(shared, torch.ones_like(transposed.weight)), None, None, None


def _heard(values: Tensor, lists: _Lists, transposed: _Lists) -> Tensor:
    values = values.contiguous()
    return torch.cat([_Sum.apply(values, lists, transposed, weighted) for weighted in (True, False)], 1)
