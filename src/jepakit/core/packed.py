"""Groups of rows packed end to end in flat tensors: group ``g`` owns rows ``offsets[g]:offsets[g + 1]``.

Gathers and sums over groups of different lengths then need neither padding nor a loop. With G groups and N rows in all,
offsets (``ptr``) are ``[G + 1]`` int64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def offsets(lengths: Tensor) -> Tensor:
    """The first row of each group, then the number of rows: ``[G] -> [G + 1]`` int64."""
    return torch.cat([lengths.new_zeros(1, dtype=torch.long), lengths.cumsum(0)])


def owners(lengths: Tensor, total: int | None = None) -> Tensor:
    """The group of each row: ``[G] -> [N]`` int64. With ``total``, which is N, a GPU is not waited for."""
    return torch.repeat_interleave(lengths, output_size=total)


def positions(lengths: Tensor) -> Tensor:
    """The position of each row in its group, from 0: ``[G] -> [N]`` int64."""
    return gather_ranges(lengths.new_zeros(()), lengths)


def gather_ranges(starts: Tensor, lengths: Tensor) -> Tensor:
    """Concatenates ``arange(s, s + n)`` over the pairs (s, n): ``[G], [G] -> [N]``."""
    ends = lengths.cumsum(0)
    shift = torch.repeat_interleave(starts - ends + lengths, lengths)
    return torch.arange(len(shift), device=starts.device) + shift


def select_groups(ptr: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of some groups, in the order of ``groups`` (``[B]`` int64), and the offsets of the selection."""
    starts = ptr[groups]
    lengths = ptr[groups + 1] - starts
    return gather_ranges(starts, lengths), offsets(lengths)


def offsets_of_kept(ptr: Tensor, keep: Tensor) -> Tensor:
    """The offsets after rows are dropped where ``keep`` (``[N]`` bool) is false; groups stay, even when emptied."""
    return offsets(keep)[ptr]


def segment_sum(values: Tensor, ptr: Tensor) -> Tensor:
    """The sum over the rows of each group, ``[N, D] -> [G, D]`` or ``[N] -> [G]``; 0 for a group without rows.

    Sums of half precision are computed and returned in single precision.
    """
    if values.dim() == 1:
        return segment_sum(values[:, None], ptr)[:, 0]
    rows = torch.arange(len(values) + 1, device=values.device)
    return sum_rows(values, RowLists(ptr, rows[:-1]), lambda: RowLists(rows, owners(ptr.diff(), len(values))))


def segment_mean(values: Tensor, ptr: Tensor) -> Tensor:
    """The mean over the rows of each group, shaped as in `segment_sum`; 0 for a group without rows."""
    total = segment_sum(values, ptr)
    return total / ptr.diff().clamp(min=1).to(total.dtype).view(-1, *[1] * (total.dim() - 1))


def segment_max(values: Tensor, ptr: Tensor, empty: float) -> Tensor:
    """The maximum over the rows of each group, shaped as in `segment_sum`; ``empty`` for a group without rows."""
    owner = owners(ptr.diff(), len(values)).view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    greatest = values.new_full((len(ptr) - 1, *values.shape[1:]), empty)
    return greatest.scatter_reduce(0, owner, values, reduce="amax", include_self=False)


def segment_softmax(values: Tensor, ptr: Tensor) -> Tensor:
    """The softmax over the rows of each group, column by column: ``[N, D] -> [N, D]``."""
    owner = owners(ptr.diff(), len(values))
    # Without its maximum, a group's exponentials could overflow; the result does not depend on it.
    weight = (values - segment_max(values.detach(), ptr, empty=0.0)[owner]).exp()
    total = RowLists(torch.arange(len(values) + 1, device=values.device), owner)
    rows = torch.arange(len(values), device=values.device)
    return weight / sum_rows(segment_sum(weight, ptr), total, lambda: RowLists(ptr, rows))


@dataclass(frozen=True)
class RowLists:
    """For each of G groups a list of rows of another tensor, such as the neighbours of a node.

    It is a sparse matrix ``[G, S]`` in compressed rows. Sums over it use the kernel of ``embedding_bag``, which does
    not store the gathered rows ``[N, D]``: eight times faster on a CPU than gathering and adding, four times faster
    than ``torch.sparse``.

    Args:
        offsets: ``[G + 1]`` int64.
        rows: the rows listed, ``[N]`` int64.
        weight: of each row listed, ``[N]``, or None for 1.
    """

    offsets: Tensor
    rows: Tensor
    weight: Tensor | None = None

    def sum(self, values: Tensor) -> Tensor:
        """The weighted sum of the rows listed, without a gradient: ``[S, D] -> [G, D]``."""
        # As autocast does with every sum: half precision overflows in a long list.
        values = (values.float() if values.dtype in (torch.float16, torch.bfloat16) else values).detach()
        if not self.rows.numel():
            return values.new_zeros(len(self.offsets) - 1, values.shape[1])
        weight = None if self.weight is None else self.weight.to(values.dtype)
        return F.embedding_bag(
            self.rows, values, self.offsets, mode="sum", per_sample_weights=weight, include_last_offset=True
        )


def sum_rows(values: Tensor, lists: RowLists, transposed: Callable[[], RowLists]) -> Tensor:
    """`RowLists.sum` with a gradient for ``values``, none for the weights: ``[S, D] -> [G, D]``.

    ``transposed`` makes the lists of the transposed matrix, S lists of groups, when the gradient is computed.
    """
    return _SumRows.apply(values, lists, transposed)  # pyright: ignore[reportReturnType]


class _SumRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, lists: RowLists, transposed: Callable[[], RowLists]) -> Tensor:
        ctx.transposed = transposed
        return lists.sum(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transposed().sum(gradients[0].contiguous()), None, None
