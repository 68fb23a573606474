"""Diagnostics against constructed spreads."""

import math

import pytest
import torch

from jepakit.core import diagnose
from jepakit.core.diagnostics import (
    alignment,
    dead_dimensions,
    effective_rank,
    mean_absolute_correlation,
    predictability,
    sphericity,
    uniformity,
    within_group_rank,
)


def orthogonal(n: int, d: int) -> torch.Tensor:
    """Centred columns of equal length, at right angles."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    return torch.linalg.qr(x - x.mean(0))[0] * math.sqrt(n)


@pytest.mark.parametrize("directions", [1, 3, 8])
def test_effective_rank_counts_equal_directions(directions: int) -> None:
    x = orthogonal(64, 8)
    x[:, directions:] = 0
    assert effective_rank(x + 5) == pytest.approx(directions, rel=1e-6)


def test_effective_rank_of_two_unequal_directions_by_hand() -> None:
    x = orthogonal(64, 2) * torch.tensor([3.0, 1.0])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert effective_rank(x) == pytest.approx(math.exp(entropy), rel=1e-6)


def test_identical_rows_have_rank_zero() -> None:
    assert effective_rank(torch.full((10, 4), 3.3)) == 0


def test_a_class_collapse_shows_within_groups_only() -> None:
    group = torch.arange(20).repeat_interleave(10)
    centres = orthogonal(20, 12)
    collapsed = centres[group] + 1e-9 * torch.randn(200, 12, dtype=torch.double)
    assert effective_rank(collapsed) > 10
    assert within_group_rank(collapsed, group) == 0
    healthy = centres[group] + orthogonal(200, 12)
    assert within_group_rank(healthy, group) > 10
    thin = centres[group] + 0.1 * torch.randn(200, 1) * torch.ones(1, 12)
    diagnosis = diagnose(thin, group=group)
    assert diagnosis.collapsed
    assert "class" in diagnosis.findings[0].what


def test_alignment_uniformity_and_sphericity_by_hand() -> None:
    east, north = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert alignment(east, 5 * east) == 0
    assert alignment(east, north) == pytest.approx(2)
    assert alignment(east, -east) == pytest.approx(4)
    assert uniformity(torch.cat([east, east])) == pytest.approx(0)
    assert uniformity(torch.cat([east, north])) == pytest.approx(-4)
    x = orthogonal(64, 4)
    assert sphericity(x) == pytest.approx(1)
    assert sphericity(x * torch.tensor([1.0, 0, 0, 0])) == pytest.approx(0.25)


def test_correlation_and_dead_dimensions() -> None:
    x = orthogonal(64, 3)
    assert mean_absolute_correlation(x) == pytest.approx(0, abs=1e-9)
    assert mean_absolute_correlation(torch.stack([x[:, 0], -2 * x[:, 0]], 1)) == pytest.approx(1)
    dead = torch.cat([x, torch.full((64, 2), 7.0)], 1)
    assert dead_dimensions(dead) == 2
    assert mean_absolute_correlation(dead) == pytest.approx(0, abs=1e-9)


def test_diagnosis_of_collapse_narrowing_and_health() -> None:
    g = torch.Generator().manual_seed(0)
    healthy = torch.randn(300, 32, generator=g)
    assert diagnose(healthy).findings == ()
    line = torch.randn(300, 1, generator=g) * torch.ones(1, 32)
    collapsed = diagnose(line)
    assert collapsed.collapsed
    assert "regulariser" in collapsed.findings[0].advice
    narrowed = diagnose(healthy, reference_rank=100.0)
    assert [f.severity for f in narrowed.findings] == ["warning"]
    assert not narrowed.collapsed
    assert diagnose(torch.full((3, 3), float("nan"))).collapsed


def test_tiny_data_is_not_called_collapsed() -> None:
    assert not diagnose(torch.randn(3, 8, generator=torch.Generator().manual_seed(0))).collapsed
    assert not diagnose(torch.randn(100, 1, generator=torch.Generator().manual_seed(0))).collapsed


def test_predictability_by_hand() -> None:
    target = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    assert float(predictability(3 * target + 7, target)) == pytest.approx(1)
    assert float(predictability(-target, target)) == pytest.approx(-1)
    # One of two orthogonal parts: 2 / (sqrt 2 · sqrt 10).
    assert float(predictability(target * torch.tensor([1.0, 0.0]), target)) == pytest.approx(2 / 20**0.5)
    # Where the target is a point, nothing is predicted.
    assert float(predictability(target, torch.ones(4, 2))) == 0


@pytest.mark.parametrize(("value", "easy"), [(0.97, False), (0.98, True), (None, False)])
def test_a_task_that_is_too_easy_is_a_warning(value: float | None, easy: bool) -> None:
    spread = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    diagnosis = diagnose(spread, predictability=value)
    assert any("too easy" in finding.what and "mask more" in finding.advice for finding in diagnosis.findings) == easy
    assert not diagnosis.collapsed
    # A collapse is the finding then: its target is easy to predict, too.
    point = spread[:, :1] @ spread[:1]
    assert not any("too easy" in finding.what for finding in diagnose(point, predictability=value).findings)
