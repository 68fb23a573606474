"""Graph classification without labels: JEPA beside its floors and what is published.

    python -m benchmarks.graph_tu            # hours on two cores; goes on where it was interrupted
    python -m benchmarks.graph_tu --quick    # minutes: one seed, few epochs, the small sets

Encoders are pre-trained on all graphs of a set without labels, as GraphMAE and others do. Everything that is chosen
afterwards is chosen on inner folds. Every method is scored on the same folds: those of the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch

from benchmarks.harness import Options, Steps, main, mean_row
from jepakit.graph import (
    FinetuneConfig,
    GraphDataset,
    GraphEncoder,
    Pretrained,
    finetune,
    load_dataset,
    preset,
    pretrain,
)
from jepakit.graph.floors import floor_kernels
from jepakit.graph.probe.classes import (
    probe_few_labels,
    probe_graphs,
    probe_kernel,
    probe_kernel_few_labels,
)
from jepakit.graph.probe.folds import stratified_subset
from jepakit.graph.probe.kernels import KernelKind, node_level_summary
from jepakit.training.result_rows import ResultRow

OURS, RANDOM = "jepakit: JEPA", "random encoder"
POOLED = "random encoder, sum pooling instead of prototypes"


@dataclass(frozen=True)
class Published:
    """What papers report for a set, accuracy in %, under protocols of their own."""

    graph_jepa: float | None
    graphmae: float | None
    best: float | None


#: Graph-JEPA: Skenderi et al. 2023, table 1. GraphMAE: Hou et al. 2022, tables 1 and 2.
SETS = {
    "MUTAG": Published(91.25, 88.19, 92.38),
    "PROTEINS": Published(75.68, 75.30, 78.13),
    "NCI1": Published(None, 80.40, None),
    "IMDB-BINARY": Published(73.68, 75.52, 76.72),
    "REDDIT-BINARY": Published(91.99, 88.01, None),
}
AIMS = {"REDDIT-BINARY": 93.5}
FRACTIONS = (0.01, 0.1)
#: Where graphs are ten times as large as elsewhere, a third of the epochs are as many nodes and more.
EPOCHS = {"REDDIT-BINARY": 3}
WL_KINDS: tuple[KernelKind, ...] = ("subtree", "optimal assignment")


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    names = ["MUTAG", "PROTEINS"] if options.quick else list(SETS)
    seeds = [0] if options.quick else [0, 1, 2]
    table: list[ResultRow] = []
    for name in names:
        table += _graphs(load_dataset(name), seeds, options, steps)
        table += _published(name)
    return table


@dataclass(frozen=True)
class _Method:
    """A way to embed the graphs of a set, and the encoder behind it."""

    encoder: GraphEncoder
    features: Callable[[], torch.Tensor]


def _graphs(dataset: GraphDataset, seeds: Sequence[int], options: Options, steps: Steps) -> list[ResultRow]:
    graphs, name = dataset.graphs, dataset.name
    assert graphs.y is not None
    y = graphs.y
    scores: dict[tuple[str, str], list[float]] = {}

    def measure(metric: str, method: str, seed: int, score: Callable[[], float]) -> None:
        value = steps.value((name, metric, method, seed, options.quick), score)
        scores.setdefault((metric, method), []).append(100 * value)

    kernels = {kind: cache(partial(floor_kernels, graphs, kind)) for kind in WL_KINDS}
    for seed in seeds:
        methods = cache(partial(_methods, dataset, seed, options))
        for method in (OURS, RANDOM, POOLED):

            def features(method: str = method, methods: Callable[[], dict[str, _Method]] = methods) -> torch.Tensor:
                return methods()[method].features()

            measure("accuracy %", method, seed, partial(_probe, features, y, seed))
            for fraction in FRACTIONS:
                measure(_few_metric(fraction), method, seed, partial(_few, features, y, fraction, seed))
        # Where graphs are large, fine-tuning is as long as everything else together.
        for method in (OURS, RANDOM) if name not in EPOCHS or seed == seeds[0] else ():
            for fraction in FRACTIONS:

                def tuned(
                    method: str = method,
                    fraction: float = fraction,
                    seed: int = seed,
                    methods: Callable[[], dict[str, _Method]] = methods,
                ) -> float:
                    return _finetuned(methods()[method].encoder, dataset, fraction, seed, options)

                measure(f"accuracy %, fine-tuned on {fraction:.0%} of the labels", method, seed, tuned)
        measure("accuracy %", "no network (counts)", seed, partial(_probe, lambda: node_level_summary(graphs), y, seed))
        for kind, series in kernels.items():
            method = f"WL {kind} kernel + SVM"
            measure("accuracy %", method, seed, partial(_probe_kernel, series, y, seed))
            for fraction in FRACTIONS:
                measure(_few_metric(fraction), method, seed, partial(_few_kernel, series, y, fraction, seed))
    return [_row(name, metric, method, values) for (metric, method), values in scores.items()]


def _pretrained(dataset: GraphDataset, seed: int, options: Options) -> Pretrained:
    config = preset("best", seed=seed, progress=False, diagnose_every=1000)
    config = replace(config, epochs=EPOCHS.get(dataset.name, config.epochs))
    if options.quick:
        config = replace(config, epochs=min(config.epochs, 3))
    return pretrain(dataset, config)


def _methods(dataset: GraphDataset, seed: int, options: Options) -> dict[str, _Method]:
    pretrained = _pretrained(dataset, seed, options)
    ours, random = pretrained.encoder, pretrained.random_encoder
    return {
        OURS: _Method(ours, lambda: ours.embed(dataset.graphs)),
        RANDOM: _Method(random, lambda: random.embed(dataset.graphs)),
        POOLED: _Method(random, lambda: _pooled(random, dataset)),
    }


def _pooled(encoder: GraphEncoder, dataset: GraphDataset) -> torch.Tensor:
    pooled = GraphEncoder(**{**encoder.arguments, "prototypes": 0})  # pyright: ignore[reportArgumentType]
    weights = {k: v for k, v in encoder.state_dict().items() if not k.startswith("readout.")}
    pooled.load_state_dict(weights)
    return pooled.embed(dataset.graphs)


def _probe(features: Callable[[], torch.Tensor | np.ndarray], y: torch.Tensor, seed: int) -> float:
    """A support vector machine, as the kernels have; with few labels, logistic regression is tried too."""
    return probe_graphs(features(), y, classifier="svm", seeds=[seed], jobs=2).mean


def _few(features: Callable[[], torch.Tensor], y: torch.Tensor, fraction: float, seed: int) -> float:
    return probe_few_labels(features(), y, fraction, seeds=[seed], jobs=2).mean


def _probe_kernel(series: Callable[[], list[np.ndarray]], y: torch.Tensor, seed: int) -> float:
    return probe_kernel(series(), y, seeds=[seed], jobs=2).mean


def _few_kernel(series: Callable[[], list[np.ndarray]], y: torch.Tensor, fraction: float, seed: int) -> float:
    return probe_kernel_few_labels(series(), y, fraction, seeds=[seed], jobs=2).mean


def _finetuned(encoder: GraphEncoder, dataset: GraphDataset, fraction: float, seed: int, options: Options) -> float:
    """Accuracy on the unlabelled rest, mean of two labelled subsets of the seed (one where graphs are large)."""
    y = dataset.graphs.y
    assert y is not None
    config = FinetuneConfig(seed=seed, epochs=5 if options.quick else 30)
    accuracies: list[float] = []
    for repeat in range(1 if dataset.name in EPOCHS else 2):
        labelled = torch.as_tensor(stratified_subset(y.numpy(), fraction, (seed, repeat)))
        rest = torch.ones(len(dataset.graphs), dtype=torch.bool).index_fill(0, labelled, False)
        model = finetune(encoder, dataset, labelled, config)
        accuracies.append(float((model.predict(dataset.graphs[rest]) == y[rest]).float().mean()))
    return float(np.mean(accuracies))


def _few_metric(fraction: float) -> str:
    return f"accuracy % with {fraction:.0%} of the labels"


def _row(name: str, metric: str, method: str, values: list[float]) -> ResultRow:
    aim = _aim(name) if method == OURS and metric == "accuracy %" else None
    return mean_row(name, method, metric, values, aim=aim, ours=method == OURS)


def _aim(name: str) -> float:
    """The aim that was set, or else the best published number."""
    published = SETS[name]
    known = [value for value in (published.graph_jepa, published.graphmae, published.best) if value is not None]
    return AIMS.get(name, max(known))


def _published(name: str) -> list[ResultRow]:
    published = SETS[name]
    named = {"Graph-JEPA": published.graph_jepa, "GraphMAE": published.graphmae, "best known": published.best}
    note = "as published, on folds and protocols of their own"
    return [ResultRow(name, f"{k} (published)", "accuracy %", v, note=note) for k, v in named.items() if v is not None]


if __name__ == "__main__":
    main("graph_tu", rows, depends_on="graph/**/*.py")
