"""Nodes of one graph in batches: is anything lost beside the whole graph, and how does memory grow?

    python -m benchmarks.graph_large            # twenty minutes on one core; goes on where it was interrupted
    python -m benchmarks.graph_large --quick    # two minutes: Cora, one seed, small graphs

Accuracy: encoders pre-trained on a whole citation graph, on neighbours drawn around nodes, and on clusters; then all of
them embed the whole graph. Memory and time: a graph with classes, communities and hubs is drawn at several sizes
(`benchmarks.graph_large_data`), written as a store and pre-trained on in a process of its own. The largest one is
probed, too. Its features say little and its edges much, so that the encoder spreads fewer steps than the preset does.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.graph_large_data import Drawn
from benchmarks.harness import Options, Steps, main
from benchmarks.kgqa_scale_home import in_own_process, peak_memory
from jepakit.graph import GraphDataset, Graphs, PretrainConfig, SamplingConfig, load_dataset, preset, pretrain
from jepakit.graph.floors import FEATURES, SMOOTHING, SPREADING
from jepakit.graph.large.embedding import embedded, spread
from jepakit.graph.large.store import open_store
from jepakit.graph.probe.comparison import crossed_interval
from jepakit.graph.probe.nodes import few_labels, probe_few_nodes, probe_nodes
from jepakit.training import RunFolder
from jepakit.training.result_rows import ResultRow

COUNTS, PUBLIC = (1, 5, 20), "public split"
SETS = ("Cora", "CiteSeer")
WHOLE, NEIGHBOURS, CLUSTERS = "the whole graph", "jepakit: neighbours", "jepakit: clusters"
RANDOM = "the same encoder, random"
METHODS = {WHOLE: "full", NEIGHBOURS: "neighbours", CLUSTERS: "clusters"}
SIZES = {False: (50_000, 100_000, 200_000), True: (2_000, 4_000)}
LARGEST = {False: 1_000_000, True: 8_000}
EPOCHS = {WHOLE: 1, NEIGHBOURS: 1, CLUSTERS: 1}
SEEDS = {False: 3, True: 1}
#: Nodes of the largest graph that are probed, half of them to test.
PROBED, DRAWS = 20_000, 10
Scores = dict[str, list[float]]


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    quick = options.quick
    table: list[ResultRow] = []
    for name in SETS[:1] if quick else SETS:
        dataset = load_dataset(name)
        scores = {
            method: [
                steps.value((name, method, seed, quick), partial(_scores, dataset, method, seed, quick=quick))
                for seed in range(SEEDS[quick])
            ]
            for method in (*METHODS, RANDOM)
        }
        table += _accuracy_rows(name, scores)
    with tempfile.TemporaryDirectory() as root:
        table += _growth_rows(Path(root), steps, quick=quick)
        table += _largest_rows(Path(root), steps, quick=quick)
    return table


def _scores(dataset: GraphDataset, method: str, seed: int, *, quick: bool) -> Scores:
    """Column -> accuracy for each draw of labels; one on the public split."""
    base = preset("nodes", seed=seed, progress=False, diagnose_every=1000)
    # Narrower than the preset, to be quick; all methods are.
    config = replace(base, encoder=replace(base.encoder, hidden=128), epochs=3 if quick else base.epochs)
    graphs, random = dataset.graphs, method == RANDOM
    sampling = SamplingConfig("full" if random else METHODS[method])  # pyright: ignore[reportArgumentType]
    config = replace(config, sampling=sampling, epochs=1 if random else config.epochs)
    trained = pretrain(dataset, config)
    x = (trained.random_encoder if random else trained.encoder).embed(graphs, key="node")
    assert graphs.node_y is not None
    test, y = dataset.splits["test"], graphs.node_y
    found = {_column(count): _few(x, y, test, count, 20) for count in COUNTS}
    return {**found, PUBLIC: [probe_nodes(x, y, dataset.splits).mean]}


def _few(x: Tensor, y: Tensor, test: Tensor, count: int, draws: int) -> list[float]:
    return list(probe_few_nodes(x, y, few_labels(y, count, test=test, draws=draws), test=test).part_scores[0])


def _accuracy_rows(name: str, scores: dict[str, list[Scores]]) -> list[ResultRow]:
    """± is over the pre-trainings."""
    table: list[ResultRow] = []
    gains: list[ResultRow] = []
    for column in [*map(_column, COUNTS), PUBLIC]:
        found = {method: 100 * np.array([one[column] for one in seeds]) for method, seeds in scores.items()}
        for method, values in found.items():
            means = values.mean(axis=1)
            std = float(means.std(ddof=1)) if len(means) > 1 else None
            ours = method in (NEIGHBOURS, CLUSTERS)
            table.append(
                ResultRow(column, method, f"accuracy %, {name}", float(means.mean()), std, len(means), ours=ours)
            )
        for method in (NEIGHBOURS, CLUSTERS):
            differences = found[method] - found[WHOLE]
            note = ""
            if differences.size > 1:
                gain = crossed_interval(differences.T if differences.shape[1] == 1 else differences)
                note = f"95 %: {gain.low:+.1f} to {gain.high:+.1f}"
            metric = f"points beside the whole graph, {name}"
            gains.append(ResultRow(column, method, metric, float(differences.mean()), note=note, ours=True))
    return table + gains


def _growth_rows(root: Path, steps: Steps, *, quick: bool) -> list[ResultRow]:
    table: list[ResultRow] = []
    for nodes in SIZES[quick]:
        for method in METHODS:
            numbers = _measured(root, steps, nodes, method, quick=quick)
            table += _cost_rows(nodes, method, numbers)
    return table


def _largest_rows(root: Path, steps: Steps, *, quick: bool) -> list[ResultRow]:
    nodes = LARGEST[quick]
    table: list[ResultRow] = []
    scores: dict[str, Scores] = {}
    for method in (NEIGHBOURS, CLUSTERS):
        numbers = _measured(root, steps, nodes, method, quick=quick, probed=True)
        table += _cost_rows(nodes, method, numbers["cost"])
        scores |= {method: numbers["ours"]}
        scores.setdefault(RANDOM, numbers["random"])
    floors = steps.value(("floors", nodes, quick), lambda: in_own_process(_floors, _store(root, nodes)))
    metric = f"accuracy %, drawn graph, {nodes:,} nodes, {int(floors.pop('edges')[0]):,} edges"
    for method, found in {**scores, **floors}.items():
        for column, draws in found.items():
            values = 100 * np.array(draws)
            ours = method in (NEIGHBOURS, CLUSTERS)
            note = "one pre-training; ± is over the draws of labels" if ours else ""
            mean, std = float(values.mean()), float(values.std(ddof=1))
            table.append(ResultRow(column, method, metric, mean, std, len(values), note=note, ours=ours))
    return table


def _measured(root: Path, steps: Steps, nodes: int, method: str, *, quick: bool, probed: bool = False) -> Any:
    def measure() -> Any:
        return in_own_process(_pretrained, _store(root, nodes), method, probed)

    return steps.value((nodes, method, probed, quick), measure)


def _store(root: Path, nodes: int) -> Path:
    """The graph of this size, drawn where it is not there."""
    folder = root / str(nodes)
    return folder if folder.exists() else Drawn(nodes=nodes, edges=10 * nodes).write(folder)


def _cost_rows(nodes: int, method: str, numbers: dict[str, float]) -> list[ResultRow]:
    metrics = {
        "memory": "most memory while pre-training on a drawn graph, GiB",
        "own": "of it outside of mapped files, GiB",
        "epoch": "seconds of an epoch",
    }
    return [
        ResultRow(f"{nodes:,} nodes", method, metric, numbers[key], ours=method != WHOLE, lower_is_better=True)
        for key, metric in metrics.items()
    ]


def _configured(method: str) -> PretrainConfig:
    base = preset("nodes", epochs=EPOCHS[method], progress=False, diagnose_every=1000)
    batch = 4096 if method == CLUSTERS else 1024
    return replace(
        base,
        stop_loss=None,
        encoder=replace(base.encoder, hidden=64, spread=3, restart=0.02),
        sampling=SamplingConfig(METHODS[method], batch_nodes=batch),  # pyright: ignore[reportArgumentType]
    )


def _pretrained(folder: Path, method: str, probed: bool) -> Any:
    """Memory and time of pre-training on a store; where it is probed, also the scores."""
    torch.set_num_threads(1)
    dataset = open_store(folder)
    with tempfile.TemporaryDirectory() as place, _Watch() as watch:
        run = RunFolder(Path(place) / "run")
        found = pretrain(dataset, _configured(method), run=run)
        seconds = [float(row["seconds"]) for row in run.read_metrics()]
    cost = {"memory": peak_memory(), "own": watch.most, "epoch": float(np.mean(seconds))}
    if not probed:
        return cost
    scores: dict[str, Any] = {"cost": cost}
    for name, encoder in (("ours", found.encoder), ("random", found.random_encoder)):
        with embedded(encoder, dataset.graphs, scratch=folder.parent) as node:
            scores[name] = _probe(dataset.graphs, lambda rows, node=node: node[rows])
    return scores


def _floors(folder: Path) -> Any:
    torch.set_num_threads(1)
    graphs = open_store(folder).graphs
    found: dict[str, Any] = {"edges": [graphs.num_edges], FEATURES: _probe(graphs, lambda rows: graphs.x[rows])}
    with spread(graphs, steps=2, restart=0.0, scratch=folder.parent) as node:
        found[SMOOTHING] = _probe(graphs, lambda rows: node[rows])
    with spread(graphs, steps=20, restart=0.1, unit_rows=True, scratch=folder.parent) as node:
        found[SPREADING] = _probe(graphs, lambda rows: node[rows])
    return found


def _probe(graphs: Graphs, features: Callable[[Tensor], Tensor]) -> Scores:
    assert graphs.node_y is not None
    count = min(PROBED, graphs.num_nodes)
    rows = torch.randperm(graphs.num_nodes, generator=torch.Generator().manual_seed(0))[:count]
    y, test = graphs.node_y[rows], torch.arange(count // 2)
    x = features(rows)
    return {_column(labels): _few(x, y, test, labels, DRAWS) for labels in COUNTS}


def _column(count: int) -> str:
    return f"{count} label{'s' * (count > 1)} a class"


class _Watch:
    """The most memory of the process that no mapped file holds, GiB, looked at ten times a second."""

    def __init__(self) -> None:
        self.most = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.is_set():
            lines = Path("/proc/self/status").read_text("utf-8").splitlines()
            (line,) = [line for line in lines if line.startswith("RssAnon")]
            self.most = max(self.most, int(line.split()[1]) / 2**20)
            time.sleep(0.1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main("graph_large", rows, depends_on="graph/**/*.py")
