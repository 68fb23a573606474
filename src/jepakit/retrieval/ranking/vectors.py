"""How documents are ranked by vectors: adapted query, feedback, sentences; the same in memory and in an index.

Each step is followed as far as it is known to help: the adapter and feedback as far as the query and what the base
finds for it look like training, sentences and words as far as the documents do, whatever is asked of them.
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

__all__ = ["CANDIDATES", "DEPTH", "Encoded", "Familiar", "Source", "familiar", "ranked"]

#: Documents of the base's own answer by which the adapter tells whether it knows the collection.
CANDIDATES = 5
#: Documents of each of two rankings that are fused, those whose sentences are read, and what Recall@100 needs.
DEPTH = 100


class Source(Protocol):
    """Documents that can be searched by vector."""

    def nearest(self, queries: Tensor, k: int) -> Hits:
        """The nearest documents of each query, ``[Q, D] -> [Q, k]``."""
        ...

    def vectors_of(self, hits: Hits) -> Tensor:
        """The vectors of what was found, ``[Q, K, D]``; zeros where nothing was."""
        ...

    def familiarity_of(self, hits: Hits, memory: Familiarity) -> Tensor:
        """How much what was found looks like what is remembered, ``[Q, K]``."""
        ...

    def sentences(self) -> Sentences | None:
        """The sentences of all documents; None where they are not known."""
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
    """How much each query and its collection look like what was trained on: ``[Q]`` each, from 0 to 1.

    Args:
        query: by the query, and by what the base finds for it.
        collection: by what the base finds for it alone.
    """

    query: Tensor
    collection: Tensor


def familiar(queries: Tensor, adapter: Adapter | None, source: Source) -> Familiar:
    """Looks up what the base finds.

    Args:
        queries: base vectors, ``[Q, D]``.
        adapter: trained; None: everything is familiar.
        source: all documents. Where the adapter changes documents, the base's vectors of them are not known, and only
            the queries are asked.
    """
    one = torch.ones(len(queries))
    if adapter is None:
        return Familiar(one, one)
    known = adapter.familiar_queries(queries)
    if adapter.changes_documents or not len(adapter.familiar_documents):
        return Familiar(known, known)
    found = source.nearest(queries, CANDIDATES)
    if not found.rows.shape[1]:
        return Familiar(known, known)
    collection = source.familiarity_of(found, adapter.familiar_documents).mean(1)
    return Familiar(torch.minimum(known, collection), collection)


def ranked(
    queries: Tensor, adapter: Adapter | None, source: Source, k: int, settings: SearchSettings, known: Familiar
) -> Hits:
    """The first ``k`` documents of each query by vectors.

    Args:
        queries: base vectors, ``[Q, D]``.
        adapter: None searches with the base.
        source: where.
        k: how many.
        settings: weights of feedback and of sentences.
        known: see `familiar`.
    """
    asked = queries if adapter is None else adapter.queries(queries, known.query)
    moved = asked
    if settings.feedback:
        first = source.nearest(asked, FEEDBACK_DOCUMENTS)
        moved = with_feedback(asked, source.vectors_of(first), first.scores, settings.feedback * known.query)
    sentences = source.sentences() if settings.sentences else None
    if sentences is None:
        return source.nearest(moved, k)
    hits = source.nearest(moved, max(k, DEPTH))
    return with_sentences(hits, sentences.best(asked, hits.rows), settings.sentences * known.collection).first(k)
