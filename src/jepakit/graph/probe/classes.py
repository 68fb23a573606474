"""Probes: classifiers on frozen features, by the protocols of the field.

Graphs are scored by stratified cross-validation. All hyper-parameters are selected on inner folds, and standardisation
is fitted on training rows. Features and kernels with the same labels, folds and seed are scored on the same splits.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from jepakit.errors import ConfigError, DataError, require_choice
from jepakit.graph.probe.folds import Seed, stratified_folds, stratified_subset
from jepakit.graph.probe.result import (
    Array,
    Ints,
    ProbeResult,
    checked_features,
    checked_labels,
    checked_seeds,
    summarize_classes,
)
from jepakit.graph.probe.selection import (
    FEW_ROWS,
    MANY_ROWS,
    Classifier,
    FeatureSource,
    KernelSource,
    Source,
    View,
    evaluate_split,
    in_parallel,
)

Kernel = NDArray[Any] | Tensor
Split = tuple[Ints, Ints, Seed]


def probe_graphs(
    features: Array,
    y: Array,
    *,
    classifier: Classifier = "best",
    folds: int = 10,
    seeds: Sequence[int] = (0, 1, 2),
    jobs: int = 1,
) -> ProbeResult:
    """Accuracy of a classifier on frozen graph features, by nested stratified cross-validation.

    Args:
        features: ``[G, D]``, finite.
        y: classes, ``[G]`` integers.
        classifier: ``logistic`` (L2 logistic regression), ``svm`` (RBF support vector machine) or ``best``, the better
            of the two on the inner folds.
        folds: outer folds.
        seeds: of the shuffles of the folds.
        jobs: processes.

    Raises:
        ConfigError: an unknown ``classifier``, fewer than two folds, no seed.
        DataError: features are not finite, shapes do not match, or a class has fewer rows than there are folds.
    """
    source, labels = _feature_source(features, y, classifier)
    return _probe(source, labels, _cross_validation(labels, folds, seeds), folds, classifier, jobs)


def probe_kernel(
    kernels: Kernel | Sequence[Kernel],
    y: Array,
    *,
    folds: int = 10,
    seeds: Sequence[int] = (0, 1, 2),
    jobs: int = 1,
) -> ProbeResult:
    """Accuracy of a support vector machine on precomputed kernels, on the same folds as `probe_graphs`.

    ``kernels`` is a kernel ``[G, G]``, or several, of which the inner folds select one. Other arguments and errors as
    in `probe_graphs`.
    """
    source, labels = _kernel_source(kernels, y)
    return _probe(source, labels, _cross_validation(labels, folds, seeds), folds, "kernel svm", jobs)


def first_split_seconds(kernels: Sequence[Kernel], y: Array, *, folds: int = 10) -> float:
    """How long `probe_kernel` takes for one of its splits, in seconds; arguments and errors as there."""
    source, labels = _kernel_source(kernels, y)
    split = _cross_validation(labels, folds, (0,))[0]
    start = time.perf_counter()
    evaluate_split(source, labels, *split)
    return time.perf_counter() - start


def probe_few_labels(
    features: Array,
    y: Array,
    fraction: float,
    *,
    classifier: Classifier = "best",
    repeats: int = 10,
    seeds: Sequence[int] = (0, 1, 2),
    jobs: int = 1,
) -> ProbeResult:
    """Accuracy when a stratified ``fraction`` of the graphs is labelled and all others are the test set.

    At least two graphs per class are labelled, in ``repeats`` subsets per seed. Other arguments and errors as in
    `probe_graphs`; also ConfigError for a ``fraction`` outside (0, 1) or ``repeats`` below 1.
    """
    source, labels = _feature_source(features, y, classifier, FEW_ROWS)
    return _probe(source, labels, _few_labelled(labels, fraction, repeats, seeds), repeats, classifier, jobs)


def probe_kernel_few_labels(
    kernels: Kernel | Sequence[Kernel],
    y: Array,
    fraction: float,
    *,
    repeats: int = 10,
    seeds: Sequence[int] = (0, 1, 2),
    jobs: int = 1,
) -> ProbeResult:
    """`probe_few_labels` for precomputed kernels ``[G, G]``, on the same labelled subsets."""
    source, labels = _kernel_source(kernels, y)
    return _probe(source, labels, _few_labelled(labels, fraction, repeats, seeds), repeats, "kernel svm", jobs)


def _feature_source(
    features: Array, y: Array, classifier: Classifier, views: tuple[View, ...] = MANY_ROWS
) -> tuple[FeatureSource, Ints]:
    require_choice("classifier", classifier, ("logistic", "svm", "best"))
    labels = checked_labels(y)
    return FeatureSource(checked_features(features, len(labels)), classifier, views), labels


def _kernel_source(kernels: Kernel | Sequence[Kernel], y: Array) -> tuple[KernelSource, Ints]:
    labels = checked_labels(y)
    kernels = [kernels] if isinstance(kernels, np.ndarray | Tensor) and kernels.ndim == 2 else list(kernels)
    if not kernels:
        raise DataError("no kernel", field="kernels", expected="[G, G], or several")
    matrices = tuple(checked_features(kernel, len(labels), "kernels") for kernel in kernels)
    for kernel in matrices:
        if kernel.shape[1] != len(labels):
            raise DataError("a kernel is not square", field="kernels", value=kernel.shape, expected="[G, G]")
    return KernelSource(matrices), labels


def _cross_validation(y: Ints, folds: int, seeds: Sequence[int]) -> list[Split]:
    return [
        (np.flatnonzero(fold != f), np.flatnonzero(fold == f), seed)
        for seed in checked_seeds(seeds)
        for fold in [stratified_folds(y, folds, seed)]
        for f in range(folds)
    ]


def _few_labelled(y: Ints, fraction: float, repeats: int, seeds: Sequence[int]) -> list[Split]:
    if repeats < 1:
        raise ConfigError("repeats", repeats, "at least 1")
    draws = [(seed, repeat) for seed in checked_seeds(seeds) for repeat in range(repeats)]
    subsets = [stratified_subset(y, fraction, draw) for draw in draws]
    return [(rows, np.setdiff1d(np.arange(len(y)), rows), draw) for rows, draw in zip(subsets, draws, strict=True)]


def _probe(source: Source, y: Ints, splits: Sequence[Split], parts: int, method: str, jobs: int) -> ProbeResult:
    outcomes = in_parallel(
        evaluate_split, [(source, y, *split) for split in splits], jobs, name="cross-validation", unit="folds"
    )
    truth = [y[test] for _, test, _ in splits]
    return summarize_classes(method, truth, [o.predicted for o in outcomes], [o.chosen for o in outcomes], parts)
