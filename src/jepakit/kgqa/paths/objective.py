"""The losses of a path matcher.

Labelled questions: the likelihood of their answers, with the path as a latent variable, and the number of relations
that they ask for (`AnswerLikelihood`).
Without labels, a JEPA whose context is a text and whose target is a path (`PathJEPA`), on two kinds of pairs:

- a wording of a path predicts the path, known from its other wordings: path pre-training, which needs no question;
- a question without answers predicts the path that a slow copy of the matcher, the teacher, reads in it. The teacher
  reads all questions of one wording together: a path counts only where most of their topics have it. (Mean teacher,
  Tarvainen & Valpola 2017; thresholded labels as in FixMatch, Sohn et al. 2020.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core import JEPA, LOSSES, PREDICTORS, EMATarget, JEPAOutput, UnitRows, Views, Where
from jepakit.core.packed import owners, segment_softmax, segment_sum
from jepakit.errors import require_at_least, require_within
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.training.objective import RegularizerConfig, build_regularizers

_LEAST = 1e-6
#: The score of the best path of a length that no path has; finite, so that gradients are.
_NO_PATH = -1e4


@dataclass
class ObjectiveConfig(RegularizerConfig):
    """What is learned beside the likelihood of answers, and how much.

    Args:
        full_weight: number of labelled questions at which the answers have weight 1. With fewer the weight falls in
            proportion, against overfitting.
        wordings_weight: of predicting paths from their wordings; 0: no path pre-training.
        questions_weight: of predicting the path that the teacher reads in a question; 0: no self-training.
        contrast: weight of the cross-entropy of the predicted path among all paths.
        regression: weight of ``2 − 2 cos`` between the prediction and the teacher's vector of the path.
        momentum: of the teacher.
        listen_after: share of the training after which the student listens to the teacher.
        confidence: the least mean probability of a path that the teacher reads.
        support: share of the topics of a wording that must have the path.
    """

    full_weight: int = 100
    wordings_weight: float = 0.3
    questions_weight: float = 1.0
    contrast: float = 1.0
    regression: float = 0.0
    momentum: float = 0.95
    listen_after: float = 0.2
    confidence: float = 0.3
    support: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, full_weight=1, wordings_weight=0, questions_weight=0, contrast=0, regression=0)
        require_within(self, "[0, 1]", "momentum", "listen_after", "confidence", "support")

    @property
    def without_labels(self) -> bool:
        """Whether anything is learned without labels."""
        return self.wordings_weight > 0 or self.questions_weight > 0


@dataclass(frozen=True)
class Paths:
    """P paths as a matcher takes them.

    Args:
        vectors: mean of the vectors of the wordings of each, ``[P, D]``.
        steps: ``[P, hops]`` int64.
    """

    vectors: Tensor
    steps: Tensor


@dataclass(frozen=True)
class QuestionBatch:
    """B questions of G wordings with their C candidate paths.

    Args:
        texts: frozen vectors of the wordings, topics masked, ``[G, D]``.
        wording: the wording of each question, ``[B]`` int64.
        ptr: question ``q`` owns the candidates ``ptr[q]:ptr[q + 1]``, ``[B + 1]`` int64.
        path: a row of `Paths`, ``[C]`` int64.
        share: share of answers among the entities that each candidate reaches, ``[C]``; 0 where answers are not known.
    """

    texts: Tensor
    wording: Tensor
    ptr: Tensor
    path: Tensor
    share: Tensor

    @property
    def owner(self) -> Tensor:
        """The question of each candidate, ``[C]`` int64."""
        return owners(self.ptr.diff(), len(self.path))

    def probabilities(self, logits: Tensor) -> Tensor:
        """P(s|q) of the candidates, ``[C]``, from the logits of all paths for the wordings, ``[G, P]``."""
        return segment_softmax(logits[self.wording[self.owner], self.path][:, None], self.ptr)[:, 0]


@dataclass(frozen=True)
class RetrieverViews(Views):
    """A batch: the views are single wordings, ``[N, D]``, and the `Paths` that they word.

    Args:
        paths: what the candidates of the questions are rows of.
        labelled: questions with answers; None where there are none.
        unlabelled: questions for the teacher to read, several of each wording; None: it reads none.
    """

    paths: Paths | None = None
    labelled: QuestionBatch | None = None
    unlabelled: QuestionBatch | None = None


class AnswerLikelihood(nn.Module):
    """What labelled questions teach; a question that no path answers teaches nothing.

    ``answers``: ``−log Σ_s P(s|q) |R_s ∩ A| / |R_s|``, the likelihood of an answer that is drawn from the entities a
    path reaches, with the path as a latent variable.

    ``lengths``: the same for the best path of each length alone, which trains b. ``answers`` does not train b:
    long paths are many, so their total probability would lower b at their length. The best path of a length does not.

    Args:
        matcher: trained in place.
        weight: of ``answers``.
    """

    def __init__(self, matcher: PathMatcher, weight: float = 1.0) -> None:
        super().__init__()
        self.matcher, self.weight = matcher, weight

    def forward(self, views: RetrieverViews) -> dict[str, Tensor]:
        """Both losses, averaged over the questions that some path answers; 0 where there is none."""
        assert views.paths is not None
        assert views.labelled is not None
        batch, matcher = views.labelled, self.matcher
        used, column = batch.path.unique(return_inverse=True)
        steps = views.paths.steps[used]
        # Likelihoods are computed in single precision.
        scores = (matcher.log_scale.exp() * matcher.cosines(batch.texts, views.paths.vectors[used], steps)).float()
        of_length, lengths = matcher.length(batch.texts).float(), matcher.lengths(steps)
        batch = replace(batch, path=column)
        probability = batch.probabilities(scores + of_length.detach()[:, lengths])
        answers = segment_sum(probability * batch.share, batch.ptr)
        best, share = _best_of_length(scores.detach(), lengths, batch, of_length.shape[1])
        by_length = ((best + of_length[batch.wording]).softmax(1) * share).sum(1)
        answered = segment_sum(batch.share, batch.ptr) > 0
        return {
            "answers": self.weight * _mean_surprise(answers, answered),
            "lengths": _mean_surprise(by_length, answered),
        }


def _best_of_length(scores: Tensor, lengths: Tensor, batch: QuestionBatch, count: int) -> tuple[Tensor, Tensor]:
    """Of the paths of each length, the greatest score and the greatest share, ``[B, count]`` each."""
    owner = batch.owner
    cell = owner * count + lengths[batch.path]
    own = scores[batch.wording[owner], batch.path]
    size = (len(batch.ptr) - 1) * count
    best = own.new_full((size,), _NO_PATH).scatter_reduce(0, cell, own, "amax")
    share = own.new_zeros(size).scatter_reduce(0, cell, batch.share, "amax")
    return best.view(-1, count), share.view(-1, count)


def _mean_surprise(likelihood: Tensor, counted: Tensor) -> Tensor:
    losses = torch.where(counted, -likelihood.clamp(min=_LEAST).log(), torch.zeros_like(likelihood))
    return losses.sum() / counted.sum().clamp(min=1)


class TwoSides(nn.Module):
    """Both sides of a matcher as one encoder: of texts, ``[N, D]``, and of `Paths`."""

    def __init__(self, matcher: PathMatcher) -> None:
        super().__init__()
        self.matcher = matcher

    def forward(self, view: Tensor | Paths) -> Tensor:
        """Unit vectors of the texts, or of the paths."""
        if isinstance(view, Tensor):
            return self.matcher.embed_questions(view)
        return self.matcher.embed_paths(view.vectors, view.steps)


class PathJEPA(JEPA):
    """Predicts paths from wordings and from questions without answers.

    Args:
        matcher: trained in place.
        config: the weights.
        steps: optimiser steps of the whole training.
    """

    def __init__(self, matcher: PathMatcher, config: ObjectiveConfig, *, steps: int) -> None:
        encoder = TwoSides(matcher)
        super().__init__(
            encoder,
            EMATarget(encoder, config.momentum),
            PREDICTORS["none"](matcher.dim, matcher.dim),
            LOSSES["cosine"],
            build_regularizers(config, UnitRows),
            weight=config.regression,
        )
        self.config, self.quiet_steps = config, round(config.listen_after * steps)

    def step(self, views: Views) -> JEPAOutput:
        """One step on a `RetrieverViews`; the names of the terms of questions begin with ``questions/``."""
        assert isinstance(views, RetrieverViews)
        output = self._predict(views)
        total, terms = self.config.wordings_weight * output.total, output.terms
        read = self._read(views)
        if read is not None:
            questions = self._predict(read)
            total = total + self.config.questions_weight * questions.total
            terms = terms | {f"questions/{name}": value for name, value in questions.terms.items()}
        return replace(output, total=total, terms=terms)

    def _predict(self, views: Views) -> JEPAOutput:
        """The path of each text, by regression and among all paths.

        τ and b do not learn: wordings are drawn evenly over the lengths of paths, so they say nothing of how long those
        of questions are, and a b learned from the teacher would repeat its errors.
        """
        assert isinstance(views.where, Where)
        assert views.where.target_rows is not None
        output, matcher, paths = super().step(views), self._matcher, views.target
        assert isinstance(output.context, Tensor)
        assert isinstance(paths, Paths)
        cosines = output.context @ matcher.embed_paths(paths.vectors, paths.steps).T
        contrast = F.cross_entropy(matcher.log_scale.detach().exp() * cosines, views.where.target_rows)
        terms = {**output.terms, "contrast": contrast.detach()}
        return replace(output, total=output.total + self.config.contrast * contrast, terms=terms)

    def _read(self, views: RetrieverViews) -> Views | None:
        """The wordings that the teacher reads a path in, with that path."""
        assert isinstance(self.target, EMATarget)
        listens = self.config.questions_weight > 0 and int(self.target.step) >= self.quiet_steps
        if views.unlabelled is None or not listens:
            return None
        teacher, paths = self.target.encoder, views.paths
        assert isinstance(teacher, TwoSides)
        assert paths is not None
        with torch.no_grad():
            logits = teacher.matcher(views.unlabelled.texts, paths.vectors, paths.steps).float()
            confidence, path = read_wordings(logits, views.unlabelled, support=self.config.support)
        sure = confidence > self.config.confidence
        if not sure.any():
            return None
        return Views(views.unlabelled.texts[sure], paths, Where(target_rows=path[sure]))

    @property
    def _matcher(self) -> PathMatcher:
        assert isinstance(self.context_encoder, TwoSides)
        return self.context_encoder.matcher


def read_wordings(logits: Tensor, batch: QuestionBatch, *, support: float) -> tuple[Tensor, Tensor]:
    """The path that fits the questions of each wording best.

    Args:
        logits: of all paths for each wording, ``[G, P]``.
        batch: the questions, at least one of each wording.
        support: share of the questions of a wording that must have a path among their candidates.

    Returns:
        The mean over the questions of a wording of P(s|q), ``[G]``, and the path s that has the largest, ``[G]`` int64;
        0 where no path has the support.
    """
    cell = batch.wording[batch.owner] * logits.shape[1] + batch.path
    questions = batch.wording.bincount(minlength=len(logits))[:, None]
    candidates = cell.bincount(minlength=logits.numel()).view_as(logits)
    mass = torch.zeros_like(logits).view(-1).index_add_(0, cell, batch.probabilities(logits)).view_as(logits)
    return torch.where(candidates >= support * questions, mass / questions, 0.0).max(1)
