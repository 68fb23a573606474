"""Pseudo-relevance feedback: a query is moved towards its first documents and searched again."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.retrieval.measuring.metrics import top_documents
from jepakit.search.hits import Hits

#: First documents that a query is moved towards.
FEEDBACK_DOCUMENTS = 3
#: Softmax temperature of their weights: a cosine higher by this makes a weight e times as large.
_TEMPERATURE = 0.05


def with_feedback(queries: Tensor, documents: Tensor, scores: Tensor, weight: float | Tensor) -> Tensor:
    """Queries moved towards their first documents, ``norm((1 - w) q + w Σ softmax(score / 0.05) d)``: ``[Q, D]``.

    Args:
        queries: unit vectors, ``[Q, D]``.
        documents: unit vectors of the first documents of each query, ``[Q, K, D]``.
        scores: their scores, ``[Q, K]``; -inf where a query has fewer than K hits.
        weight: w, from 0 to 1; one number, or one for each query, ``[Q]``.

    Source: Rocchio 1971; on dense vectors Li et al. 2021 (arXiv 2108.11044).
    """
    shares = torch.softmax(scores / _TEMPERATURE, dim=1).nan_to_num(0.0)
    centre = F.normalize((shares.unsqueeze(-1) * documents).sum(1), dim=-1)
    has_hits = ~scores.isneginf().all(1)
    return F.normalize(queries.lerp(centre, (torch.as_tensor(weight) * has_hits).unsqueeze(-1)), dim=-1)


def nearest(queries: Tensor, documents: Tensor, count: int, feedback: float | Tensor = 0.0) -> Hits:
    """The nearest documents of each query, after feedback where its weight is not 0.

    Args:
        queries: unit vectors, ``[Q, D]``.
        documents: unit vectors, ``[N, D]``.
        count: documents for each query.
        feedback: see `with_feedback`.
    """
    if bool(torch.as_tensor(feedback).any()):
        scores, rows = top_documents(queries, documents, FEEDBACK_DOCUMENTS)
        queries = with_feedback(queries, documents[rows], scores, feedback)
    scores, rows = top_documents(queries, documents, count)
    return Hits(rows, scores)
