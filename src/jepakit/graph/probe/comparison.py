"""Intervals of the difference of two methods that were scored on the same splits or draws of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A difference and the bounds between which it lies with a probability."""

    mean: float
    low: float
    high: float

    def scaled(self, factor: float) -> Interval:
        """In other units; a negative ``factor`` swaps the ends."""
        low, high = sorted((factor * self.low, factor * self.high))
        return Interval(factor * self.mean, low, high)


@dataclass(frozen=True)
class Variance:
    """The variance of an estimate that one source of chance causes, estimated with so many degrees of freedom."""

    value: float
    freedom: float


def interval(mean: float, sources: Sequence[Variance], level: float = 0.95) -> Interval:
    """A t interval around ``mean`` for the sum of independent sources, with Satterthwaite's degrees of freedom.

    Args:
        mean: the estimate.
        sources: of its variance.
        level: the probability.
    """
    total = sum(source.value for source in sources)
    if total <= 0:
        return Interval(mean, mean, mean)
    freedom = total**2 / sum(source.value**2 / source.freedom for source in sources)
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * total**0.5
    return Interval(mean, mean - half, mean + half)


def crossed_interval(differences: ArrayLike) -> Interval:
    """The mean difference over pre-trainings and draws of labels, with a 95 % interval.

    Both are random: the means of rows and of columns give the two variances. The variance of single cells is counted
    in both, so that the interval is a little too wide. With a single row it is that of the draws alone.

    Args:
        differences: ``[pre-trainings, draws]``, at least two draws.
    """
    table = np.asarray(differences, dtype=np.float64)
    sources = [
        Variance(float(means.var(ddof=1)) / len(means), len(means) - 1)
        for means in (table.mean(axis=1), table.mean(axis=0))
        if len(means) > 1
    ]
    return interval(float(table.mean()), sources)
