"""Sums and gathers over processes that gradients pass through, so that a loss over the global batch is exact.

Every process computes the same loss of the whole batch. The backward pass of a sum is a sum, so the gradients that
DistributedDataParallel averages over processes are those of one process with the concatenated batch.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_ALONE = ContextVar("alone", default=False)


def is_distributed() -> bool:
    """Whether this process has a part of a batch: there is a group of processes, and the code is not `alone`."""
    return not _ALONE.get() and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@contextmanager
def alone() -> Generator[None]:
    """Code in which this process has all rows itself, whatever others do: nothing is summed over processes."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def sum_over_processes(x: Tensor) -> Tensor:
    """The sum of ``x`` over all processes, on each of them; differentiable."""
    return _AllReduce.apply(x) if is_distributed() else x  # pyright: ignore[reportUnknownMemberType, reportReturnType]


def count_rows(x: Tensor) -> Tensor:
    """The number of rows of all processes, in the dtype of ``x``: ``[N, ...] -> []``."""
    return sum_over_processes(x.new_tensor(float(len(x))))


def mean_of_rows(x: Tensor) -> Tensor:
    """The mean over the rows of all processes: ``[N, ...] -> [...]``; differentiable."""
    return sum_over_processes(x.sum(0)) / count_rows(x)


def own_part(mean: Tensor, rows: int) -> Tensor:
    """A mean over the rows of this process as its part of the mean over all rows.

    The mean over processes of the parts is that mean, and so are the gradients that DistributedDataParallel averages. A
    value that is the same on every process, such as that of a loss over the global batch, keeps its mean.

    Args:
        mean: of the rows of this process; of no rows it may be NaN.
        rows: how many they are.
    """
    if not is_distributed():
        return mean
    total = torch.tensor(rows, dtype=torch.long, device=mean.device)
    dist.all_reduce(total)
    # The part of no rows is 0, and keeps its graph: the others wait for the gradients of this process.
    return (mean if rows else mean.nan_to_num()) * (rows * dist.get_world_size() / max(1, int(total)))


def gather_rows(x: Tensor) -> tuple[Tensor, int]:
    """The rows of all processes by rank, ``[N, D] -> [sum of N, D]``, and the place of the first row of this process.

    Differentiable; N may differ between processes.
    """
    if not is_distributed():
        return x, 0
    first, total = row_range(x)
    before, after = (x.new_zeros(count, *x.shape[1:]) for count in (first, total - first - len(x)))
    # Every row is zero on all processes but one, so a differentiable sum is a differentiable gather of uneven parts.
    return sum_over_processes(torch.cat([before, x, after])), first


def row_range(x: Tensor) -> tuple[int, int]:
    """The first row of this process among the rows of all processes by rank, and the number of all rows."""
    if not is_distributed():
        return 0, x.shape[0]
    counts = torch.zeros(dist.get_world_size(), dtype=torch.long, device=x.device)
    counts[dist.get_rank()] = x.shape[0]
    dist.all_reduce(counts)
    return int(counts[: dist.get_rank()].sum()), int(counts.sum())


def own_rows(count: int) -> slice:
    """The share of this process in ``count`` rows; the shares of all processes by rank are all rows in their order."""
    if not is_distributed():
        return slice(0, count)
    rank, world = dist.get_rank(), dist.get_world_size()
    return slice(count * rank // world, count * (rank + 1) // world)


def share_of_rows(x: Tensor) -> Tensor:
    """This process's share of rows that every process has; each row is in one share."""
    return x[own_rows(len(x))] if is_distributed() else x


class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _AllReduce.apply(gradients[0].contiguous())  # pyright: ignore[reportUnknownMemberType, reportReturnType]
