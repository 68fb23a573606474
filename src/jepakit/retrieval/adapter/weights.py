"""The weights of a search, chosen on held-out queries: feedback, sentences, BM25, with an adapter and without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepakit.retrieval.data import Pairs, Queries
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.measuring.metrics import mean_of_copies, ndcg, paired_interval
from jepakit.retrieval.ranking import DEPTH, SearchSettings, nearest, with_sentences
from jepakit.search.fusion import weighted
from jepakit.search.hits import Hits
from jepakit.search.sentences import Sentences

#: Fewest held-out questions on which anything but the base model is chosen.
FEWEST_QUESTIONS = 10


@dataclass(frozen=True)
class HeldOutQueries:
    """The held-out queries of all folds, and how two searches of them are compared.

    Args:
        rows: their rows, ``[Q]``.
        pairs: the judgements.
        copies: ``[Q]`` int64: equal numbers for copies of one question.
        at: rank of the NDCG.
        confidence: level of the paired intervals.
        seed: seed of the bootstrap.
    """

    rows: Tensor
    pairs: Pairs
    copies: np.ndarray
    at: int
    confidence: float
    seed: int

    @classmethod
    def of(
        cls, rows: Tensor, pairs: Pairs, queries: Queries, *, at: int, confidence: float, seed: int
    ) -> HeldOutQueries:
        """From the rows of the queries, ``[Q]``."""
        return cls(rows, pairs, queries.copies(rows.tolist()), at, confidence, seed)

    @property
    def questions(self) -> int:
        """The number of different questions."""
        return len(np.unique(self.copies))

    def ndcg(self, hits: Hits) -> Tensor:
        """NDCG of each query, ``[Q]``."""
        return ndcg(hits.rows, self.rows, self.pairs, at=self.at)

    def gain(self, ours: Tensor, floor: Tensor) -> tuple[float, float]:
        """The confidence interval of the mean difference, paired by question; of too few questions it holds 0."""
        difference = mean_of_copies((ours - floor).numpy(), self.copies)
        low, high = paired_interval(difference, confidence=self.confidence, seed=self.seed)
        return (low, high) if len(difference) >= FEWEST_QUESTIONS else (min(low, 0.0), max(high, 0.0))

    def best(self, by_weight: Mapping[float, Hits]) -> tuple[Hits, float, float]:
        """The hits by the best weight, that weight, and its mean NDCG; weight 0 unless the gain is significant."""
        values = {weight: self.ndcg(hits) for weight, hits in by_weight.items()}
        weight = max(values, key=lambda weight: float(values[weight].mean()))
        if self.gain(values[weight], values[0.0])[0] <= 0:
            weight = 0.0
        return by_weight[weight], weight, float(values[weight].mean())


@dataclass(frozen=True)
class Chosen:
    """Weights, and the held-out NDCG with feedback, with sentences added, and with BM25 added."""

    settings: SearchSettings
    with_feedback: float
    with_sentences: float
    with_words: float


@dataclass(frozen=True)
class Steps:
    """The steps of a search on held-out queries, fold by fold.

    Args:
        held_out: the queries of all folds.
        folds: of each fold the base vectors of its queries, ``[Q, D]``, and its adapter.
        documents: base vectors of the documents, ``[N, D]``.
        sentences: of all documents; None: they are not tried.
        words: the hits of BM25 for all queries.
        tried: the weights to try: feedback, sentences, words.
    """

    held_out: HeldOutQueries
    folds: Sequence[tuple[Tensor, Adapter]]
    documents: Tensor
    sentences: Sentences | None
    words: Hits
    tried: tuple[Sequence[float], Sequence[float], Sequence[float]]

    def chosen(self, strength: float) -> Chosen:
        """The best weight of each step after those before it; 0 where it does not help significantly."""
        feedback, sentences, words = self.tried
        hits, by_feedback, with_feedback = self.held_out.best(self._moved(strength, (0.0, *feedback)))
        hits, by_sentences, with_both = self.held_out.best(self._read(strength, hits, (0.0, *sentences)))
        _, by_words, with_words = self.held_out.best(self._fused(hits, (0.0, *words)))
        return Chosen(SearchSettings(by_words, by_feedback, by_sentences), with_feedback, with_both, with_words)

    def each(self) -> SearchSettings:
        """For the base model the best weight above 0 of each step alone, whether or not it helps; 0: none was tried."""
        base = self._moved(0.0, (0.0,))[0.0]
        feedback, sentences, words = self.tried
        return SearchSettings(
            words=self._first(self._fused(base, words)),
            feedback=self._first(self._moved(0.0, feedback)),
            sentences=self._first(self._read(0.0, base, sentences)),
        )

    def _first(self, by_weight: Mapping[float, Hits]) -> float:
        return max(by_weight, key=lambda weight: float(self.held_out.ndcg(by_weight[weight]).mean()), default=0.0)

    def _moved(self, strength: float, weights: Sequence[float]) -> dict[float, Hits]:
        def search(weight: float) -> Callable[[Tensor, Adapter], Hits]:
            return lambda asked, adapter: nearest(asked, adapter.documents(self.documents), DEPTH, weight)

        return {weight: self._each_fold(strength, search(weight)) for weight in weights}

    def _read(self, strength: float, hits: Hits, weights: Sequence[float]) -> dict[float, Hits]:
        sentences = self.sentences
        if sentences is None:
            return {weight: hits for weight in weights if not weight}
        rows = iter(hits.rows.split([len(asked) for asked, _ in self.folds]))

        def score(asked: Tensor, adapter: Adapter) -> Hits:
            found = next(rows)
            return Hits(found, sentences.adapted(adapter).best(asked, found))

        scores = self._each_fold(strength, score).scores
        return {weight: with_sentences(hits, scores, weight) for weight in weights}

    def _fused(self, hits: Hits, weights: Sequence[float]) -> dict[float, Hits]:
        return {weight: weighted(hits, self.words, weight) if weight else hits for weight in weights}

    def _each_fold(self, strength: float, search: Callable[[Tensor, Adapter], Hits]) -> Hits:
        """A search by the adapters of the folds: search vectors ``[Q, D]``, adapter -> hits."""
        parts: list[Hits] = []
        for queries, adapter in self.folds:
            adapter.strength.fill_(strength)
            parts.append(search(adapter.queries(queries), adapter))
        return Hits(torch.cat([part.rows for part in parts]), torch.cat([part.scores for part in parts]))
