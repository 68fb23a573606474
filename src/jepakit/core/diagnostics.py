"""Is it collapsing? Numbers that say how a set of embeddings is spread, and what to change where it is not.

A representation can collapse to a point, to a few directions, or to a point for each class, which its loss, and even a
probe, may not show. None of these functions needs a label or takes part in training.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.core.distributed import is_distributed, mean_of_rows, sum_over_processes

_UNIFORMITY_ROWS = 2048
#: A prediction that agrees with its target as closely as this, over whole epochs, was no task.
TOO_EASY = 0.98
# A norm below this share of the embeddings' own is rounding error of single precision.
_ROUNDING = 1e-7


def effective_rank(embeddings: Tensor) -> float:
    """RankMe: the exponential of the entropy of the normalised singular values: ``[N, D]``, from 1 to min(N, D).

    The rows are centred first, so that a constant offset does not count as a direction; 0 where all rows are equal.

    Source: Garrido et al. 2023, eq. 1; Roy & Vetterli 2007.
    """
    singular = torch.linalg.svdvals(_centred(embeddings))
    if not singular.numel() or float(singular[0]) <= _ROUNDING * float(embeddings.double().norm()):
        return 0.0
    p = singular / singular.sum()
    return float(torch.exp(-(p * torch.log(p.clamp(min=1e-300))).sum()))


def within_group_rank(embeddings: Tensor, group: Tensor) -> float:
    """`effective_rank` after each group's mean is subtracted: ``[N, D], [N]``.

    Low where every group (class, graph) has shrunk to a point though the groups differ: such an encoder probes well on
    these labels and has no information for other labels.
    """
    x = embeddings.double()
    _, ids, counts = torch.unique(group, return_inverse=True, return_counts=True)
    means = x.new_zeros(len(counts), x.shape[1]).index_add(0, ids, x) / counts[:, None]
    residual = x - means[ids]
    return 0.0 if float(residual.norm()) <= _ROUNDING * float(x.norm()) else effective_rank(residual)


def alignment(first: Tensor, second: Tensor) -> float:
    """Mean squared distance of paired unit vectors: ``[N, D], [N, D]``, 0 to 4 (Wang & Isola 2020, eq. 1)."""
    return float((F.normalize(first, dim=1) - F.normalize(second, dim=1)).square().sum(1).mean())


def uniformity(embeddings: Tensor, *, t: float = 2.0) -> float:
    """``log mean exp(−t ‖x − y‖²)`` over pairs of unit vectors: ``[N, D]``, 0 for a point, about −2t when uniform.

    Of more than 2048 rows, an evenly spaced sample. Source: Wang & Isola 2020, eq. 2.
    """
    step = -(-len(embeddings) // _UNIFORMITY_ROWS)
    unit = F.normalize(embeddings[::step].double(), dim=1)
    return 0.0 if len(unit) < 2 else float(torch.pdist(unit).square().mul(-t).exp().mean().log())


def sphericity(embeddings: Tensor) -> float:
    """John's ``tr(Σ)² / (D tr(Σ²))`` of the covariance: ``[N, D]``, 1 when isotropic, 1/D for a single direction."""
    centred = _centred(embeddings)
    cov = centred.T @ centred
    energy = float(cov.square().sum())
    return float(cov.trace()) ** 2 / (len(cov) * energy) if energy > 0 else 0.0


def mean_absolute_correlation(embeddings: Tensor) -> float:
    """Mean ``|correlation|`` between different dimensions that are not constant: ``[N, D]``, from 0 to 1."""
    centred = _centred(embeddings)
    norms = centred.norm(dim=0)
    living = centred[:, norms > 0] / norms[norms > 0]
    d = living.shape[1]
    return 0.0 if d < 2 else float(((living.T @ living).abs().sum() - d) / (d * (d - 1)))


def dead_dimensions(embeddings: Tensor, *, tolerance: float = 1e-4) -> int:
    """Dimensions whose standard deviation is at most ``tolerance`` times the largest: ``[N, D]``."""
    std = embeddings.double().std(0, unbiased=False)
    return int((std <= tolerance * std.max()).sum()) if std.numel() else 0


def predictability(prediction: Tensor, target: Tensor) -> Tensor:
    """Correlation of predictions with their targets, both centred: ``[N, D], [N, D] -> []``, from -1 to 1, no gradient.

    Centred, a target that is the same for all rows does not count as predicted; 0 where either is constant. Near 1 the
    context says all that the target says, and there is nothing to learn. The rows are those of all processes.
    """
    if is_distributed():
        x, y = (rows.detach().float() - mean_of_rows(rows.detach().float()) for rows in (prediction, target))
        products = torch.stack([(x * y).sum(), x.square().sum(), y.square().sum()])
        both, first, second = sum_over_processes(products).unbind()
        return both / (first * second).sqrt().clamp(min=1e-12)
    x, y = (rows.detach().float() - rows.detach().float().mean(0) for rows in (prediction, target))
    return (x * y).sum() / (x.norm() * y.norm()).clamp(min=1e-12)


def _centred(embeddings: Tensor) -> Tensor:
    return embeddings.double() - embeddings.double().mean(0)


@dataclass(frozen=True)
class Finding:
    """A problem of a set of embeddings, and what to change; ``severity`` is ``error`` for a collapse or ``warning``."""

    what: str
    advice: str
    severity: str


@dataclass(frozen=True)
class Diagnosis:
    """Diagnostic values by name and the problems they show."""

    values: dict[str, float]
    findings: tuple[Finding, ...] = ()

    @property
    def collapsed(self) -> bool:
        """Whether a finding is an error."""
        return any(finding.severity == "error" for finding in self.findings)


def diagnose(
    embeddings: Tensor,
    *,
    group: Tensor | None = None,
    reference_rank: float | None = None,
    predictability: float | None = None,
) -> Diagnosis:
    """Measures a set of embeddings and says whether it has collapsed, or whether its task was too easy.

    A collapse is: embeddings that are not finite; an effective rank below 2, or below 5 % of what N and D allow; a
    within-group rank that low while the overall rank is not.

    Args:
        embeddings: ``[N, D]``.
        group: a class for each row, ``[N]``, for the within-group rank.
        reference_rank: the effective rank the same encoder had before training.
        predictability: of the last epoch, see `predictability`; from .98 on, without a collapse, the task was too easy.
    """
    if not bool(torch.isfinite(embeddings).all()):
        advice = "lower the learning rate, switch gradient clipping on, or train in 32-bit precision"
        return Diagnosis({}, (Finding("the embeddings are not finite numbers", advice, "error"),))
    n, d = embeddings.shape
    values = {
        "effective_rank": effective_rank(embeddings),
        "dead_dims": float(dead_dimensions(embeddings)),
        "uniformity": uniformity(embeddings),
        "sphericity": sphericity(embeddings),
        "mean_abs_correlation": mean_absolute_correlation(embeddings),
    }
    findings: list[Finding] = []

    def report(what: str, advice: str, severity: str) -> None:
        findings.append(Finding(what, advice, severity))

    rank, highest = values["effective_rank"], min(n - 1, d)
    # With very few examples or dimensions a low rank is no sign of a collapse.
    floor = 0.5 * highest if highest < 4 else max(2.0, 0.05 * highest)
    if rank < floor:
        report(
            f"the embeddings have collapsed: they span {rank:.1f} directions of the {highest} they could",
            "raise the weight of the regulariser (SIGReg or VICReg), use an EMA target with a momentum of at least"
            " 0.99, lower the learning rate, or mask more so that the prediction is not trivial",
            "error",
        )
    elif reference_rank is not None and rank < 0.5 * reference_rank:
        report(
            f"training narrowed the embeddings: effective rank {reference_rank:.1f} before, {rank:.1f} after",
            "raise the regulariser's weight or stop earlier; compare the probe with the random encoder's",
            "warning",
        )
    if predictability is not None:
        values["predictability"] = predictability
        if predictability >= TOO_EASY and rank >= floor:
            report(
                f"the task is too easy: predictions and targets correlate by {predictability:.3f}, so that the context"
                " already holds what is to be predicted",
                "mask more, or larger connected parts; hide features from the context that the target sees; or predict"
                " another view. A low loss is no success here",
                "warning",
            )
    if group is not None and group.unique().numel() < n / 2:
        values["within_group_rank"] = within_group_rank(embeddings, group)
        if values["within_group_rank"] < floor <= rank:
            report(
                f"every class has shrunk to almost a point: rank {values['within_group_rank']:.1f} within classes",
                "do not train on these labels for so long, or raise the regulariser's weight",
                "error",
            )
    if values["dead_dims"] > 0.5 * d:
        report(
            f"{values['dead_dims']:.0f} of {d} dimensions are constant",
            "use fewer dimensions, or a regulariser on the variance (VICReg, SIGReg)",
            "warning",
        )
    return Diagnosis(values, tuple(findings))
