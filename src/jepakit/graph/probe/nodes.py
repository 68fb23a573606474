"""Probes of the nodes of one graph: on given splits, and with a few labels of each class.

All nodes and edges of the graph are known, the labels of the training nodes alone are used to fit, those of the
validation nodes to select, and those of the test nodes for the score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from jepakit.errors import ConfigError, DataError
from jepakit.graph.probe.folds import stratified_draw
from jepakit.graph.probe.resampling import resampled_accuracy, resamples_of
from jepakit.graph.probe.result import (
    Array,
    Floats,
    Ints,
    ProbeResult,
    checked_features,
    checked_labels,
    checked_rows,
    checked_splits,
    summarize_classes,
)
from jepakit.graph.probe.selection import (
    FEW_ROWS,
    Candidate,
    FeatureSource,
    evaluate_validated,
    logistic_path,
    predict_logistic,
)

UNIT_C = (1e-1, 1.0, 10.0, 100.0)
FEW_C = 1.0


def unit_rows(features: Floats) -> Floats:
    """Rows minus the mean of all rows, scaled to length 1; a row equal to the mean stays zero."""
    centred = features - features.mean(axis=0)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / np.where(length > 0, length, 1)


@dataclass(frozen=True)
class NodeSource:
    """Features ``[N, D]`` of all nodes of a graph, for L2 logistic regression.

    The views are those of a `FeatureSource` for few rows, fitted on the training nodes, and `unit_rows` of all nodes.
    """

    features: Floats

    def candidates(self, y: Ints, rows: Ints) -> Iterator[Candidate]:
        """See `FeatureSource`."""
        yield from FeatureSource(self.features, "logistic", FEW_ROWS).candidates(y, rows)
        predict = partial(predict_logistic, unit_rows(self.features)[rows], y)
        yield Candidate({"classifier": "logistic", "view": "unit rows"}, UNIT_C, predict)


def probe_nodes(features: Array, node_y: Array, splits: Mapping[str, Array], *, resamples: int = 0) -> ProbeResult:
    """Test accuracy of logistic regression on frozen node features; C and view are selected on the validation nodes.

    Args:
        features: ``[N, D]``, finite.
        node_y: classes, ``[N]`` integers, -1 where unlabelled.
        splits: ``train``, ``val`` and ``test``: disjoint node ids, or masks ``[N]``.
        resamples: how many replicates, see `jepakit.graph.probe.resampling`.

    Raises:
        DataError: features are not finite, shapes do not match, a split is missing, empty, overlaps another or has an
            unlabelled node, or all training nodes have the same class.
    """
    y, (train, val, test) = checked_nodes(node_y, splits)
    source = NodeSource(checked_features(features, len(y)))
    pairs = resamples_of(train, test, resamples, y)
    score = evaluate_validated(source, y, train, val, test, [half for half, _ in pairs])
    replicates = resampled_accuracy(y, test, pairs, score.resampled)
    return summarize_classes("logistic", [y[test]], [score.predicted], [score.chosen], 1, replicates=replicates)


def few_labels(node_y: Array, per_class: int, *, test: Array, draws: int, seed: int = 0) -> list[Ints]:
    """Random sets of ``per_class`` labelled nodes of each class, none of them in ``test``.

    Args:
        node_y: classes, ``[N]`` integers, -1 where unlabelled.
        per_class: labels of each class.
        test: node ids, or a mask ``[N]``.
        draws: sets.
        seed: of the draws.

    Raises:
        ConfigError: ``per_class`` or ``draws`` is below 1.
        DataError: a class has too few labelled nodes outside ``test``.
    """
    for name, count in (("per_class", per_class), ("draws", draws)):
        if count < 1:
            raise ConfigError(name, count, "at least 1")
    y = checked_labels(node_y, "node_y")
    pool = np.setdiff1d(np.flatnonzero(y >= 0), checked_rows(test, len(y), "test"))
    return [pool[stratified_draw(y[pool], per_class, (seed, draw))] for draw in range(draws)]


def probe_few_nodes(features: Array, node_y: Array, labelled: Sequence[Ints], *, test: Array) -> ProbeResult:
    """Test accuracy of logistic regression on each of several sets of labelled nodes, such as those of `few_labels`.

    Nothing is selected, as there are no labels to select with: rows are those of `unit_rows`, C is 1.

    Args:
        features: ``[N, D]``, finite.
        node_y: classes, ``[N]`` integers, -1 where unlabelled.
        labelled: node ids, of two classes or more in each set.
        test: node ids, or a mask ``[N]``.

    Raises:
        DataError: features are not finite, or shapes do not match.
    """
    y = checked_labels(node_y, "node_y")
    z, rows = unit_rows(checked_features(features, len(y))), checked_rows(test, len(y), "test")
    predicted = [next(logistic_path(z[train], y[train], (FEW_C,))).predict(z[rows]) for train in labelled]
    chosen = [{"classifier": "logistic", "view": "unit rows", "C": FEW_C}] * len(labelled)
    return summarize_classes("logistic", [y[rows]] * len(labelled), predicted, chosen, parts=len(labelled))


def checked_nodes(node_y: Array, splits: Mapping[str, Array]) -> tuple[Ints, tuple[Ints, ...]]:
    """Labels ``[N]`` and the node ids of ``train``, ``val`` and ``test``; errors as in `probe_nodes`."""
    y = checked_labels(node_y, "node_y")
    parts = checked_splits(splits, len(y))
    unlabelled = [node for node in np.concatenate(parts).tolist() if y[node] < 0]
    if unlabelled:
        raise DataError("a node of the splits has no label", field=f"node_y[{unlabelled[0]}]", expected="a class")
    if len(np.unique(y[parts[0]])) < 2:
        raise DataError("the training nodes are all of one class", field="splits['train']", expected="two classes")
    return y, parts
