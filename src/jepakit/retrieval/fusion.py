"""One ranking of two: by ranks, or by scores brought to one scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from jepakit.errors import ConfigError, DataError
from jepakit.retrieval.hits import Hits

__all__ = ["WEIGHTS", "choose_weight", "reciprocal_rank", "weighted"]

#: The weights of words that `choose_weight` tries.
WEIGHTS = tuple(step / 20 for step in range(21))

Scores = TypeVar("Scores", Tensor, Hits)
"""Scores of all documents, ``[Q, N]``, or the best hits."""


def reciprocal_rank(rankings: Sequence[Hits], k: int, constant: float = 60) -> Hits:
    """Reciprocal rank fusion (Cormack et al. 2009): the sum of ``1 / (constant + rank)``, with ranks from 1.

    Args:
        rankings: of the same queries, ``[Q, k_i]``.
        k: how many to return.
        constant: how little the first ranks differ from the next.

    Returns:
        `Hits` ``[Q, k]``.

    Raises:
        DataError: there is no ranking, or they are not of the same number of queries.
        ConfigError: ``k`` is less than 1, or ``constant`` less than 0.
    """
    if constant < 0:
        raise ConfigError("constant", constant, "at least 0")
    shares = [1 / (constant + torch.arange(1, hits.rows.shape[1] + 1)) for hits in rankings]
    return _summed(rankings, [share.expand(len(hits), -1) for share, hits in zip(shares, rankings, strict=True)], k)


def weighted(dense: Scores, words: Scores, weight: float | Tensor) -> Scores:
    """``(1 - weight) * dense + weight * words``, each first brought to 0 .. 1 for each query (Bruch et al. 2023).

    With the scores of all documents, ``[Q, N]``, each has both. With hits, a document that one of the two did not find
    gets 0 from it, as the last that it found does.

    Args:
        dense: scores by vectors, ``[Q, N]`` or hits; -inf for documents that are not to be found.
        words: scores by words, likewise.
        weight: of words, from 0 to 1; one for all queries, or one for each, ``[Q]``.

    Returns:
        As the arguments: ``[Q, N]``, or all hits of both, best first.

    Raises:
        ConfigError: ``weight`` is not from 0 to 1.
        DataError: the two are not of the same queries (and documents).
    """
    share = torch.as_tensor(weight, dtype=torch.float32).reshape(-1, 1)
    if not ((share >= 0) & (share <= 1)).all():
        raise ConfigError("weight", weight, "a number from 0 to 1")
    if isinstance(dense, Hits) and isinstance(words, Hits):
        # A single hit is the best there is, and the worst: it counts as the best.
        scaled = [(1 - share) * _scaled(dense.scores, alone=1), share * _scaled(words.scores, alone=1)]
        return _summed([dense, words], scaled, dense.rows.shape[1] + words.rows.shape[1])
    assert isinstance(dense, Tensor)
    assert isinstance(words, Tensor)
    if dense.shape != words.shape:
        shape = str(tuple(dense.shape))
        raise DataError("scores of another shape", field="words", value=tuple(words.shape), expected=shape)
    fused = (1 - share) * _scaled(dense, alone=0) + share * _scaled(words, alone=0)
    return fused.masked_fill(dense.isneginf() | words.isneginf(), -torch.inf)


def choose_weight(
    dense: Scores, words: Scores, metric: Callable[[Scores], float], grid: Sequence[float] = WEIGHTS
) -> float:
    """The weight of `weighted` for which a metric is highest; of equal ones the first.

    Choose on queries that nothing is reported on.

    Args:
        dense: as for `weighted`.
        words: as for `weighted`.
        metric: of the fused scores, the higher the better: the mean NDCG@10, say.
        grid: the weights to try.

    Raises:
        ConfigError: there is nothing to try, or a weight is not from 0 to 1.
    """
    if not grid:
        raise ConfigError("grid", list(grid), "at least one weight")
    return max(grid, key=lambda weight: metric(weighted(dense, words, weight)))


def _scaled(scores: Tensor, *, alone: float) -> Tensor:
    """Each query's scores ``[Q, L]`` brought to 0 .. 1; ``alone`` where all are the same; 0 for -inf."""
    there = ~scores.isneginf()
    low = scores.masked_fill(~there, torch.inf).amin(1, keepdim=True)
    spread = scores.amax(1, keepdim=True) - low
    scaled = torch.where(spread > 0, (scores - low) / spread.clamp(min=torch.finfo(scores.dtype).tiny), alone)
    return scaled.masked_fill(~there, 0)


def _summed(rankings: Sequence[Hits], shares: Sequence[Tensor], k: int) -> Hits:
    """The best ``k`` by the sum of each row's shares, ``[Q, k_i]``."""
    if k < 1:
        raise ConfigError("k", k, "at least 1")
    if len({len(hits) for hits in rankings}) != 1:
        sizes = [len(hits) for hits in rankings]
        raise DataError(
            "rankings of different queries", field="rankings", value=sizes, expected="one number of queries"
        )
    rows, order = torch.cat([hits.rows for hits in rankings], 1).sort(dim=1)
    values = torch.cat(list(shares), 1).float().gather(1, order).masked_fill(rows < 0, 0)
    # Sorted by row, what belongs together stands together: each run of one row is summed into one place.
    place = (rows.diff(dim=1, prepend=rows[:, :1]) != 0).cumsum(1)
    sums = torch.zeros_like(values).scatter_add_(1, place, values)
    found = torch.full_like(rows, -1).scatter_(1, place, rows)
    return Hits.ranked(found, sums.masked_fill(found < 0, -torch.inf), k)
