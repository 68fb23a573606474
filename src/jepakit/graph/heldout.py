"""What a fine-tuned encoder is worth: labelled graphs kept out of its training, and its score on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from jepakit.errors import DataError
from jepakit.graph.data import GraphDataset
from jepakit.graph.finetune import Predictor, labelled
from jepakit.graph.predictions import finetuned_scatter
from jepakit.graph.probe.folds import stratified_subset
from jepakit.graph.probe.result import as_array
from jepakit.graph.probe.selection import sklearn_module
from jepakit.training.result_rows import ResultRow
from jepakit.training.results import Evaluation, ReportScatter

_FEWEST_PER_CLASS = 3


def train_and_test_rows(
    dataset: GraphDataset, *, test_share: float, fraction: float, seed: int
) -> tuple[Tensor, Tensor]:
    """The labelled graphs to train on and those to test on, both sorted.

    Where the data have a split, its test part is tested; else a random ``test_share`` is, of each class where there are
    classes.

    Args:
        dataset: labelled graphs.
        test_share: 0: none is kept out, whether there is a split or not.
        fraction: share of the others that is trained on, at least two of each class.
        seed: of both draws.

    Raises:
        DataError: the graphs have no labels.
    """
    y = dataset.graphs.y
    if y is None or not dataset.task.startswith("graph"):
        choice = f"label_columns: one of {', '.join(dataset.label_candidates)}" if dataset.label_candidates else ""
        expected = choice or "labels of whole graphs"
        raise DataError("the graphs have no labels", field=dataset.name, value=dataset.task, expected=expected)
    rows = labelled(y).nonzero().squeeze(1)
    test = torch.zeros(len(y), dtype=torch.bool)
    if test_share and "test" in dataset.splits:
        test[dataset.splits["test"]] = True
    elif test_share:
        test[_share(rows, dataset, test_share, seed)] = True
    train = rows[~test[rows]]
    return (train if fraction == 1 else _share(train, dataset, fraction, seed + 1)), rows[test[rows]]


def _share(rows: Tensor, dataset: GraphDataset, share: float, seed: int) -> Tensor:
    """A random share of the rows, of each class alike where all have enough members."""
    y = dataset.graphs.y
    assert y is not None
    if dataset.task == "graph classification":
        counts = torch.bincount(y[rows])
        if int(counts[counts > 0].min()) >= _FEWEST_PER_CLASS and (counts > 0).sum() > 1:
            return rows[torch.from_numpy(stratified_subset(as_array(y[rows]), share, seed))]
    count = min(max(round(share * len(rows)), 1), len(rows))
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:count].sort().values]


def finetuned_evaluation(dataset: GraphDataset, model: Predictor, train: Tensor, test: Tensor) -> Evaluation:
    """`score_rows` with what follows from them and, of numbers, predicted against true values."""
    title = f"Fine-tuned on {dataset.name}"
    counts = f"{len(train)} graphs to train, {len(test)} to test: {dataset.task}."
    if not len(test):
        return Evaluation(title=title, summary=(counts, "No graph was kept out: there is nothing to measure on."))
    rows = tuple(score_rows(dataset, model, train, test))
    scatters: tuple[ReportScatter, ...] = ()
    if dataset.task == "graph regression":
        scatters = (finetuned_scatter(dataset, test, model.predict(dataset.graphs[test])),)
    return Evaluation(title=title, summary=(counts,), recommendation=_advice(rows), rows=rows, scatters=scatters)


def _advice(rows: Sequence[ResultRow]) -> str | None:
    """Whether the fine-tuned encoder is of use at all; one split says no more."""
    if len(rows) < 2 or rows[0].value is None or rows[1].value is None:
        return None
    ours, floor = rows[0], rows[1]
    gain = (rows[1].value - rows[0].value) * (1 if ours.lower_is_better else -1)
    size = f"{abs(gain):.3g} {'' if ours.lower_is_better else 'points of '}{ours.metric.removesuffix(' %')}"
    if gain <= 0:
        return f"Do not use the fine-tuned encoder: it is {size} worse than {floor.method}, which needs no training."
    probe = "compare it with the rows of jepakit graph evaluate, which need no fine-tuning"
    return f"Use the fine-tuned encoder rather than {floor.method}: it is {size} better; {probe}."


def score_rows(dataset: GraphDataset, model: Predictor, train: Tensor, test: Tensor) -> list[ResultRow]:
    """The score of the model on ``test``, beside that of the mean or the most frequent class of ``train``.

    No rows where the test graphs cannot tell: no task has both classes among them.
    """
    y = dataset.graphs.y
    assert y is not None
    truth, predicted = as_array(y[test]), as_array(model.predict(dataset.graphs[test]))
    metric, lower = {
        "graph classification": ("accuracy %", False),
        "graph multilabel": ("roc auc %", False),
        "graph regression": ("rmse", True),
    }[dataset.task]
    if dataset.task == "graph classification":
        most = int(torch.bincount(y[train]).argmax())
        scores = {"fine-tuned": 100 * (predicted == truth).mean()}
        scores["the most frequent class"] = 100 * (truth == most).mean()
    elif dataset.task == "graph regression":
        scores = {"fine-tuned": _rmse(truth, predicted), "the mean": _rmse(truth, as_array(y[train].nanmean(0)))}
    else:
        auc = _auc(truth, predicted)
        scores = {} if auc is None else {"fine-tuned": 100 * auc, "any constant": 50.0}
    return [
        ResultRow(dataset.name, name, metric, float(value), seeds=1, ours=name == "fine-tuned", lower_is_better=lower)
        for name, value in scores.items()
    ]


def _rmse(truth: np.ndarray, predicted: np.ndarray) -> float:
    """The mean over tasks."""
    return float(np.nanmean(np.sqrt(np.nanmean((truth - predicted) ** 2, axis=0))))


def _auc(truth: np.ndarray, predicted: np.ndarray) -> float | None:
    """The mean over tasks with both classes, or None where there is none."""
    auc = sklearn_module("metrics").roc_auc_score
    values = []
    for target, score in zip(truth.T, predicted.T, strict=True):
        there = ~np.isnan(target)
        if len(np.unique(target[there])) == 2:
            values.append(auc(target[there], score[there]))
    return float(np.mean(values)) if values else None
