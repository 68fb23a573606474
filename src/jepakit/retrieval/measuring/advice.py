"""What to use, of searches measured on the same questions: a search with learned parts, and those without training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jepakit.retrieval.measuring.metrics import mean_of_copies, paired_interval

#: Fewest different questions for advice.
FEWEST_QUESTIONS = 50
#: The difference for which the needed number of questions is stated, and z for 95 % confidence with a power of 80 %.
_SMALL, _Z = 0.01, 1.96 + 0.84


@dataclass(frozen=True)
class Difference:
    """The mean difference of two searches in NDCG@10, with its 95 % interval over different questions."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray, *, confidence: float = 0.95, seed: int = 0) -> Difference:
        """Of the paired differences ``[questions]``."""
        return cls(float(values.mean()), *paired_interval(values, confidence=confidence, seed=seed))

    def __str__(self) -> str:
        return f"{self.mean:+.4f} ({self.low:+.4f} to {self.high:+.4f})"


def differences(
    ndcg: Mapping[str, np.ndarray], copies: np.ndarray, ours: str, *, seed: int = 0
) -> dict[str, Difference]:
    """How much better one search is than each of the others.

    Args:
        ndcg: search -> NDCG@10 of each query, ``[Q]``.
        copies: ``[Q]``: equal numbers for copies of one question, which count once.
        ours: the search.
        seed: seed of the bootstrap.
    """
    return {
        name: Difference.of(mean_of_copies(ndcg[ours] - values, copies), seed=seed)
        for name, values in ndcg.items()
        if name != ours
    }


def advice(
    ndcg: Mapping[str, np.ndarray], copies: np.ndarray, ours: Sequence[str], floors: Sequence[str], *, seed: int = 0
) -> str:
    """Which search to use, in a sentence or two.

    A search with learned parts is recommended only where it is significantly better than every search that needs no
    training, so chance alone recommends it in at most 2.5 % of cases. That it is worse is said at 95 % for all of them
    together (Bonferroni).

    Args:
        ndcg: search -> NDCG@10 of each query, ``[Q]``.
        copies: ``[Q]``: equal numbers for copies of one question, which count once.
        ours: searches with learned parts; the first is the one that a run uses.
        floors: searches without training; the first is the base model.
        seed: seed of the bootstrap.
    """
    values = {name: mean_of_copies(ndcg[name], copies) for name in (*ours, *floors)}
    questions = len(next(iter(values.values())))
    if questions < FEWEST_QUESTIONS:
        measured = "one was" if questions == 1 else "ones were"
        return (
            f"Use {ours[0]} for now: its learned parts are used only as far as held-out pairs speak for them. To"
            f" compare it with what needs no training takes at least {FEWEST_QUESTIONS} different questions;"
            f" {questions} different {measured} measured."
        )

    def against(first: str, second: str, confidence: float = 0.95) -> Difference:
        return Difference.of(values[first] - values[second], confidence=confidence, seed=seed)

    main = ours[0]
    strongest = max(floors, key=lambda name: float(values[name].mean()))
    better = [name for name in ours if all(against(name, floor).low > 0 for floor in floors)]
    if better:
        best = max(better, key=lambda name: float(values[name].mean()))
        if main in better and best != main and against(best, main).low <= 0:
            best = main
        return (
            f"Use {best}: it is significantly better than all that needs no training;"
            f" {against(best, strongest)} NDCG@10 against the strongest of it, {strongest}."
        )
    level = 1 - 0.05 / len(floors)
    worse_than = [name for name in floors if against(main, name, level).high < 0]
    if worse_than:
        best = max(worse_than, key=lambda name: float(values[name].mean()))
        return f"Use {best}, which needs no training: {main} is significantly worse, {against(main, best)} NDCG@10."
    difference = values[main] - values[strongest]
    if not difference.any():
        return (
            f"Use {strongest}, which needs no training: {main} finds the same."
            f"{_gain(values, strongest, floors[0], seed)}"
        )
    needed = math.ceil((_Z / _SMALL) ** 2 * float(difference.var(ddof=1)))
    return (
        f"Use {strongest}, which needs no training: training is not shown to help, {main} is not significantly better"
        f" ({against(main, strongest)} NDCG@10) on {questions} different questions; to show a difference of {_SMALL:g},"
        f" about {needed:,} are needed.{_gain(values, strongest, floors[0], seed)}"
    )


def _gain(values: Mapping[str, np.ndarray], strongest: str, base: str, seed: int) -> str:
    """What the strongest floor gains over the base model, as a further sentence."""
    if strongest == base:
        return ""
    return f" Against {base} it is {Difference.of(values[strongest] - values[base], seed=seed)}."
