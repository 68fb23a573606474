"""Ranking documents by vectors: adapted query, feedback, sentences; the same code for memory and for an index.

Each step is scaled by familiarity, from 0 to 1. The adapter and feedback are scaled by how similar the query and its
first documents are to the training data; sentences and BM25 by how similar the documents are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from jepakit.retrieval.adapter.familiarity import Familiarity
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.measuring.metrics import top_documents
from jepakit.retrieval.ranking.feedback import FEEDBACK_DOCUMENTS, with_feedback
from jepakit.retrieval.ranking.sentences import with_sentences
from jepakit.retrieval.ranking.settings import SearchSettings
from jepakit.search.hits import Hits
from jepakit.search.sentences import Sentences

#: First documents of the base model from which the familiarity of the collection is estimated.
CANDIDATES = 5
#: Depth of rankings that are fused or scored again by sentences; Recall@100 needs as many.
DEPTH = 100


class Source(Protocol):
    """Documents that can be searched by vector."""

    def nearest(self, queries: Tensor, k: int) -> Hits:
        """The nearest documents of each query, ``[Q, D] -> [Q, k]``."""
        ...

    def vectors_of(self, hits: Hits) -> Tensor:
        """The vectors of the hits, ``[Q, K, D]``; zeros where a query has fewer than K hits."""
        ...

    def familiarity_of(self, hits: Hits, memory: Familiarity) -> Tensor:
        """The familiarity of each hit, ``[Q, K]``."""
        ...

    def sentences(self) -> Sentences | None:
        """The sentences of all documents; None where they are not stored."""
        ...


@dataclass(frozen=True)
class Encoded:
    """A collection in memory.

    Args:
        documents: vectors, ``[N, D]``.
        parts: their sentences.
    """

    documents: Tensor
    parts: Sentences | None = None

    def nearest(self, queries: Tensor, k: int) -> Hits:
        """See `Source.nearest`."""
        scores, rows = top_documents(queries, self.documents, k)
        return Hits(rows, scores)

    def vectors_of(self, hits: Hits) -> Tensor:
        """See `Source.vectors_of`."""
        return self.documents[hits.rows]

    def familiarity_of(self, hits: Hits, memory: Familiarity) -> Tensor:
        """See `Source.familiarity_of`."""
        return memory(self.vectors_of(hits).flatten(0, 1)).view(hits.rows.shape)

    def sentences(self) -> Sentences | None:
        """See `Source.sentences`."""
        return self.parts


@dataclass(frozen=True)
class Familiar:
    """How similar each query and its collection are to the training data: ``[Q]`` each, from 0 to 1.

    Args:
        query: the smaller of the familiarity of the query itself and ``collection``.
        collection: mean familiarity of the base model's first documents for the query.
    """

    query: Tensor
    collection: Tensor


def familiar(queries: Tensor, adapter: Adapter | None, source: Source) -> Familiar:
    """The familiarity of queries and of their first documents.

    Args:
        queries: base vectors, ``[Q, D]``.
        adapter: trained; None: everything is familiar.
        source: all documents. Where the adapter changes documents, their base vectors are not available and only the
            queries count.
    """
    if adapter is None:
        return Familiar(torch.ones(len(queries)), torch.ones(len(queries)))
    query = adapter.familiar_queries(queries)
    if adapter.changes_documents or not len(adapter.familiar_documents):
        return Familiar(query, query)
    hits = source.nearest(queries, CANDIDATES)
    if not hits.rows.shape[1]:
        return Familiar(query, query)
    collection = source.familiarity_of(hits, adapter.familiar_documents).mean(1)
    return Familiar(torch.minimum(query, collection), collection)


def ranked(
    queries: Tensor, adapter: Adapter | None, source: Source, k: int, settings: SearchSettings, familiarity: Familiar
) -> Hits:
    """The first ``k`` documents of each query by vectors.

    Args:
        queries: base vectors, ``[Q, D]``.
        adapter: None searches with the base.
        source: the documents.
        k: documents for each query.
        settings: weights of feedback and of sentences.
        familiarity: see `familiar`.
    """
    adapted = queries if adapter is None else adapter.queries(queries, familiarity.query)
    moved = adapted
    if settings.feedback:
        first = source.nearest(adapted, FEEDBACK_DOCUMENTS)
        moved = with_feedback(adapted, source.vectors_of(first), first.scores, settings.feedback * familiarity.query)
    sentences = source.sentences() if settings.sentences else None
    if sentences is None:
        return source.nearest(moved, k)
    hits = source.nearest(moved, max(k, DEPTH))
    best = sentences.best(adapted, hits.rows)
    return with_sentences(hits, best, settings.sentences * familiarity.collection).first(k)
