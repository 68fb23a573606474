"""Probes for several targets per graph, such as assays and measurements of molecules, with missing labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, cast

import numpy as np

from jepakit.errors import ConfigError, DataError, require_choice
from jepakit.graph.probe.resampling import resamples_of
from jepakit.graph.probe.result import (
    Array,
    Chosen,
    Floats,
    Ints,
    ProbeResult,
    as_array,
    checked_features,
    checked_seeds,
    checked_splits,
    summarize,
)
from jepakit.graph.probe.selection import LOGISTIC_C, View, in_parallel, logistic_path, prepared, sklearn_module

# One scale suits fingerprints, which are bits; the other views suit embeddings, whose columns differ in scale.
VIEWS: tuple[View, ...] = ("one scale", "signed log", "none")
RIDGE_ALPHA = tuple(10.0**power for power in range(-2, 6))
FOREST_TREES = 300
FOREST_LEAF = (1, 3, 10)


def probe_multilabel(
    features: Array,
    y: Array,
    splits: Mapping[str, Array],
    *,
    classifier: Literal["logistic", "forest"] = "logistic",
    label_fraction: float = 1.0,
    seeds: Sequence[int] = (0,),
    jobs: int = 1,
    resamples: int = 0,
) -> ProbeResult:
    """Mean test ROC-AUC over binary tasks, with one classifier per task (the MoleculeNet protocol).

    All tasks share the hyper-parameters with the best mean ROC-AUC on the validation graphs. Tasks without both classes
    in a split are not scored there; a task whose training labels are all equal scores 0.5.

    Args:
        features: ``[G, D]``, finite.
        y: ``[G, T]``, 0 or 1, NaN where unlabelled.
        splits: ``train``, ``val`` and ``test``: disjoint graph ids, or masks ``[G]``.
        classifier: ``logistic`` (L2; C and view are selected) or ``forest`` (300 trees; leaf size is selected).
        label_fraction: share of the training graphs that keep their labels, drawn for each seed.
        seeds: of the draw and the forest; logistic regression with all labels needs a single seed.
        jobs: processes.
        resamples: how many replicates, see `jepakit.graph.probe.resampling`; of the first seed.

    Raises:
        ConfigError: an unknown ``classifier``, a ``label_fraction`` outside (0, 1], no seed.
        DataError: features are not finite, a label is not 0, 1 or NaN, shapes or splits do not match, or no task has
            both classes among the validation or test graphs.

    Source: Wu et al., "MoleculeNet", Chemical Science 2018.
    """
    require_choice("classifier", classifier, ("logistic", "forest"))
    targets = _checked_targets(y)
    x = checked_features(features, len(targets))
    if not np.isin(targets[~np.isnan(targets)], (0, 1)).all():
        raise DataError("a label is not binary", field="y", expected="0, 1, or NaN where unlabelled")
    train, val, test = checked_splits(splits, len(targets))
    aucs, chosen, replicates = [], [], []
    for seed in checked_seeds(seeds):
        labelled = _labelled(train, label_fraction, seed)
        ordered = x[np.concatenate([labelled, val, test])]
        pairs = resamples_of(labelled, test, 0 if aucs else resamples)
        per_task = in_parallel(_task_scores, [(classifier, ordered, task, seed) for task in targets[labelled].T], jobs)
        # [candidates, val + test, T]
        scores = np.stack(per_task, axis=2)
        merit = [np.nanmean(_task_aucs(targets[val], s[: len(val)], "val")) for s in scores]
        best = int(np.argmax(merit))
        aucs.append(_task_aucs(targets[test], scores[best][len(val) :], "test"))
        chosen.append([_candidates(classifier)[best]])
        refits = [(classifier, x, targets, best, half, test, seed) for half, _ in pairs]
        for again, (_, drawn) in zip(in_parallel(_refitted, refits, jobs), pairs, strict=True):
            replicates.append(float(np.nanmean(_task_aucs(targets[test[drawn]], again[drawn], "test"))))
    return summarize(classifier, "roc auc", aucs, chosen, replicates=replicates)


def probe_regression(
    features: Array,
    y: Array,
    splits: Mapping[str, Array],
    *,
    label_fraction: float = 1.0,
    seeds: Sequence[int] = (0,),
    resamples: int = 0,
) -> ProbeResult:
    """Test RMSE of ridge regression per task, in the units of ``y``; penalty and view are selected on val.

    Arguments and errors as in `probe_multilabel`; ``y`` is ``[G]`` or ``[G, T]``, finite or NaN, with labels in every
    split.
    """
    targets = _checked_targets(y)
    x = checked_features(features, len(targets))
    train, val, test = checked_splits(splits, len(targets))
    errors, chosen, replicates = [], [], []
    for seed in checked_seeds(seeds):
        labelled = _labelled(train, label_fraction, seed)
        pairs = resamples_of(labelled, test, 0 if errors else resamples)
        parts = (labelled, val, test)
        error, options = zip(*(_ridge(x, column, parts, i) for i, column in enumerate(targets.T)), strict=True)
        errors.append(error)
        chosen.append(options)
        for half, drawn in pairs:
            rows = (half, test[drawn])
            again = [_ridge_error(x, column, rows, choice) for column, choice in zip(targets.T, options, strict=True)]
            replicates.append(float(np.nanmean(again)))
    return summarize("ridge", "rmse", errors, chosen, lower_is_better=True, replicates=replicates)


def _candidates(classifier: str) -> list[Chosen]:
    """The hyper-parameters of each row of `_task_scores`."""
    if classifier == "forest":
        return [{"classifier": "forest", "min_samples_leaf": leaf} for leaf in FOREST_LEAF]
    return [{"classifier": "logistic", "view": view, "C": c} for view in VIEWS for c in LOGISTIC_C]


def _task_scores(
    classifier: str, features: Floats, labels: Floats, seed: int, candidates: Sequence[int] | None = None
) -> Floats:
    """Fits the ``labels`` ``[n]`` of the first n rows; scores ``[candidates, R - n]`` of the other rows.

    ``candidates`` are positions in `_candidates`; by default all.
    """
    fit, n = np.flatnonzero(~np.isnan(labels)), len(labels)
    y, all_of_them = labels[fit].astype(np.int64), _candidates(classifier)
    chosen = all_of_them if candidates is None else [all_of_them[position] for position in candidates]
    if len(np.unique(y)) < 2:
        return np.zeros((len(chosen), len(features) - n))
    if classifier == "logistic":
        scores = []
        for view in dict.fromkeys(options["view"] for options in chosen):
            z = prepared(features, n, cast(View, view))
            strengths = [float(options["C"]) for options in chosen if options["view"] == view]
            scores += [model.decision_function(z[n:]) for model in logistic_path(z[fit], y, strengths)]
        return np.stack(scores)
    forest = sklearn_module("ensemble").RandomForestClassifier
    models = [
        forest(FOREST_TREES, min_samples_leaf=options["min_samples_leaf"], random_state=seed) for options in chosen
    ]
    return np.stack([model.fit(features[fit], y).predict_proba(features[n:])[:, 1] for model in models])


def _refitted(
    classifier: str, x: Floats, targets: Floats, candidate: int, train: Ints, test: Ints, seed: int
) -> Floats:
    """Scores ``[len(test), T]`` of one candidate, fitted to the rows ``train``."""
    rows = np.concatenate([train, test])
    columns = [_task_scores(classifier, x[rows], task, seed, (candidate,))[0] for task in targets[train].T]
    return np.stack(columns, axis=1)


def _task_aucs(targets: Floats, scores: Floats, split: str) -> Floats:
    """ROC-AUC ``[T]``, NaN for a task without both classes."""
    auc = sklearn_module("metrics").roc_auc_score
    values = np.full(targets.shape[1], np.nan)
    for task, (truth, score) in enumerate(zip(targets.T, scores.T, strict=True)):
        labelled = ~np.isnan(truth)
        if len(np.unique(truth[labelled])) == 2:
            values[task] = auc(truth[labelled], score[labelled])
    if np.isnan(values).all():
        raise DataError(f"no task has both classes in {split}", field="y", expected="another split")
    return values


def _ridge(x: Floats, y: Floats, parts: tuple[Ints, ...], task: int) -> tuple[float, Chosen]:
    train, val, test = (ids[~np.isnan(y[ids])] for ids in parts)
    for name, ids in (("train", train), ("val", val), ("test", test)):
        if len(ids) == 0:
            raise DataError(f"no label in {name}", field=f"y[:, {task}]", expected="labels in every split")
    rows = np.concatenate([train, val, test])
    options: list[Chosen] = [{"view": view, "alpha": alpha} for view in VIEWS for alpha in RIDGE_ALPHA]
    predicted = np.concatenate([ridge_path(prepared(x[rows], len(train), view), y[train]) for view in VIEWS])
    squared = (predicted - y[rows]) ** 2
    best = int(squared[:, len(train) : len(train) + len(val)].mean(axis=1).argmin())
    return float(np.sqrt(squared[best, len(train) + len(val) :].mean())), options[best]


def _ridge_error(x: Floats, y: Floats, rows: tuple[Ints, Ints], chosen: Chosen) -> float:
    """The error on the second rows of ridge regression fitted to the first; NaN without a label in either."""
    train, test = (ids[~np.isnan(y[ids])] for ids in rows)
    if len(train) == 0 or len(test) == 0:
        return float("nan")
    both = np.concatenate([train, test])
    z = prepared(x[both], len(train), cast(View, chosen["view"]))
    predicted = ridge_path(z, y[train])[RIDGE_ALPHA.index(float(chosen["alpha"]))]
    return float(np.sqrt(((predicted[len(train) :] - y[test]) ** 2).mean()))


def ridge_path(z: Floats, y: Floats) -> Floats:
    """Predictions ``[len(RIDGE_ALPHA), R]`` of all rows, fitted to the targets ``y`` ``[n]`` of the first n.

    A single singular value decomposition serves all penalties.
    """
    mean, scale = y.mean(), max(float(y.std()), 1e-12)
    left, singular, right = np.linalg.svd(z[: len(y)], full_matrices=False)
    projected = left.T @ ((y - mean) / scale)
    shrunk = [singular / (singular**2 + alpha) * projected for alpha in RIDGE_ALPHA]
    return mean + scale * np.stack([z @ (right.T @ weights) for weights in shrunk])


def _labelled(train: Ints, fraction: float, seed: int) -> Ints:
    if not 0 < fraction <= 1:
        raise ConfigError("label_fraction", fraction, "more than 0 and at most 1")
    if fraction == 1:
        return train
    size = max(round(fraction * len(train)), 1)
    return np.sort(np.random.default_rng(seed).choice(train, size=size, replace=False))


def _checked_targets(y: Array) -> Floats:
    targets = as_array(y).astype(np.float64)
    targets = targets[:, None] if targets.ndim == 1 else targets
    if targets.ndim != 2 or targets.shape[1] == 0 or np.isinf(targets).any():
        raise DataError("not a table of targets", field="y", value=targets.shape, expected="[G, T], finite or NaN")
    return targets
