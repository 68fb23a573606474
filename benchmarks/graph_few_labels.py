"""Node classification with a few labels of each class: pre-training beside what features and labels tell alone.

    python -m benchmarks.graph_few_labels            # an hour on one core; goes on where it was interrupted
    python -m benchmarks.graph_few_labels --quick    # two minutes: Cora, two seeds, three epochs, five draws

Encoders are pre-trained on the whole graph without labels. With 1 to 20 labels a class nothing is selected: every
method has the same logistic regression on rows of length 1. The labelled nodes are drawn anew from all nodes outside
the test set, the same ones for every method. On the public split the validation nodes select, as is usual. Intervals
cover the pre-training seeds and the draws of labels, for the given test nodes.

The recipe was chosen with other draws of labels, and validation nodes in place of test nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.graph_objectives import bootstrapped, reconstructed
from benchmarks.harness import Options, Steps, main
from jepakit.graph import GraphDataset, Graphs, Pretrained, load_dataset, preset, pretrain
from jepakit.graph.floors import FEATURES, LABELS, WORDS, random_gcn
from jepakit.graph.probe.comparison import crossed_interval
from jepakit.graph.probe.nodes import few_labels, probe_few_nodes, probe_nodes
from jepakit.graph.probe.propagation import (
    principal_components,
    probe_few_spread_labels,
    probe_spread_labels,
    rare_words,
    smoothed_features,
    spread_features,
)
from jepakit.graph.words import is_bag_of_words
from jepakit.training.result_rows import ResultRow

SETS = ("Cora", "CiteSeer", "python-library")
COUNTS = (1, 2, 5, 10, 20)
PUBLIC = "public split"
OURS, RANDOM = "jepakit: JEPA", "the same encoder, random"
JOINED = "jepakit: JEPA, beside rare words spread over the graph"
JOINED_TEXTS = "jepakit: JEPA, beside features spread over the graph"
TOGETHER = "jepakit: JEPA, all pre-trainings side by side"
NEAR = "jepakit: JEPA, spread over 2 steps in place of 10"
BOOTSTRAP, MASKED = "BGRL-style objective, GCN of two layers", "GraphMAE-style objective, GCN of two layers"
RANDOM_GCN = {layers: f"a GCN of {name}, random" for layers, name in enumerate(("1 layer", "2 layers", "3 layers"), 1)}
SPREAD = "features spread over the graph (PageRank, as APPNP)"
FLOORS: dict[str, Callable[[Graphs], Tensor]] = {
    FEATURES: lambda graphs: graphs.x,
    "features averaged over 2 steps (SGC)": smoothed_features,
    "features averaged over 3 steps (SGC)": partial(smoothed_features, steps=3),
    SPREAD: spread_features,
    f"{SPREAD}, 32 principal components": lambda graphs: principal_components(spread_features(graphs), 32),
}
OF_WORDS: dict[str, Callable[[Graphs], Tensor]] = {
    WORDS: lambda graphs: spread_features(rare_words(graphs)),
    f"{WORDS}, 32 principal components": lambda graphs: principal_components(spread_features(rare_words(graphs)), 32),
    f"{WORDS}, 128 principal components": lambda graphs: principal_components(spread_features(rare_words(graphs)), 128),
}
OF_TEXTS: dict[str, Callable[[Graphs], Tensor]] = {
    f"{SPREAD}, 128 principal components": lambda graphs: principal_components(spread_features(graphs), 128),
}
MINE = (OURS, JOINED, JOINED_TEXTS, TOGETHER, NEAR)
_SEEDS = 3
#: GraphMAE: Hou et al. 2022, table 1.
PUBLISHED = {"Cora": ("GraphMAE (published)", 84.2), "CiteSeer": ("GraphMAE (published)", 73.4)}
AIMS = {"Cora": 84.2}
Scores = dict[str, list[float]]
"""Column -> accuracy for each draw of labels; one on the public split."""


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    return table(map(load_dataset, SETS[:1] if options.quick else SETS), options, steps)


def table(
    datasets: Iterable[GraphDataset], options: Options, steps: Steps, *, variants: bool = False
) -> list[ResultRow]:
    """The rows of several data sets.

    Args:
        datasets: of one graph each, with classes of nodes and a public split.
        options: of the benchmark.
        steps: what is already measured.
        variants: with rows for all pre-trainings side by side, and for a recipe that spreads over fewer steps.
    """
    found: list[ResultRow] = []
    gains: list[ResultRow] = []
    for dataset in datasets:
        name, scores = dataset.name, _scores(dataset, options, steps, variants=variants)
        found += [row for method, seeds in scores.items() for row in _rows(name, method, seeds)]
        if name in PUBLISHED:
            method, accuracy = PUBLISHED[name]
            found.append(ResultRow(PUBLIC, method, f"accuracy %, {name}", accuracy, note="as published"))
        gains += [_gain(name, column, scores) for column in _columns()]
        gains += [_gain(name, column, scores, against=RANDOM) for column in _columns()]
    return found + gains


def _scores(dataset: GraphDataset, options: Options, steps: Steps, *, variants: bool) -> dict[str, list[Scores]]:
    """Method -> the scores of each seed; a method without seeds has one."""
    graphs = dataset.graphs
    of_words = is_bag_of_words(graphs.x)
    floors = {**FLOORS, **(OF_WORDS if of_words else OF_TEXTS)}
    spread = floors[WORDS if of_words else SPREAD]
    found: dict[str, list[Scores]] = {}

    def measure(method: str, seed: int, features: Callable[[], Tensor]) -> None:
        score = partial(_probe, dataset, features, options)
        found.setdefault(method, []).append(steps.value((dataset.name, method, seed, options.quick), score))

    seeds = range(2 if options.quick else _SEEDS)
    trainings = [cache(partial(_pretrained, dataset, seed, options)) for seed in seeds]
    for seed, pretrained in zip(seeds, trainings, strict=True):

        def ours(pretrained: Callable[[], Pretrained] = pretrained) -> Tensor:
            return pretrained().encoder.embed(graphs, key="node")

        def random(pretrained: Callable[[], Pretrained] = pretrained) -> Tensor:
            return pretrained().random_encoder.embed(graphs, key="node")

        def joined(ours: Callable[[], Tensor] = ours) -> Tensor:
            return torch.cat([_of_length_one(ours()), _of_length_one(spread(graphs))], dim=1)

        methods = {OURS: ours, RANDOM: random, JOINED if of_words else JOINED_TEXTS: joined}
        for method, features in methods.items():
            measure(method, seed, features)
        if variants:
            near = partial(_pretrained, dataset, seed, options, spread=2)
            measure(NEAR, seed, lambda near=near: near().encoder.embed(graphs, key="node"))
        measure(BOOTSTRAP, seed, partial(bootstrapped, dataset, seed, quick=options.quick))
        measure(MASKED, seed, partial(reconstructed, dataset, seed, quick=options.quick))
        for layers, method in RANDOM_GCN.items():
            measure(method, seed, partial(random_gcn, graphs, seed=seed, layers=layers))
    if variants:
        measure(TOGETHER, 0, lambda: _side_by_side(graphs, trainings))
    for method, function in floors.items():
        measure(method, 0, partial(function, graphs))
    labels = steps.value((dataset.name, LABELS, 0, options.quick), partial(_probe_labels, dataset, options))
    return found | {LABELS: [labels]}


def _side_by_side(graphs: Graphs, trainings: Sequence[Callable[[], Pretrained]]) -> Tensor:
    parts = [pretrained().encoder.embed(graphs, key="node") for pretrained in trainings]
    return torch.cat([_of_length_one(part) for part in parts], dim=1)


def _of_length_one(x: Tensor) -> Tensor:
    return F.normalize(x - x.mean(0), dim=1)


def _pretrained(dataset: GraphDataset, seed: int, options: Options, spread: int | None = None) -> Pretrained:
    config = preset("nodes", seed=seed, progress=False, diagnose_every=1000)
    if spread is not None:
        config = replace(config, encoder=replace(config.encoder, spread=spread))
    return pretrain(dataset, replace(config, epochs=3) if options.quick else config)


def _probe(dataset: GraphDataset, features: Callable[[], Tensor], options: Options) -> Scores:
    x, y, splits = features(), dataset.graphs.node_y, dataset.splits
    assert y is not None
    scores = {_column(count): _draws(probe_few_nodes, x, dataset, count, options) for count in COUNTS}
    return {**scores, PUBLIC: [probe_nodes(x, y, splits).mean]}


def _probe_labels(dataset: GraphDataset, options: Options) -> Scores:
    graphs = dataset.graphs
    assert graphs.node_y is not None
    scores = {_column(count): _draws(probe_few_spread_labels, graphs, dataset, count, options) for count in COUNTS}
    return {**scores, PUBLIC: [probe_spread_labels(graphs, graphs.node_y, dataset.splits).mean]}


def _draws(probe: Callable, source: object, dataset: GraphDataset, count: int, options: Options) -> list[float]:
    test, y = dataset.splits["test"], dataset.graphs.node_y
    assert y is not None
    labelled = few_labels(y, count, test=test, draws=5 if options.quick else 20)
    return list(probe(source, y, labelled, test=test).part_scores[0])


def _rows(name: str, method: str, seeds: list[Scores]) -> list[ResultRow]:
    """± is over the draws of labels, on the public split over the seeds."""
    result: list[ResultRow] = []
    for column in _columns():
        table = 100 * np.array([scores[column] for scores in seeds])
        spread = table.mean(axis=1) if column == PUBLIC else table.mean(axis=0)
        std = float(spread.std(ddof=1)) if len(spread) > 1 else None
        metric, note = f"accuracy %, {name}", f"mean of {len(seeds)} seeds" if len(seeds) > 1 else ""
        value, ours = float(table.mean()), method in MINE
        aim = AIMS.get(name) if method == OURS and column == PUBLIC else None
        result.append(ResultRow(column, method, metric, value, std, len(spread), aim=aim, note=note, ours=ours))
    return result


def _gain(name: str, column: str, scores: dict[str, list[Scores]], against: str | None = None) -> ResultRow:
    """What pre-training gains over a row, by default over the best that is not ours, with its interval."""
    tables = {method: 100 * np.array([found[column] for found in seeds]) for method, seeds in scores.items()}
    if against is None:
        others = [method for method in tables if method not in MINE]
        against = max(others, key=lambda method: tables[method].mean())
        method = "jepakit: JEPA, over the best other row"
    else:
        method = f"jepakit: JEPA, over {against}"
    differences = tables[OURS] - tables[against]
    # On the public split there is one draw: its interval is over the seeds alone.
    found = crossed_interval(differences.T if differences.shape[1] == 1 else differences)
    note = f"95 %: {found.low:+.1f} to {found.high:+.1f}, over {against}"
    return ResultRow(column, method, f"points gained, {name}", found.mean, note=note, ours=True)


def _column(count: int) -> str:
    return f"{count} label{'s' * (count > 1)} a class"


def _columns() -> list[str]:
    return [*map(_column, COUNTS), PUBLIC]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main("graph_few_labels", rows, depends_on="graph/**/*.py")
