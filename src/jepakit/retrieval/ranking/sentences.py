"""Sentences as views of a document: a document covers several topics, a query often only one of them.

The first documents of a query are scored again: ``(1 - a) · cosine of the document + a · cosine of its best sentence``.
Source: MaxP, Dai & Callan 2019 (arXiv 1905.09217); the cosine of the whole document is our addition.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from jepakit.retrieval.datasets.chunks import sentence_spans
from jepakit.search.documents import Documents
from jepakit.search.hits import Hits
from jepakit.search.sentences import Sentences
from jepakit.text import TextEncoder

_MIN_WORDS = 3
_MAX_SENTENCES_PER_DOCUMENT = 64


def sentences_of(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The sentences of N texts, and the offset of each text's first sentence: ``[N + 1]`` int64.

    Sentences of fewer than three words are left out, and those after the 64th of a text. A text of a single sentence
    gets none, since its sentence equals the document.
    """
    sentences: list[str] = []
    offsets = [0]
    for text in texts:
        parts = [text[start:stop].strip() for start, stop in sentence_spans(text)]
        parts = [part for part in parts if len(part.split()) >= _MIN_WORDS][:_MAX_SENTENCES_PER_DOCUMENT]
        sentences += parts if len(parts) > 1 else []
        offsets.append(len(sentences))
    return sentences, np.array(offsets)


def encode_sentences(documents: Documents, encoder: TextEncoder) -> Sentences:
    """The vectors of the documents' sentences, by the base encoder."""
    texts, offsets = sentences_of(documents.texts)
    return Sentences(encoder.encode(texts, "document").half().numpy(), offsets)


def with_sentences(hits: Hits, best: Tensor, weight: float | Tensor) -> Hits:
    """The hits ordered by ``(1 - weight) · score + weight · best``; a document without sentences keeps its score.

    Args:
        hits: hits by the vectors of whole documents, ``[Q, K]``.
        best: score of each document's best sentence, see `Sentences.best`, ``[Q, K]``.
        weight: from 0 to 1; one number, or one for each query, ``[Q]``.
    """
    share = torch.as_tensor(weight, dtype=torch.float32).reshape(-1, 1)
    scores = torch.where(best.isneginf(), hits.scores, (1 - share) * hits.scores + share * best)
    return Hits.ranked(hits.rows, scores, hits.rows.shape[1])
