"""One ranking of two: by ranks, or by scores brought to one scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from jepakit.errors import ConfigError, DataError
from jepakit.search.hits import Hits


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


def weighted(dense: Hits, words: Hits, weight: float | Tensor) -> Hits:
    """``(1 - weight) * dense + weight * words``, each first brought to 0 .. 1 for each query (Bruch et al. 2023).

    A document that one of the two did not find gets 0 from it, as the last that it found does; an only hit gets 1.

    Args:
        dense: by vectors.
        words: by words, for the same queries.
        weight: of words, from 0 to 1; one for all queries, or one for each, ``[Q]``.

    Returns:
        All `Hits` of both.

    Raises:
        ConfigError: ``weight`` is not from 0 to 1.
        DataError: the two are not of the same queries.
    """
    share = torch.as_tensor(weight, dtype=torch.float32).reshape(-1, 1)
    if not ((share >= 0) & (share <= 1)).all():
        raise ConfigError("weight", weight, "a number from 0 to 1")
    scaled = [(1 - share) * _scaled(dense.scores), share * _scaled(words.scores)]
    return _summed([dense, words], scaled, dense.rows.shape[1] + words.rows.shape[1])


def _scaled(scores: Tensor) -> Tensor:
    """Each query's scores ``[Q, L]`` brought to 0 .. 1; 1 where all are the same; 0 for -inf."""
    there = ~scores.isneginf()
    low = scores.masked_fill(~there, torch.inf).amin(1, keepdim=True)
    spread = scores.amax(1, keepdim=True) - low
    scaled = torch.where(spread > 0, (scores - low) / spread.clamp(min=torch.finfo(scores.dtype).tiny), 1.0)
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
