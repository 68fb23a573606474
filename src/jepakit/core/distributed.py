"""Sums and gathers over processes that gradients pass through, so that a loss over the global batch is exact.

Every process computes the same loss of the whole batch. The backward pass of a sum is a sum, so the gradients that
DistributedDataParallel averages over processes are those of one process with the concatenated batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Whether there is a process group of more than one process."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def sum_over_processes(x: Tensor) -> Tensor:
    """The sum of ``x`` over all processes, on each of them; differentiable."""
    return _AllReduce.apply(x) if is_distributed() else x  # pyright: ignore[reportUnknownMemberType, reportReturnType]


def count_rows(x: Tensor) -> Tensor:
    """The number of rows of all processes, in the dtype of ``x``: ``[N, ...] -> []``."""
    return sum_over_processes(x.new_tensor(float(len(x))))


def mean_of_rows(x: Tensor) -> Tensor:
    """The mean over the rows of all processes: ``[N, ...] -> [...]``; differentiable."""
    return sum_over_processes(x.sum(0)) / count_rows(x)


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


def share_of_rows(x: Tensor) -> Tensor:
    """This process's share of rows that every process has; each row is in one share."""
    return x[dist.get_rank() :: dist.get_world_size()] if is_distributed() else x


class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _AllReduce.apply(gradients[0].contiguous())  # pyright: ignore[reportUnknownMemberType, reportReturnType]
