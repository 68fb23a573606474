"""Which queries a static encoder answers for: those whose words it has learned enough about.

The cosine to the base's vector is estimated from what the features of a query say, by least squares on held-out texts
of the collection. Queries below a threshold go to the base model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jepakit.search.static.features import Bags, Features

SIGNALS = 6
#: A threshold that no text reaches.
CLOSED = float(np.finfo(np.float32).max)
#: A token of fewer texts is rare.
_RARE = 6
#: Added to the diagonal of the least squares, in texts.
_RIDGE = 1.0


@dataclass(frozen=True)
class Gate:
    """A threshold of the estimated cosine.

    Args:
        frequency: ``log(1 + texts of training that have it)`` of each row, ``[R]`` float32.
        weights: of the signals, ``[SIGNALS]`` float32.
        threshold: of their weighted sum; with `CLOSED` the static encoder answers for none.
    """

    frequency: np.ndarray
    weights: np.ndarray
    threshold: float

    @property
    def closed(self) -> bool:
        """Whether all queries go to the base model."""
        return self.threshold >= CLOSED

    def close(self) -> Gate:
        """A gate that leaves all queries to the base model."""
        return replace(self, threshold=CLOSED)

    def estimate(self, features: Features, bags: Bags) -> np.ndarray:
        """The cosine that each of N texts is estimated to have to its base vector, ``[N]`` float32."""
        return signals(features, self.frequency, bags) @ self.weights

    def familiar(self, features: Features, bags: Bags) -> np.ndarray:
        """Which of N texts the static encoder answers for, ``[N]`` bool; never one without a known token."""
        return (bags.counts > 0) & (self.estimate(features, bags) >= self.threshold)


def signals(features: Features, frequency: np.ndarray, bags: Bags) -> np.ndarray:
    """What is known of each of N texts, ``[N, SIGNALS]`` float32.

    A constant, the share of unknown tokens, mean and least log frequency of the tokens, the share of rare ones, and the
    share of pairs that are known.
    """
    found = np.zeros((len(bags), SIGNALS), np.float32)
    for place, (start, count) in enumerate(zip(bags.starts, bags.counts, strict=True)):
        rows = bags.rows[start : start + count]
        known = frequency[rows[rows < features.singles]]
        unknown = float(bags.unknown[place])
        tokens = max(1, round(len(known) / max(1 - unknown, 1e-6)))
        mean, least, rare = 0.0, 0.0, 1.0
        if len(known):
            mean = float(known.sum()) / tokens
            least = float(known.min()) if tokens == len(known) else 0.0
            rare = (np.count_nonzero(known < np.log(_RARE)) + tokens - len(known)) / tokens
        found[place] = (1, unknown, mean, least, rare, (count - len(known)) / max(1, tokens - 1))
    return found


def fit_gate(features: Features, frequency: np.ndarray, bags: Bags, reached: np.ndarray, *, home: float) -> Gate:
    """A gate that leaves a share of held-out texts to the static encoder.

    Args:
        features: finds rows.
        frequency: training texts that have each row, ``[R]``.
        bags: of N held-out texts.
        reached: their cosines to the base's vectors, ``[N]``.
        home: the share.
    """
    logarithm = np.log1p(frequency).astype(np.float32)
    found = signals(features, logarithm, bags)
    known = found.astype(np.float64)
    square = known.T @ known + _RIDGE * np.eye(SIGNALS)
    weights = np.linalg.solve(square, known.T @ reached.astype(np.float64)).astype(np.float32)
    return Gate(logarithm, weights, float(np.quantile(found @ weights, 1 - home)))
