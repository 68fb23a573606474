"""Probes a pre-trained encoder and baselines without pre-training, by the protocols of the field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from jepakit.errors import require_at_least, require_choice
from jepakit.graph.data import GraphDataset, Graphs
from jepakit.graph.encoder import EncoderConfig, GraphEncoder
from jepakit.graph.probe.classes import probe_graphs, probe_kernel
from jepakit.graph.probe.kernels import KernelKind, node_level_summary, wl_kernel_series
from jepakit.graph.probe.nodes import probe_nodes
from jepakit.graph.probe.propagation import (
    is_bag_of_words,
    probe_spread_labels,
    rare_words,
    smoothed_features,
    spread_features,
)
from jepakit.graph.probe.result import ProbeResult
from jepakit.graph.probe.selection import Classifier
from jepakit.graph.probe.targets import probe_multilabel, probe_regression
from jepakit.training.result_rows import ResultRow
from jepakit.training.results import Evaluation

Floor = Literal["no network", "random", "wl", "wl-oa"]
RANDOM = "the same encoder, random"
RANDOM_GCN = "a GCN of one layer, random"
SMOOTHING = "features averaged twice over neighbours (SGC)"
SPREADING = "features spread over the graph (PageRank)"
WORDS = "rare words weighted (TF-IDF), spread over the graph"
LABELS = "labels spread over the graph"
WL_ITERATIONS = 5
_KERNELS: dict[str, tuple[str, KernelKind]] = {
    "wl": ("WL subtree kernel", "subtree"),
    "wl-oa": ("WL optimal assignment kernel", "optimal assignment"),
}


@dataclass
class EvaluateConfig:
    """The protocol of the probes.

    Args:
        classifier: for graph classification: ``logistic``, ``svm``, or ``best``, selected on the inner folds.
        folds: outer folds of the cross-validation of graph classification.
        seeds: of the shuffles of the folds.
        floors: the baselines: ``no network`` (of graphs counts of nodes, edges, degrees and labels; of nodes the
            features alone, averaged over neighbours and spread over the graph, and the training labels spread over it),
            ``random`` (the encoder before training; of nodes also a GCN of one layer), ``wl`` and ``wl-oa``
            (Weisfeiler-Lehman subtree and optimal assignment kernels with a support vector machine; graph
            classification only).
        jobs: processes.
    """

    classifier: Classifier = "best"
    folds: int = 10
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    floors: list[Floor] = field(default_factory=lambda: ["no network", "random", "wl"])
    jobs: int = 1

    def __post_init__(self) -> None:
        require_choice("classifier", self.classifier, get_args(Classifier))
        for floor in self.floors:
            require_choice("floors", floor, get_args(Floor))
        require_at_least(self, folds=2, jobs=1)


def evaluate(
    dataset: GraphDataset, encoder: GraphEncoder, random_encoder: GraphEncoder | None, config: EvaluateConfig
) -> Evaluation:
    """Probes the frozen encoder and the baselines on the same splits; ``random_encoder`` is that before training.

    Raises:
        DataError: labels or splits do not suit the protocol.
    """
    title = f"JEPA pre-training on {dataset.name}"
    if dataset.task == "none":
        return Evaluation(title=title, summary=("The data have no labels: there is nothing to probe.",))
    score, protocol = _probe(dataset, config)
    is_node = dataset.task == "node classification"
    ours = score(encoder.embed(dataset.graphs, key="node" if is_node else "graph"))
    floors: dict[str, ProbeResult] = {}
    if "random" in config.floors and random_encoder is not None:
        floors[RANDOM] = score(random_encoder.embed(dataset.graphs, key="node" if is_node else "graph"))
    if is_node:
        floors |= {method: score(features()) for method, features in node_floors(dataset.graphs, config.floors).items()}
        if "no network" in config.floors:
            assert dataset.graphs.node_y is not None
            floors[LABELS] = probe_spread_labels(dataset.graphs, dataset.graphs.node_y, _splits(dataset))
    elif "no network" in config.floors:
        floors["no network"] = score(node_level_summary(dataset.graphs))
    if dataset.task == "graph classification":
        floors |= _kernels(dataset.graphs, config)
    rows = (
        _row(dataset, "jepakit: pre-trained encoder", ours, ours=True),
        *(_row(dataset, method, result, ours=False) for method, result in floors.items()),
    )
    return Evaluation(title=title, summary=protocol, recommendation=_recommendation(ours, floors), rows=rows)


def _probe(dataset: GraphDataset, config: EvaluateConfig) -> tuple[Callable[[Any], ProbeResult], tuple[str, ...]]:
    """A function from features to their score, and a description of the protocol."""
    y, node_y = dataset.graphs.y, dataset.graphs.node_y
    if dataset.task == "graph classification":
        assert y is not None
        words = (
            f"Stratified {config.folds}-fold cross-validation, {len(config.seeds)} shuffles; hyper-parameters are"
            " chosen on inner folds of the training folds. ± is the spread over shuffles.",
            "The encoder was pre-trained on all graphs, without their labels, as is usual in this field.",
        )
        return partial(probe_graphs, y=y, classifier=config.classifier, **_folds(config)), words
    protocol = "Hyper-parameters were chosen on the validation split, scores are of the test split."
    splits = _splits(dataset)
    if not dataset.splits:
        protocol += " The data have no split of their own: a random split was drawn, 80 : 10 : 10."
    if dataset.task == "node classification":
        assert node_y is not None
        return partial(probe_nodes, node_y=node_y, splits=splits), (
            f"Logistic regression on nodes. {protocol}",
            "Every method sees all nodes and edges, and of the labels those of the training nodes.",
        )
    assert y is not None
    if dataset.task == "graph multilabel":
        return partial(probe_multilabel, y=y, splits=splits), (f"Logistic regression, mean ROC-AUC. {protocol}",)
    return partial(probe_regression, y=y, splits=splits), (f"Ridge regression. {protocol}",)


def _folds(config: EvaluateConfig) -> dict[str, Any]:
    return {"folds": config.folds, "seeds": config.seeds, "jobs": config.jobs}


def node_floors(graphs: Graphs, floors: Sequence[Floor]) -> dict[str, Callable[[], Tensor]]:
    """The baselines that are features of the nodes, ``[N, D]``, beside the encoder before training."""
    no_network: dict[str, Callable[[], Tensor]] = {
        "no network": lambda: graphs.x,
        SMOOTHING: lambda: smoothed_features(graphs),
        SPREADING: lambda: spread_features(graphs),
    }
    if is_bag_of_words(graphs.x):
        no_network[WORDS] = lambda: spread_features(rare_words(graphs))
    random: dict[str, Callable[[], Tensor]] = {RANDOM_GCN: lambda: random_gcn(graphs)}
    return (no_network if "no network" in floors else {}) | (random if "random" in floors else {})


def random_gcn(graphs: Graphs, *, seed: int = 0) -> Tensor:
    """Nodes embedded by a GCN of one layer that is not trained, ``[N, 512]``."""
    one_layer = EncoderConfig(conv="gcn", hidden=512, layers=1, scale_rows=True, norm="none", jumping="last")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GraphEncoder.for_data(graphs, one_layer).embed(graphs, key="node")


def _splits(dataset: GraphDataset) -> dict[str, Tensor]:
    """The splits of the data; without any a fixed random one of the graphs or labelled nodes, 80 : 10 : 10."""
    if dataset.splits:
        return dataset.splits
    if dataset.task == "node classification" and dataset.graphs.node_y is not None:
        rows = (dataset.graphs.node_y >= 0).nonzero().squeeze(1)
    else:
        rows = torch.arange(len(dataset.graphs))
    shuffled = rows[torch.randperm(rows.numel(), generator=torch.Generator().manual_seed(0))]
    tenth = rows.numel() // 10
    parts = shuffled.split([rows.numel() - 2 * tenth, tenth, tenth])
    return dict(zip(("train", "val", "test"), parts, strict=True))


def _kernels(graphs: Graphs, config: EvaluateConfig) -> dict[str, ProbeResult]:
    """Scores of Weisfeiler-Lehman kernels; the number of rounds is selected on the inner folds."""
    assert graphs.y is not None
    chosen = [_KERNELS[floor] for floor in _KERNELS if floor in config.floors]
    return {method: probe_kernel(floor_kernels(graphs, kind), graphs.y, **_folds(config)) for method, kind in chosen}


def floor_kernels(graphs: Graphs, kind: KernelKind) -> list[np.ndarray]:
    """The normalised Weisfeiler-Lehman kernels ``[G, G]`` of a baseline, after 0, 1, ... rounds of refinement."""
    # The kernels need discrete labels: the columns of x that hold whole numbers.
    whole = (graphs.x == graphs.x.round()).all(0)
    labels = torch.zeros(graphs.num_nodes, dtype=torch.long)
    if whole.any():
        labels = torch.unique(graphs.x[:, whole], dim=0, return_inverse=True)[1]
    use_edges = graphs.edge_attr is not None
    return wl_kernel_series(
        graphs, WL_ITERATIONS, kind=kind, normalize=True, use_edges=use_edges, initial=labels.numpy()
    )


def _row(dataset: GraphDataset, method: str, result: ProbeResult, *, ours: bool) -> ResultRow:
    scale, unit = (1.0, "") if result.lower_is_better else (100.0, " %")
    return ResultRow(
        dataset=dataset.name,
        method=method,
        metric=f"{result.metric}{unit}",
        value=scale * result.mean,
        std=None if result.std is None else scale * result.std,
        seeds=len(result.seed_scores),
        note=result.method,
        ours=ours,
        lower_is_better=result.lower_is_better,
    )


def _recommendation(ours: ProbeResult, floors: dict[str, ProbeResult]) -> str | None:
    """What to use: the best baseline, unless the encoder is better by more than the spread."""
    best = max(floors, key=lambda method: _Gain.of(floors[method], ours).mean, default=RANDOM)
    if best != RANDOM:
        gain = _Gain.of(floors[best], ours)
        if gain.mean >= -gain.spread:
            known = "" if gain.seeds > 1 else ", on one seed"
            advice = f"Without pre-training, {best} gains {gain} over the pre-trained encoder{known}."
            if RANDOM not in floors:
                return advice
            return f"{advice} Pre-training gains {_Gain.of(ours, floors[RANDOM])} over the same encoder at random."
    return _against_random(ours, floors[RANDOM]) if RANDOM in floors else None


def _against_random(ours: ProbeResult, random: ProbeResult) -> str:
    gain = _Gain.of(ours, random)
    if len(ours.seed_scores) < 2:
        return f"{gain} against the same encoder at random: more than one seed is needed to judge it."
    size = f"{gain} against the same encoder at random initialisation"
    if gain.mean > gain.spread:
        return f"Use the pre-trained encoder: {size}."
    if gain.mean < -gain.spread:
        return f"Use the random encoder (random_encoder/ in the run folder): pre-training did harm here, {size}."
    return f"Pre-training made no difference that stands out of the spread ({size}): either encoder will do."


@dataclass(frozen=True)
class _Gain:
    """By how much a result is better, as it is shown; ``spread`` over the seeds, 0 for a single one."""

    mean: float
    spread: float
    seeds: int

    @classmethod
    def of(cls, one: ProbeResult, other: ProbeResult) -> _Gain:
        scale = -1 if one.lower_is_better else 100
        gains = scale * np.subtract(one.seed_scores, other.seed_scores)
        return cls(float(gains.mean()), float(gains.std(ddof=1)) if len(gains) > 1 else 0.0, len(gains))

    def __str__(self) -> str:
        return f"{self.mean:+.2f}" + (f" ± {self.spread:.2f}" if self.seeds > 1 else "")
