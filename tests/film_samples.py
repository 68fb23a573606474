"""A small graph of films with questions, a text encoder that needs no model, and a retriever that is not trained."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.kgqa.data import KnowledgeGraph, Questions, Relation, entity_table
from jepakit.kgqa.paths.fitting import RetrieverConfig
from jepakit.kgqa.paths.matcher import MatcherConfig, PathMatcher
from jepakit.kgqa.retriever import PathRetriever


class Words:
    """A text encoder: the sum of a random vector for each word."""

    dim = 16

    def __init__(self, fingerprint: str = "words") -> None:
        self.fingerprint = fingerprint

    def encode(self, texts: Sequence[str], kind: str) -> Tensor:
        return torch.stack(
            [F.normalize(sum(map(self._word, text.lower().split()), torch.zeros(self.dim)), dim=-1) for text in texts]
        )

    def _word(self, word: str) -> Tensor:
        return torch.randn(self.dim, generator=torch.Generator().manual_seed(sum(map(ord, word)) * 31 + len(word)))


FILMS, PEOPLE = 12, 4
IDS = [f"film {i}" for i in range(FILMS)] + [f"person {i}" for i in range(PEOPLE)] + ["1990", "1991", "1992", "alone"]
TRIPLES = [(i, 0, FILMS + i % PEOPLE) for i in range(FILMS)] + [(i, 1, FILMS + PEOPLE + i % 3) for i in range(FILMS)]
GRAPH = KnowledgeGraph.from_rows(
    "films", entity_table(IDS), [Relation("directed_by"), Relation("year")], np.array(TRIPLES)
)
DIRECTORS = Questions(
    tuple(f"who made film {i}" for i in range(FILMS)),
    tuple((i,) for i in range(FILMS)),
    tuple((FILMS + i % PEOPLE,) for i in range(FILMS)),
)
YEARS = Questions(
    tuple(f"when was film {i} shown" for i in range(FILMS)),
    tuple((i,) for i in range(FILMS)),
    tuple((FILMS + PEOPLE + i % 3,) for i in range(FILMS)),
)
BOTH = Questions(DIRECTORS.texts + YEARS.texts, DIRECTORS.topics + YEARS.topics, DIRECTORS.answers + YEARS.answers)
CONFIG = RetrieverConfig(
    epochs=2,
    hops=2,
    progress=False,
    accelerator="cpu",
    learning_rate=0.01,
    matcher=MatcherConfig(hidden=16, step_dim=8),
)


def retriever_of(graph: KnowledgeGraph = GRAPH, hops: int = 2) -> PathRetriever:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        matcher = PathMatcher(Words.dim, graph.num_steps, hops, hidden=8)
    return PathRetriever(graph, Words(), matcher, through_topic=False, wordings=3)
