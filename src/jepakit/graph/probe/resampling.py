"""Draws of training labels and test rows: what another sample of a given split might have given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jepakit.graph.probe.result import Ints


def resamples_of(train: Ints, test: Ints, count: int, y: Ints | None = None) -> list[tuple[Ints, Ints]]:
    """``count`` random halves of ``train``, each with as many positions in ``test`` as it has, drawn with replacement.

    The spread of a score over the halves estimates what its training rows contribute to its variance (the delete-half
    jackknife), that over draws of the test rows what these do (the bootstrap). The draws depend on the split alone, so
    that scores of several methods can be compared pair by pair.

    Args:
        train: row numbers.
        test: row numbers.
        count: draws.
        y: classes of all rows; with them, half of each class is drawn.

    Returns:
        Pairs of training rows and positions. Without a pair: a class has a single training row and cannot be halved.

    Source: Shao and Tu, "The Jackknife and Bootstrap", 1995, section 2.3.
    """
    groups = [train] if y is None else [train[y[train] == label] for label in np.unique(y[train])]
    if min(map(len, groups)) < 2:
        return []
    pairs = []
    for draw in range(count):
        rng = np.random.default_rng((count, draw))
        halves = [rng.choice(group, len(group) // 2, replace=False) for group in groups]
        pairs.append((np.sort(np.concatenate(halves)), rng.integers(len(test), size=len(test))))
    return pairs


def resampled_accuracy(
    y: Ints, test: Ints, pairs: Sequence[tuple[Ints, Ints]], predicted: Sequence[Ints]
) -> list[float]:
    """The accuracy of each pair.

    Args:
        y: classes of all rows.
        test: row numbers.
        pairs: of `resamples_of`.
        predicted: classes of the rows ``test``, fitted to the training rows of each pair.
    """
    hits = [rows == y[test] for rows in predicted]
    return [float(hit[drawn].mean()) for hit, (_, drawn) in zip(hits, pairs, strict=True)]
