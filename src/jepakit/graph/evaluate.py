"""Probes a pre-trained encoder and baselines without pre-training, by the protocols of the field."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from jepakit.errors import require_at_least, require_choice
from jepakit.graph.data import GraphDataset
from jepakit.graph.encoder import GraphEncoder
from jepakit.graph.floors import COUNTS, KERNELS, LABELS, Floor, kernel_floor, node_features, random_encoders
from jepakit.graph.large.probing import embedded_rows, feature_rows, probed_nodes, probed_part
from jepakit.graph.large.sampling import is_large
from jepakit.graph.molecule_floors import FINGERPRINTS, FOREST, descriptors, fingerprints, molecule_features, smiles_of
from jepakit.graph.predictions import probe_scatter
from jepakit.graph.probe.binary import BinaryClassifier, Member
from jepakit.graph.probe.classes import probe_graphs
from jepakit.graph.probe.kernel_ridge import require_few_rows
from jepakit.graph.probe.kernels import node_level_summary
from jepakit.graph.probe.nodes import probe_nodes
from jepakit.graph.probe.propagation import probe_spread_labels
from jepakit.graph.probe.repeated import FOLDS, MOST_GRAPHS, classes_repeatedly, probe_repeatedly, split_sizes, suits
from jepakit.graph.probe.result import ProbeResult, checked_seeds, joined
from jepakit.graph.probe.selection import Classifier
from jepakit.graph.probe.targets import probe_mixture, probe_regression
from jepakit.graph.recommendation import RANDOM, Measured, gain_section, gains, recommendation
from jepakit.training.result_rows import ResultRow
from jepakit.training.results import Evaluation, ReportScatter

OURS = "jepakit: pre-trained encoder"
CONSTANT, MOST_FREQUENT = "the mean of the labels", "the most frequent class"
#: Resamples of a given split, and random encoders beside a single pre-training: see `recommendation.gains`.
RESAMPLES, RANDOM_ENCODERS = 20, 5
_MULTILABEL: dict[BinaryClassifier, str] = {
    "logistic": "Logistic regression",
    "forest": "A random forest",
    "kernel": "Kernel ridge regression",
}
#: A pre-training and the same encoder before it.
Pair = tuple[GraphEncoder, GraphEncoder]


@dataclass
class EvaluateConfig:
    """The protocol of the probes.

    Args:
        classifier: for graph classification: ``logistic``, ``svm``, or ``best``, selected on the inner folds.
        multilabel: for several binary tasks on given splits: ``logistic``, ``forest`` or ``kernel``; with a kernel,
            tables of molecules also have rows for fingerprints, RDKit's descriptors and both.
        folds: outer folds of the cross-validation of graph classification; fewer where a class has fewer graphs.
        seeds: of the shuffles of the folds.
        floors: the baselines: ``no network`` (of graphs counts of nodes, edges, degrees and labels; of nodes the
            features alone, averaged over neighbours and spread over the graph, and the training labels spread over it),
            ``random`` (the encoder before training; of nodes also a GCN of one layer), ``wl`` and ``wl-oa``
            (Weisfeiler-Lehman subtree and optimal assignment kernels with a support vector machine; graph
            classification only).
        most_nodes: of each split of a large graph so many nodes at most are probed, drawn at random. Label propagation
            and more than one random encoder are left out there.
        kernel_seconds: a kernel that would take longer is left out, which the summary says.
        jobs: processes.
    """

    classifier: Classifier = "best"
    multilabel: BinaryClassifier = "logistic"
    folds: int = 10
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    floors: list[Floor] = field(default_factory=lambda: ["no network", "random", "wl", "wl-oa"])
    most_nodes: int = 10_000
    kernel_seconds: float = 900.0
    jobs: int = 1

    def __post_init__(self) -> None:
        require_choice("classifier", self.classifier, get_args(Classifier))
        require_choice("multilabel", self.multilabel, get_args(BinaryClassifier))
        for floor in self.floors:
            require_choice("floors", floor, get_args(Floor))
        require_at_least(self, folds=2, jobs=1, kernel_seconds=0, most_nodes=10)


def evaluate(
    dataset: GraphDataset,
    encoder: GraphEncoder,
    random_encoder: GraphEncoder | None,
    config: EvaluateConfig,
    *,
    repeats: Sequence[Pair] = (),
    training_seconds: float | None = None,
) -> Evaluation:
    """Probes the frozen encoder and the baselines on the same splits, and says what to use.

    Args:
        dataset: with labels, or there is nothing to probe.
        encoder: pre-trained.
        random_encoder: that before training, if there is one; beside a single pre-training its row has several of its
            architecture.
        config: the protocol.
        repeats: encoders of the same pre-training with other seeds, and those before it: the rows are means over all.
        training_seconds: of the pre-training, for the recommendation.

    Raises:
        ConfigError: there are too many training graphs for a kernel.
        DataError: labels or splits do not suit the protocol.
    """
    title = f"JEPA pre-training on {dataset.name}"
    if dataset.task == "none":
        return Evaluation(title=title, summary=("The data have no labels: there is nothing to probe.",))
    graphs, nodes = dataset.graphs, dataset.task == "node classification"
    large = nodes and is_large(graphs)
    rows = torch.zeros(0, dtype=torch.long)
    if large:
        dataset, rows = probed_part(dataset, probed_nodes(_splits(dataset), config.most_nodes))
    score = _Score(dataset, config, models=1 + len(repeats))

    def embedding(one: GraphEncoder) -> Callable[[], Tensor]:
        if large:
            return partial(embedded_rows, one, graphs, rows)
        return partial(one.embed, graphs, key="node" if nodes else "graph")

    trained = [encoder, *(ours for ours, _ in repeats)]
    ours = score([embedding(one) for one in trained])
    others: dict[str, Measured] = {}
    if "random" in config.floors and random_encoder is not None:
        untrained = [random_encoder, *(before for _, before in repeats)]
        if not repeats and not large:
            untrained = random_encoders(random_encoder, graphs, score.random_models)
        others[RANDOM] = score([embedding(one) for one in untrained])
    if large:
        others |= {method: score([made]) for method, made in feature_rows(graphs, rows, config.floors).items()}
    else:
        others |= _node_floors(dataset, score) if nodes else _graph_floors(dataset, score)
    left_out: tuple[str, ...] = ()
    if dataset.task == "graph classification":
        seeds = [score.seed(unit) for unit in range(score.units)]
        limits: dict[str, Any] = {"folds": score.folds, "seeds": seeds, "jobs": config.jobs}
        for floor, (method, _) in KERNELS.items():
            if floor in config.floors:
                found = kernel_floor(dataset.graphs, floor, limit=config.kernel_seconds, **limits)
                if isinstance(found, Measured):
                    others[method] = found
                else:
                    left_out = (*left_out, found)
    found_gains = gains(ours, others)
    advice = recommendation(ours, others, found_gains, training_seconds)
    section = gain_section(others, found_gains, models=len(trained))
    return Evaluation(
        title=title,
        summary=(*score.protocol, *left_out),
        recommendation=None if advice is None else " ".join((advice, *left_out)),
        rows=(
            _row(dataset, OURS, ours.result, ours=True),
            *(_row(dataset, method, other.result, ours=False) for method, other in others.items()),
        ),
        sections=() if section is None else (section,),
        scatters=_predictions(score, encoder, ours.result),
    )


def _predictions(score: _Score, encoder: GraphEncoder, ours: ProbeResult) -> tuple[ReportScatter, ...]:
    """Predicted against true values, where the labels are numbers."""
    if score.dataset.task != "graph regression":
        return ()
    features = encoder.embed(score.dataset.graphs, key="graph")
    return (probe_scatter(score.dataset, features, ours, splits=score.splits, seed=score.seed(0)),)


class _Score:
    """Scores features by the protocol of a data set.

    Classes of graphs, and targets of few graphs, are scored by cross-validation, a unit for each shuffle: of several
    encoders each unit takes another. Given splits have a unit for each encoder, and the first is resampled.
    """

    def __init__(self, dataset: GraphDataset, config: EvaluateConfig, *, models: int) -> None:
        self.dataset, self.config = dataset, config
        self.few_targets = dataset.task in ("graph multilabel", "graph regression") and suits(_labels(dataset))
        self.folded = self.few_targets or dataset.task == "graph classification"
        self.folds = _class_folds(dataset, config)
        self.units = max(len(checked_seeds(config.seeds)), models) if self.folded else models
        self.random_models = max(self.units, RANDOM_ENCODERS)
        self.splits = {} if self.folded else _splits(dataset)
        self.by_kernel = dataset.task == "graph multilabel" and not self.folded and config.multilabel == "kernel"
        if self.by_kernel:
            require_few_rows("multilabel", len(self.splits["train"]))
        self.protocol = _protocol(self)

    def seed(self, unit: int) -> int:
        """The shuffle of a unit."""
        return self.config.seeds[unit % len(self.config.seeds)]

    def __call__(self, features: Sequence[Callable[[], Any]]) -> Measured:
        """The score of features of one encoder or several, or of features without one."""
        models, start = len(features), time.perf_counter()
        if not self.folded:
            results = [self._given(one(), RESAMPLES if number == 0 else 0) for number, one in enumerate(features)]
        elif models == 1:
            results = [self._cross_validated(features[0](), [self.seed(unit) for unit in range(self.units)])]
        else:
            units = range(max(self.units, models))
            embedded = [one() for one in features]
            results = [self._cross_validated(embedded[unit % models], [self.seed(unit)]) for unit in units]
        return Measured(joined(results), (time.perf_counter() - start) / models, models)

    def _cross_validated(self, features: Any, seeds: Sequence[int]) -> ProbeResult:
        y, config = _labels(self.dataset), self.config
        if self.few_targets:
            return probe_repeatedly(features, y, seeds=seeds, jobs=config.jobs)
        options: dict[str, Any] = {"folds": self.folds, "jobs": config.jobs}
        return probe_graphs(features, y, classifier=config.classifier, seeds=seeds, **options)

    def _given(self, features: Any, resamples: int) -> ProbeResult:
        graphs, options = self.dataset.graphs, dict[str, Any](resamples=resamples)
        if self.dataset.task == "node classification":
            assert graphs.node_y is not None
            return probe_nodes(features, graphs.node_y, self.splits, **options)
        assert graphs.y is not None
        if self.dataset.task == "graph multilabel":
            member = Member(self.config.multilabel, features if isinstance(features, tuple) else (features,))
            return probe_mixture([member], graphs.y, self.splits, jobs=self.config.jobs, **options)
        return probe_regression(features, graphs.y, self.splits, **options)


def _node_floors(dataset: GraphDataset, score: _Score) -> dict[str, Measured]:
    floors = score.config.floors
    found = {method: score([features]) for method, features in node_features(dataset.graphs, floors).items()}
    if "no network" in floors:
        start, node_y = time.perf_counter(), dataset.graphs.node_y
        assert node_y is not None
        result = probe_spread_labels(dataset.graphs, node_y, score.splits, resamples=RESAMPLES)
        found[LABELS] = Measured(result, time.perf_counter() - start)
    return found


def _graph_floors(dataset: GraphDataset, score: _Score) -> dict[str, Measured]:
    if "no network" not in score.config.floors:
        return {}
    found = {COUNTS: score([lambda: node_level_summary(dataset.graphs)])}
    if score.few_targets:
        found[CONSTANT] = _without_encoder(score, "constant", lambda: np.ones((len(dataset.graphs), 1)))
    smiles = smiles_of(dataset)
    if smiles is not None and score.folded and len(smiles) < MOST_GRAPHS:
        found[FINGERPRINTS] = score([lambda: fingerprints(smiles)])
        found[FOREST] = _without_encoder(score, "forest", lambda: descriptors(smiles))
        if dataset.task == "graph classification":
            found[MOST_FREQUENT] = _without_encoder(score, "constant", lambda: np.ones((len(smiles), 1)))
    if smiles is not None and score.by_kernel:
        found |= {method: score([features]) for method, features in molecule_features(smiles).items()}
    return found


def _without_encoder(
    score: _Score, model: Literal["forest", "constant"], features: Callable[[], np.ndarray]
) -> Measured:
    """The score of a model of its own on the folds of the others."""
    start, y = time.perf_counter(), _labels(score.dataset)
    seeds = [score.seed(unit) for unit in range(score.units)]
    if score.few_targets:
        result = probe_repeatedly(features(), y, model=model, seeds=seeds)
    else:
        result = classes_repeatedly(features(), y, model=model, folds=score.folds, seeds=seeds)
    return Measured(result, time.perf_counter() - start)


def _labels(dataset: GraphDataset) -> Tensor:
    assert dataset.graphs.y is not None
    return dataset.graphs.y


def _class_folds(dataset: GraphDataset, config: EvaluateConfig) -> int:
    """The folds of a cross-validation of classes: no more than the smallest class has graphs, but two."""
    if dataset.task != "graph classification":
        return config.folds
    counts = torch.bincount(_labels(dataset))
    return max(2, min(config.folds, int(counts[counts > 0].min())))


def _protocol(score: _Score) -> tuple[str, ...]:
    dataset, config = score.dataset, score.config
    unlabelled = "The encoder was pre-trained on all graphs, without their labels, as is usual in this field."
    shuffles = "1 shuffle" if len(config.seeds) == 1 else f"{len(config.seeds)} shuffles"
    spread = "± is the spread over shuffles, each with another of the encoders where a row has several."
    if dataset.task == "graph classification":
        fewer = "" if score.folds == config.folds else f" ({score.folds} graphs are of the smallest class)"
        return (
            f"Stratified {score.folds}-fold cross-validation{fewer}, {shuffles}; hyper-parameters are chosen on inner"
            f" folds of the training folds. {spread}",
            unlabelled,
        )
    if score.few_targets:
        rows, train, val, test = split_sizes(_labels(dataset))
        model = "Logistic regression, ROC-AUC" if dataset.task == "graph multilabel" else "Ridge regression"
        return (
            f"{model}. {rows} labelled graphs are few: {FOLDS}-fold cross-validation at random, {shuffles}, with"
            f" {train} graphs to train, {val} to choose hyper-parameters and {test} to test in each fold. {spread}",
            "Molecules of new scaffolds are harder than those of random folds." if dataset.splits else unlabelled,
        )
    words = "Hyper-parameters were chosen on the validation split, scores are of the test split."
    if not dataset.splits:
        words += " The data have no split of their own: a random split was drawn, 80 : 10 : 10."
    sizes = ", ".join(f"{name} {len(rows)}" for name, rows in score.splits.items())
    words += f" Sizes: {sizes}. ± is the spread over encoders, where a row has several."
    if dataset.task == "node classification":
        seen = "Every method sees all nodes and edges, and of the labels those of the training nodes."
        return f"Logistic regression on nodes. {words}", seen
    if dataset.task == "graph multilabel":
        return (f"{_MULTILABEL[config.multilabel]}, mean ROC-AUC. {words}",)
    return (f"Ridge regression. {words}",)


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


def _row(dataset: GraphDataset, method: str, result: ProbeResult, *, ours: bool) -> ResultRow:
    scale, unit = (1.0, "") if result.lower_is_better else (100.0, " %")
    return ResultRow(
        dataset=dataset.name,
        method=method,
        metric=f"{result.metric}{unit}",
        value=scale * result.mean,
        std=None if result.std is None else scale * result.std,
        seeds=len(result.seed_scores),
        note="logistic or svm, the better" if result.method == "best" else result.method,
        ours=ours,
        lower_is_better=result.lower_is_better,
    )
