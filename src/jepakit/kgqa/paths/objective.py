"""The loss of a path matcher, from answers alone: the gold path is not needed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jepakit.core.packed import segment_softmax, segment_sum
from jepakit.kgqa.paths.matcher import PathMatcher

_LEAST = 1e-6


@dataclass(frozen=True)
class PathBatch:
    """B questions with their C candidate paths, out of P paths.

    Args:
        questions: frozen vectors of the questions, ``[B, D]``.
        ptr: question ``q`` owns the candidates ``ptr[q]:ptr[q + 1]``, ``[B + 1]`` int64.
        owner: the question of each candidate, ``[C]`` int64.
        path: the path of each candidate: a row of the next two, ``[C]`` int64.
        vectors: mean of the vectors of the wordings of each path, ``[P, D]``.
        steps: steps of each path, ``[P, hops]`` int64.
        share: share of answers among the entities that each candidate reaches, ``[C]``.
    """

    questions: Tensor
    ptr: Tensor
    owner: Tensor
    path: Tensor
    vectors: Tensor
    steps: Tensor
    share: Tensor


class AnswerLikelihood(nn.Module):
    """``−log Σ_s P(s|q) |R_s ∩ A| / |R_s|``, averaged over the questions that some path answers.

    The likelihood of an answer that is drawn from the entities a path reaches, with the path as a latent variable.
    """

    def __init__(self, matcher: PathMatcher) -> None:
        super().__init__()
        self.matcher = matcher

    def forward(self, batch: PathBatch) -> Tensor:
        """The loss; 0 where no path answers any question."""
        logits = self.matcher(batch.questions, batch.vectors, batch.steps)[batch.owner, batch.path]
        probability = segment_softmax(logits[:, None], batch.ptr)[:, 0]
        likelihood = segment_sum(probability * batch.share, batch.ptr)
        answered = segment_sum(batch.share, batch.ptr) > 0
        losses = torch.where(answered, -likelihood.clamp(min=_LEAST).log(), torch.zeros_like(likelihood))
        return losses.sum() / answered.sum().clamp(min=1)
