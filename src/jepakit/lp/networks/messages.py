"""Messages between the columns and rows of sparse matrices, fast on a CPU in both directions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jepakit.core.packed import RowLists, offsets, sum_rows


@dataclass(frozen=True)
class Passing:
    """A matrix ``[M, N]`` as weighted lists of entries, once by row and once by column.

    Args:
        by_row: the columns in which each row has entries.
        by_column: the rows in which each column has entries.
    """

    by_row: RowLists
    by_column: RowLists

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
        row_ptr, column_ptr = (
            offsets(torch.bincount(index, minlength=size)) for index, size in ((row, rows), (column, columns))
        )
        return cls(RowLists(row_ptr, column[by_row], weight[by_row]), RowLists(column_ptr, row, weight))

    def to_rows(self, columns: Tensor) -> Tensor:
        """Messages to rows: the sum weighted by the matrix, and the mean: ``[N, D] -> [M, 2 D]``."""
        return _sum_and_mean(columns, self.by_row, self.by_column)

    def to_columns(self, rows: Tensor) -> Tensor:
        """Messages to columns: ``[M, D] -> [N, 2 D]``."""
        return _sum_and_mean(rows, self.by_column, self.by_row)


def _sum_and_mean(values: Tensor, lists: RowLists, transposed: RowLists) -> Tensor:
    values = values.contiguous()
    weighted = sum_rows(values, lists, lambda: transposed)
    plain = sum_rows(values, replace(lists, weight=None), lambda: replace(transposed, weight=None))
    return torch.cat([weighted, plain / lists.offsets.diff().clamp(min=1).to(plain.dtype)[:, None]], 1)
