"""Model selection on held-out pairs: weights of the loss, strength of the adapter, and settings of the search."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from jepakit.errors import ConfigError, DataError, require_at_least, require_within
from jepakit.retrieval.adapter.recipe import Recipe, fit_adapter
from jepakit.retrieval.data import Pairs
from jepakit.retrieval.datasets.splits import folds_by_document
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.measuring.metrics import ndcg
from jepakit.retrieval.objective import ObjectiveConfig
from jepakit.retrieval.ranking.feedback import nearest
from jepakit.retrieval.ranking.sentences import with_sentences
from jepakit.retrieval.ranking.settings import SearchSettings
from jepakit.retrieval.ranking.vectors import DEPTH
from jepakit.search.documents import Documents
from jepakit.search.fusion import weighted
from jepakit.search.hits import Hits
from jepakit.search.sentences import Sentences

Step = TypeVar("Step", int, float)


@dataclass
class SelectionConfig:
    """The settings that are compared on held-out pairs.

    Args:
        predictive: weights of the predictive term; empty: only that of the objective.
        strengths: interpolations from the base vector (0) to the predicted vector (1); 0 is always tried.
        feedback: weights of pseudo-relevance feedback; 0 is always tried. See `jepakit.retrieval.ranking.feedback`.
        sentences: weights of a document's best sentence against the whole document; 0 is always tried. See
            `jepakit.retrieval.ranking.sentences`. The first is the default: it is used unless held-out pairs show a
            significant difference, for example when there are few pairs or none. Empty: sentences are not encoded.
        words: weights of BM25 against the vectors; 0 is always tried.
        folds: parts into which the pairs are divided by document; each is held out once.
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
        if not self.strengths or any(not 0 < strength <= 1 for strength in self.strengths):
            raise ConfigError("strengths", self.strengths, "numbers above 0 and up to 1")
        for name in ("feedback", "sentences", "words"):
            if any(not 0 < weight <= 1 for weight in getattr(self, name)):
                raise ConfigError(name, getattr(self, name), "numbers above 0 and up to 1")


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

    @property
    def sentence(self) -> str:
        """The choice in one sentence."""
        low, high = self.interval
        held_out = f"held-out NDCG {self.base:.4f} -> {self.chosen:.4f} on {self.queries} queries"
        gain = f"{held_out} (gain {low:+.4f} to {high:+.4f})"
        words, feedback, sentences = self.settings.words, self.settings.feedback, self.settings.sentences
        chosen = f"strength {self.strength:g}, predictive weight {self.objective.predictive:g}"
        if not self.strength:
            chosen = "the adapter is not significantly better than the base, so the base is returned"
        parts = [
            f"with feedback at weight {feedback:g} {self.with_feedback:.4f}" if feedback else "feedback adds nothing"
        ]
        if sentences:
            measured = "(not measured on made pairs)" if self.with_sentences is None else f"{self.with_sentences:.4f}"
            parts.append(f"with sentences at weight {sentences:g} {measured}")
        parts.append(f"with BM25 at weight {words:g} {self.with_words:.4f}" if words else "BM25 adds nothing")
        return "; ".join((f"{gain}: {chosen}", *parts))


def choose(
    adapter: Adapter,
    queries: Tensor,
    documents: Tensor,
    pairs: Pairs,
    collection: Documents,
    by_words: Callable[[Tensor], Hits],
    sentences: Callable[[], Sentences],
    recipe: Recipe,
    config: SelectionConfig,
    *,
    divided: Sequence[tuple[Pairs, Pairs]] | None = None,
) -> Choice:
    """Compares settings by cross-validation: trains on all folds but one and measures on the one held out.

    Args:
        adapter: untrained; it is copied.
        queries: base vectors, ``[Q, D]``.
        documents: base vectors, ``[N, D]``.
        pairs: training and development pairs together.
        collection: the documents, whose sources keep a source within one fold.
        by_words: rows of queries -> their BM25 hits.
        sentences: encodes the sentences of the documents; called only if weights of sentences are compared.
        recipe: the settings that are not chosen.
        config: the settings that are compared.
        divided: (training, held-out) pairs, no query held out twice; None: folds of ``pairs`` by document.

    Raises:
        ConfigError: the pairs cannot be divided by document.
    """
    objectives = [
        replace(recipe.objective, predictive=weight) for weight in config.predictive or [recipe.objective.predictive]
    ]
    folds = [
        _Fold.trained(adapter, queries, documents, train, held_out, objectives, recipe)
        for train, held_out in divided or _divided(pairs, collection, config, recipe.fit.seed)
    ]
    held_out = _HeldOut(folds, pairs, config, recipe.fit.seed)
    best = held_out.best_strength()
    hits, feedback = held_out.best_weight(
        {weight: held_out.hits(best, feedback=weight) for weight in (0.0, *config.feedback)}
    )
    with_feedback = held_out.ndcg_of(hits)
    by_weight = {0.0: hits}
    if config.sentences:
        scores = held_out.sentence_scores(best, sentences(), hits.rows)
        by_weight |= {weight: with_sentences(hits, scores, weight) for weight in config.sentences}
    hits, sentence_weight = held_out.best_weight(by_weight, default=next(iter(config.sentences), 0.0))
    with_both = held_out.ndcg_of(hits)
    by_weight = {0.0: hits}
    if config.words:
        word_hits = by_words(held_out.rows)
        by_weight |= {weight: weighted(hits, word_hits, weight) for weight in config.words}
    hits, words = held_out.best_weight(by_weight)
    return Choice(
        objective=objectives[best.setting],
        strength=best.strength,
        settings=SearchSettings(words, feedback, sentence_weight),
        base=best.base,
        chosen=best.chosen,
        with_feedback=with_feedback,
        with_sentences=with_both,
        with_words=held_out.ndcg_of(hits),
        interval=best.interval,
        queries=len(held_out.rows),
        tried=tuple((objectives[setting].predictive, strength, mean) for setting, strength, mean in best.tried),
    )


@dataclass(frozen=True)
class _BestStrength:
    """The chosen objective (``setting``) and strength; ``tried``: (setting, strength, held-out NDCG)."""

    setting: int
    strength: float
    base: float
    chosen: float
    interval: tuple[float, float]
    tried: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True)
class _HeldOut:
    """The held-out queries of all folds together."""

    folds: Sequence[_Fold]
    pairs: Pairs
    config: SelectionConfig
    seed: int

    @property
    def rows(self) -> Tensor:
        return torch.cat([fold.rows for fold in self.folds])

    def best_strength(self) -> _BestStrength:
        """Chooses the objective and the strength."""
        strengths = [0.0, *sorted(set(self.config.strengths))]
        # [settings, strengths, held-out queries]
        measured = torch.cat([fold.by_strength(strengths, self.config.measure_at) for fold in self.folds], dim=2)
        means = measured.mean(2)
        setting, best = divmod(int(means.argmax()), len(strengths))
        values = measured[setting]
        step = 0 if best == 0 else smallest_good({step: values[step] for step in range(1, len(values))}, self._gain)
        interval = self._gain(values[step], values[0])
        return _BestStrength(
            setting=setting,
            strength=strengths[step] if interval[0] > 0 else 0.0,
            base=float(means[setting, 0]),
            chosen=float(means[setting, step]),
            interval=interval,
            tried=tuple(
                (row, strength, float(means[row, column]))
                for row in range(len(means))
                for column, strength in enumerate(strengths)
            ),
        )

    def hits(self, best: _BestStrength, *, feedback: float) -> Hits:
        parts = [fold.hits(best.setting, best.strength, feedback=feedback) for fold in self.folds]
        return Hits(torch.cat([part.rows for part in parts]), torch.cat([part.scores for part in parts]))

    def sentence_scores(self, best: _BestStrength, sentences: Sentences, rows: Tensor) -> Tensor:
        """The score of the best sentence of each hit, ``[Q, K]``."""
        parts = zip(self.folds, rows.split([len(fold.rows) for fold in self.folds]), strict=True)
        return torch.cat([fold.sentence_scores(best.setting, best.strength, sentences, part) for fold, part in parts])

    def best_weight(self, by_weight: dict[float, Hits], default: float = 0.0) -> tuple[Hits, float]:
        """Chooses a weight, and returns its hits with it.

        The weight with the highest NDCG if it is significantly better than 0; else 0 if that is significantly better
        than the default; else the default.
        """
        values = {weight: self._values(hits) for weight, hits in by_weight.items()}
        best = max(values, key=lambda weight: float(values[weight].mean()))
        if best and self._gain(values[best], values[0.0])[0] > 0:
            return by_weight[best], best
        weight = 0.0 if self._gain(values[0.0], values[default])[0] > 0 else default
        return by_weight[weight], weight

    def ndcg_of(self, hits: Hits) -> float:
        return float(self._values(hits).mean())

    def _values(self, hits: Hits) -> Tensor:
        return ndcg(hits.rows, self.rows, self.pairs, at=self.config.measure_at)

    def _gain(self, ours: Tensor, floor: Tensor) -> tuple[float, float]:
        return paired_interval((ours - floor).numpy(), confidence=self.config.confidence, seed=self.seed)


@dataclass(frozen=True)
class _Fold:
    """Held-out queries, and for each setting an adapter that was trained without them and their documents."""

    queries: Tensor
    documents: Tensor
    rows: Tensor
    pairs: Pairs
    adapters: tuple[Adapter, ...]

    @classmethod
    def trained(
        cls,
        adapter: Adapter,
        queries: Tensor,
        documents: Tensor,
        train: Pairs,
        held_out: Pairs,
        objectives: Sequence[ObjectiveConfig],
        recipe: Recipe,
    ) -> _Fold:
        fit = replace(recipe.fit, progress=False, logger="none")
        adapters: list[Adapter] = []
        for objective in objectives:
            adapters.append(copy.deepcopy(adapter))
            fit_adapter(adapters[-1], queries, documents, train, replace(recipe, objective=objective, fit=fit))
        rows = held_out.relevant.queries
        return cls(queries[rows], documents, rows, held_out, tuple(adapters))

    def hits(self, setting: int, strength: float, count: int = DEPTH, *, feedback: float = 0.0) -> Hits:
        adapter = self.adapters[setting]
        adapter.strength.fill_(strength)
        return nearest(adapter.queries(self.queries), adapter.documents(self.documents), count, feedback)

    def sentence_scores(self, setting: int, strength: float, sentences: Sentences, rows: Tensor) -> Tensor:
        """The score of the best sentence of each hit, ``[Q, K]``."""
        adapter = self.adapters[setting]
        adapter.strength.fill_(strength)
        return sentences.adapted(adapter).best(adapter.queries(self.queries), rows)

    def by_strength(self, strengths: Sequence[float], at: int) -> Tensor:
        """NDCG of each held-out query, ``[settings, strengths, Q]``."""

        def measured(setting: int, strength: float) -> Tensor:
            return ndcg(self.hits(setting, strength, at).rows, self.rows, self.pairs, at=at)

        settings = range(len(self.adapters))
        return torch.stack([torch.stack([measured(setting, step) for step in strengths]) for setting in settings])


def _divided(pairs: Pairs, collection: Documents, config: SelectionConfig, seed: int) -> list[tuple[Pairs, Pairs]]:
    """(training, held-out) pairs of the first folds that have both and together enough queries."""
    fold = folds_by_document(pairs, collection, config.folds, seed=seed)
    parts: list[tuple[Pairs, Pairs]] = []
    queries = 0
    for number in range(config.folds):
        train, held_out = pairs[fold != number], pairs[fold == number]
        if queries >= config.enough or not len(train.relevant) or not len(held_out.relevant):
            continue
        parts.append((train, held_out))
        queries += len(held_out.relevant.queries)
    if not parts:
        expected = "pairs in at least two groups that share no document, source or query"
        raise DataError("nothing can be held out", field="pairs", value=len(pairs), expected=expected)
    return parts


def smallest_good(values: Mapping[Step, Tensor], gain: Callable[[Tensor, Tensor], tuple[float, float]]) -> Step:
    """The smallest strength that is not significantly worse than the best, since held-out scores are optimistic.

    Args:
        values: strength, in rising order -> its score on each query, ``[Q]``.
        gain: the confidence interval of the mean difference of two of these.
    """
    best = max(values, key=lambda step: float(values[step].mean()))
    return next(step for step in values if step == best or gain(values[best], values[step])[0] <= 0)


def paired_interval(
    difference: np.ndarray, *, confidence: float = 0.95, samples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The bootstrap interval of the mean of paired differences, ``[Q]``.

    Source: percentile bootstrap, Efron & Tibshirani 1993, §13.3.
    """
    generator = np.random.default_rng(seed)
    means = np.empty(samples)
    for start in range(0, samples, 500):
        drawn = generator.integers(0, len(difference), (min(500, samples - start), len(difference)))
        means[start : start + 500] = difference[drawn].mean(1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
