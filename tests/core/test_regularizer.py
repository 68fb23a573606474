"""Regularisers against closed forms, and what they do to embeddings."""

import math

import pytest
import torch

from jepakit.core import SIGReg, Subsampled, UnitRows, VICReg, decorrelation, isotropy_penalty, variance_hinge
from jepakit.core.regularizer import covariance, epps_pulley, standardize, vicreg_covariance, vicreg_variance
from jepakit.errors import ConfigError


def epps_pulley_closed_form(x: torch.Tensor) -> torch.Tensor:
    """The statistic with its integrals over the whole line done by hand: ``[N] -> []``."""
    n = x.numel()
    pairs = torch.exp(-(x[:, None] - x[None, :]).square() / 2).sum() / n**2
    cross = torch.exp(-x.square() / 4).sum() / n
    return n * (math.sqrt(2 * math.pi) * pairs - 2 * math.sqrt(math.pi) * cross + math.sqrt(2 * math.pi / 3))


@pytest.mark.parametrize("scale", [0.01, 0.5, 1.0, 3.0])
def test_the_statistic_equals_its_closed_form(scale: float) -> None:
    x = torch.randn(200, 3, dtype=torch.double, generator=torch.Generator().manual_seed(1)) * scale + 0.2
    expected = torch.stack([epps_pulley_closed_form(column) for column in x.T])
    torch.testing.assert_close(epps_pulley(x, knots=801, t_max=8.0), expected, atol=1e-4, rtol=1e-4)


def test_seventeen_knots_are_close_to_the_integral_over_their_range() -> None:
    x = torch.randn(300, 4, dtype=torch.double, generator=torch.Generator().manual_seed(2)) * 0.7
    torch.testing.assert_close(epps_pulley(x), epps_pulley(x, knots=2001), rtol=0.02, atol=0.02)


def test_the_statistic_of_normal_samples_has_the_known_mean_whatever_n() -> None:
    # E[T] = ∫ (1 − e^{−t²}) e^{−t²/2} dt = sqrt(2π) − sqrt(2π/3)
    expected = math.sqrt(2 * math.pi) - math.sqrt(2 * math.pi / 3)
    g = torch.Generator().manual_seed(0)
    for n in (50, 800):
        x = torch.randn(n, 2000, generator=g, dtype=torch.double)
        assert float(epps_pulley(x, t_max=6.0, knots=101).mean()) == pytest.approx(expected, rel=0.05)


def test_sigreg_is_small_for_a_normal_sample_and_large_for_every_collapse() -> None:
    g = torch.Generator().manual_seed(0)
    normal = torch.randn(512, 16, generator=g)
    low_rank = torch.randn(512, 2, generator=g) @ torch.randn(2, 16, generator=g)
    good = float(SIGReg()(normal))
    for bad in (torch.zeros(512, 16), 0.1 * normal, normal + 2, low_rank, normal.sign() * 3):
        assert float(SIGReg()(bad)) > 5 * good


def test_minimising_sigreg_makes_a_sample_standard_normal() -> None:
    g = torch.Generator().manual_seed(0)
    x = (0.1 * torch.randn(256, 4, generator=g) + 1).requires_grad_()
    sigreg, optimizer = SIGReg(directions=64), torch.optim.Adam([x], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        sigreg(x).backward()
        optimizer.step()
    torch.testing.assert_close(covariance(x.detach()), torch.eye(4), atol=0.12, rtol=0)
    assert x.detach().mean(0).abs().max() < 0.1


def test_directions_are_new_each_training_step_and_the_same_after_a_resume() -> None:
    x = torch.randn(64, 8)
    sigreg = SIGReg(directions=4)
    first = float(sigreg(x))
    state = sigreg.state_dict()
    second = float(sigreg(x))
    resumed = SIGReg(directions=4)
    resumed.load_state_dict(state)
    assert first != second
    resumed.step.fill_(1)
    assert float(resumed(x)) == second
    resumed.eval()
    assert float(resumed(x)) == float(resumed(x))


def test_isotropy_penalty_is_the_frobenius_distance() -> None:
    x = torch.randn(100, 5)
    cov = torch.cov(x.T)
    torch.testing.assert_close(covariance(x), cov)
    torch.testing.assert_close(isotropy_penalty(x, variance=2.0), (cov - 2 * torch.eye(5)).norm())
    torch.testing.assert_close(isotropy_penalty(x, variance=None), (cov - cov.trace() / 5 * torch.eye(5)).norm())


def test_vicreg_terms_by_hand() -> None:
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    cov = covariance(x)
    assert float(vicreg_variance(cov)) == pytest.approx((0 + 1 - math.sqrt(1e-4)) / 2)
    assert float(vicreg_covariance(cov)) == 0
    y = torch.stack([x[:, 0], x[:, 0]], 1)
    assert float(vicreg_covariance(covariance(y))) == pytest.approx(2 * (4 / 3) ** 2 / 2)
    expected = 3.0 * vicreg_variance(covariance(y)) + 2.0 * vicreg_covariance(covariance(y))
    torch.testing.assert_close(VICReg(variance_weight=3.0, covariance_weight=2.0)(y), expected)


def test_one_row_gives_finite_values() -> None:
    one = torch.randn(1, 4)
    for regularizer in (SIGReg(), VICReg(), isotropy_penalty):
        assert torch.isfinite(regularizer(one))


@pytest.mark.parametrize("bad", [{"directions": 0}, {"knots": 1}, {"t_max": 0.0}])
def test_settings_are_checked(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        SIGReg(**bad)


def test_decorrelation_is_the_distance_of_the_correlations_from_none() -> None:
    x = torch.randn(60, 5)
    expected = (torch.corrcoef(x.T) - torch.eye(5)).square().sum() / 5
    torch.testing.assert_close(decorrelation(x), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(decorrelation(x * torch.tensor([1.0, 9, 0.1, 3, 5]) + 7), expected, atol=1e-3, rtol=1e-3)
    standardised = standardize(x)
    torch.testing.assert_close(standardised.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardised.var(0, unbiased=False), torch.ones(5), atol=1e-4, rtol=0)
    assert standardize(torch.full((3, 2), 4.0)).abs().max() == 0


def test_unit_rows_tell_spread_directions_from_collapsed_ones(generator: torch.Generator) -> None:
    spread = torch.nn.functional.normalize(torch.randn(512, 8, generator=generator), dim=-1)
    collapsed = spread * torch.tensor([1.0, *[0.05] * 7]) + 0.5
    for regularizer in (SIGReg().eval(), isotropy_penalty):
        unit = UnitRows(regularizer)
        assert float(unit(collapsed)) > 5 * float(unit(spread))
        torch.testing.assert_close(unit(spread), unit(7 * spread))
    assert float(UnitRows(variance_hinge)(torch.ones(4, 8))) == pytest.approx(0.99, abs=0.01)


def test_a_subsampled_regulariser_sees_an_even_sample(generator: torch.Generator) -> None:
    rows = torch.randn(100, 3, generator=generator)
    torch.testing.assert_close(Subsampled(isotropy_penalty, rows=40)(rows), isotropy_penalty(rows[::3]))
    torch.testing.assert_close(Subsampled(isotropy_penalty, rows=100)(rows), isotropy_penalty(rows))
    many = torch.randn(16384, 16, generator=generator) + 0.5
    assert float(Subsampled(SIGReg())(many)) < 1.5 * float(SIGReg()(many[:512]))
