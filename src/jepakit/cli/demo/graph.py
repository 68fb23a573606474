"""Nodes with one, two or five labels a class, in the graph of Python's standard library."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from jepakit.cli.demo.case import Shown, compared
from jepakit.cli.graph import PretrainOptions
from jepakit.cli.runs import training_run
from jepakit.graph.data import GraphDataset
from jepakit.graph.datasets import load_dataset
from jepakit.graph.evaluate import OURS
from jepakit.graph.floors import FEATURES, LABELS, WORDS
from jepakit.graph.presets import PRESETS
from jepakit.graph.pretrain import pretrain
from jepakit.graph.probe.nodes import few_labels, probe_few_nodes
from jepakit.graph.probe.propagation import (
    probe_few_spread_labels,
    rare_words,
    smoothed_features,
    spread_features,
)
from jepakit.graph.recommendation import RANDOM
from jepakit.progress import tracked
from jepakit.training import RunFolder
from jepakit.training.presets import configured
from jepakit.training.result_rows import ResultRow
from jepakit.training.results import Evaluation

#: Labels of each class, and random sets of so many.
_COUNTS, _DRAWS = (1, 2, 5), 10
#: Narrower than the preset, and fewer epochs: two thirds of a minute instead of two.
_WIDTH, _EPOCHS = 256, 40
_METRIC = "accuracy %"


def run(folder: Path, out: Console) -> Shown:
    """Pre-trains on the whole graph without labels, and learns from few of them."""
    dataset = load_dataset("python-library")
    options = configured(PretrainOptions(), PRESETS, "nodes", epochs=_EPOCHS)
    options = replace(
        options, dataset="python-library", run=folder, encoder=replace(options.encoder, hidden=_WIDTH), progress=True
    )
    trained = RunFolder(folder)
    with training_run(trained, options, out) as training:
        start = time.perf_counter()
        pretrained = pretrain(dataset, options, run=trained)
        seconds = time.perf_counter() - start
        graphs = dataset.graphs
        features: dict[str, Callable[[], Tensor]] = {
            OURS: partial(pretrained.encoder.embed, graphs, key="node"),
            RANDOM: partial(pretrained.random_encoder.embed, graphs, key="node"),
            FEATURES: lambda: graphs.x,
            "features averaged over 2 steps (SGC)": lambda: smoothed_features(graphs),
            WORDS: lambda: spread_features(rare_words(graphs)),
        }
        with torch.no_grad():
            scores = {
                method: _scores(dataset, partial(probe_few_nodes, made()))
                for method, made in tracked(features.items(), "few labels", len(features), unit="methods")
            }
        scores[LABELS] = _scores(dataset, partial(probe_few_spread_labels, graphs))
        evaluation = training.evaluation = _evaluation(dataset, scores, seconds)
    lines = [compared(_task(count), evaluation.rows, OURS, dataset=_task(count), metric=_METRIC) for count in _COUNTS]
    return Shown(tuple(lines), evaluation, trained.report)


def _scores(dataset: GraphDataset, probe: Callable[..., object]) -> dict[int, np.ndarray]:
    """Labels of each class -> test accuracy for each set of labelled nodes, ``[draws]``."""
    test, y = dataset.splits["test"], dataset.graphs.node_y
    assert y is not None
    found: dict[int, np.ndarray] = {}
    for count in _COUNTS:
        result = probe(y, few_labels(y, count, test=test, draws=_DRAWS), test=test)
        found[count] = 100 * np.array(result.part_scores[0])  # type: ignore[attr-defined]
    return found


def _task(count: int) -> str:
    return f"{count} label{'s' * (count > 1)} a package"


def _evaluation(dataset: GraphDataset, scores: dict[str, dict[int, np.ndarray]], seconds: float) -> Evaluation:
    rows = tuple(
        ResultRow(
            _task(count), method, _METRIC, float(of[count].mean()), float(of[count].std(ddof=1)), ours=method == OURS
        )
        for count in _COUNTS
        for method, of in scores.items()
    )
    means = {method: np.array([of[count].mean() for count in _COUNTS]) for method, of in scores.items()}
    best = max((method for method in means if method != OURS), key=lambda method: float(means[method].mean()))
    gains = means[OURS] - means[best]
    shown = ", ".join(f"{gain:+.1f}" for gain in gains)
    use = OURS if gains.min() > 0 else best
    return Evaluation(
        title="Packages of Python's standard library, from few labels",
        summary=(
            f"{dataset.graphs.num_nodes:,} modules, classes and functions, {dataset.graphs.num_edges:,} edges"
            " (inherits, imports, calls, raises); ten packages are the classes. ± is over"
            f" {_DRAWS} random choices of the labelled nodes, the same for every method, none of them one of the"
            f" {len(dataset.splits['test']):,} test nodes. Nothing is selected.",
        ),
        recommendation=f"Use {use}: {shown} points with 1, 2 and 5 labels against {best}; {seconds:.0f} s of training.",
        rows=rows,
    )
