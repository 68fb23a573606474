"""Sums and gathers over processes that gradients pass through, so that a loss over the global batch is exact.

Every process computes the same loss of the whole batch. The backward pass of a sum is a sum, so the gradients that
DistributedDataParallel then averages over processes are those of one process holding the concatenated batch. Without
an initialised process group everything here is the identity.
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


def gather_rows(x: Tensor) -> tuple[Tensor, int]:
    """The rows of all processes, in the order of their ranks, and where this process's begin; differentiable.

    Args:
        x: ``[N, D]``; N may differ between processes.

    Returns:
        ``([sum of N, D], offset)``.
    """
    if not is_distributed():
        return x, 0
    offset, total = row_range(x)
    after = total - offset - x.shape[0]
    # Every row is zero on all processes but one, so a differentiable sum is a differentiable gather of uneven parts.
    padded = torch.cat([x.new_zeros(offset, *x.shape[1:]), x, x.new_zeros(after, *x.shape[1:])])
    return sum_over_processes(padded), offset


def row_range(x: Tensor) -> tuple[int, int]:
    """Where the rows of this process begin among those of all, in the order of their ranks, and how many all are."""
    if not is_distributed():
        return 0, x.shape[0]
    counts = torch.zeros(dist.get_world_size(), dtype=torch.long, device=x.device)
    counts[dist.get_rank()] = x.shape[0]
    dist.all_reduce(counts)
    return int(counts[: dist.get_rank()].sum()), int(counts.sum())


def share_of_rows(x: Tensor) -> Tensor:
    """This process's share of rows that every process has: the shares of all are the rows, each once."""
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
