"""The classic retrievers by the names that options have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.retrievers.base import Retriever
from jepakit.kgqa.retrievers.bm25 import BM25
from jepakit.kgqa.retrievers.hybrid import Hybrid, HybridConfig
from jepakit.kgqa.retrievers.k_hop import KHop
from jepakit.kgqa.retrievers.knn import KNN
from jepakit.kgqa.retrievers.path import Path
from jepakit.kgqa.retrievers.pcst import PCST
from jepakit.kgqa.retrievers.vectors import EntityVectors
from jepakit.text import TextEncoder

ClassicName = Literal["bm25", "knn", "khop", "path", "pcst", "rrf", "weighted"]

TITLES: dict[ClassicName, str] = {
    "bm25": "BM25",
    "knn": "KNN",
    "khop": "k-hop, by cosine",
    "path": "shortest paths, by cosine",
    "pcst": "KNN + PCST",
    "rrf": "KNN and BM25 by reciprocal rank",
    "weighted": "KNN and BM25 by weighted sum",
}
"""Name of an option -> name in a table."""


def classic_retrievers(
    names: Sequence[ClassicName], graph: KnowledgeGraph, encoder: TextEncoder
) -> dict[ClassicName, Retriever]:
    """Retrievers with their default options; what several of them need is made once.

    All but ``bm25`` encode the texts of all entities now.
    """
    bm25 = cache(lambda: BM25(graph))
    vectors = cache(lambda: EntityVectors(graph, encoder))

    def both() -> list[Retriever]:
        return [KNN(graph, vectors()), bm25()]

    makers: dict[ClassicName, Callable[[], Retriever]] = {
        "bm25": bm25,
        "knn": lambda: KNN(graph, vectors()),
        "khop": lambda: KHop(graph, vectors()),
        "path": lambda: Path(graph, vectors()),
        "pcst": lambda: PCST(graph, vectors()),
        "rrf": lambda: Hybrid(graph, both()),
        "weighted": lambda: Hybrid(graph, both(), HybridConfig("score")),
    }
    return {name: makers[name]() for name in names}
