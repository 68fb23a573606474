"""Ranking documents by vectors: adapted query, feedback, sentences; the same code for memory and for an index.

Pseudo-relevance feedback moves a query towards its first documents and searches again. Sentences are views of a
document, which covers several topics where a query has one: the first documents of a query are scored again, by
``(1 - a) · cosine of the document + a · cosine of its best sentence`` (MaxP, Dai & Callan 2019, arXiv 1905.09217; the
cosine of the whole document is our addition).

Each step is scaled by familiarity, from 0 to 1. The adapter and feedback are scaled by how similar the query and its
first documents are to the training data; sentences and BM25 by whether the documents are those of training, not of a
near neighbour. Away from home nothing is left but the base model and BM25 with a weight that suits most collections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.retrieval.adapter.familiarity import Familiarity
from jepakit.retrieval.datasets.chunks import sentence_spans
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.measuring.metrics import top_documents
from jepakit.search.documents import Documents
from jepakit.search.fusion import weighted
from jepakit.search.hits import Hits
from jepakit.search.sentences import Sentences
from jepakit.search.settings import DEPTH, FEEDBACK_DOCUMENTS, FEEDBACK_TEMPERATURE, SearchSettings
from jepakit.text import TextEncoder

#: First documents of the base model from which the familiarity of the collection is estimated.
CANDIDATES = 5
_MIN_SENTENCE_WORDS, _MAX_SENTENCES_PER_DOCUMENT = 3, 64


class Source(Protocol):
    """Documents that can be searched by vector."""

    @property
    def sentences(self) -> Sentences | None:
        """The sentences of all documents; None if they are not stored."""
        ...

    def nearest(self, queries: Tensor, k: int) -> Hits:
        """The nearest documents of each query, ``[Q, D] -> [Q, k]``."""
        ...

    def vectors_of(self, hits: Hits) -> Tensor:
        """The vectors of the hits, ``[Q, K, D]``; zeros where a query has fewer than K hits."""
        ...

    def familiarity_of(self, hits: Hits, memory: Familiarity) -> Tensor:
        """The familiarity of each hit, and whether it is at home, ``[Q, K, 2]``; see `Familiarity.both`."""
        ...


@dataclass(frozen=True)
class Encoded:
    """A collection in memory, as a `Source`: vectors ``[N, D]``, and optionally the sentences."""

    documents: Tensor
    sentences: Sentences | None = None

    def nearest(self, queries: Tensor, k: int) -> Hits:
        """See `Source.nearest`."""
        return nearest(queries, self.documents, k)

    def adapted(self, adapter: Adapter) -> Encoded:
        """As an adapter has the documents and their sentences."""
        sentences = None if self.sentences is None else self.sentences.adapted(adapter)
        return Encoded(adapter.documents(self.documents), sentences)

    def vectors_of(self, hits: Hits) -> Tensor:
        """See `Source.vectors_of`."""
        return self.documents[hits.rows]

    def familiarity_of(self, hits: Hits, memory: Familiarity) -> Tensor:
        """See `Source.familiarity_of`."""
        return memory.both(self.vectors_of(hits).flatten(0, 1)).view(*hits.rows.shape, 2)


@dataclass(frozen=True)
class Familiar:
    """How similar each query and its collection are to the training data: ``[Q]`` each, from 0 to 1.

    Args:
        query: the smaller of the familiarity of the query itself and ``collection``.
        collection: mean familiarity of the base model's first documents for the query.
        home: to what part these documents are of the training collection, not of a near neighbour.
    """

    query: Tensor
    collection: Tensor
    home: Tensor


def familiar(queries: Tensor, adapter: Adapter | None, source: Source) -> Familiar:
    """The familiarity of queries, base vectors ``[Q, D]``, and of their first documents; all of it without an adapter.

    If the adapter changes documents, their base vectors are not available, and only the queries count.
    """
    if adapter is None:
        return Familiar(*torch.ones(3, len(queries)).unbind())
    query = adapter.familiar_queries(queries)
    if adapter.changes_documents or not len(adapter.familiar_documents):
        return Familiar(query, query, query)
    hits = source.nearest(queries, CANDIDATES)
    if not hits.rows.shape[1]:
        return Familiar(query, query, query)
    collection, home = source.familiarity_of(hits, adapter.familiar_documents).mean(1).unbind(1)
    return Familiar(torch.minimum(query, collection), collection, home)


def ranked(
    queries: Tensor, adapter: Adapter | None, source: Source, k: int, settings: SearchSettings, familiarity: Familiar
) -> Hits:
    """The first ``k`` documents of each query, base vectors ``[Q, D]``, by vectors; by the base without an adapter."""
    adapted = queries if adapter is None else adapter.queries(queries, familiarity.query)
    moved = adapted
    if settings.feedback:
        first = source.nearest(adapted, FEEDBACK_DOCUMENTS)
        moved = with_feedback(adapted, source.vectors_of(first), first.scores, settings.feedback * familiarity.query)
    if not settings.sentences or source.sentences is None:
        return source.nearest(moved, k)
    hits = source.nearest(moved, max(k, DEPTH))
    best = source.sentences.best(adapted, hits.rows)
    return with_sentences(hits, best, settings.sentences * familiarity.home).first(k)


def fused(dense: Hits, words: Hits | None, settings: SearchSettings, familiarity: Familiar) -> Hits:
    """All hits of both by vectors and by BM25, with the weight of BM25 at home, elsewhere, or in between.

    ``words``: None if BM25 has no weight.
    """
    if words is None or not settings.use_words:
        return dense
    elsewhere = settings.words_elsewhere
    return weighted(dense, words, elsewhere + (settings.words - elsewhere) * familiarity.home)


def nearest(queries: Tensor, documents: Tensor, count: int, feedback: float | Tensor = 0.0) -> Hits:
    """The ``count`` nearest documents, unit vectors ``[N, D]``, of each query, ``[Q, D]``; see `with_feedback`."""
    if bool(torch.as_tensor(feedback).any()):
        scores, rows = top_documents(queries, documents, FEEDBACK_DOCUMENTS)
        queries = with_feedback(queries, documents[rows], scores, feedback)
    scores, rows = top_documents(queries, documents, count)
    return Hits(rows, scores)


def with_feedback(queries: Tensor, documents: Tensor, scores: Tensor, weight: float | Tensor) -> Tensor:
    """Queries moved towards their first documents, ``norm((1 - w) q + w Σ softmax(score / 0.05) d)``: ``[Q, D]``.

    Args:
        queries: unit vectors, ``[Q, D]``.
        documents: unit vectors of the first documents of each query, ``[Q, K, D]``.
        scores: their scores, ``[Q, K]``; -inf where a query has fewer than K hits.
        weight: w, from 0 to 1; one number, or one for each query, ``[Q]``.

    Source: Rocchio 1971; on dense vectors Li et al. 2021 (arXiv 2108.11044).
    """
    shares = torch.softmax(scores / FEEDBACK_TEMPERATURE, dim=1).nan_to_num(0.0)
    centre = F.normalize((shares.unsqueeze(-1) * documents).sum(1), dim=-1)
    has_hits = ~scores.isneginf().all(1)
    return F.normalize(queries.lerp(centre, (torch.as_tensor(weight) * has_hits).unsqueeze(-1)), dim=-1)


def with_sentences(hits: Hits, best: Tensor, weight: float | Tensor) -> Hits:
    """The hits ordered by ``(1 - weight) · score + weight · best``; a document without sentences keeps its score.

    ``best``: the score of each hit's best sentence, see `Sentences.best`, ``[Q, K]``; ``weight``: from 0 to 1, one
    number, or one for each query, ``[Q]``.
    """
    share = torch.as_tensor(weight, dtype=torch.float32).reshape(-1, 1)
    scores = torch.where(best.isneginf(), hits.scores, (1 - share) * hits.scores + share * best)
    return Hits.ranked(hits.rows, scores, hits.rows.shape[1])


def sentences_of(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The sentences of N texts, and the offset of each text's first sentence: ``[N + 1]`` int64.

    Sentences of fewer than three words are left out, and those after the 64th of a text. A text of a single sentence
    gets none, since its sentence equals the document.
    """
    sentences: list[str] = []
    offsets = [0]
    for text in texts:
        parts = [text[start:stop].strip() for start, stop in sentence_spans(text)]
        parts = [part for part in parts if len(part.split()) >= _MIN_SENTENCE_WORDS][:_MAX_SENTENCES_PER_DOCUMENT]
        sentences += parts if len(parts) > 1 else []
        offsets.append(len(sentences))
    return sentences, np.array(offsets)


def encode_sentences(documents: Documents, encoder: TextEncoder, adapter: Adapter | None = None) -> Sentences:
    """The vectors of the documents' sentences, by the base encoder and then by an adapter."""
    texts, offsets = sentences_of(documents.texts)
    sentences = Sentences(encoder.encode(texts, "document").half().numpy(), offsets)
    return sentences if adapter is None else sentences.adapted(adapter)


def encode_documents(
    documents: Documents, encoder: TextEncoder, adapter: Adapter | None, *, sentences: bool
) -> tuple[Tensor, Sentences | None]:
    """The index vectors of documents, ``[N, D]``, and the vectors of their sentences if an index stores them."""
    vectors = encoder.encode(documents.passages, "document")
    parts = encode_sentences(documents, encoder, adapter) if sentences else None
    return vectors if adapter is None else adapter.documents(vectors), parts
