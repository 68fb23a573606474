"""The KKT loss: violations of the optimality conditions by x and y. It needs no labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jepakit.core.packed import segment_mean, segment_sum
from jepakit.errors import require_at_least
from jepakit.lp.networks.batch import LPBatch, Near


@dataclass
class KKTWeights:
    """Weights of the terms; 0 leaves one out.

    Args:
        primal: squared violation of rows and bounds.
        dual: squared row duals of the wrong sign: the row has no side on their side.
        stationarity: squared reduced costs c - Aᵀy of the wrong sign.
        complementary_slackness: squared products of a dual and the distance to its side.
        gap: squared difference of cᵀx and the dual objective, relative to 1 + their size.
    """

    primal: float = 1.0
    dual: float = 1.0
    stationarity: float = 1.0
    complementary_slackness: float = 1.0
    gap: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(self, primal=0, dual=0, stationarity=0, complementary_slackness=0, gap=0)


def kkt_terms(problems: LPBatch, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The terms of each problem, ``[G]`` each: means of squares over its rows and columns.

    Their sum is 0 if and only if x and y are primal and dual optimal: both are feasible, with z = c - Aᵀy, and
    complementary slackness holds.

    Args:
        problems: scaled.
        x: ``[N]``.
        y: row duals, ``[M]``.
    """
    return terms_of(problems, problems.at(x, y))


def terms_of(problems: LPBatch, point: Near) -> dict[str, Tensor]:
    """`kkt_terms` of a point and its products with the matrix."""
    x, y, activity, z = point.x, point.y, point.activity, point.reduced
    rows = _sides(activity, y, problems.row_lower, problems.row_upper)
    columns = _sides(x, z, problems.lower, problems.upper)
    row_ptr, column_ptr = problems.row_ptr, problems.column_ptr
    value = segment_sum(problems.costs * x, column_ptr)
    dual_value = segment_sum(rows.value, row_ptr) + segment_sum(columns.value, column_ptr)
    size = 1 + torch.maximum(value.abs(), dual_value.abs()).detach()
    return {
        "primal": segment_mean(rows.outside.square(), row_ptr) + segment_mean(columns.outside.square(), column_ptr),
        "dual": segment_mean(rows.wrong.square(), row_ptr),
        "stationarity": segment_mean(columns.wrong.square(), column_ptr),
        "complementary_slackness": segment_mean(rows.slack, row_ptr) + segment_mean(columns.slack, column_ptr),
        "gap": ((value - dual_value) / size).square(),
    }


@dataclass(frozen=True)
class _Sides:
    """Terms of values with two sides, and their duals.

    Args:
        outside: violation of a side.
        wrong: size of a dual of the wrong sign.
        slack: squared product of a dual and the distance to its side.
        value: contribution to the dual objective.
    """

    outside: Tensor
    wrong: Tensor
    slack: Tensor
    value: Tensor


def _sides(values: Tensor, duals: Tensor, lower: Tensor, upper: Tensor) -> _Sides:
    has_lower, has_upper = lower.isfinite(), upper.isfinite()
    # 0 times an infinite side would be NaN, in the gradient too.
    low, high = lower.masked_fill(~has_lower, 0), upper.masked_fill(~has_upper, 0)
    below = torch.where(has_lower, low - values, 0).relu()
    above = torch.where(has_upper, values - high, 0).relu()
    up, down = duals.relu(), (-duals).relu()
    slack = torch.where(has_lower, up * (values - low), 0).square()
    slack = slack + torch.where(has_upper, down * (high - values), 0).square()
    return _Sides(
        outside=below + above,
        wrong=torch.where(has_lower, 0, up) + torch.where(has_upper, 0, down),
        slack=slack,
        value=up * low - down * high,
    )
