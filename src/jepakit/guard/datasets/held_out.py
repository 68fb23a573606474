"""What the fitting of judges has in common: groups that are held out, weights of rows, and what is measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jepakit.guard.datasets.labelled import LabelledRuns
from jepakit.guard.risk import LOWEST

#: Groups beyond so many are held out together.
_FOLDS = 5


def folds(runs: LabelledRuns) -> NDArray[np.str_]:
    """The fold of each run: its group; with one group, its task, in five folds."""
    parts = runs.group if len(np.unique(runs.group)) > 1 else runs.task
    number = np.unique(parts, return_inverse=True)[1]
    return number.astype(np.str_) if number.max() < _FOLDS else (number % _FOLDS).astype(np.str_)


def by_family(runs: LabelledRuns) -> dict[str, NDArray[np.bool_]]:
    """The attacked runs of each family of attacks."""
    attacked = runs.attacked
    return {str(name): attacked & (runs.family == name) for name in np.unique(runs.family[attacked])}


def strata(runs: LabelledRuns, run: NDArray[np.int64], malicious: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The stratum of each row: the goal of a malicious call, and the task of another."""
    return np.unique(np.where(malicious, runs.goal[run], runs.task[run]), return_inverse=True)[1]


def balanced_weights(
    malicious: NDArray[np.bool_], stratum: NDArray[np.int64], content: NDArray[np.int64], used: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Weights of rows that sum to 1: half for each label, less for a row of a large stratum, 0 for a copy.

    Args:
        malicious: the label of each row.
        stratum: the goal, or the task, of each.
        content: a number that equal rows share.
        used: rows that have a weight.
    """
    rows = np.stack([malicious, stratum, content], 1)[used]
    first = np.flatnonzero(used)[np.unique(rows, axis=0, return_index=True)[1]]
    pair = 2 * stratum[first] + malicious[first]
    weight = np.zeros(len(used))
    weight[first] = np.bincount(pair)[pair] ** -0.75
    for label in (False, True):
        weight[malicious == label] *= 0.5 / max(weight[malicious == label].sum(), 1e-12)
    return weight


def mean_recall(runs: LabelledRuns, scores: NDArray[np.floating], false_alarms: float) -> float:
    """The share of attacked runs above the score that ``false_alarms`` of benign runs pass, as a mean over families."""
    highest_of = runs.highest(scores, LOWEST)
    threshold = np.quantile(highest_of[runs.benign], 1 - false_alarms, method="higher")
    return float(
        np.mean([(highest_of[chosen] > threshold).mean() for chosen in by_family(runs).values() if chosen.any()])
    )
