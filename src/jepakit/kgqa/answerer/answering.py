"""Answers from retrieved candidates: ranked by retriever and language model, or "not in this graph".

The language model does not invent: it gives each candidate a probability. A threshold on the probability of the best
candidate decides whether there is an answer; weight and threshold are chosen on held-out questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepakit.errors import DataError, require_at_least, require_within
from jepakit.kgqa.abstention import choose_threshold
from jepakit.kgqa.answerer.data import BatchMaker, Example
from jepakit.kgqa.answerer.model import Answerer
from jepakit.kgqa.answerer.scoring import generate, log_likelihoods
from jepakit.progress import tracked
from jepakit.training.loader import to_device

WEIGHTS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Weights of the language model that `choose_weight` tries."""


@dataclass(frozen=True)
class AnswerSettings:
    """How candidates are ranked, and when there is no answer.

    Args:
        weight: of the language model; the retriever has ``1 - weight``.
        threshold: the least probability of the best candidate; below it the answer is "not in this graph".
        rerank: the language model reads so many candidates, the first of the retriever; the others stay behind them.
    """

    weight: float = 0.5
    threshold: float = 0.0
    rerank: int = 32

    def __post_init__(self) -> None:
        require_within(self, "[0, 1]", "weight")
        # Beyond 1: abstain always.
        require_within(self, "[0, inf]", "threshold")
        require_at_least(self, rerank=1)


@dataclass(frozen=True)
class Answer:
    """The answer to one question.

    Args:
        text: the best candidate; None: not in this graph.
        order: places of the candidates, the best first.
        probability: of each candidate in that order; they sum to 1.
        nearest: the best candidate, whether or not it is the answer; None where there are no candidates.
        written: what the language model writes freely, where that was asked for.
    """

    text: str | None
    order: tuple[int, ...]
    probability: tuple[float, ...]
    nearest: str | None
    written: str | None = None

    @property
    def confidence(self) -> float:
        """The probability of the best candidate; 0 without candidates."""
        return self.probability[0] if self.probability else 0.0


class QuestionAnswerer:
    """Answers questions with what was retrieved for them.

    Args:
        answerer: the model.
        make: its batches.
        settings: ranking and abstention.
        batch_size: questions that are read side by side.
    """

    def __init__(
        self, answerer: Answerer, make: BatchMaker, settings: AnswerSettings | None = None, *, batch_size: int = 8
    ) -> None:
        self.answerer, self.make, self.batch_size = answerer, make, batch_size
        self.settings = settings or AnswerSettings()

    def likelihoods(self, examples: Sequence[Example]) -> list[Tensor]:
        """The language model's mean log-probability of each of the first ``rerank`` candidates, ``[C]`` each."""
        self.answerer.eval()
        found: list[Tensor] = []
        for start in tracked(range(0, len(examples), self.batch_size), "reading candidates", unit="batches"):
            part = examples[start : start + self.batch_size]
            batch = to_device(self.make(part), self.answerer.device)
            found += log_likelihoods(
                self.answerer, batch, [example.candidates[: self.settings.rerank] for example in part]
            )
        return found

    def answer(self, examples: Sequence[Example], *, free: bool = False) -> list[Answer]:
        """An answer to each question.

        Args:
            examples: questions with what was retrieved.
            free: let the language model also write an answer of its own, which need not be in the graph.
        """
        # Where the language model has no weight, it is not asked.
        likelihoods = self.likelihoods(examples) if self.settings.weight else [None] * len(examples)
        written = self._written(examples) if free else [None] * len(examples)
        return [
            answer_of(example, values, self.settings, text)
            for example, values, text in zip(examples, likelihoods, written, strict=True)
        ]

    def calibrated(self, held_out: Sequence[Example], *, max_false: float | None = None) -> QuestionAnswerer:
        """The same answerer with weight and threshold chosen on held-out questions with answers.

        Questions whose answers are not among their candidates should be among them, or the threshold has nothing to
        learn from. ``max_false``: see `jepakit.kgqa.abstention.choose_threshold`.
        """
        likelihoods = self.likelihoods(held_out)
        weight = choose_weight(held_out, likelihoods, rerank=self.settings.rerank)
        settings = AnswerSettings(weight, 0.0, self.settings.rerank)
        answers = [answer_of(*pair, settings) for pair in zip(held_out, likelihoods, strict=True)]
        threshold = choose_threshold(
            np.array([answer.confidence for answer in answers]),
            np.array([answer.text in example.answers for answer, example in zip(answers, held_out, strict=True)]),
            max_false=max_false,
        )
        settings = AnswerSettings(weight, threshold, settings.rerank)
        return QuestionAnswerer(self.answerer, self.make, settings, batch_size=self.batch_size)

    def _written(self, examples: Sequence[Example]) -> list[str]:
        self.answerer.eval()
        found: list[str] = []
        for start in tracked(range(0, len(examples), self.batch_size), "writing answers", unit="batches"):
            batch = to_device(self.make(examples[start : start + self.batch_size], whole=True), self.answerer.device)
            found += generate(self.answerer, batch, max_tokens=self.make.max_answer)
        return found


def answer_of(
    example: Example, likelihood: Tensor | None, settings: AnswerSettings, written: str | None = None
) -> Answer:
    """The answer that follows from the scores.

    Args:
        example: with candidates and, unless the weight is 1, the retriever's scores.
        likelihood: of the first candidates by the language model; None where its weight is 0.
        settings: ranking and abstention.
        written: kept in the answer.

    Raises:
        DataError: the retriever's scores are needed and missing.
    """
    count = len(example.candidates)
    if not count:
        return Answer(None, (), (), None, written)
    read = min(count, settings.rerank)
    probability = torch.zeros(count, dtype=torch.float64)
    probability[:read] = combined(example, likelihood, settings.weight, read).exp()
    order = torch.argsort(-probability, stable=True)
    nearest = example.candidates[int(order[0])]
    answered = float(probability[order[0]]) >= settings.threshold
    places, chances = tuple(order.tolist()), tuple(probability[order].tolist())
    return Answer(nearest if answered else None, places, chances, nearest, written)


def combined(example: Example, likelihood: Tensor | None, weight: float, read: int) -> Tensor:
    """Log-probabilities of the first ``read`` candidates, ``[read]``.

    The weighted sum of the retriever's log-probability and the language model's mean log-probability of a token,
    normalised over these candidates.
    """
    total = torch.zeros(read, dtype=torch.float64)
    if weight < 1:
        if example.scores is None:
            expected = "scores of the candidates, or weight = 1"
            raise DataError("the retriever's scores are missing", field="scores", expected=expected)
        total += (1 - weight) * torch.from_numpy(np.asarray(example.scores[:read], np.float64)).log_softmax(0)
    if weight > 0:
        assert likelihood is not None
        total += weight * likelihood.double()
    return total.log_softmax(0)


def choose_weight(
    held_out: Sequence[Example], likelihoods: Sequence[Tensor], *, rerank: int = AnswerSettings.rerank
) -> float:
    """The weight of `WEIGHTS` with the most right first candidates; of equal ones the smallest.

    Where a question has no scores of a retriever, the language model has all of the weight.
    """
    if any(example.scores is None for example in held_out):
        return 1.0

    def hits(weight: float) -> int:
        settings = AnswerSettings(weight, 0.0, rerank)
        pairs = zip(held_out, likelihoods, strict=True)
        return sum(answer_of(example, values, settings).text in example.answers for example, values in pairs)

    return max(WEIGHTS, key=lambda weight: (hits(weight), -weight))
