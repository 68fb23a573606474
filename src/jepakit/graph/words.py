"""Bags of words as node features: what they look like, and how much a rare word weighs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Powers that `best_power` compares.
POWERS = (1.0, 0.5, 0.0)
_MIN_WORDS, _MAX_SHARE_OF_WORDS = 100, 0.1
_PAIRS, _PAIRS_AT_ONCE = 20_000, 2_000


def is_bag_of_words(x: Tensor) -> bool:
    """Whether features ``[N, F]`` look like words: many columns, none negative, most entries 0."""
    wide, few = x.shape[1] >= _MIN_WORDS, float((x != 0).sum()) <= _MAX_SHARE_OF_WORDS * x.numel()
    return wide and few and bool((x >= 0).all())


def word_weights(x: Tensor, power: float = 1.0) -> Tensor:
    """``log(N / n)^power`` of each column of ``x`` (``[N, F]``) that n of N rows have above 0, ``[F]``.

    A column that every row has weighs 0; one that none has, as if one had.
    """
    return (len(x) / (x > 0).sum(0).clamp(min=1)).log() ** power


def best_power(x: Tensor, edge_index: Tensor) -> float:
    """The power of `word_weights`, of `POWERS`, with which words best tell neighbours from other nodes.

    The measure is the area under the ROC curve of the cosine between the rows of a pair: edges against as many pairs
    with the same sources and the same targets in another order. It needs no label and no training. Of equals the first
    is taken.

    Args:
        x: bag of words, ``[N, F]``.
        edge_index: sources and targets, ``[2, E]``; of many, some are drawn.
    """
    if not edge_index.shape[1]:
        return POWERS[0]
    generator = torch.Generator().manual_seed(0)
    source, target = edge_index[:, torch.randperm(edge_index.shape[1], generator=generator)[:_PAIRS]]
    other = target[torch.randperm(len(target), generator=generator)]

    def agreement(power: float) -> float:
        weight = word_weights(x, power)
        return _area(_cosines(x, weight, source, target), _cosines(x, weight, source, other))

    return max(POWERS, key=agreement)


def _cosines(x: Tensor, weight: Tensor, source: Tensor, target: Tensor) -> Tensor:
    def rows(nodes: Tensor) -> Tensor:
        return F.normalize(x[nodes] * weight, dim=1)

    pairs = zip(source.split(_PAIRS_AT_ONCE), target.split(_PAIRS_AT_ONCE), strict=True)
    return torch.cat([(rows(some) * rows(others)).sum(1) for some, others in pairs])


def _area(above: Tensor, below: Tensor) -> float:
    """The area under the ROC curve: the share of pairs of both in which ``above`` is greater; equals count half."""
    ordered = below.sort().values
    less = torch.searchsorted(ordered, above.contiguous())
    less_or_equal = torch.searchsorted(ordered, above.contiguous(), right=True)
    return float((less + less_or_equal).double().mean()) / (2 * len(below))
