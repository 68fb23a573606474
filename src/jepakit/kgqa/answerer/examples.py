"""From questions and a retriever to what an answerer reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jepakit.kgqa.answerer.data import Example
from jepakit.kgqa.data import Ids, KnowledgeGraph, Questions
from jepakit.kgqa.retrievers.base import Query, Retriever
from jepakit.progress import tracked

_AT_ONCE = 256


@dataclass(frozen=True)
class RetrievedQuestions:
    """Questions with what was retrieved for them.

    Args:
        examples: for an answerer; candidates and answers are names of entities.
        entities: rows of the candidates of each.
    """

    examples: tuple[Example, ...]
    entities: tuple[Ids, ...]


def retrieve_for(
    graph: KnowledgeGraph, questions: Questions, retriever: Retriever, candidates: int
) -> RetrievedQuestions:
    """Retrieves at most so many candidates for each question, with the subgraph to answer from."""
    queries = list(map(Query, questions.texts, questions.topics))
    retrieved = [
        one
        for start in tracked(range(0, len(queries), _AT_ONCE), "retrieving subgraphs", unit="batches")
        for one in retriever.retrieve(queries[start : start + _AT_ONCE], candidates)
    ]
    examples = tuple(
        Example(
            question=text,
            subgraph=one.subgraph,
            candidates=tuple(graph.column("name", one.entities)),
            scores=one.scores.astype(np.float64),
            answers=tuple(graph.column("name", answers)),
        )
        for text, answers, one in zip(questions.texts, questions.answers, retrieved, strict=True)
    )
    return RetrievedQuestions(examples, tuple(one.entities for one in retrieved))
