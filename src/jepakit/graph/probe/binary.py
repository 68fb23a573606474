"""Classifiers of binary tasks with missing labels: their hyper-parameters, scores of each choice, ROC-AUC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, cast, get_args

import numpy as np

from jepakit.errors import ConfigError, DataError, require_choice
from jepakit.graph.probe.kernel_ridge import distance_kernel, kernel_ridge
from jepakit.graph.probe.result import Array, Chosen, Floats, Ints, as_array, checked_features
from jepakit.graph.probe.selection import LOGISTIC_C, View, in_parallel, logistic_path, prepared, sklearn_module

BinaryClassifier = Literal["logistic", "forest", "kernel"]
# One scale suits fingerprints, which are bits; the other views suit embeddings, whose columns differ in scale.
VIEWS: tuple[View, ...] = ("one scale", "signed log", "none")
FOREST_TREES = 300
FOREST_LEAF = (1, 3, 10)
KERNEL_PENALTY = (0.1, 1.0)


@dataclass(frozen=True)
class Member:
    """A classifier and the features ``[G, D]`` that it sees, in one block or several.

    ``logistic`` (L2; C and view are selected) and ``forest`` (300 trees; leaf size is selected) see blocks side by
    side; ``kernel`` is ridge regression on the mean of their distance kernels (the penalty is selected).
    """

    classifier: BinaryClassifier
    blocks: tuple[Array, ...]

    def __post_init__(self) -> None:
        require_choice("classifier", self.classifier, get_args(BinaryClassifier))
        if not self.blocks:
            raise ConfigError("blocks", self.blocks, "at least one block of features")

    @property
    def choices(self) -> list[Chosen]:
        """The hyper-parameters of each row of `scores`."""
        if self.classifier == "forest":
            return [{"classifier": "forest", "min_samples_leaf": leaf} for leaf in FOREST_LEAF]
        if self.classifier == "kernel":
            return [{"classifier": "kernel", "penalty": penalty} for penalty in KERNEL_PENALTY]
        return [{"classifier": "logistic", "view": view, "C": c} for view in VIEWS for c in LOGISTIC_C]

    def checked(self, graphs: int) -> Self:
        """The same with blocks ``[graphs, D]`` of float64; raises DataError if they are not, or not finite."""
        return replace(self, blocks=tuple(checked_features(block, graphs) for block in self.blocks))

    def scores(
        self, rows: Ints, labels: Floats, seed: int, *, jobs: int = 1, choices: Sequence[int] | None = None
    ) -> Floats:
        """Fits the ``labels`` ``[n, T]`` of the first n ``rows``; scores ``[choices, len(rows) - n, T]`` of the others.

        Scores of a forest are probabilities, of a kernel estimates of them, of logistic regression their logits.
        ``choices`` are positions in `choices`; by default all.
        """
        every = self.choices
        chosen = every if choices is None else [every[position] for position in choices]
        blocks = [np.asarray(as_array(block), dtype=np.float64)[rows] for block in self.blocks]
        if self.classifier == "kernel":
            kernel = distance_kernel(blocks, len(labels))
            fitted = [kernel_ridge(kernel, labels, float(options["penalty"])) for options in chosen]
            return np.stack(fitted)[:, len(labels) :]
        features = np.concatenate(blocks, axis=1)
        arguments = [(self.classifier, features, task, seed, chosen) for task in labels.T]
        return np.stack(in_parallel(_task_scores, arguments, jobs, name="fitting", unit="targets"), axis=2)


def probabilities(classifier: BinaryClassifier, scores: Floats) -> Floats:
    """The scores of `Member.scores` as probabilities, or estimates of them."""
    return 1 / (1 + np.exp(-scores)) if classifier == "logistic" else scores


def task_aucs(targets: Floats, scores: Floats, split: str) -> Floats:
    """ROC-AUC ``[T]`` of ``scores`` ``[R, T]``, NaN for a task without both classes."""
    auc = sklearn_module("metrics").roc_auc_score
    values = np.full(targets.shape[1], np.nan)
    for task, (truth, score) in enumerate(zip(targets.T, scores.T, strict=True)):
        labelled = ~np.isnan(truth)
        if len(np.unique(truth[labelled])) == 2:
            values[task] = auc(truth[labelled], score[labelled])
    if np.isnan(values).all():
        raise DataError(f"no task has both classes in {split}", field="y", expected="another split")
    return values


def _task_scores(
    classifier: BinaryClassifier, features: Floats, labels: Floats, seed: int, chosen: Sequence[Chosen]
) -> Floats:
    """As `Member.scores` for a single task: ``[len(chosen), R - n]``."""
    fit, n = np.flatnonzero(~np.isnan(labels)), len(labels)
    y = labels[fit].astype(np.int64)
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
