"""Which graphs train and which test: the same for every method that is compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jepakit.errors import ConfigError, DataError
from jepakit.graph.probe.result import Array, checked_labels

__all__ = ["Seed", "stratified_folds", "stratified_subset"]

Ints = NDArray[np.int64]
Seed = int | tuple[int, ...]


def stratified_folds(y: Array, folds: int, seed: Seed) -> Ints:
    """Deals the rows out to ``folds`` folds, class by class, in an order that ``seed`` shuffles.

    The folds differ by at most one in size and in the number of each class. Every method that is probed with the same
    ``y``, ``folds`` and ``seed`` gets the same folds.

    Args:
        y: classes, ``[G]`` integers.
        folds: how many, at least 2.
        seed: of the shuffle; a tuple of integers is one seed.

    Returns:
        ``[G]`` int64: the fold in which each row is tested.

    Raises:
        ConfigError: fewer than two folds.
        DataError: a class has fewer rows than there are folds, or there is only one class.
    """
    if folds < 2:
        raise ConfigError("folds", folds, "at least 2")
    labels = checked_labels(y)
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise DataError("only one class", field="y", value=classes.tolist(), expected="at least two")
    if counts.min() < folds:
        raise DataError(
            f"class {classes[counts.argmin()]} has fewer members than there are folds",
            field="y",
            value=int(counts.min()),
            expected=f"at least {folds} of each class, or fewer folds",
        )
    fold = np.empty(len(labels), dtype=np.int64)
    fold[_shuffled_by_class(labels, seed)] = np.arange(len(labels)) % folds
    return fold


def stratified_subset(y: Ints, fraction: float, seed: Seed, *, at_least: int = 2) -> Ints:
    """Rows to label: ``fraction`` of each class, rounded, but at least ``at_least`` of each.

    Returns:
        Row numbers, sorted.

    Raises:
        ConfigError: ``fraction`` is not between 0 and 1.
        DataError: a class would have no row left to test on.
    """
    if not 0 < fraction < 1:
        raise ConfigError("fraction", fraction, "more than 0 and less than 1")
    classes, counts = np.unique(y, return_counts=True)
    wanted = np.maximum(np.rint(fraction * counts).astype(np.int64), at_least)
    if (wanted >= counts).any():
        short = int((wanted >= counts).argmax())
        raise DataError(
            f"class {classes[short]} is too small for a labelled subset",
            field="y",
            value=int(counts[short]),
            expected=f"more than {int(wanted[short])} members",
        )
    order = _shuffled_by_class(y, seed)
    place = np.arange(len(y)) - (np.cumsum(counts) - counts).repeat(counts)
    return np.sort(order[place < wanted.repeat(counts)])


def _shuffled_by_class(y: Ints, seed: Seed) -> Ints:
    order = np.random.default_rng(seed).permutation(len(y))
    return order[np.argsort(y[order], kind="stable")]
