"""Choices by pairs that training has not seen: what to train with, how far to follow it, and whether at all."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from jepakit.errors import ConfigError, DataError
from jepakit.retrieval.data import Documents, Pairs
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.feedback import nearest
from jepakit.retrieval.fusion import choose_weight, weighted
from jepakit.retrieval.hits import Hits
from jepakit.retrieval.metrics import ndcg
from jepakit.retrieval.objective import ObjectiveConfig
from jepakit.retrieval.recipe import Recipe, fit_adapter
from jepakit.retrieval.search import DEPTH, SearchSettings
from jepakit.retrieval.splits import folds_by_document

__all__ = ["Choice", "SelectionConfig", "choose", "paired_interval"]


@dataclass
class SelectionConfig:
    """What is tried.

    Args:
        predictive: weights of the predictive term; empty: the objective's own alone.
        strengths: how far to go from the base's vector (0) to the predicted one (1); 0 is always tried.
        feedback: weights of the first documents beside the query (see `jepakit.retrieval.feedback`); 0 is always tried.
        folds: parts into which the pairs are cut by document; each is held out once.
        enough: held-out queries after which the folds that are left are not trained any more.
        measure_at: NDCG at this rank decides.
        confidence: of the paired interval of the gain that has to lie above 0, or the base is returned.
    """

    predictive: list[float] = field(default_factory=lambda: [0.0, 1.0])
    strengths: list[float] = field(default_factory=lambda: [0.25, 0.5, 0.75, 1.0])
    feedback: list[float] = field(default_factory=lambda: [0.2, 0.4])
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
        if any(not 0 < weight <= 1 for weight in self.feedback):
            raise ConfigError("feedback", self.feedback, "numbers above 0 and up to 1")
        if not 0 < self.confidence < 1:
            raise ConfigError("confidence", self.confidence, "a number between 0 and 1")


@dataclass(frozen=True)
class Choice:
    """What was chosen, and on what grounds.

    Args:
        objective: the weights of the loss.
        strength: how far to follow the adapter; 0 where the base did best.
        settings: weights of feedback and of BM25; 0 where they did not surely help.
        base: held-out NDCG of the base.
        chosen: held-out NDCG of the adapter at its smallest strength that cannot be told from the best; optimistic by
            what choosing among a few settings gains.
        moved: held-out NDCG with feedback.
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
    fused: float
    interval: tuple[float, float]
    queries: int
    tried: tuple[tuple[float, float, float], ...]

    @property
    def sentence(self) -> str:
        """It in words."""
        low, high = self.interval
        measured = f"held-out NDCG {self.base:.4f} -> {self.chosen:.4f} on {self.queries} queries"
        gain = f"{measured} (gain {low:+.4f} to {high:+.4f})"
        words, feedback = self.settings.words, self.settings.feedback
        chosen = f"strength {self.strength:g}, predictive weight {self.objective.predictive:g}"
        if not self.strength:
            chosen = "the adapter is not surely better than the base, so the base is returned"
        moved = f"; with feedback at weight {feedback:g} {self.moved:.4f}" if feedback else "; feedback adds nothing"
        fused = f"; with BM25 at weight {words:g} {self.fused:.4f}" if words else "; BM25 adds nothing"
        return f"{gain}: {chosen}{moved}{fused}"


def choose(
    adapter: Adapter,
    queries: Tensor,
    documents: Tensor,
    pairs: Pairs,
    collection: Documents,
    by_words: Callable[[Tensor], Hits],
    recipe: Recipe,
    config: SelectionConfig,
) -> Choice:
    """Trains on all folds but one, measures on that one, for every setting.

    Args:
        adapter: untrained; it is copied.
        queries: base vectors, ``[Q, D]``.
        documents: base vectors, ``[N, D]``.
        pairs: training and development pairs together.
        collection: tells which documents belong together.
        by_words: rows of queries -> what BM25 finds for them.
        recipe: what is not chosen.
        config: what is.

    Raises:
        ConfigError: the pairs cannot be divided by document.
    """
    objectives = [
        replace(recipe.objective, predictive=weight) for weight in config.predictive or [recipe.objective.predictive]
    ]
    folds = [
        _Fold.trained(adapter, queries, documents, train, held_out, objectives, recipe)
        for train, held_out in _divided(pairs, collection, config, recipe.fit.seed)
    ]
    strengths = [0.0, *sorted(set(config.strengths))]
    # [settings, strengths, held-out queries]
    measured = torch.cat([fold.by_strength(strengths, config.measure_at) for fold in folds], dim=2)
    means = measured.mean(2)

    def gain(ours: Tensor, floor: Tensor) -> tuple[float, float]:
        return paired_interval((ours - floor).numpy(), confidence=config.confidence, seed=recipe.fit.seed)

    setting, best = divmod(int(means.argmax()), len(strengths))
    # Of strengths that cannot be told from the best the smallest: what is held out is kinder than what is to come.
    close = (step for step in range(1, best) if gain(measured[setting, best], measured[setting, step])[0] <= 0)
    step = next(close, best)
    interval = gain(measured[setting, step], measured[setting, 0])
    strength = strengths[step] if interval[0] > 0 else 0.0
    held_out = torch.cat([fold.rows for fold in folds])

    def of_each(hits: Hits) -> Tensor:
        return ndcg(hits.rows, held_out, pairs, at=config.measure_at)

    def searched(feedback: float) -> Hits:
        return _joined([fold.hits(setting, strength, feedback=feedback) for fold in folds])

    still, moved = searched(0.0), {weight: searched(weight) for weight in config.feedback}
    feedback = max(moved, key=lambda weight: float(of_each(moved[weight]).mean()), default=0.0)
    if feedback and gain(of_each(moved[feedback]), of_each(still))[0] <= 0:
        feedback = 0.0
    dense = moved[feedback] if feedback else still
    words = by_words(held_out)
    weight = choose_weight(dense, words, lambda hits: float(of_each(hits).mean()))
    alone, fused = of_each(dense), of_each(weighted(dense, words, weight))
    return Choice(
        objective=objectives[setting],
        strength=strength,
        settings=SearchSettings(words=weight if gain(fused, alone)[0] > 0 else 0.0, feedback=feedback),
        base=float(means[setting, 0]),
        chosen=float(means[setting, step]),
        moved=float(alone.mean()),
        fused=float(fused.mean()),
        interval=interval,
        queries=len(held_out),
        tried=tuple(
            (objective.predictive, strength, float(means[row, column]))
            for row, objective in enumerate(objectives)
            for column, strength in enumerate(strengths)
        ),
    )


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


def _joined(parts: Sequence[Hits]) -> Hits:
    return Hits(torch.cat([hits.rows for hits in parts]), torch.cat([hits.scores for hits in parts]))


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
