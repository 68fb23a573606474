"""Losses against their definitions and each other."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.core import (
    LOSSES,
    InfoNCE,
    NormalizedTarget,
    StandardizedBatch,
    candidate_info_nce,
    cosine,
    huber,
    hyperbolic,
    info_nce,
    mse,
    normalized_mse,
    smooth_l1,
)
from jepakit.core.loss import hyperbolic_coordinates
from jepakit.errors import ConfigError


@settings(deadline=None, max_examples=30)
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


def test_info_nce_equals_the_cross_entropy_written_out() -> None:
    p, t, hard = torch.randn(4, 6), torch.randn(4, 6), torch.randn(4, 3, 6)
    pn, tn, hn = (F.normalize(x, dim=-1) for x in (p, t, hard))
    rows = []
    for i in range(4):
        scores = torch.cat([tn @ pn[i], hn[i] @ pn[i]]) / 0.2
        rows.append(-scores[i] + torch.logsumexp(scores, 0))
    torch.testing.assert_close(info_nce(p, t, temperature=0.2, negatives=hard), torch.stack(rows).mean())
    shared = hard[0]
    expected = []
    for i in range(4):
        scores = torch.cat([tn @ pn[i], hn[0] @ pn[i]]) / 0.2
        expected.append(-scores[i] + torch.logsumexp(scores, 0))
    torch.testing.assert_close(info_nce(p, t, temperature=0.2, negatives=shared), torch.stack(expected).mean())


def test_info_nce_of_ignorance_is_the_log_of_the_candidates() -> None:
    same = torch.ones(5, 3)
    assert float(info_nce(same, same)) == pytest.approx(math.log(5))
    assert float(info_nce(same, same, negatives=torch.ones(7, 3))) == pytest.approx(math.log(12))


def test_symmetric_info_nce_averages_both_directions() -> None:
    p, t = torch.randn(4, 6), torch.randn(4, 6)
    both = (info_nce(p, t) + info_nce(t, p)) / 2
    torch.testing.assert_close(info_nce(p, t, symmetric=True), both)
    torch.testing.assert_close(InfoNCE(symmetric=True)(p, t), both)


def test_the_temperature_is_learned_only_when_asked() -> None:
    p, t = torch.randn(4, 6), torch.randn(4, 6)
    learned = InfoNCE(learn_temperature=True)
    learned(p, t).backward()
    assert learned.log_temperature.grad is not None
    assert not InfoNCE().log_temperature.requires_grad
    with pytest.raises(ConfigError, match="temperature = 0"):
        InfoNCE(temperature=0.0)


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


def test_info_nce_against_candidates_by_hand_and_as_the_batch_has_it() -> None:
    generator = torch.Generator().manual_seed(0)
    predictions, candidates = torch.randn(4, 6, generator=generator), torch.randn(7, 6, generator=generator)
    positive = torch.tensor([2, 0, 5, 5])
    logits = F.normalize(predictions, dim=-1) @ F.normalize(candidates, dim=-1).T / 0.2
    by_hand = (logits.logsumexp(1) - logits[torch.arange(4), positive]).mean()
    torch.testing.assert_close(candidate_info_nce(predictions, candidates, positive, temperature=0.2), by_hand)
    batch = info_nce(predictions, candidates[:4], temperature=0.2)
    torch.testing.assert_close(candidate_info_nce(predictions, candidates[:4], torch.arange(4), temperature=0.2), batch)
    # What is excluded might as well not be there.
    excluded = torch.zeros(4, 7, dtype=torch.bool)
    excluded[:, 6] = True
    without = candidate_info_nce(predictions, candidates[:6], positive, temperature=0.2)
    torch.testing.assert_close(
        candidate_info_nce(predictions, candidates, positive, temperature=0.2, excluded=excluded), without
    )
