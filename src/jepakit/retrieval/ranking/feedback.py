"""Pseudo-relevance feedback: the first documents say more about what is meant than the query alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.retrieval.measuring.metrics import top_documents
from jepakit.search.hits import Hits

__all__ = ["FEEDBACK_DOCUMENTS", "nearest", "with_feedback"]

#: How many of the first documents a query moves towards.
FEEDBACK_DOCUMENTS = 3
#: Softness of their weights: a document whose cosine is higher by this weighs e times as much.
_TEMPERATURE = 0.05


def with_feedback(queries: Tensor, documents: Tensor, scores: Tensor, weight: float | Tensor) -> Tensor:
    """Queries moved towards their first documents, ``norm((1 - w) q + w Σ softmax(score / 0.05) d)``: ``[Q, D]``.

    Args:
        queries: unit vectors, ``[Q, D]``.
        documents: unit vectors of what each found first, ``[Q, K, D]``.
        scores: their scores, ``[Q, K]``; -inf where nothing was found.
        weight: w, from 0 to 1; one for all queries, or one for each, ``[Q]``.

    Source: Rocchio 1971; on dense vectors Li et al. 2021 (arXiv 2108.11044).
    """
    shares = torch.softmax(scores / _TEMPERATURE, dim=1).nan_to_num(0.0)
    centre = F.normalize((shares.unsqueeze(-1) * documents).sum(1), dim=-1)
    found = ~scores.isneginf().all(1)
    share = (torch.as_tensor(weight) * found).unsqueeze(-1)
    return F.normalize(queries.lerp(centre, share), dim=-1)


def nearest(queries: Tensor, documents: Tensor, count: int, feedback: float | Tensor = 0.0) -> Hits:
    """The nearest documents of each query, after feedback where its weight is not 0.

    Args:
        queries: unit vectors, ``[Q, D]``.
        documents: unit vectors, ``[N, D]``.
        count: how many.
        feedback: see `with_feedback`.
    """
    if bool(torch.as_tensor(feedback).any()):
        scores, rows = top_documents(queries, documents, FEEDBACK_DOCUMENTS)
        queries = with_feedback(queries, documents[rows], scores, feedback)
    scores, rows = top_documents(queries, documents, count)
    return Hits(rows, scores)
