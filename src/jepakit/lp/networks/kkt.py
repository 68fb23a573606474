"""The KKT loss: violations of the optimality conditions by x and y. It needs no labels."""

from __future__ import annotations

import torch
from torch import Tensor

from jepakit.core.packed import segment_mean, segment_sum
from jepakit.lp.networks.batch import LPBatch, Near


def kkt_terms(problems: LPBatch, point: Near) -> dict[str, Tensor]:
    """The terms of each problem, ``[G]`` each: means of squares over its rows and columns.

    Their sum is 0 if and only if x and y are primal and dual optimal, with z = c - Aᵀy.

    - ``primal``: violations of rows and bounds;
    - ``dual``: row duals of the wrong sign: the row has no side on their side;
    - ``stationarity``: reduced costs of the wrong sign;
    - ``complementary_slackness``: products of a dual and the distance to its side;
    - ``gap``: difference of cᵀx and the dual objective, relative to 1 + their size.

    Args:
        problems: scaled.
        point: from `LPBatch.at`.
    """
    row_ptr, column_ptr = problems.row_ptr, problems.column_ptr
    outside, wrong_dual, slack, dual_value = _side_terms(
        point.activity, point.y, problems.row_lower, problems.row_upper
    )
    column_outside, wrong_cost, column_slack, column_value = _side_terms(
        point.x, point.reduced, problems.lower, problems.upper
    )
    value = segment_sum(problems.costs * point.x, column_ptr)
    bound = segment_sum(dual_value, row_ptr) + segment_sum(column_value, column_ptr)
    size = 1 + torch.maximum(value.abs(), bound.abs()).detach()
    return {
        "primal": segment_mean(outside.square(), row_ptr) + segment_mean(column_outside.square(), column_ptr),
        "dual": segment_mean(wrong_dual.square(), row_ptr),
        "stationarity": segment_mean(wrong_cost.square(), column_ptr),
        "complementary_slackness": segment_mean(slack, row_ptr) + segment_mean(column_slack, column_ptr),
        "gap": ((value - bound) / size).square(),
    }


def _side_terms(values: Tensor, duals: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of values between sides: violations, wrong signs of duals, squared slackness, parts of the dual objective."""
    has_lower, has_upper = lower.isfinite(), upper.isfinite()
    # 0 times an infinite side would be NaN, in the gradient too.
    low, high = lower.masked_fill(~has_lower, 0), upper.masked_fill(~has_upper, 0)
    below = torch.where(has_lower, low - values, 0).relu()
    above = torch.where(has_upper, values - high, 0).relu()
    up, down = duals.relu(), (-duals).relu()
    wrong = torch.where(has_lower, 0, up) + torch.where(has_upper, 0, down)
    slack = torch.where(has_lower, up * (values - low), 0).square()
    slack = slack + torch.where(has_upper, down * (high - values), 0).square()
    return below + above, wrong, slack, up * low - down * high
