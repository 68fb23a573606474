"""How good are embeddings: simple classifiers on frozen features, by the protocols of the field.

Graph classification is scored by stratified 10-fold cross-validation, nodes and molecules on their given splits.
Whatever is chosen (classifier, view, C, kernel width, which of several kernels) is chosen on inner folds or on the
validation split; standardisation is fitted on training rows; nothing reads a test label before the score. Every method
with the same labels, folds and seed is scored on the same splits, features and kernels alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from jepakit.errors import ConfigError, DataError, require_choice
from jepakit.graph.probe.folds import Seed, stratified_folds, stratified_subset
from jepakit.graph.probe.result import (
    Array,
    ProbeResult,
    checked_features,
    checked_labels,
    checked_seeds,
    checked_splits,
    summarize,
)
from jepakit.graph.probe.selection import (
    FEW_ROWS,
    MANY_ROWS,
    Classifier,
    FeatureSource,
    Ints,
    KernelSource,
    Source,
    View,
    evaluate_split,
    evaluate_validated,
    in_parallel,
)
from jepakit.graph.probe.targets import probe_multilabel, probe_regression

__all__ = [
    "ProbeResult",
    "probe_few_labels",
    "probe_graphs",
    "probe_kernel",
    "probe_kernel_few_labels",
    "probe_multilabel",
    "probe_nodes",
    "probe_regression",
    "stratified_folds",
]

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
        classifier: ``logistic`` (L2 logistic regression), ``svm`` (RBF support vector machine) or ``best``: whichever
            the inner folds prefer, fold by fold.
        folds: outer folds; see `stratified_folds`.
        seeds: one shuffle of the folds each.
        jobs: processes.

    Raises:
        ConfigError: an unknown ``classifier``, fewer than two folds, no seed.
        DataError: NaN or infinite features, shapes that do not fit, a class smaller than the number of folds.
    """
    source, labels = _feature_source(features, y, classifier)
    return _probe(source, labels, _cross_validation(labels, folds, seeds), classifier, jobs)


def probe_kernel(
    kernels: Kernel | Sequence[Kernel],
    y: Array,
    *,
    folds: int = 10,
    seeds: Sequence[int] = (0, 1, 2),
    jobs: int = 1,
) -> ProbeResult:
    """Accuracy of a support vector machine on precomputed kernels, on the same folds as `probe_graphs`.

    Args:
        kernels: one kernel ``[G, G]`` or several, among which the inner folds choose.
        y: classes, ``[G]`` integers.
        folds: outer folds.
        seeds: one shuffle of the folds each.
        jobs: processes.

    Raises:
        ConfigError: fewer than two folds, no seed.
        DataError: as `probe_graphs`, or a kernel that is not ``[G, G]``.
    """
    source, labels = _kernel_source(kernels, y)
    return _probe(source, labels, _cross_validation(labels, folds, seeds), "kernel svm", jobs)


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
    """Accuracy when only a stratified ``fraction`` of the graphs has labels and all others are the test set.

    Args:
        features: ``[G, D]``, finite.
        y: classes, ``[G]`` integers.
        fraction: share of each class that is labelled, such as 0.01 or 0.1; always at least two graphs a class, so
            that inner folds of the labelled graphs can choose (three folds, two where a class has two graphs).
        classifier: see `probe_graphs`.
        repeats: labelled subsets a seed.
        seeds: one series of subsets each.
        jobs: processes.

    Raises:
        ConfigError: an unknown ``classifier``, a ``fraction`` outside (0, 1), no seed.
        DataError: as `probe_graphs`, or a class too small to be split.
    """
    source, labels = _feature_source(features, y, classifier, FEW_ROWS)
    return _probe(source, labels, _few_labelled(labels, fraction, repeats, seeds), classifier, jobs)


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
    return _probe(source, labels, _few_labelled(labels, fraction, repeats, seeds), "kernel svm", jobs)


def probe_nodes(features: Array, node_y: Array, splits: Mapping[str, Array]) -> ProbeResult:
    """Test accuracy of logistic regression on frozen node features; C and view are chosen on the validation nodes.

    Args:
        features: ``[N, D]``, finite.
        node_y: classes, ``[N]`` integers, -1 where unlabelled.
        splits: node numbers (or boolean masks ``[N]``) named ``train``, ``val`` and ``test``, disjoint.

    Raises:
        DataError: NaN or infinite features, shapes that do not fit, a split that is missing, empty or overlaps another,
            an unlabelled node in a split, training nodes of one class only.
    """
    y = checked_labels(node_y, "node_y")
    train, val, test = checked_splits(splits, len(y))
    source = FeatureSource(checked_features(features, len(y)), "logistic", FEW_ROWS)
    unlabelled = [int(ids[y[ids] < 0][0]) for ids in (train, val, test) if (y[ids] < 0).any()]
    if unlabelled:
        raise DataError("a node of the splits has no label", field=f"node_y[{unlabelled[0]}]", expected="a class")
    if len(np.unique(y[train])) < 2:
        raise DataError("the training nodes are all of one class", field="splits['train']", expected="two classes")
    outcome = evaluate_validated(source, y, train, val, test)
    accuracy = float((outcome.predicted == y[test]).mean())
    return summarize("logistic", "accuracy", [[accuracy]], [[outcome.chosen]], _recall(y[test], outcome.predicted))


def _feature_source(
    features: Array, y: Array, classifier: Classifier, views: tuple[View, ...] = MANY_ROWS
) -> tuple[FeatureSource, Ints]:
    require_choice("classifier", classifier, ("logistic", "svm", "best"))
    labels = checked_labels(y)
    return FeatureSource(checked_features(features, len(labels)), classifier, views), labels


def _kernel_source(kernels: Kernel | Sequence[Kernel], y: Array) -> tuple[KernelSource, Ints]:
    labels = checked_labels(y)
    several = [kernels] if isinstance(kernels, np.ndarray | Tensor) and kernels.ndim == 2 else list(kernels)
    if not several:
        raise DataError("no kernel", field="kernels", expected="[G, G], or several")
    matrices = tuple(checked_features(kernel, len(labels), "kernels") for kernel in several)
    for kernel in matrices:
        if kernel.shape[1] != len(labels):
            raise DataError("a kernel is not square", field="kernels", value=kernel.shape, expected="[G, G]")
    return KernelSource(matrices), labels


def _cross_validation(y: Ints, folds: int, seeds: Sequence[int]) -> list[list[Split]]:
    assigned = [(seed, stratified_folds(y, folds, seed)) for seed in checked_seeds(seeds)]
    return [
        [(np.flatnonzero(fold != f), np.flatnonzero(fold == f), seed) for f in range(folds)] for seed, fold in assigned
    ]


def _few_labelled(y: Ints, fraction: float, repeats: int, seeds: Sequence[int]) -> list[list[Split]]:
    if repeats < 1:
        raise ConfigError("repeats", repeats, "at least 1")

    def split(seed: Seed) -> Split:
        labelled = stratified_subset(y, fraction, seed)
        return labelled, np.setdiff1d(np.arange(len(y)), labelled), seed

    return [[split((seed, repeat)) for repeat in range(repeats)] for seed in checked_seeds(seeds)]


def _probe(source: Source, y: Ints, splits: list[list[Split]], method: str, jobs: int) -> ProbeResult:
    flat = [split for of_seed in splits for split in of_seed]
    outcomes = in_parallel(evaluate_split, [(source, y, *split) for split in flat], jobs)
    scores = [float((o.predicted == y[test]).mean()) for o, (_, test, _) in zip(outcomes, flat, strict=True)]
    parts = len(splits[0])
    starts = range(0, len(flat), parts)
    truth = np.concatenate([y[test] for _, test, _ in flat])
    return summarize(
        method,
        "accuracy",
        [scores[start : start + parts] for start in starts],
        [[outcome.chosen for outcome in outcomes[start : start + parts]] for start in starts],
        _recall(truth, np.concatenate([outcome.predicted for outcome in outcomes])),
    )


def _recall(truth: Ints, predicted: Ints) -> list[float]:
    return [float((predicted[truth == label] == label).mean()) for label in np.unique(truth)]
