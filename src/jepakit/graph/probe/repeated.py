"""Repeated cross-validation of targets of few graphs, whose single test part would be a handful."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from jepakit.errors import DataError
from jepakit.graph.probe.binary import FOREST_TREES
from jepakit.graph.probe.folds import stratified_folds
from jepakit.graph.probe.result import (
    Array,
    Chosen,
    Floats,
    Ints,
    ProbeResult,
    as_array,
    checked_features,
    checked_labels,
    checked_seeds,
    summarize,
    summarize_classes,
)
from jepakit.graph.probe.selection import sklearn_module
from jepakit.graph.probe.targets import probe_multilabel, probe_regression, ridge_predictions

FOLDS = 5
"""One is tested, one selects hyper-parameters, the others train."""
MOST_GRAPHS = 500
"""From here on, the single test part of a split suffices."""
_FEWEST_GRAPHS = 20

Model = Literal["linear", "forest", "constant"]


def suits(y: Array) -> bool:
    """Whether targets ``[G, T]`` (NaN where unlabelled) are to be cross-validated.

    That is so for 20 to 499 labelled graphs and measurements, or a single binary target with five of each class.
    """
    targets = np.asarray(as_array(y), dtype=np.float64)
    if targets.ndim != 2 or not int((~np.isnan(targets)).sum(0).min()) >= _FEWEST_GRAPHS:
        return False
    if int((~np.isnan(targets)).any(1).sum()) >= MOST_GRAPHS:
        return False
    return not _is_binary(targets) or (targets.shape[1] == 1 and min(_class_sizes(targets)) >= FOLDS)


def split_sizes(y: Array) -> tuple[int, int, int, int]:
    """Labelled graphs, and those of them to train, to select and to test in the first fold."""
    rows = int((~np.isnan(np.asarray(as_array(y), dtype=np.float64))).any(1).sum())
    part = -(-rows // FOLDS)
    return rows, rows - 2 * part, part, part


def probe_repeatedly(
    features: Array, y: Array, *, model: Model = "linear", seeds: Sequence[int] = (0, 1, 2), jobs: int = 1
) -> ProbeResult:
    """The mean test score over 5 folds, for each seed of their shuffle; each fold is tested once.

    Binary targets are scored by ROC-AUC, others by RMSE, each the mean over targets.

    Args:
        features: ``[G, D]``, finite.
        y: ``[G, T]``, NaN where unlabelled; see `suits`.
        model: ``linear`` (`probe_multilabel` or `probe_regression`, whose options are selected on the next fold),
            ``forest`` (300 trees, trained on that fold too), or ``constant`` (the mean of the training labels).
        seeds: of the shuffles.
        jobs: processes.

    Raises:
        DataError: the labels do not suit, or a fold has no label of a target.
    """
    targets = np.asarray(as_array(y), dtype=np.float64)
    if not suits(targets):
        raise DataError("not labels for cross-validation", field="y", value=targets.shape, expected="see `suits`")
    x = checked_features(features, len(targets))
    rows = np.flatnonzero(~np.isnan(targets).all(axis=1))
    x, targets = x[rows], targets[rows]
    scores: list[list[float]] = []
    chosen: list[list[Chosen]] = []
    for seed in checked_seeds(seeds):
        fold = _folds(targets, seed)
        results = [_fold(x, targets, fold, test, model, seed, jobs) for test in range(FOLDS)]
        scores.append([score for score, _ in results])
        chosen.append([options for _, options in results])
    binary = _is_binary(targets)
    names = {"linear": "logistic" if binary else "ridge", "forest": "forest", "constant": "constant"}
    return summarize(names[model], "roc auc" if binary else "rmse", scores, chosen, lower_is_better=not binary)


def _fold(
    x: Floats, targets: Floats, fold: Ints, test: int, model: Model, seed: int, jobs: int
) -> tuple[float, Chosen]:
    binary, validation = _is_binary(targets), (test + 1) % FOLDS
    if model == "linear":
        parts = {"test": fold == test, "val": fold == validation, "train": (fold != test) & (fold != validation)}
        splits = {name: np.flatnonzero(rows) for name, rows in parts.items()}
        result = probe_multilabel(x, targets, splits, jobs=jobs) if binary else probe_regression(x, targets, splits)
        return result.mean, result.chosen[0][0]
    scores = [_score(x, column, fold == test, model, seed, binary=binary) for column in targets.T]
    return float(np.mean(scores)), {"model": model}


def predict_repeatedly(features: Array, y: Array, seed: int, chosen: Sequence[Chosen]) -> tuple[Ints, Floats]:
    """The rows with a first target, and what the linear model of `probe_repeatedly` predicts when they are tested.

    Args:
        features: see `probe_repeatedly`.
        y: the same, not binary.
        seed: of a shuffle.
        chosen: the hyper-parameters of its folds, as `probe_repeatedly` returns them.
    """
    targets = np.asarray(as_array(y), dtype=np.float64)
    rows = np.flatnonzero(~np.isnan(targets).all(axis=1))
    x, targets = checked_features(features, len(targets))[rows], targets[rows]
    fold = _folds(targets, seed)
    found: list[tuple[Ints, Floats]] = []
    for test, options in enumerate(chosen):
        fitted = np.flatnonzero((fold != test) & (fold != (test + 1) % FOLDS))
        found.append(ridge_predictions(x, targets[:, 0], (fitted, np.flatnonzero(fold == test)), options))
    return rows[np.concatenate([ids for ids, _ in found])], np.concatenate([values for _, values in found])


def _score(x: Floats, y: Floats, test: np.ndarray, model: Model, seed: int, *, binary: bool) -> float:
    there = ~np.isnan(y)
    fit, held = np.flatnonzero(there & ~test), np.flatnonzero(there & test)
    if model == "constant":
        return 0.5 if binary else _rmse(y[held], np.full(len(held), y[fit].mean()))
    ensemble = sklearn_module("ensemble")
    if binary:
        forest = ensemble.RandomForestClassifier(FOREST_TREES, random_state=seed).fit(x[fit], y[fit].astype(np.int64))
        return float(sklearn_module("metrics").roc_auc_score(y[held], forest.predict_proba(x[held])[:, 1]))
    forest = ensemble.RandomForestRegressor(FOREST_TREES, random_state=seed).fit(x[fit], y[fit])
    return _rmse(y[held], forest.predict(x[held]))


def classes_repeatedly(
    features: Array, y: Array, *, model: Literal["forest", "constant"], folds: int, seeds: Sequence[int]
) -> ProbeResult:
    """Accuracy of a forest, or of the most frequent class, on the folds of `jepakit.graph.probe.classes.probe_graphs`.

    Raises:
        DataError: a class has fewer rows than there are folds.
    """
    labels = checked_labels(y)
    x = checked_features(features, len(labels))
    truth: list[Ints] = []
    predicted: list[Ints] = []
    for seed in checked_seeds(seeds):
        fold = stratified_folds(labels, folds, seed)
        for part in range(folds):
            fit, held = fold != part, fold == part
            truth.append(labels[held])
            if model == "constant":
                predicted.append(np.full(int(held.sum()), np.bincount(labels[fit]).argmax()))
            else:
                forest = sklearn_module("ensemble").RandomForestClassifier(FOREST_TREES, random_state=seed)
                predicted.append(forest.fit(x[fit], labels[fit]).predict(x[held]))
    chosen: list[Chosen] = [{"model": model}] * len(truth)
    return summarize_classes(model, truth, predicted, chosen, folds)


def _rmse(truth: Floats, predicted: Floats) -> float:
    return float(np.sqrt(((truth - predicted) ** 2).mean()))


def _folds(targets: Floats, seed: int) -> Ints:
    """The fold of each row, ``[n]``; of binary targets with the classes in equal shares."""
    if _is_binary(targets):
        return stratified_folds(targets[:, 0].astype(np.int64), FOLDS, seed)
    fold = np.empty(len(targets), dtype=np.int64)
    fold[np.random.default_rng(seed).permutation(len(targets))] = np.arange(len(targets)) % FOLDS
    return fold


def _is_binary(targets: Floats) -> bool:
    return bool(np.isin(targets[~np.isnan(targets)], (0, 1)).all())


def _class_sizes(targets: Floats) -> tuple[int, int]:
    ones = int((targets == 1).sum())
    return ones, int((targets == 0).sum())
