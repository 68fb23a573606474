"""Several problems as flat tensors, packed end to end, so that a batch is a few gathers and sums and never a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from jepakit.core.packed import offsets, owners, select_groups
from jepakit.errors import DataError
from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.basis import Basis
from jepakit.lp.solving.iterates import primal_dual


@dataclass(frozen=True, eq=False)
class Optimum:
    """What is known of a problem's optimum: a label.

    Args:
        x: ``[n]``.
        y: the rows' duals, ``[m]``.
        basis: of the optimum.
    """

    x: Array
    y: Array
    basis: Basis


@dataclass(frozen=True, eq=False)
class Optima:
    """Those of all problems of a batch.

    Args:
        x: ``[N]``.
        y: ``[M]``.
        column_status: of an optimal basis, ``[N]`` int64.
        row_status: ``[M]`` int64.
    """

    x: Tensor
    y: Tensor
    column_status: Tensor
    row_status: Tensor


@dataclass(frozen=True, eq=False)
class Near:
    """Iterates of all problems of a batch, and what follows from them, which does not change in training.

    Args:
        x: ``[N]``.
        y: ``[M]``.
        activity: Ax, ``[M]``.
        reduced: c - Aᵀy, ``[N]``.
    """

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
        near: what `jepakit.lp.solving.iterates.primal_dual` comes to, where it was asked.
        optima: of all problems, where they are known.
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
        """The problem each column belongs to, ``[N]`` int64."""
        return owners(self.column_ptr.diff(), len(self.costs))

    @property
    def row_of(self) -> Tensor:
        """The problem each row belongs to, ``[M]`` int64."""
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
            iterations: of `jepakit.lp.solving.iterates.primal_dual` on each; 0: none are made.
            balance: of these.

        Raises:
            DataError: there is none, or not an optimum each.
        """
        if not problems:
            raise DataError("no problem", field="problems", expected="one at least")
        if optima is not None and len(optima) != len(problems):
            raise DataError("not an optimum each", field="optima", value=len(optima), expected=str(len(problems)))

        def packed(parts: list[Array]) -> Tensor:
            return torch.from_numpy(np.concatenate(parts)).float()

        matrices = [problem.matrix for problem in problems]
        column_ptr = _pointer([problem.columns for problem in problems])
        row_ptr = _pointer([problem.rows for problem in problems])
        entry_ptr = _pointer([matrix.nnz for matrix in matrices])
        sizes = np.concatenate([np.diff(matrix.indptr) for matrix in matrices])
        labels = None
        if optima is not None:
            labels = Optima(
                x=packed([optimum.x for optimum in optima]),
                y=packed([optimum.y for optimum in optima]),
                column_status=packed([optimum.basis.columns for optimum in optima]).long(),
                row_status=packed([optimum.basis.rows for optimum in optima]).long(),
            )
        batch = cls(
            costs=packed([problem.costs for problem in problems]),
            lower=packed([problem.lower for problem in problems]),
            upper=packed([problem.upper for problem in problems]),
            row_lower=packed([problem.row_lower for problem in problems]),
            row_upper=packed([problem.row_upper for problem in problems]),
            entry_row=_numbered([torch.from_numpy(matrix.indices) for matrix in matrices], row_ptr),
            entry_column=owners(torch.from_numpy(sizes)),
            entry_value=packed([matrix.data for matrix in matrices]),
            entry_by_row=_numbered([_by_row(matrix) for matrix in matrices], entry_ptr),
            column_ptr=column_ptr,
            row_ptr=row_ptr,
            entry_ptr=entry_ptr,
            optima=labels,
        )
        if not iterations:
            return batch
        iterates = [primal_dual(problem, iterations, balance) for problem in problems]
        x, y = packed([x for x, _ in iterates]), packed([y for _, y in iterates])
        return replace(batch, near=batch.at(x, y))

    def __getitem__(self, index: Tensor) -> LPBatch:
        """Some of the problems, ``[B]`` int64, in that order."""
        columns, column_ptr = select_groups(self.column_ptr, index)
        rows, row_ptr = select_groups(self.row_ptr, index)
        entries, entry_ptr = select_groups(self.entry_ptr, index)
        own = owners(entry_ptr.diff(), len(entries))
        near, optima = self.near, self.optima
        if near is not None:
            near = Near(near.x[columns], near.y[rows], near.activity[rows], near.reduced[columns])
        if optima is not None:
            optima = Optima(optima.x[columns], optima.y[rows], optima.column_status[columns], optima.row_status[rows])
        return replace(
            self,
            costs=self.costs[columns],
            lower=self.lower[columns],
            upper=self.upper[columns],
            row_lower=self.row_lower[rows],
            row_upper=self.row_upper[rows],
            entry_value=self.entry_value[entries],
            entry_by_row=self.entry_by_row[entries] + (entry_ptr[:-1] - self.entry_ptr[index])[own],
            near=near,
            optima=optima,
            entry_row=self.entry_row[entries] + (row_ptr[:-1] - self.row_ptr[index])[own],
            entry_column=self.entry_column[entries] + (column_ptr[:-1] - self.column_ptr[index])[own],
            column_ptr=column_ptr,
            row_ptr=row_ptr,
            entry_ptr=entry_ptr,
        )

    def activity(self, x: Tensor) -> Tensor:
        """Ax of each problem: ``[N, ...] -> [M, ...]``."""
        return _summed(self.entry_value, x[self.entry_column], self.entry_row, self.row_lower)

    def priced(self, y: Tensor) -> Tensor:
        """Aᵀy of each problem: ``[M, ...] -> [N, ...]``."""
        return _summed(self.entry_value, y[self.entry_row], self.entry_column, self.costs)

    def at(self, x: Tensor, y: Tensor) -> Near:
        """A point of all problems, x ``[N]`` and y ``[M]``, with its products."""
        return Near(x, y, self.activity(x), self.costs - self.priced(y))


def _by_row(matrix: sp.csc_array) -> Tensor:
    """The places of the entries, row by row: by counting, not by sorting."""
    places = sp.csc_array((np.arange(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)
    return torch.from_numpy(places.tocsr().data)


def _numbered(places: Sequence[Tensor], pointer: Tensor) -> Tensor:
    """Places in each problem as places in all."""
    return torch.cat([part.long() + first for part, first in zip(places, pointer.tolist(), strict=False)])


def _pointer(sizes: Sequence[int]) -> Tensor:
    return offsets(torch.tensor(sizes))


def _summed(weight: Tensor, values: Tensor, to: Tensor, like: Tensor) -> Tensor:
    shaped = weight.view(-1, *[1] * (values.dim() - 1)) * values
    return shaped.new_zeros(len(like), *values.shape[1:]).index_add_(0, to, shaped)
