"""Sentences as views of a document: a document is about many things, and a question often about one of them.

Each document that a query finds is scored again: ``(1 - a) · its own cosine + a · the best of its sentences'``.
Source: MaxP, Dai & Callan 2019 (arXiv 1905.09217), with the whole document kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from jepakit.retrieval.data import Documents
from jepakit.retrieval.datasets.chunks import sentence_spans
from jepakit.search.hits import Hits
from jepakit.search.sentences import Sentences
from jepakit.text import TextEncoder

__all__ = ["encode_sentences", "sentences_of", "with_sentences"]

#: Words without which a sentence says nothing, and sentences of one document.
_FEWEST_WORDS, _MOST_SENTENCES = 3, 64


def sentences_of(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The sentences of some texts, and where those of each begin: ``[N + 1]`` int64.

    A text of a single sentence has none: it is its own. Of a long one the first 64 are taken.
    """
    found: list[str] = []
    first = [0]
    for text in texts:
        parts = [text[start:stop].strip() for start, stop in sentence_spans(text)]
        parts = [part for part in parts if len(part.split()) >= _FEWEST_WORDS][:_MOST_SENTENCES]
        found += parts if len(parts) > 1 else []
        first.append(len(found))
    return found, np.array(first)


def encode_sentences(documents: Documents, encoder: TextEncoder) -> Sentences:
    """The sentences of documents as the base encoder has them."""
    texts, first = sentences_of(documents.texts)
    return Sentences(encoder.encode(texts, "document").half().numpy(), first)


def with_sentences(hits: Hits, best: Tensor, weight: float | Tensor) -> Hits:
    """The hits in the order of ``(1 - weight) · score + weight · best``; one without sentences keeps its score.

    Args:
        hits: by the documents' own vectors, ``[Q, K]``.
        best: what `Sentences.best` says of them, ``[Q, K]``.
        weight: from 0 to 1; one for all queries, or one for each, ``[Q]``.
    """
    share = torch.as_tensor(weight, dtype=torch.float32).reshape(-1, 1)
    scores = torch.where(best.isneginf(), hits.scores, (1 - share) * hits.scores + share * best)
    return Hits.ranked(hits.rows, scores, hits.rows.shape[1])
