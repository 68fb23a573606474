"""Stratified splits of labelled rows, the same for every method with the same labels and seed."""

from __future__ import annotations

import numpy as np

from jepakit.errors import ConfigError, DataError
from jepakit.graph.probe.result import Array, Ints, checked_labels

Seed = int | tuple[int, ...]


def stratified_folds(y: Array, folds: int, seed: Seed) -> Ints:
    """The fold of each row, ``[G] -> [G]`` int64: random, class by class.

    The folds differ by at most one in size and in the number of rows of each class.

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
        problem = f"class {classes[counts.argmin()]} has fewer members than there are folds"
        expected = f"at least {folds} of each class, or fewer folds"
        raise DataError(problem, field="y", value=int(counts.min()), expected=expected)
    fold = np.empty(len(labels), dtype=np.int64)
    fold[_shuffled_by_class(labels, seed)] = np.arange(len(labels)) % folds
    return fold


def stratified_subset(y: Ints, fraction: float, seed: Seed) -> Ints:
    """A random ``fraction`` of each class, rounded, but at least two rows of each; row numbers, sorted.

    Raises:
        ConfigError: ``fraction`` is not between 0 and 1.
        DataError: no row of a class would remain.
    """
    if not 0 < fraction < 1:
        raise ConfigError("fraction", fraction, "more than 0 and less than 1")
    counts = np.unique(y, return_counts=True)[1]
    return _draw(y, np.maximum(np.rint(fraction * counts).astype(np.int64), 2), seed)


def stratified_draw(y: Ints, per_class: int, seed: Seed) -> Ints:
    """Random rows, ``per_class`` of each class; row numbers, sorted.

    Raises:
        DataError: no row of a class would remain.
    """
    return _draw(y, np.full(len(np.unique(y)), per_class), seed)


def _draw(y: Ints, sizes: Ints, seed: Seed) -> Ints:
    """Random rows, ``sizes`` of each class in ascending order."""
    classes, counts = np.unique(y, return_counts=True)
    if (sizes >= counts).any():
        small = int((sizes >= counts).argmax())
        problem = f"class {classes[small]} is too small for a labelled subset"
        raise DataError(problem, field="y", value=int(counts[small]), expected=f"more than {sizes[small]} members")
    order = _shuffled_by_class(y, seed)
    position = np.arange(len(y)) - (np.cumsum(counts) - counts).repeat(counts)
    return np.sort(order[position < sizes.repeat(counts)])


def _shuffled_by_class(y: Ints, seed: Seed) -> Ints:
    order = np.random.default_rng(seed).permutation(len(y))
    return order[np.argsort(y[order], kind="stable")]
