"""Probes for several targets per graph, such as assays and measurements of molecules, with missing labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from jepakit.errors import ConfigError, DataError
from jepakit.graph.probe.binary import VIEWS, BinaryClassifier, Member, probabilities, task_aucs
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
from jepakit.graph.probe.selection import View, in_parallel, prepared

RIDGE_ALPHA = tuple(10.0**power for power in range(-2, 6))


def probe_multilabel(
    features: Array,
    y: Array,
    splits: Mapping[str, Array],
    *,
    classifier: BinaryClassifier = "logistic",
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
        classifier: ``logistic``, ``forest`` or ``kernel``, see `jepakit.graph.probe.binary.Member`. The kernel is the
            fastest where there are many tasks: they share one inverse.
        label_fraction: share of the training graphs that keep their labels, drawn for each seed.
        seeds: of the draw and the forest; without either a single seed is enough.
        jobs: processes.
        resamples: how many replicates, see `jepakit.graph.probe.resampling`; of the first seed.

    Raises:
        ConfigError: an unknown ``classifier``, a ``label_fraction`` outside (0, 1], no seed, or too many training
            graphs for a kernel.
        DataError: features are not finite, a label is not 0, 1 or NaN, shapes or splits do not match, or no task has
            both classes among the validation or test graphs.

    Source: Wu et al., "MoleculeNet", Chemical Science 2018.
    """
    options: dict[str, Any] = {"label_fraction": label_fraction, "seeds": seeds, "jobs": jobs, "resamples": resamples}
    return probe_mixture([Member(classifier, (features,))], y, splits, **options)


def probe_mixture(
    members: Sequence[Member],
    y: Array,
    splits: Mapping[str, Array],
    *,
    label_fraction: float = 1.0,
    seeds: Sequence[int] = (0,),
    jobs: int = 1,
    resamples: int = 0,
) -> ProbeResult:
    """As `probe_multilabel`, of the mean of the probabilities of several classifiers.

    Each selects its own hyper-parameters, before they are mixed.

    Args:
        members: each a classifier, and the features that it sees.
        y: see `probe_multilabel`, as the rest.
        splits: the same.
        label_fraction: the same.
        seeds: the same.
        jobs: the same.
        resamples: the same.

    Raises:
        ConfigError: as `probe_multilabel`, or there is no member or a member without features.
        DataError: as `probe_multilabel`.
    """
    if not members:
        raise ConfigError("members", members, "at least one classifier with features")
    targets = _checked_targets(y)
    checked = [member.checked(len(targets)) for member in members]
    if not np.isin(targets[~np.isnan(targets)], (0, 1)).all():
        raise DataError("a label is not binary", field="y", expected="0, 1, or NaN where unlabelled")
    train, val, test = checked_splits(splits, len(targets))
    aucs, chosen, replicates = [], [], []
    for seed in checked_seeds(seeds):
        labelled = _labelled(train, label_fraction, seed)
        pairs = resamples_of(labelled, test, 0 if aucs else resamples)
        positions, scores = _scored(checked, targets, (labelled, val, test), seed, jobs)
        aucs.append(task_aucs(targets[test], scores, "test"))
        chosen.append([member.choices[choice] for member, choice in zip(checked, positions, strict=True)])
        refits = [(checked, positions, targets, half, test, seed) for half, _ in pairs]
        resampled = in_parallel(_refitted, refits, jobs, name="resampling", unit="resamples")
        for again, (_, drawn) in zip(resampled, pairs, strict=True):
            replicates.append(float(np.nanmean(task_aucs(targets[test[drawn]], again[drawn], "test"))))
    name = " and ".join(dict.fromkeys(member.classifier for member in checked))
    return summarize(name, "roc auc", aucs, chosen, replicates=replicates)


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


def _scored(
    members: Sequence[Member], targets: Floats, parts: tuple[Ints, Ints, Ints], seed: int, jobs: int
) -> tuple[list[int], Floats]:
    """The choice of each member on val, and the mean of their scores of test, ``[len(test), T]``."""
    train, val, _ = parts
    positions: list[int] = []
    mixed: list[Floats] = []
    for member in members:
        scores = member.scores(np.concatenate(parts), targets[train], seed, jobs=jobs)
        merit = [np.nanmean(task_aucs(targets[val], s[: len(val)], "val")) for s in scores]
        positions.append(int(np.argmax(merit)))
        mixed.append(scores[positions[-1]][len(val) :])
    return positions, _mixed(members, mixed)


def _refitted(
    members: Sequence[Member], positions: Sequence[int], targets: Floats, train: Ints, test: Ints, seed: int
) -> Floats:
    """Scores ``[len(test), T]`` of one choice of each member, fitted to the rows ``train``."""
    rows = np.concatenate([train, test])
    pairs = zip(members, positions, strict=True)
    return _mixed(members, [m.scores(rows, targets[train], seed, choices=(choice,))[0] for m, choice in pairs])


def _mixed(members: Sequence[Member], scores: Sequence[Floats]) -> Floats:
    """The scores of a single member, or the mean of the probabilities of several."""
    if len(members) == 1:
        return scores[0]
    pairs = zip(members, scores, strict=True)
    return np.mean([probabilities(member.classifier, values) for member, values in pairs], axis=0)


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
    test, predicted = ridge_predictions(x, y, rows, chosen)
    return float(np.sqrt(((predicted - y[test]) ** 2).mean())) if len(test) else float("nan")


def ridge_predictions(x: Floats, y: Floats, rows: tuple[Ints, Ints], chosen: Chosen) -> tuple[Ints, Floats]:
    """Those of the second rows that have a label, and what ridge regression fitted to the first predicts for them.

    Args:
        x: features, ``[G, D]``.
        y: one target, ``[G]``, NaN where unlabelled.
        rows: to train on, and to predict; without a label in the first there is nothing.
        chosen: the hyper-parameters.
    """
    train, test = (ids[~np.isnan(y[ids])] for ids in rows)
    if len(train) == 0 or len(test) == 0:
        return test[:0], np.zeros(0)
    both = np.concatenate([train, test])
    z = prepared(x[both], len(train), cast(View, chosen["view"]))
    return test, ridge_path(z, y[train])[RIDGE_ALPHA.index(float(chosen["alpha"]))][len(train) :]


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
