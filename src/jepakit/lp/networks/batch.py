"""Several problems packed end to end in flat tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from jepakit.core.packed import RowLists, offsets, owners, select_groups
from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.basis import Optimum
from jepakit.lp.solving.iterates import primal_dual


@dataclass(frozen=True, eq=False)
class Optima:
    """The optima of a batch: x ``[N]``, y ``[M]`` and the statuses of their bases, ``[N]`` and ``[M]`` int64."""

    x: Tensor
    y: Tensor
    column_status: Tensor
    row_status: Tensor


@dataclass(frozen=True, eq=False)
class Near:
    """A point of each problem of a batch: x ``[N]``, y ``[M]``, activity Ax ``[M]``, reduced costs c - Aᵀy ``[N]``."""

    x: Tensor
    y: Tensor
    activity: Tensor
    reduced: Tensor


@dataclass(frozen=True, eq=False)
class LPBatch:
    """G problems with N columns, M rows, E entries; problem g owns columns ``column_ptr[g]:column_ptr[g + 1]``.

    Args:
        costs: ``[N]``.
        lower: ``[N]``.
        upper: ``[N]``.
        row_lower: ``[M]``.
        row_upper: ``[M]``.
        entry_row: packed row of each entry, ``[E]`` int64.
        entry_column: packed column of each entry, ``[E]`` int64.
        entry_value: ``[E]``; entries come column by column.
        entry_by_row: the entries row by row, ``[E]`` int64.
        column_ptr: ``[G + 1]`` int64.
        row_ptr: ``[G + 1]`` int64.
        entry_ptr: ``[G + 1]`` int64.
        near: iterates of `jepakit.lp.solving.iterates.primal_dual`; None without iterations.
        optima: None without labels.
    """

    costs: Tensor
    lower: Tensor
    upper: Tensor
    row_lower: Tensor
    row_upper: Tensor
    entry_row: Tensor
    entry_column: Tensor
    entry_value: Tensor
    entry_by_row: Tensor
    column_ptr: Tensor
    row_ptr: Tensor
    entry_ptr: Tensor
    near: Near | None = None
    optima: Optima | None = None

    def __len__(self) -> int:
        return self.column_ptr.numel() - 1

    @property
    def column_of(self) -> Tensor:
        """The problem of each column, ``[N]`` int64."""
        return owners(self.column_ptr.diff(), len(self.costs))

    @property
    def row_of(self) -> Tensor:
        """The problem of each row, ``[M]`` int64."""
        return owners(self.row_ptr.diff(), len(self.row_lower))

    @classmethod
    def of(
        cls,
        problems: Sequence[LinearProgram],
        optima: Sequence[Optimum] | None = None,
        *,
        iterations: int = 0,
        balance: float = 1.0,
    ) -> LPBatch:
        """Packs problems in single precision.

        Args:
            problems: scaled.
            optima: one for each, of the scaled problem.
            iterations: of `jepakit.lp.solving.iterates.primal_dual` on each.
            balance: of the iterations.
        """
        matrices = [problem.matrix for problem in problems]
        row_ptr = _pointer(problem.rows for problem in problems)
        entry_ptr = _pointer(matrix.nnz for matrix in matrices)
        labels = None
        if optima is not None:
            labels = Optima(
                x=_packed(optimum.x for optimum in optima),
                y=_packed(optimum.y for optimum in optima),
                column_status=_packed(optimum.basis.columns for optimum in optima).long(),
                row_status=_packed(optimum.basis.rows for optimum in optima).long(),
            )
        batch = cls(
            costs=_packed(problem.costs for problem in problems),
            lower=_packed(problem.lower for problem in problems),
            upper=_packed(problem.upper for problem in problems),
            row_lower=_packed(problem.row_lower for problem in problems),
            row_upper=_packed(problem.row_upper for problem in problems),
            entry_row=_numbered((matrix.indices for matrix in matrices), row_ptr),
            entry_column=owners(torch.from_numpy(np.concatenate([np.diff(matrix.indptr) for matrix in matrices]))),
            entry_value=_packed(matrix.data for matrix in matrices),
            entry_by_row=_numbered(map(_entries_by_row, matrices), entry_ptr),
            column_ptr=_pointer(problem.columns for problem in problems),
            row_ptr=row_ptr,
            entry_ptr=entry_ptr,
            optima=labels,
        )
        if not iterations:
            return batch
        xs, ys = zip(*(primal_dual(problem, iterations, balance) for problem in problems), strict=True)
        return replace(batch, near=batch.at(_packed(xs), _packed(ys)))

    def __getitem__(self, index: Tensor) -> LPBatch:
        """Some of the problems, ``[B]`` int64, in that order."""
        columns, column_ptr = select_groups(self.column_ptr, index)
        rows, row_ptr = select_groups(self.row_ptr, index)
        entries, entry_ptr = select_groups(self.entry_ptr, index)
        owner = owners(entry_ptr.diff(), len(entries))

        def renumbered(places: Tensor, old: Tensor, new: Tensor) -> Tensor:
            return places[entries] + (new[:-1] - old[index])[owner]

        near, optima = self.near, self.optima
        if near is not None:
            near = Near(near.x[columns], near.y[rows], near.activity[rows], near.reduced[columns])
        if optima is not None:
            optima = Optima(optima.x[columns], optima.y[rows], optima.column_status[columns], optima.row_status[rows])
        return LPBatch(
            *(values[columns] for values in (self.costs, self.lower, self.upper)),
            *(values[rows] for values in (self.row_lower, self.row_upper)),
            entry_row=renumbered(self.entry_row, self.row_ptr, row_ptr),
            entry_column=renumbered(self.entry_column, self.column_ptr, column_ptr),
            entry_value=self.entry_value[entries],
            entry_by_row=renumbered(self.entry_by_row, self.entry_ptr, entry_ptr),
            column_ptr=column_ptr,
            row_ptr=row_ptr,
            entry_ptr=entry_ptr,
            near=near,
            optima=optima,
        )

    def activity(self, x: Tensor) -> Tensor:
        """Ax of each problem: ``[N] -> [M]``."""
        products = self.entry_value * x[self.entry_column]
        return products.new_zeros(len(self.row_lower)).index_add_(0, self.entry_row, products)

    def priced(self, y: Tensor) -> Tensor:
        """Aᵀy of each problem: ``[M] -> [N]``."""
        products = self.entry_value * y[self.entry_row]
        return products.new_zeros(len(self.costs)).index_add_(0, self.entry_column, products)

    def at(self, x: Tensor, y: Tensor) -> Near:
        """A point of all problems, x ``[N]`` and y ``[M]``, with its products."""
        return Near(x, y, self.activity(x), self.costs - self.priced(y))

    def lists(self, weight: Tensor) -> tuple[RowLists, RowLists]:
        """The columns of each row, and the rows of each column, both with the entries' ``weight``, ``[E]``."""
        row_ptr, column_ptr = (
            offsets(torch.bincount(places, minlength=count))
            for places, count in ((self.entry_row, len(self.row_lower)), (self.entry_column, len(self.costs)))
        )
        by_row = self.entry_by_row
        return (
            RowLists(row_ptr, self.entry_column[by_row], weight[by_row]),
            RowLists(column_ptr, self.entry_row, weight),
        )


def _entries_by_row(matrix: sp.csc_array) -> Array:
    """The entries in the order of their rows; counting does it, without sorting."""
    return sp.csc_array((np.arange(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape).tocsr().data


def _packed(parts: Iterable[Array]) -> Tensor:
    return torch.from_numpy(np.concatenate(list(parts))).float()


def _numbered(places: Iterable[Array], pointer: Tensor) -> Tensor:
    """Places in each problem as places in the batch."""
    return torch.cat([torch.from_numpy(part).long() + at for part, at in zip(places, pointer.tolist(), strict=False)])


def _pointer(sizes: Iterable[int]) -> Tensor:
    return offsets(torch.tensor(list(sizes)))
