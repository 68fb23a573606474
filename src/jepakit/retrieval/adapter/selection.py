"""Model selection on held-out pairs: weights of the loss, strength of the adapter, and settings of the search."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jepakit.errors import ConfigError, require_at_least, require_within
from jepakit.progress import phase, tracked
from jepakit.retrieval.adapter.weights import FEWEST_QUESTIONS, Chosen, HeldOutQueries, Steps
from jepakit.retrieval.data import Pairs, RetrievalDataset
from jepakit.retrieval.datasets.held_out import HeldOut
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.measuring.metrics import ndcg, smallest_good
from jepakit.retrieval.measuring.untrained import Untrained
from jepakit.retrieval.objective import ObjectiveConfig, fit_adapter
from jepakit.retrieval.ranking import DEPTH, SearchSettings, encode_sentences, nearest
from jepakit.search.words import LexicalIndex
from jepakit.text import TextEncoder

if TYPE_CHECKING:
    from jepakit.retrieval.pretrain import PretrainConfig


@dataclass
class SelectionConfig:
    """The settings that are compared on held-out pairs.

    Args:
        predictive: weights of the predictive term; empty: only that of the objective.
        strengths: interpolations from the base vector (0) to the predicted vector (1); 0 is always tried.
        feedback: weights of pseudo-relevance feedback; 0 is always tried.
        sentences: weights of a document's best sentence against the whole document; 0 is always tried. Where there
            are no questions to measure on, the first is used. Empty: sentences are not encoded.
        words: weights of BM25 against the vectors; 0 is always tried. Empty: BM25 is not used.
        words_elsewhere: weight of BM25 in collections unlike that of training, and where there are no questions to
            measure on.
        folds: parts into which the pairs are divided by document, or by query where most of them hang together; each is
            held out once.
        enough: number of held-out queries after which no further fold is trained.
        measure_at: rank of the NDCG that decides.
        confidence: level of the paired interval of the gain. The base is returned unless the interval lies above 0.
    """

    predictive: list[float] = field(default_factory=lambda: [0.0, 1.0])
    strengths: list[float] = field(default_factory=lambda: [0.25, 0.5, 0.75, 1.0])
    feedback: list[float] = field(default_factory=lambda: [0.2, 0.4])
    sentences: list[float] = field(default_factory=lambda: [0.2, 0.5])
    words: list[float] = field(default_factory=lambda: [step / 10 for step in range(1, 10)])
    words_elsewhere: float = 0.2
    folds: int = 5
    enough: int = 2000
    measure_at: int = 10
    confidence: float = 0.9

    def __post_init__(self) -> None:
        require_at_least(self, folds=2, enough=1)
        require_within(self, "(0, 1)", "confidence")
        require_within(self, "[0, 1]", "words_elsewhere")
        if any(not weight >= 0 for weight in self.predictive):
            raise ConfigError("predictive", self.predictive, "weights of at least 0")
        for name in ("strengths", "feedback", "sentences", "words"):
            if any(not 0 < weight <= 1 for weight in getattr(self, name)):
                raise ConfigError(name, getattr(self, name), "numbers above 0 and up to 1")
        if not self.strengths:
            raise ConfigError("strengths", self.strengths, "at least one number above 0 and up to 1")


@dataclass(frozen=True)
class Choice:
    """The chosen settings and the held-out scores that they were chosen by.

    Args:
        objective: the objective with the chosen weights.
        strength: strength of the adapter; 0 where it is not significantly better than the base.
        settings: weights of the search; each is 0 unless it helps significantly.
        untrained: weights of the same steps for the base model, the floors of the adapter.
        base: held-out NDCG of the base.
        chosen: held-out NDCG of the adapter, at the smallest strength that is not significantly worse than the best.
            Like every held-out score of a chosen setting it is slightly optimistic.
        steps: held-out NDCG with feedback, with sentences added, and with BM25 added; None where the weights were
            given, not measured.
        untrained_steps: the same for the base model with its own weights.
        interval: confidence interval of ``chosen - base``, paired by question.
        queries: number of held-out queries.
        questions: how many of them differ.
        tried: (weight of the predictive term, strength, held-out NDCG) of every setting.
        how: how the queries were held out, where not by document.
    """

    objective: ObjectiveConfig
    strength: float
    settings: SearchSettings
    untrained: Untrained
    base: float
    chosen: float
    steps: Chosen | None
    untrained_steps: Chosen | None
    interval: tuple[float, float]
    queries: int
    questions: int
    tried: tuple[tuple[float, float, float], ...]
    how: str = ""

    @property
    def sentence(self) -> str:
        """The choice in one sentence."""
        low, high = self.interval
        held_out = f"held-out NDCG {self.base:.4f} -> {self.chosen:.4f} on {self.questions} questions"
        chosen = f"strength {self.strength:g}, predictive weight {self.objective.predictive:g}"
        if not self.strength:
            chosen = "the adapter is not significantly better than the base, so the base is returned"
        parts = [f"{held_out} (gain {low:+.4f} to {high:+.4f}): {chosen}"]
        if self.questions < FEWEST_QUESTIONS:
            parts.append(f"at least {FEWEST_QUESTIONS} held-out questions are needed to choose anything else")
        if self.steps is None:
            if self.settings.names:
                weights = {"sentences": self.settings.sentences, "BM25": self.settings.words}
                given = " and ".join(f"{name} at weight {weight:g}" for name, weight in weights.items() if weight)
                parts.append(f"with {given} (not measured on made pairs)")
        else:
            parts += _described(self.steps)
        if self.strength and self.untrained_steps is not None:
            names = self.untrained.together.names or "nothing else"
            parts.append(f"the base without any training, with {names}: {self.untrained_steps.with_words:.4f}")
        parts += [self.how] if self.how else []
        return "; ".join(parts)


def _described(steps: Chosen) -> list[str]:
    """A part of a sentence for each step."""
    weights = steps.settings
    return [
        f"with {name} at weight {weight:g} {score:.4f}"
        if weight
        else f"{name} not used, for lack of a significant gain"
        for name, weight, score in (
            ("feedback", weights.feedback, steps.with_feedback),
            ("sentences", weights.sentences, steps.with_sentences),
            ("BM25", weights.words, steps.with_words),
        )
    ]


def choose(
    adapter: Adapter,
    dataset: RetrievalDataset,
    encoder: TextEncoder,
    vectors: tuple[Tensor, Tensor],
    config: PretrainConfig,
    divided: HeldOut,
) -> Choice:
    """Compares the settings of ``config.selection`` on the pairs that are held out.

    Args:
        adapter: untrained; it is copied.
        dataset: the pairs and documents.
        encoder: the base, for sentences.
        vectors: base vectors of all queries, ``[Q, D]``, and all documents, ``[N, D]``.
        config: all settings.
        divided: the pairs to train on and to hold out, see `jepakit.retrieval.datasets.held_out.hold_out`.
    """
    selection = config.selection
    objectives = [
        replace(config.objective, predictive=weight) for weight in selection.predictive or [config.objective.predictive]
    ]
    folds = [
        _Fold.trained(adapter, vectors, *parts, objectives, config)
        for parts in tracked(divided.parts, "choosing the adapter", unit="folds")
    ]
    rows = torch.cat([fold.rows for fold in folds])
    held_out = HeldOutQueries.of(
        rows,
        dataset.training,
        dataset.queries,
        at=selection.measure_at,
        confidence=selection.confidence,
        seed=config.seed,
    )
    strengths = [0.0, *sorted(set(selection.strengths))]
    # [objectives, strengths, held-out queries]
    measured = torch.cat([fold.by_strength(strengths, selection.measure_at) for fold in folds], dim=2)
    means = measured.mean(2)
    setting, best = divmod(int(means.argmax()), len(strengths))
    by_step = {step: measured[setting, step] for step in range(1, len(strengths))}
    step = smallest_good(by_step, held_out.gain) if best else 0
    interval = held_out.gain(measured[setting, step], measured[setting, 0])
    strength = strengths[step] if interval[0] > 0 else 0.0
    texts = [dataset.queries.texts[row] for row in rows.tolist()]
    steps = Steps(
        held_out,
        [(fold.queries, fold.adapters[setting]) for fold in folds],
        vectors[1],
        encode_sentences(dataset.documents, encoder) if selection.sentences else None,
        LexicalIndex.build(dataset.documents.passages).search(texts, DEPTH),
        (selection.feedback, selection.sentences, selection.words),
    )
    with phase("choosing weights of sentences, feedback and BM25"):
        untrained_steps = steps.chosen(0.0)
        chosen = steps.chosen(strength) if strength else untrained_steps
    return Choice(
        objective=objectives[setting],
        strength=strength,
        settings=replace(chosen.settings, words_elsewhere=selection.words_elsewhere if selection.words else 0.0),
        untrained=Untrained(each=steps.each(), together=untrained_steps.settings),
        base=float(means[setting, 0]),
        chosen=float(means[setting, step]),
        steps=chosen,
        untrained_steps=untrained_steps,
        interval=interval,
        queries=len(rows),
        questions=held_out.questions,
        how=divided.how,
        tried=tuple(
            (objective.predictive, strength, float(mean))
            for objective, row in zip(objectives, means, strict=True)
            for strength, mean in zip(strengths, row, strict=True)
        ),
    )


@dataclass(frozen=True)
class _Fold:
    """Held-out queries, and for each objective an adapter that was trained without them and their documents."""

    queries: Tensor
    documents: Tensor
    rows: Tensor
    pairs: Pairs
    adapters: list[Adapter]

    @classmethod
    def trained(
        cls,
        adapter: Adapter,
        vectors: tuple[Tensor, Tensor],
        train: Pairs,
        held_out: Pairs,
        objectives: Sequence[ObjectiveConfig],
        config: PretrainConfig,
    ) -> _Fold:
        adapters = [copy.deepcopy(adapter) for _ in objectives]
        for copied, objective in zip(adapters, objectives, strict=True):
            fit_adapter(copied, *vectors, train, replace(config, objective=objective, logger="none"))
        rows = held_out.relevant.queries
        return cls(vectors[0][rows], vectors[1], rows, held_out, adapters)

    def by_strength(self, strengths: Sequence[float], at: int) -> Tensor:
        """NDCG of each held-out query, ``[objectives, strengths, Q]``."""
        values = [
            ndcg(self._found(adapter, strength, at), self.rows, self.pairs, at=at)
            for adapter in self.adapters
            for strength in strengths
        ]
        return torch.stack(values).view(len(self.adapters), len(strengths), -1)

    def _found(self, adapter: Adapter, strength: float, at: int) -> Tensor:
        adapter.strength.fill_(strength)
        return nearest(adapter.queries(self.queries), adapter.documents(self.documents), at).rows
