"""Regularisers: functions of a batch of embeddings ``[N, D] -> []`` that are small for a well-spread batch.

All of them use the global batch: with several processes, value and gradient equal those of one process.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core.distributed import count_rows, mean_of_rows, row_range, sum_over_processes
from jepakit.errors import ConfigError, require_at_least


def epps_pulley(projections: Tensor, *, knots: int = 17, t_max: float = 3.0) -> Tensor:
    """How far each column is from a standard normal sample: ``[N, K] -> [K]``.

    The Epps–Pulley statistic ``N ∫ |φ_N(t) − e^{−t²/2}|² e^{−t²/2} dt`` of the empirical characteristic function φ_N,
    by the trapezoidal rule on ``knots`` points of [0, t_max] and symmetry in t. For standard normal samples its mean is
    ``∫ (1 − e^{−t²}) e^{−t²/2} dt``, which is 1.06 over the whole line, whatever N is.

    Source: Epps & Pulley 1983; LeJEPA, Balestriero & LeCun 2025 (arXiv 2511.08544), §4.2 and algorithm 1.
    """
    t = torch.linspace(0, t_max, knots, device=projections.device, dtype=projections.dtype)
    normal = torch.exp(-t.square() / 2)
    width = torch.full_like(t, 2 * t_max / (knots - 1))
    width[0] = width[-1] = t_max / (knots - 1)
    angles = projections.unsqueeze(-1) * t
    real, imaginary = mean_of_rows(angles.cos()), mean_of_rows(angles.sin())
    return count_rows(projections) * (((real - normal).square() + imaginary.square()) * normal) @ width


class SIGReg(nn.Module):
    """Sketched isotropic Gaussian regularisation: pushes embeddings towards N(0, I).

    Averages `epps_pulley` over random unit directions, drawn anew at each training step from the seed and the number of
    steps taken: the same on every process and after a resume. Like a test statistic, the value grows with N for a fixed
    misfit. Embeddings whose scale is far from 1, such as unit vectors, are penalised like collapsed ones.

    Args:
        directions: number of random directions in each step.
        knots: quadrature points.
        t_max: the largest frequency compared.
        seed: of the directions.

    Raises:
        ConfigError: ``directions`` < 1, ``knots`` < 2 or ``t_max`` ≤ 0.

    Source: LeJEPA, Balestriero & LeCun 2025 (arXiv 2511.08544), §4 and algorithm 1.
    """

    step: Tensor

    def __init__(self, *, directions: int = 256, knots: int = 17, t_max: float = 3.0, seed: int = 0) -> None:
        super().__init__()
        self.directions, self.knots, self.t_max, self.seed = directions, knots, t_max, seed
        require_at_least(self, directions=1, knots=2)
        if not t_max > 0:
            raise ConfigError("t_max", t_max, "a number above 0")
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, embeddings: Tensor) -> Tensor:
        """``[N, D] -> []``; in training mode each call draws new directions."""
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * int(self.step))
        directions = torch.randn(embeddings.shape[-1], self.directions, generator=generator)
        directions = F.normalize(directions, dim=0).to(embeddings)
        if self.training:
            self.step += 1
        return epps_pulley(embeddings @ directions, knots=self.knots, t_max=self.t_max).mean()


def covariance(embeddings: Tensor) -> Tensor:
    """The unbiased covariance of the rows of the global batch: ``[N, D] -> [D, D]``."""
    centred = embeddings - mean_of_rows(embeddings)
    return sum_over_processes(centred.T @ centred) / (count_rows(embeddings) - 1).clamp(min=1)


def standardize(embeddings: Tensor, *, eps: float = 1e-12) -> Tensor:
    """Columns with mean 0 and variance 1 over the global batch: ``[N, D] -> [N, D]``; constant columns become 0."""
    centred = embeddings - mean_of_rows(embeddings)
    return centred * (mean_of_rows(centred.square()) + eps).rsqrt()


def decorrelation(embeddings: Tensor) -> Tensor:
    """``‖corr − I‖²_F / D`` of the columns' correlations over the global batch: ``[N, D] -> []``.

    Invariant to scale, unlike `isotropy_penalty`: for losses with the same invariance, such as `StandardizedBatch`.

    Source: CCA-SSG, Zhang et al. 2021, eq. 5.
    """
    z = standardize(embeddings)
    correlation = sum_over_processes(z.T @ z) / count_rows(z)
    return (correlation - torch.eye(z.shape[1], device=z.device, dtype=z.dtype)).square().sum() / z.shape[1]


def isotropy_penalty(embeddings: Tensor, *, variance: float | None = 1.0) -> Tensor:
    """``‖cov − σ²I‖_F``: ``[N, D] -> []``.

    ``variance`` is σ²; None takes the batch's mean variance, which does not prevent embeddings from shrinking to 0.
    """
    cov = covariance(embeddings)
    sigma2 = cov.diagonal().mean() if variance is None else cov.new_tensor(variance)
    return torch.linalg.matrix_norm(cov - sigma2 * torch.eye(len(cov), device=cov.device, dtype=cov.dtype))


def vicreg_variance(cov: Tensor, *, target_std: float = 1.0, eps: float = 1e-4) -> Tensor:
    """The hinge ``mean_d max(0, γ − sqrt(var_d + ε))`` of a covariance ``[D, D] -> []`` (VICReg, eq. 1)."""
    return F.relu(target_std - (cov.diagonal() + eps).sqrt()).mean()


def vicreg_covariance(cov: Tensor) -> Tensor:
    """``Σ_{i≠j} cov_ij² / D`` of a covariance ``[D, D] -> []`` (VICReg, eq. 4)."""
    return (cov.square().sum() - cov.diagonal().square().sum()) / len(cov)


class VICReg(nn.Module):
    """Variance and covariance terms of VICReg (Bardes et al. 2022); its invariance term is `jepakit.core.mse`.

    Args:
        variance_weight: μ, of `vicreg_variance`.
        covariance_weight: ν, of `vicreg_covariance`.
        target_std: γ, the standard deviation below which a dimension is pushed.
    """

    def __init__(
        self, *, variance_weight: float = 1.0, covariance_weight: float = 0.04, target_std: float = 1.0
    ) -> None:
        super().__init__()
        self.variance_weight, self.covariance_weight, self.target_std = variance_weight, covariance_weight, target_std

    def forward(self, embeddings: Tensor) -> Tensor:
        """The weighted sum of both terms: ``[N, D] -> []``."""
        cov = covariance(embeddings)
        spread = vicreg_variance(cov, target_std=self.target_std)
        return self.variance_weight * spread + self.covariance_weight * vicreg_covariance(cov)


def variance_hinge(embeddings: Tensor) -> Tensor:
    """`vicreg_variance` of the global batch: ``[N, D] -> []``, 0 where every dimension is wide enough."""
    return vicreg_variance(covariance(embeddings))


class UnitRows(nn.Module):
    """A regulariser on embeddings that are compared by direction: rows of length √D, centred.

    At that length an isotropic batch has variance 1; regularisers towards N(0, I) treat unit vectors as collapsed.
    """

    def __init__(self, regularizer: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = regularizer

    def forward(self, embeddings: Tensor) -> Tensor:
        """The regulariser of the scaled, centred rows: ``[N, D] -> []``."""
        scaled = F.normalize(embeddings, dim=-1) * embeddings.shape[-1] ** 0.5
        return self.function(scaled - mean_of_rows(scaled))


class Subsampled(nn.Module):
    """A regulariser on an evenly spaced sample of the global batch, of at most ``rows`` rows.

    SIGReg's value grows with the number of rows.
    """

    def __init__(self, regularizer: Callable[[Tensor], Tensor], *, rows: int = 512) -> None:
        super().__init__()
        self.term, self.rows = regularizer, rows

    def forward(self, embeddings: Tensor) -> Tensor:
        """The regulariser of a sample of the rows: ``[N, D] -> []``."""
        first, total = row_range(embeddings)
        step = max(1, -(-total // self.rows))
        return self.term(embeddings[-first % step :: step])


#: Makers of regularisers by the names configurations use.
REGULARIZERS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "sigreg": SIGReg,
    "vicreg": VICReg,
    "isotropy": lambda: isotropy_penalty,
    "decorrelation": lambda: decorrelation,
    "variance": lambda: variance_hinge,
}
