"""Losses against their definitions and each other."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.core import (
    LOSSES,
    NormalizedTarget,
    StandardizedBatch,
    cosine,
    huber,
    hyperbolic,
    mse,
    normalized_mse,
    smooth_l1,
)
from jepakit.core.loss import hyperbolic_coordinates
from jepakit.errors import ConfigError


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 7), st.integers(0, 10**6))
def test_losses_are_zero_at_the_target_and_agree_where_they_must(n: int, d: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    p, t = torch.randn(n, d, generator=g), torch.randn(n, d, generator=g)
    for name in ("mse", "normalized_mse", "cosine", "smooth_l1", "huber"):
        assert float(LOSSES[name](t, t)) == pytest.approx(0, abs=1e-5)
        assert float(LOSSES[name](p, t)) >= 0
    torch.testing.assert_close(cosine(p, t), d * normalized_mse(p, t), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(cosine(p, t), cosine(3 * p, 0.2 * t), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(huber(p, t, delta=0.3), 0.3 * smooth_l1(p, t, beta=0.3))
    assert float(smooth_l1(p, t)) <= float(mse(p, t)) / 2 + 1e-6


def test_hyperbolic_targets_lie_on_the_unit_hyperbola() -> None:
    x = torch.randn(20, 8)
    points = hyperbolic_coordinates(x)
    torch.testing.assert_close(points[:, 0] ** 2 - points[:, 1] ** 2, torch.ones(20))
    assert float(hyperbolic(points, x)) == 0
    off = points + torch.tensor([2.0, 0.0])
    assert float(hyperbolic(off, x)) == pytest.approx(
        (2 - 0.5) / 2
    )  # linear part of smooth-L1, averaged over 2 columns
    with pytest.raises(ConfigError, match="2 columns"):
        hyperbolic(torch.randn(20, 8), x)


def test_normalised_targets_ignore_scale_and_offset_of_each_group(generator: torch.Generator) -> None:
    # Drawn from a seed: where the three numbers of a group are nearly equal, the norm's epsilon shows.
    p, t = torch.randn(5, 6, generator=generator), torch.randn(5, 6, generator=generator)
    loss = NormalizedTarget(mse, groups=2)
    scaled = torch.cat([3 * t[:, :3] + 7, 0.1 * t[:, 3:] - 2], 1)
    torch.testing.assert_close(loss(p, t), loss(p, scaled), atol=1e-3, rtol=1e-3)
    by_hand = torch.cat([F.layer_norm(t[:, :3], (3,)), F.layer_norm(t[:, 3:], (3,))], 1)
    torch.testing.assert_close(loss(p, t), mse(p, by_hand))
    with pytest.raises(ConfigError, match="groups = 4"):
        NormalizedTarget(mse, groups=4)(p, t)


def test_standardised_losses_see_correlations_only() -> None:
    p, t = torch.randn(50, 4), torch.randn(50, 4)
    loss = StandardizedBatch(mse)
    torch.testing.assert_close(loss(p, t), loss(3 * p - 2, 0.1 * t + 5), atol=1e-3, rtol=1e-3)
    correlation = torch.stack([torch.corrcoef(torch.stack([a, b]))[0, 1] for a, b in zip(p.T, t.T, strict=True)])
    torch.testing.assert_close(loss(p, t), (2 - 2 * correlation).mean(), atol=1e-4, rtol=1e-4)
