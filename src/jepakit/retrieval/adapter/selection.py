"""Model selection on held-out pairs: weights of the loss, strength of the adapter, and settings of the search."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jepakit.errors import ConfigError, require_at_least, require_within
from jepakit.retrieval.data import Pairs, RetrievalDataset
from jepakit.retrieval.datasets.held_out import HeldOut
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.measuring.metrics import ndcg, paired_interval, smallest_good
from jepakit.retrieval.objective import ObjectiveConfig, fit_adapter
from jepakit.retrieval.ranking import DEPTH, SearchSettings, encode_sentences, nearest, with_sentences
from jepakit.search.fusion import weighted
from jepakit.search.hits import Hits
from jepakit.search.sentences import Sentences
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
        sentences: weights of a document's best sentence against the whole document; 0 is always tried. The first is
            the default: it is used unless held-out pairs show a significant difference, for example when there are few
            pairs or none. Empty: sentences are not encoded.
        words: weights of BM25 against the vectors; 0 is always tried.
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
    folds: int = 5
    enough: int = 2000
    measure_at: int = 10
    confidence: float = 0.9

    def __post_init__(self) -> None:
        require_at_least(self, folds=2, enough=1)
        require_within(self, "(0, 1)", "confidence")
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
        settings: weights of the search. Feedback and BM25 are 0 unless they help significantly; sentences are 0 only
            if they hurt significantly.
        base: held-out NDCG of the base.
        chosen: held-out NDCG of the adapter, at the smallest strength that is not significantly worse than the best.
            Like every held-out score of a chosen setting it is slightly optimistic.
        with_feedback: held-out NDCG with feedback added.
        with_sentences: held-out NDCG with sentences added too; None where their weight was given, not measured.
        with_words: held-out NDCG with BM25 added too.
        interval: confidence interval of ``chosen - base``, paired by query.
        queries: number of held-out queries.
        tried: (weight of the predictive term, strength, held-out NDCG) of every setting.
        how: how the queries were held out, where not by document.
    """

    objective: ObjectiveConfig
    strength: float
    settings: SearchSettings
    base: float
    chosen: float
    with_feedback: float
    with_sentences: float | None
    with_words: float
    interval: tuple[float, float]
    queries: int
    tried: tuple[tuple[float, float, float], ...]
    how: str = ""

    @property
    def sentence(self) -> str:
        """The choice in one sentence."""
        low, high = self.interval
        held_out = f"held-out NDCG {self.base:.4f} -> {self.chosen:.4f} on {self.queries} queries"
        words, feedback, sentences = self.settings.words, self.settings.feedback, self.settings.sentences
        chosen = f"strength {self.strength:g}, predictive weight {self.objective.predictive:g}"
        if not self.strength:
            chosen = "the adapter is not significantly better than the base, so the base is returned"
        parts = [f"{held_out} (gain {low:+.4f} to {high:+.4f}): {chosen}"]
        parts.append(
            f"with feedback at weight {feedback:g} {self.with_feedback:.4f}" if feedback else "feedback adds nothing"
        )
        if sentences:
            measured = "(not measured on made pairs)" if self.with_sentences is None else f"{self.with_sentences:.4f}"
            parts.append(f"with sentences at weight {sentences:g} {measured}")
        parts.append(f"with BM25 at weight {words:g} {self.with_words:.4f}" if words else "BM25 adds nothing")
        parts += [self.how] if self.how else []
        return "; ".join(parts)


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
    folds = [_Fold.trained(adapter, vectors, *parts, objectives, config) for parts in divided.parts]
    held_out = _Scores(torch.cat([fold.rows for fold in folds]), dataset.training, selection, config.seed)
    strengths = [0.0, *sorted(set(selection.strengths))]
    # [objectives, strengths, held-out queries]
    measured = torch.cat([fold.by_strength(strengths, selection.measure_at) for fold in folds], dim=2)
    means = measured.mean(2)
    setting, best = divmod(int(means.argmax()), len(strengths))
    by_step = {step: measured[setting, step] for step in range(1, len(strengths))}
    step = smallest_good(by_step, held_out.gain) if best else 0
    interval = held_out.gain(measured[setting, step], measured[setting, 0])
    strength = strengths[step] if interval[0] > 0 else 0.0

    def with_weight(feedback: float) -> Hits:
        parts = [fold.hits(setting, strength, DEPTH, feedback) for fold in folds]
        return Hits(torch.cat([part.rows for part in parts]), torch.cat([part.scores for part in parts]))

    by_feedback = {weight: with_weight(weight) for weight in (0.0, *selection.feedback)}
    hits, feedback, with_feedback = held_out.best(by_feedback)
    by_sentences = {0.0: hits}
    if selection.sentences:
        sentences, hit_rows = encode_sentences(dataset.documents, encoder), hits.rows.split([*map(len, folds)])
        scores = torch.cat(
            [
                fold.sentence_scores(setting, strength, sentences, rows)
                for fold, rows in zip(folds, hit_rows, strict=True)
            ]
        )
        by_sentences |= {weight: with_sentences(hits, scores, weight) for weight in selection.sentences}
    default = next(iter(selection.sentences), 0.0)
    hits, sentence_weight, with_both = held_out.best(by_sentences, default)
    by_words = {0.0: hits}
    if selection.words:
        texts = [dataset.queries.texts[row] for row in held_out.rows.tolist()]
        word_hits = LexicalIndex.build(dataset.documents.passages).search(texts, DEPTH)
        by_words |= {weight: weighted(hits, word_hits, weight) for weight in selection.words}
    _, words, with_words = held_out.best(by_words)
    return Choice(
        objective=objectives[setting],
        strength=strength,
        settings=SearchSettings(words, feedback, sentence_weight),
        base=float(means[setting, 0]),
        chosen=float(means[setting, step]),
        with_feedback=with_feedback,
        with_sentences=with_both,
        with_words=with_words,
        interval=interval,
        how=divided.how,
        queries=len(held_out.rows),
        tried=tuple(
            (objective.predictive, strength, float(mean))
            for objective, row in zip(objectives, means, strict=True)
            for strength, mean in zip(strengths, row, strict=True)
        ),
    )


@dataclass(frozen=True)
class _Scores:
    """Scores of the held-out queries of all folds, ``rows``."""

    rows: Tensor
    pairs: Pairs
    config: SelectionConfig
    seed: int

    def best(self, by_weight: Mapping[float, Hits], default: float = 0.0) -> tuple[Hits, float, float]:
        """The hits by the best weight, the weight, and the mean NDCG.

        The best is the weight with the highest NDCG if it is significantly better than 0; else 0 if that is
        significantly better than the default; else the default.
        """
        values = {
            weight: ndcg(hits.rows, self.rows, self.pairs, at=self.config.measure_at)
            for weight, hits in by_weight.items()
        }
        weight = max(values, key=lambda weight: float(values[weight].mean()))
        if not weight or self.gain(values[weight], values[0.0])[0] <= 0:
            weight = 0.0 if self.gain(values[0.0], values[default])[0] > 0 else default
        return by_weight[weight], weight, float(values[weight].mean())

    def gain(self, ours: Tensor, floor: Tensor) -> tuple[float, float]:
        """The confidence interval of the mean difference, paired by query."""
        return paired_interval((ours - floor).numpy(), confidence=self.config.confidence, seed=self.seed)


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
            silent = replace(config, objective=objective, progress=False, logger="none")
            fit_adapter(copied, *vectors, train, silent)
        rows = held_out.relevant.queries
        return cls(vectors[0][rows], vectors[1], rows, held_out, adapters)

    def __len__(self) -> int:
        return len(self.rows)

    def hits(self, setting: int, strength: float, count: int, feedback: float = 0.0) -> Hits:
        adapter = self._adapter(setting, strength)
        return nearest(adapter.queries(self.queries), adapter.documents(self.documents), count, feedback)

    def sentence_scores(self, setting: int, strength: float, sentences: Sentences, rows: Tensor) -> Tensor:
        """The score of the best sentence of each hit, ``[Q, K]``."""
        adapter = self._adapter(setting, strength)
        return sentences.adapted(adapter).best(adapter.queries(self.queries), rows)

    def by_strength(self, strengths: Sequence[float], at: int) -> Tensor:
        """NDCG of each held-out query, ``[objectives, strengths, Q]``."""
        values = [
            ndcg(self.hits(setting, strength, at).rows, self.rows, self.pairs, at=at)
            for setting in range(len(self.adapters))
            for strength in strengths
        ]
        return torch.stack(values).view(len(self.adapters), len(strengths), -1)

    def _adapter(self, setting: int, strength: float) -> Adapter:
        self.adapters[setting].strength.fill_(strength)
        return self.adapters[setting]
