"""Contrastive learning: a prediction has to be nearer to its own target than to the other candidates.

`InfoNCE` is the loss. As the loss of a `JEPA`, its candidates are the targets of the batch. For other candidates (all
documents, hard negatives), `CandidateSets` selects them and `ContrastiveJEPA` adds the loss to the prediction loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core.distributed import count_rows, gather_rows, share_of_rows, sum_over_processes
from jepakit.core.jepa import JEPA, Embeddings, JEPAOutput, Loss, Views, Where
from jepakit.core.packed import offsets, owners, select_groups
from jepakit.core.target import Target
from jepakit.errors import ConfigError, require_at_least


class InfoNCE(nn.Module):
    """Cross-entropy of each prediction's own target among candidates, averaged over the global batch.

    Args:
        temperature: τ > 0, divides the cosine similarities; the initial value if it is learned.
        symmetric: average with the cross-entropy of each target's own prediction.
        learn_temperature: train log τ with the model.

    Raises:
        ConfigError: the temperature is not positive; at the call, ``symmetric`` with given candidates.

    Source: van den Oord et al. 2018, eq. 4; symmetric as in CLIP, Radford et al. 2021.
    """

    def __init__(self, *, temperature: float = 0.07, symmetric: bool = False, learn_temperature: bool = False) -> None:
        super().__init__()
        if not temperature > 0:
            raise ConfigError("temperature", temperature, "a number above 0")
        self.symmetric = symmetric
        self.log_temperature = nn.Parameter(torch.tensor(temperature).log(), requires_grad=learn_temperature)

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        positive: Tensor | None = None,
        *,
        excluded: Tensor | None = None,
        negatives: Tensor | None = None,
    ) -> Tensor:
        """The loss; ``log(number of candidates)`` for uninformative predictions.

        Args:
            prediction: ``[N, D]``.
            target: without ``positive``: the target of each prediction, ``[N, D]``; the targets of all processes are
                the candidates. With ``positive``: the candidates, ``[C, D]``, the same on every process.
            positive: the candidate that is the target of each prediction, ``[N]`` int64.
            excluded: candidates to leave out, ``[N, C]`` bool, such as further positives; never ``positive`` itself.
            negatives: more candidates: ``[K, D]`` for all predictions, or ``[N, K, D]``.
        """
        if self.symmetric and positive is not None:
            raise ConfigError("symmetric", True, "false where the candidates are given")
        temperature = self.log_temperature.exp()
        prediction, target = F.normalize(prediction, dim=-1), F.normalize(target, dim=-1)
        candidates, first = (target, 0) if positive is not None else gather_rows(target)
        if positive is None:
            positive = first + torch.arange(len(prediction), device=prediction.device)
        logits = prediction @ candidates.T / temperature
        if excluded is not None:
            logits = logits.masked_fill(excluded, -torch.inf)
        if negatives is not None:
            hard = F.normalize(negatives, dim=-1)
            if hard.ndim == 3:
                similarity = torch.einsum("nd,nkd->nk", prediction, hard)
            else:
                similarity = prediction @ gather_rows(hard)[0].T
            logits = torch.cat([logits, similarity / temperature], dim=1)
        loss = _mean_cross_entropy(logits, positive)
        if not self.symmetric:
            return loss
        return (loss + _mean_cross_entropy(target @ gather_rows(prediction)[0].T / temperature, positive)) / 2


def _mean_cross_entropy(logits: Tensor, positive: Tensor) -> Tensor:
    return sum_over_processes(F.cross_entropy(logits, positive, reduction="sum")) / count_rows(logits)


@dataclass(frozen=True)
class Contrast(Views):
    """Views whose target holds all candidates, ``[C, ...]``, the same on every process.

    ``where.target_rows`` is the positive candidate of each prediction. ``excluded`` (``[N, C]`` bool) are candidates
    that are no negatives of a prediction, such as further positives.
    """

    excluded: Tensor | None = None


class ContrastiveJEPA(JEPA):
    """`JEPA` on `Contrast` views: adds ``contrast_weight`` · ``contrast`` against the candidates; raises as `JEPA`."""

    def __init__(
        self,
        context_encoder: nn.Module,
        target: Target,
        predictor: nn.Module,
        loss: Loss,
        regularizers: Mapping[str, tuple[float, Callable[[Tensor], Tensor]]] | None = None,
        *,
        contrast: InfoNCE,
        contrast_weight: float = 1.0,
        weight: float = 1.0,
    ) -> None:
        super().__init__(context_encoder, target, predictor, loss, regularizers, weight=weight)
        self.contrast_weight = contrast_weight
        require_at_least(self, contrast_weight=0)
        # Checkpoints hold the parameter under this name, so the InfoNCE module itself is not registered.
        self.log_temperature = contrast.log_temperature
        self._contrast = (contrast,)

    def step(self, views: Views) -> JEPAOutput:
        """One step on a `Contrast`; ``terms`` has ``contrastive``, and ``temperature`` where it is learned."""
        assert isinstance(views, Contrast)
        assert isinstance(views.where, Where)
        output = super().step(views)
        (contrast,) = self._contrast
        loss = contrast(output.prediction, output.encoded, views.where.target_rows, excluded=views.excluded)
        terms = {**output.terms, "contrastive": loss.detach()}
        if self.log_temperature.requires_grad:
            terms["temperature"] = self.log_temperature.detach().exp()
        return replace(output, total=output.total + self.contrast_weight * loss, terms=terms)

    def regularized_targets(self, encoded: Embeddings) -> Embeddings:
        """This process's share of the candidates, so that each counts once in the global batch."""
        assert isinstance(encoded, Tensor)
        return share_of_rows(encoded)


class CandidateSets:
    """Selects the candidates of each batch of pairs, and the candidates to exclude for each prediction.

    Args:
        context: the row that each pair predicts from, ``[P]`` int64.
        target: the row that each pair predicts, ``[P]`` int64.
        targets: number of target rows.
        fixed: target rows that are always candidates, ascending; None: the targets of the batch.
        negatives: target rows that are hard negatives of each pair, ``[P, K]``.
    """

    def __init__(
        self, context: Tensor, target: Tensor, *, targets: int, fixed: Tensor | None = None, negatives: Tensor
    ) -> None:
        self.context, self.target, self.targets = context, target, targets
        self.fixed, self.negatives = fixed, negatives
        self.answers, self.answer_ptr = target[torch.argsort(context, stable=True)], offsets(context.bincount())

    @property
    def constant(self) -> Tensor | None:
        """The candidates, where every batch has the same."""
        return None if self.negatives.shape[1] else self.fixed

    def __call__(self, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Candidates of B pairs, ``[B] -> [C], [B], [B, C]``: target rows, place of the positive, excluded candidates.

        Excluded are the targets that the same context has in other pairs.
        """
        context, target = self.context[pairs], self.target[pairs]
        candidates = self.constant
        if candidates is None:
            more = [] if self.fixed is None else [self.fixed]
            candidates = torch.cat([*more, target, self.negatives[pairs].flatten()]).unique()
        column = torch.full((self.targets,), -1)
        column[candidates] = torch.arange(len(candidates))
        positive = column[target]
        places, ptr = select_groups(self.answer_ptr, context)
        row, answer = owners(ptr.diff(), len(places)), column[self.answers[places]]
        excluded = torch.zeros(len(context), len(candidates), dtype=torch.bool)
        excluded[row[answer >= 0], answer[answer >= 0]] = True
        excluded[torch.arange(len(pairs)), positive] = False
        return candidates, positive, excluded


def near_positive(similarity: Tensor, positive: Tensor, margin: float) -> Tensor:
    """Likely false negatives: candidates more similar than the positive by more than ``margin``.

    ``[N, C]`` similarities by a pretrained model and ``[N]`` positive candidates -> ``[N, C]`` bool, False at the
    positive. Source: NV-Retriever, Moreira et al. 2024, §4.1.
    """
    place = positive[:, None]
    return (similarity > similarity.gather(1, place) + margin).scatter(1, place, False)
