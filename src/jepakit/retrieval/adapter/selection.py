"""Choices by pairs that training has not seen: what to train with, how far to follow it, and whether at all."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from jepakit.errors import ConfigError, DataError
from jepakit.retrieval.adapter.recipe import Recipe, fit_adapter
from jepakit.retrieval.data import Documents, Pairs
from jepakit.retrieval.datasets.splits import folds_by_document
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.measuring.metrics import ndcg
from jepakit.retrieval.objective import ObjectiveConfig
from jepakit.retrieval.ranking.feedback import nearest
from jepakit.retrieval.ranking.sentences import with_sentences
from jepakit.retrieval.ranking.settings import SearchSettings
from jepakit.retrieval.ranking.vectors import DEPTH
from jepakit.search.fusion import weighted
from jepakit.search.hits import Hits
from jepakit.search.sentences import Sentences

__all__ = ["Choice", "SelectionConfig", "choose", "paired_interval", "smallest_good"]

Step = TypeVar("Step", int, float)


@dataclass
class SelectionConfig:
    """What is tried.

    Args:
        predictive: weights of the predictive term; empty: the objective's own alone.
        strengths: how far to go from the base's vector (0) to the predicted one (1); 0 is always tried.
        feedback: weights of the first documents beside the query; 0 is always tried. See
            `jepakit.retrieval.ranking.feedback`.
        sentences: weights of a document's best sentence beside the document; 0 is always tried. See
            `jepakit.retrieval.ranking.sentences`. The first is taken where held-out pairs are sure neither of another
            nor of 0, as when there are few or none. Empty: sentences are not encoded at all.
        words: weights of BM25 beside the vectors; 0 is always tried.
        folds: parts into which the pairs are cut by document; each is held out once.
        enough: held-out queries after which the folds that are left are not trained any more.
        measure_at: NDCG at this rank decides.
        confidence: of the paired interval of the gain that has to lie above 0, or the base is returned.
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
        if self.folds < 2:
            raise ConfigError("folds", self.folds, "at least 2")
        if self.enough < 1:
            raise ConfigError("enough", self.enough, "at least 1")
        if any(not weight >= 0 for weight in self.predictive):
            raise ConfigError("predictive", self.predictive, "weights of at least 0")
        if not self.strengths or any(not 0 < strength <= 1 for strength in self.strengths):
            raise ConfigError("strengths", self.strengths, "numbers above 0 and up to 1")
        for name in ("feedback", "sentences", "words"):
            if any(not 0 < weight <= 1 for weight in getattr(self, name)):
                raise ConfigError(name, getattr(self, name), "numbers above 0 and up to 1")
        if not 0 < self.confidence < 1:
            raise ConfigError("confidence", self.confidence, "a number between 0 and 1")


@dataclass(frozen=True)
class Choice:
    """What was chosen, and on what grounds.

    Args:
        objective: the weights of the loss.
        strength: how far to follow the adapter; 0 where the base did best.
        settings: weights of feedback and BM25, 0 where they did not surely help, and of sentences, 0 where they surely
            did harm.
        base: held-out NDCG of the base.
        chosen: held-out NDCG of the adapter at its smallest strength that cannot be told from the best; optimistic by
            what choosing among a few settings gains.
        moved: held-out NDCG with feedback.
        detailed: held-out NDCG with sentences too; None where their weight is not chosen but given.
        fused: held-out NDCG with BM25 too.
        interval: of the difference of ``chosen`` and ``base``, paired by query.
        queries: how many were held out.
        tried: (weight of the predictive term, strength, held-out NDCG) of every setting.
    """

    objective: ObjectiveConfig
    strength: float
    settings: SearchSettings
    base: float
    chosen: float
    moved: float
    detailed: float | None
    fused: float
    interval: tuple[float, float]
    queries: int
    tried: tuple[tuple[float, float, float], ...]

    @property
    def sentence(self) -> str:
        """It in words."""
        low, high = self.interval
        held_out = f"held-out NDCG {self.base:.4f} -> {self.chosen:.4f} on {self.queries} queries"
        gain = f"{held_out} (gain {low:+.4f} to {high:+.4f})"
        words, feedback, sentences = self.settings.words, self.settings.feedback, self.settings.sentences
        chosen = f"strength {self.strength:g}, predictive weight {self.objective.predictive:g}"
        if not self.strength:
            chosen = "the adapter is not surely better than the base, so the base is returned"
        moved = f"; with feedback at weight {feedback:g} {self.moved:.4f}" if feedback else "; feedback adds nothing"
        measured = ", which made pairs cannot tell" if self.detailed is None else f" {self.detailed:.4f}"
        detailed = f"; with sentences at weight {sentences:g}{measured}" if sentences else ""
        fused = f"; with BM25 at weight {words:g} {self.fused:.4f}" if words else "; BM25 adds nothing"
        return f"{gain}: {chosen}{moved}{detailed}{fused}"


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
    """Trains on all folds but one, measures on that one, for every setting.

    Args:
        adapter: untrained; it is copied.
        queries: base vectors, ``[Q, D]``.
        documents: base vectors, ``[N, D]``.
        pairs: training and development pairs together.
        collection: tells which documents belong together.
        by_words: rows of queries -> what BM25 finds for them.
        sentences: makes the sentences of the documents, where their weights are to be tried.
        recipe: what is not chosen.
        config: what is.
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
    followed = held_out.strength()
    moved, feedback = held_out.surely_best(
        {weight: held_out.hits(followed, feedback=weight) for weight in (0.0, *config.feedback)}
    )
    read = {0.0: moved}
    if config.sentences:
        best = held_out.best_sentences(followed, sentences(), moved.rows)
        read |= {weight: with_sentences(moved, best, weight) for weight in config.sentences}
    detailed, detail = held_out.surely_best(read, unless=next(iter(config.sentences), 0.0))
    mixed = {0.0: detailed}
    if config.words:
        found = by_words(held_out.rows)
        mixed |= {weight: weighted(detailed, found, weight) for weight in config.words}
    fused, words = held_out.surely_best(mixed)
    return Choice(
        objective=objectives[followed.setting],
        strength=followed.strength,
        settings=SearchSettings(words, feedback, detail),
        base=followed.base,
        chosen=followed.chosen,
        moved=held_out.mean(moved),
        detailed=held_out.mean(detailed),
        fused=held_out.mean(fused),
        interval=followed.interval,
        queries=len(held_out.rows),
        tried=tuple((objectives[setting].predictive, strength, mean) for setting, strength, mean in followed.tried),
    )


@dataclass(frozen=True)
class _Followed:
    """How far an adapter is followed, and which; ``tried``: (setting, strength, held-out NDCG)."""

    setting: int
    strength: float
    base: float
    chosen: float
    interval: tuple[float, float]
    tried: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True)
class _HeldOut:
    """All folds' held-out queries together: what is measured on them decides."""

    folds: Sequence[_Fold]
    pairs: Pairs
    config: SelectionConfig
    seed: int

    @property
    def rows(self) -> Tensor:
        return torch.cat([fold.rows for fold in self.folds])

    def strength(self) -> _Followed:
        """The setting and the strength, among those of the configuration."""
        strengths = [0.0, *sorted(set(self.config.strengths))]
        # [settings, strengths, held-out queries]
        measured = torch.cat([fold.by_strength(strengths, self.config.measure_at) for fold in self.folds], dim=2)
        means = measured.mean(2)
        setting, best = divmod(int(means.argmax()), len(strengths))
        values = measured[setting]
        step = 0 if best == 0 else smallest_good({step: values[step] for step in range(1, len(values))}, self._gain)
        interval = self._gain(values[step], values[0])
        return _Followed(
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

    def hits(self, followed: _Followed, *, feedback: float) -> Hits:
        """What is found for each query."""
        found = [fold.hits(followed.setting, followed.strength, feedback=feedback) for fold in self.folds]
        return Hits(torch.cat([hits.rows for hits in found]), torch.cat([hits.scores for hits in found]))

    def best_sentences(self, followed: _Followed, sentences: Sentences, rows: Tensor) -> Tensor:
        """What the sentences of the documents found say, ``[Q, K]``."""
        parts = zip(self.folds, rows.split([len(fold.rows) for fold in self.folds]), strict=True)
        return torch.cat(
            [fold.best_sentences(followed.setting, followed.strength, sentences, some) for fold, some in parts]
        )

    def surely_best(self, found: dict[float, Hits], unless: float = 0.0) -> tuple[Hits, float]:
        """The best of several weights where it is surely better than 0, 0 where that is surely better than ``unless``,
        else ``unless``."""
        values = {weight: self._values(hits) for weight, hits in found.items()}
        best = max(values, key=lambda weight: float(values[weight].mean()))
        if best and self._gain(values[best], values[0.0])[0] > 0:
            return found[best], best
        weight = 0.0 if self._gain(values[0.0], values[unless])[0] > 0 else unless
        return found[weight], weight

    def mean(self, hits: Hits) -> float:
        """Their NDCG."""
        return float(self._values(hits).mean())

    def _values(self, hits: Hits) -> Tensor:
        return ndcg(hits.rows, self.rows, self.pairs, at=self.config.measure_at)

    def _gain(self, ours: Tensor, floor: Tensor) -> tuple[float, float]:
        return paired_interval((ours - floor).numpy(), confidence=self.config.confidence, seed=self.seed)


@dataclass(frozen=True)
class _Fold:
    """Held-out queries, and an adapter for each setting that has not seen them or their documents."""

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

    def best_sentences(self, setting: int, strength: float, sentences: Sentences, rows: Tensor) -> Tensor:
        """What the sentences of the documents found say, ``[Q, K]``."""
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
        expected = "pairs of several documents, or sources, that do not all hang together"
        raise DataError("nothing can be held out", field="pairs", value=len(pairs), expected=expected)
    return parts


def smallest_good(values: Mapping[Step, Tensor], gain: Callable[[Tensor, Tensor], tuple[float, float]]) -> Step:
    """Of the strengths that cannot be told from the best the smallest: held-out pairs are kinder than what is to come.

    Args:
        values: strength, in rising order -> what it comes to on each query, ``[Q]``.
        gain: the interval of the mean difference of two of them.
    """
    best = max(values, key=lambda step: float(values[step].mean()))
    return next(step for step in values if step == best or gain(values[best], values[step])[0] <= 0)


def paired_interval(
    difference: np.ndarray, *, confidence: float = 0.95, samples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The bootstrap interval of the mean of a difference measured on each query, ``[Q]``.

    Source: percentile bootstrap, Efron & Tibshirani 1993, §13.3.
    """
    generator = np.random.default_rng(seed)
    means = np.empty(samples)
    for start in range(0, samples, 500):
        drawn = generator.integers(0, len(difference), (min(500, samples - start), len(difference)))
        means[start : start + 500] = difference[drawn].mean(1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
