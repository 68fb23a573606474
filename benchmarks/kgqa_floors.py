"""Retrieval that learns nothing, as rows beside learned retrievers: BM25, KNN, KNN + PCST."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.retrievers import Query, Retrieved
from jepakit.kgqa.retrievers.named import TITLES, ClassicName, classic_retrievers
from jepakit.text import TextEncoder

FLOORS: tuple[ClassicName, ...] = ("bm25", "knn", "pcst")
#: Of more entities with the best score, the first so many are a fair sample.
_MOST_TIES = 100
_QUESTIONS_AT_ONCE = 256


def floors(
    graph: KnowledgeGraph, questions: Questions, encoder: TextEncoder, sample: int, seed: int
) -> dict[str, float]:
    """The expected hit@1 of each retriever, by the name of its row; topics are given and are never an answer.

    Args:
        graph: the graph; all its entities are encoded, which a `CachedEncoder` does once.
        questions: to measure on.
        encoder: of entities and questions.
        sample: most questions; of more, as many are drawn.
        seed: of the draw.
    """
    asked = questions.sample(sample, seed=seed)
    hits: Mapping[ClassicName, list[float]] = {name: [] for name in FLOORS}
    for name, retriever in classic_retrievers(FLOORS, graph, encoder).items():
        for start in range(0, len(asked), _QUESTIONS_AT_ONCE):
            block = slice(start, start + _QUESTIONS_AT_ONCE)
            queries = list(map(Query, asked.texts[block], asked.topics[block]))
            retrieved = retriever.retrieve(queries, _MOST_TIES)
            hits[name] += map(expected_hit, retrieved, asked.answers[block])
    return {TITLES[name]: float(np.mean(values)) for name, values in hits.items()}


def expected_hit(retrieved: Retrieved, answers: tuple[int, ...]) -> float:
    """The share of answers among the entities with the best score, which is that of a first one drawn from them."""
    best = retrieved.entities[retrieved.scores == retrieved.scores.max(initial=-np.inf)]
    return float(np.isin(best, answers).mean()) if len(best) else 0.0
