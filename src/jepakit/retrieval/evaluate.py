"""The protocol: the adapter beside the base model, BM25, and each of them fused with BM25."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jepakit.errors import ConfigError
from jepakit.retrieval.comparison import Evaluation, compare
from jepakit.retrieval.data import RetrievalDataset
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.feedback import nearest
from jepakit.retrieval.fusion import weighted
from jepakit.retrieval.lexical import LexicalIndex
from jepakit.retrieval.metrics import top_documents
from jepakit.retrieval.search import CANDIDATES, DEPTH, SearchSettings
from jepakit.text import TextEncoder

__all__ = ["BASE", "OURS", "EvaluateConfig", "evaluate", "familiarity_in"]

OURS, BASE = "jepakit: adapter", "base model"


@dataclass
class EvaluateConfig:
    """What is measured.

    Args:
        split: of the pairs; by default ``test``, or all pairs where they are not divided.
        bm25: BM25 as a floor, and fused with the vectors.
        examples: queries shown that gained, and that lost.
    """

    split: str | None = None
    bm25: bool = True
    examples: int = 5

    def __post_init__(self) -> None:
        if self.examples < 0:
            raise ConfigError("examples", self.examples, "at least 0")


def evaluate(
    dataset: RetrievalDataset,
    encoder: TextEncoder,
    adapter: Adapter,
    settings: SearchSettings,
    config: EvaluateConfig,
) -> Evaluation | None:
    """Measures on a split; None where there is none to measure on and none was named.

    Args:
        dataset: the collection, the adapter's own or another.
        encoder: the base model.
        adapter: trained.
        settings: weights of BM25 and of feedback.
        config: what is measured.

    Raises:
        DataError: there is no such split.
    """
    split = config.split or next((name for name in ("test", "all") if name in dataset.splits), None)
    if split is None:
        return None
    rows = dataset.splits[split].relevant.queries if split in dataset.splits else torch.zeros(0, dtype=torch.long)
    texts = [dataset.queries.texts[row] for row in rows.tolist()]
    queries, documents = encoder.encode(texts, "query"), encoder.encode(dataset.documents.passages, "document")
    familiarity = familiarity_in(adapter, queries, documents)
    methods = {
        OURS: nearest(
            adapter.queries(queries, familiarity),
            adapter.documents(documents),
            DEPTH,
            settings.feedback * familiarity,
        ),
        BASE: nearest(queries, documents, DEPTH),
    }
    if config.bm25:
        by_words = LexicalIndex.build(dataset.documents.passages).search(texts, DEPTH) if texts else methods[BASE]
        methods["BM25"] = by_words
        if settings.words:
            methods[f"{OURS} + BM25"] = weighted(methods[OURS], by_words, settings.words * familiarity)
            methods[f"{BASE} + BM25"] = weighted(methods[BASE], by_words, settings.words)
    return compare(dataset, split, methods, ours=OURS, floor=BASE, examples=config.examples)


def familiarity_in(adapter: Adapter, queries: Tensor, documents: Tensor) -> Tensor:
    """How familiar each query is, by itself and by the documents that the base finds for it: ``[Q]``.

    Args:
        adapter: trained.
        queries: base vectors, ``[Q, D]``.
        documents: base vectors of the collection that is searched, ``[N, D]``.
    """
    if adapter.changes_documents or not len(adapter.familiar_documents):
        return adapter.familiarity(queries)
    _, candidates = top_documents(queries, documents, CANDIDATES)
    return adapter.familiarity(queries, documents[candidates])
