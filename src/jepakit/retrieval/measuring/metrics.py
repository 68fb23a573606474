"""Nearest documents, NDCG, and significance by the bootstrap, fast enough for model selection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from jepakit.core.packed import positions
from jepakit.retrieval.data import Pairs

Step = TypeVar("Step", int, float)


def top_documents(queries: Tensor, documents: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The nearest documents by inner product: ``[Q, D], [N, D] -> scores [Q, K], rows [Q, K]``, best first.

    K is ``count``, or the number of documents where that is smaller.
    """
    count = min(count, len(documents))
    # One block of scores at a time, since all scores together may not fit into memory.
    block_size = max(1, 2**26 // max(1, len(documents)))
    blocks = [(block @ documents.T).topk(count, dim=1) for block in queries.split(block_size)]
    return torch.cat([block.values for block in blocks]), torch.cat([block.indices for block in blocks])


def ndcg(ranked: Tensor, queries: Tensor, pairs: Pairs, *, at: int = 10) -> Tensor:
    """Normalised discounted cumulative gain of each query: ``[Q]``, from 0 to 1.

    Args:
        ranked: rows of documents, best first, ``[Q, K]``.
        queries: the row of each query, ``[Q]``, all different.
        pairs: the judgements; a query without a relevant document scores 0.
        at: number of documents that count.

    Of the pieces of a page (see `Pairs`) the first counts, and the others nothing.

    Source: Järvelin & Kekäläinen 2002, with gain linear in the grade, as in trec_eval.
    """
    ranked, pairs = one_answer_each(ranked[:, :at], queries, pairs)
    place = torch.full((int(max(queries.max(), pairs.query.max())) + 1,), -1)
    place[queries] = torch.arange(len(queries))
    pairs = pairs.relevant
    pairs = pairs[place[pairs.query] >= 0]
    if not len(pairs):
        return torch.zeros(len(queries))
    row = place[pairs.query]
    discount = 1 / torch.log2(torch.arange(2, at + 2).float())
    # Sorted by query, then by falling grade: the place of a pair within its query is its rank in the ideal order.
    order = torch.argsort(row * (int(pairs.grade.max()) + 1) - pairs.grade, stable=True)
    row, document, grade = row[order], pairs.document[order], pairs.grade[order].float()
    within = positions(torch.bincount(row, minlength=len(queries)))
    counts = within < at
    ideal = torch.zeros(len(queries)).index_add_(0, row[counts], grade[counts] * discount[within[counts]])
    # A (query, document) pair as one number; judged pairs are looked up by it.
    width = int(max(ranked.max() if ranked.numel() else 0, document.max())) + 1
    judged, sorting = (row * width + document).sort()
    keys = torch.arange(len(queries))[:, None] * width + ranked
    place = torch.searchsorted(judged, keys).clamp(max=len(judged) - 1)
    gain = torch.where((judged[place] == keys) & (ranked >= 0), grade[sorting][place], 0.0)
    return (gain * discount[: ranked.shape[1]]).sum(1) / ideal.clamp(min=1e-12)


def one_answer_each(ranked: Tensor, queries: Tensor, pairs: Pairs) -> tuple[Tensor, Pairs]:
    """Ranking and judgements in which one document stands for each page that answers a query.

    Args:
        ranked: rows of documents, best first, ``[Q, K]``; below 0 for none.
        queries: the row of each query, ``[Q]``.
        pairs: the judgements.

    Returns:
        The ranking, ``[Q, K]``: the first piece of a page is replaced by the document that stands for it, further ones
        by different numbers below -1; and the pairs without the other pieces.
    """
    paged = pairs[pairs.pages >= 0]
    if not len(paged) or not ranked.numel():
        return ranked, pairs
    group = torch.stack([paged.query, paged.pages]).unique(dim=1, return_inverse=True)[1]
    first = torch.full((int(group.max()) + 1,), int(paged.document.max()))
    stands = first.scatter_reduce(0, group, paged.document, "amin")[group]
    width = int(max(ranked.max(), pairs.document.max())) + 1
    judged, order = (paged.query * width + paged.document).sort()
    keys = queries[:, None] * width + ranked
    place = torch.searchsorted(judged, keys).clamp(max=len(judged) - 1)
    found = (judged[place] == keys) & (ranked >= 0)
    replaced = torch.where(found, stands[order][place], ranked)
    by_row, columns = replaced.sort(dim=1, stable=True)
    repeats = torch.zeros_like(found)
    repeats[:, 1:] = by_row[:, 1:] == by_row[:, :-1]
    repeats = torch.zeros_like(found).scatter(1, columns, repeats) & found
    kept = torch.ones(len(pairs), dtype=torch.bool)
    kept[pairs.pages >= 0] = paged.document == stands
    return torch.where(repeats, -2 - torch.arange(ranked.shape[1]), replaced), pairs[kept]


def mean_of_copies(values: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """The mean over the copies of each question, ``[Q] -> [questions]``; ``copies`` as of `Queries.copies`."""
    number = np.unique(copies, return_inverse=True)[1]
    return np.bincount(number, weights=values) / np.bincount(number)


def paired_interval(
    difference: np.ndarray, *, confidence: float = 0.95, samples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The bootstrap interval of the mean of paired differences, ``[Q]``.

    Source: percentile bootstrap, Efron & Tibshirani 1993, §13.3.
    """
    generator = np.random.default_rng(seed)
    means = np.empty(samples)
    for start in range(0, samples, 500):
        drawn = generator.integers(0, len(difference), (min(500, samples - start), len(difference)))
        means[start : start + 500] = difference[drawn].mean(1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def smallest_good(values: Mapping[Step, Tensor], gain: Callable[[Tensor, Tensor], tuple[float, float]]) -> Step:
    """The smallest strength that is not significantly worse than the best, since held-out scores are optimistic.

    Args:
        values: strength, in rising order -> its score on each query, ``[Q]``.
        gain: the confidence interval of the mean difference of two of these.
    """
    best = max(values, key=lambda step: float(values[step].mean()))
    return next(step for step in values if step == best or gain(values[best], values[step])[0] <= 0)
