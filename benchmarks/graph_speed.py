"""Graphs per second beside the public code of Graph-JEPA, the time of masking, and how memory grows.

    git clone https://github.com/geriskenderi/graph-jepa
    python -m benchmarks.graph_speed --rival graph-jepa           # half an hour on two idle cores
    python -m benchmarks.graph_speed --rival graph-jepa --quick   # minutes: 256 graphs of each set, one round

Both sides get the same graphs, hidden size and batch size, and take turns, job by job, so that what else the machine
does meets both. On one thread processor time is counted, which is wall-clock time on an idle machine; on two threads it
is wall-clock time, which means something on an idle machine only. Without ``--rival`` its rows are empty.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import IO, Any, get_args

import numpy as np
import torch
from torch import Tensor

from benchmarks.graph_speed_rival import clock_for
from benchmarks.harness import Options, Steps, data_dir, main, mean_row
from jepakit.core import JEPA, Views
from jepakit.errors import ConfigError
from jepakit.graph import (
    EncoderConfig,
    GraphDataset,
    GraphEncoder,
    Graphs,
    GraphViews,
    Masking,
    PretrainConfig,
    build_jepa,
    load_dataset,
    preset,
    pretrain,
    with_patches,
)
from jepakit.graph.masking import Strategy
from jepakit.graph.probe.classes import probe_graphs
from jepakit.training import EpochLoader, RunFolder, fit
from jepakit.training.presets import with_options
from jepakit.training.result_rows import ResultRow

HIDDEN, BATCH = 128, 64
#: Data sets and thread counts. The rival's configurations decide which sets it can be run on.
SETS = (("PROTEINS", 1), ("MUTAG", 1), ("IMDB-BINARY", 1), ("PROTEINS", 2))
AIM_SPEED, AIM_MASKING, AIM_EXPONENT = 10.0, 5.0, 1.05
OURS, RIVAL = "jepakit", "Graph-JEPA, public code"
#: The values are turns or batches, not seeds.
_turn_row = partial(mean_row, seeds=None)
READY = ", batches made beforehand"
BF16, TWO_LAYERS = f"{OURS}, bf16-mixed", f"{OURS}, 2 layers"
BOTH = f"{TWO_LAYERS}, bf16-mixed"
SAME, SAME_BF16 = f"{OURS}, preset graph-jepa, 2 layers", f"{OURS}, preset graph-jepa, 2 layers, bf16-mixed"
FASTER: dict[str, dict[str, Any]] = {
    OURS: {},
    BF16: {"precision": "bf16-mixed"},
    TWO_LAYERS: {"encoder.layers": 2},
    BOTH: {"precision": "bf16-mixed", "encoder.layers": 2},
}
"""Changes of the preset."""
UNMEASURED = "not measured: no --rival was given"


@dataclass(frozen=True)
class Timed:
    """One method of a table: who runs which job, and what that job is.

    Args:
        metric: of the table.
        method: in the table.
        job: of `Jobs`, or of the rival's process.
        note: what the job is.
        against: the rival's method that this one of ours is compared with; None: it is the rival's.
    """

    metric: str
    method: str
    job: str
    note: str
    against: str | None = RIVAL

    @property
    def rival(self) -> bool:
        return self.against is None


TIMED = (
    Timed(
        "pre-training",
        OURS,
        "pretrain",
        "the default recipe, 4 message-passing layers, as the command line runs it, masks, batches and checkpoint"
        " included, start-up left out",
    ),
    Timed("pre-training", BF16, "pretrain bf16", "the same with precision = bf16-mixed"),
    Timed("pre-training", TWO_LAYERS, "pretrain 2 layers", "with 2 message-passing layers, as the rival has"),
    Timed("pre-training", BOTH, "pretrain 2 layers bf16", "both"),
    Timed(
        "pre-training",
        SAME,
        "pretrain graph-jepa",
        "the recipe of the rival: METIS patches, of which half are removed and predicted by cross-attention, hyperbolic"
        " loss; patches are made beforehand, once for a data set",
    ),
    Timed("pre-training", SAME_BF16, "pretrain graph-jepa bf16", "the same with precision = bf16-mixed"),
    Timed(
        "pre-training",
        f"{OURS}{READY}",
        "steps",
        "the default recipe in a bare loop over views that are ready",
        RIVAL + READY,
    ),
    Timed(
        "pre-training",
        RIVAL,
        "epoch",
        "its training function over its data loader, which cuts each graph into METIS patches anew each epoch; its"
        " configuration for the set, 2 message-passing and 4 attention layers; where not installed, torch-scatter is"
        " stood in for by PyTorch Geometric's scatter, torch-sparse by torch's sparse matrices, metis by pymetis",
        None,
    ),
    Timed("pre-training", f"{RIVAL}{READY}", "steps", "its training function over batches that are ready", None),
    Timed("embedding", OURS, "embed", "read out by prototypes, the default"),
    Timed("embedding", f"{OURS}, sum pooling", "embed pooled", "encoder.prototypes = 0"),
    Timed(
        "embedding", RIVAL, "embed", "its encoder over its data loader, which cuts each graph into METIS patches", None
    ),
    Timed("embedding", f"{RIVAL}{READY}", "encode", "its encoder over batches that are ready", None),
)


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured.

    Raises:
        ConfigError: ``--rival`` is not a checkout of the rival, or its code does not run.
    """
    if options.rival is not None and not (options.rival / "core" / "get_model.py").exists():
        raise ConfigError("rival", options.rival, "a checkout of geriskenderi/graph-jepa")
    table: list[ResultRow] = []
    for name, threads in SETS:
        table += _speed_rows(name, threads, _speeds(name, threads, options, steps))
    torch.set_num_threads(1)
    return table + _accuracy(options, steps) + _masking(options, steps) + _memory(steps)


def _accuracy(options: Options, steps: Steps) -> list[ResultRow]:
    """What the faster ways cost: probes as in `benchmarks.graph_tu`, three seeds."""
    seeds = [0] if options.quick else [0, 1, 2]
    table: list[ResultRow] = []
    for name in dict.fromkeys(name for name, _ in SETS):
        dataset = load_dataset(name)
        for method, changes in FASTER.items():

            def score(seed: int, dataset: GraphDataset = dataset, changes: dict[str, Any] = changes) -> float:
                config = with_options(preset("best", seed=seed, progress=False, diagnose_every=1000), changes)
                config = replace(config, epochs=1) if options.quick else config
                embeddings = pretrain(dataset, config).encoder.embed(dataset.graphs)
                assert dataset.graphs.y is not None
                return 100 * probe_graphs(embeddings, dataset.graphs.y, classifier="svm", seeds=[seed]).mean

            keys = [(name, "accuracy %", method, seed, options.quick) for seed in seeds]
            values = [steps.value(key, partial(score, key[3])) for key in keys]
            table.append(mean_row(name, method, "accuracy %", values, ours=True))
    return table


def _speeds(name: str, threads: int, options: Options, steps: Steps) -> dict[Timed, list[float]]:
    """Graphs per second of each method, turn by turn; none for the rival where there is no checkout of it."""
    torch.set_num_threads(threads)
    turns, limit = (1, 256) if options.quick else (3, 1_000_000)
    speeds: dict[Timed, list[float]] = {timed: [] for timed in TIMED}
    with ExitStack() as stack:
        ours = cache(lambda: Jobs(load_dataset(name).graphs[:limit], threads))
        rival = cache(lambda: _start_rival(stack, name, threads, limit, options))
        for turn in range(turns):
            for timed in TIMED:
                if timed.rival and options.rival is None:
                    continue

                def measure(timed: Timed = timed) -> float:
                    return (rival() if timed.rival else ours()).graphs_per_second(timed.job)

                key = (name, threads, timed.metric, timed.method, turn, options.quick)
                speeds[timed].append(steps.value(key, measure))
    return speeds


def _speed_rows(name: str, threads: int, speeds: dict[Timed, list[float]]) -> list[ResultRow]:
    on = "1 thread" if threads == 1 else f"{threads} threads"
    table = [
        _turn_row(
            name,
            timed.method,
            f"{timed.metric}, graphs/s, {on}",
            values,
            note=timed.note if values else UNMEASURED,
            ours=not timed.rival,
        )
        for timed, values in speeds.items()
    ]
    of = {(timed.metric, timed.method): values for timed, values in speeds.items()}
    for timed in speeds:
        if timed.against is None:
            continue
        theirs = of[timed.metric, timed.against]
        ratios = [a / b for a, b in zip(speeds[timed], theirs, strict=True)] if theirs else []
        note = f"over {timed.against}, turn by turn" if ratios else UNMEASURED
        aim = AIM_SPEED if timed.method == OURS else None
        metric = f"{timed.metric}, times as fast, {on}"
        table.append(_turn_row(name, timed.method, metric, ratios, aim=aim, note=note, ours=True))
    return table


class Jobs:
    """What is timed of jepakit.

    Args:
        graphs: the data set.
        threads: torch's.
    """

    def __init__(self, graphs: Graphs, threads: int) -> None:
        self.graphs, self.clock = graphs, clock_for(threads)
        self._encoders: dict[bool, GraphEncoder] = {}

    def graphs_per_second(self, job: str) -> float:
        """Runs the job once over all graphs, after what it needs has been prepared and warmed up."""
        if job.startswith("pretrain"):
            return len(self.graphs) / self._epoch(_config(job))
        run = self._steps() if job == "steps" else self._embed(pooled=job.endswith("pooled"))
        run()
        start = self.clock()
        run()
        return len(self.graphs) / (self.clock() - start)

    def _epoch(self, config: PretrainConfig) -> float:
        """Seconds from the start of the second epoch to that of the third, so that all that is done between counts."""
        jepa, views = _objective(self.graphs, config)
        loader = _TimedLoader(len(self.graphs), BATCH, views, clock=self.clock)
        with tempfile.TemporaryDirectory() as folder:
            fit(jepa, loader, replace(config, epochs=3), run=RunFolder(Path(folder)))
        return loader.starts[2] - loader.starts[1]

    def _steps(self) -> Callable[[], None]:
        config = _config("pretrain")
        jepa, make_views = _objective(self.graphs, config)
        jepa.train()
        parameters = [p for p in jepa.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate)
        views = list(EpochLoader(len(self.graphs), BATCH, make_views))

        def run() -> None:
            for view in views:
                optimizer.zero_grad()
                jepa(view).total.backward()
                torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
                optimizer.step()
                jepa.after_step()

        return run

    def _embed(self, *, pooled: bool) -> Callable[[], object]:
        if pooled not in self._encoders:
            config = EncoderConfig(hidden=HIDDEN)
            encoder = GraphEncoder.for_data(self.graphs, replace(config, prototypes=0) if pooled else config)
            encoder.calibrate(self.graphs)
            encoder.fit_readout(self.graphs)
            self._encoders[pooled] = encoder
        return partial(self._encoders[pooled].embed, self.graphs)


class _TimedLoader(EpochLoader):
    """Notes when each epoch begins."""

    def __init__(
        self,
        size: int,
        batch_size: int,
        make_views: Callable[[Tensor, torch.Generator], Views],
        *,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(size, batch_size, make_views)
        self.clock, self.starts = clock, list[float]()

    def __iter__(self) -> Iterator[Any]:
        self.starts.append(self.clock())
        return super().__iter__()


def _config(job: str) -> PretrainConfig:
    """The configuration of a job of `TIMED` whose name begins with ``pretrain``."""
    same = "graph-jepa" in job
    changes: dict[str, Any] = {"encoder.hidden": HIDDEN, "batch_size": BATCH, "accelerator": "cpu", "progress": False}
    if same or "2 layers" in job:
        changes["encoder.layers"] = 2
    if job.endswith("bf16"):
        changes["precision"] = "bf16-mixed"
    return with_options(preset("graph-jepa" if same else "best"), changes)


def _objective(graphs: Graphs, config: PretrainConfig) -> tuple[JEPA, GraphViews]:
    """The objective and the views as `jepakit.graph.pretrain` makes them."""
    encoder = GraphEncoder.for_data(graphs, config.encoder)
    if config.masking.strategy == "metis":
        graphs = with_patches(graphs, config.patch_size)
    prepared = encoder.prepare(graphs)
    encoder.calibrate(prepared)
    jepa = build_jepa(encoder, config.objective, total_steps=10_000)
    return jepa, GraphViews(prepared, config.masking, config.views)


class RivalProcess:
    """The rival, in a process of its own, timed by `benchmarks.graph_speed_rival`.

    Args:
        command: starts it.
        folder: an empty folder it may write to.

    Raises:
        ConfigError: the process ends before it answers; the message has the last line it wrote.
    """

    def __init__(self, command: list[str], folder: Path) -> None:
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.graphs = int(self._answer()["graphs"])

    def graphs_per_second(self, job: str) -> float:
        """Runs the job once over all graphs."""
        pipe = self.process.stdin
        assert pipe is not None
        pipe.write(job + "\n")
        pipe.flush()
        return self.graphs / float(self._answer()["seconds"])

    def close(self) -> None:
        """Ends the process, which stops where its input does."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait()

    def _answer(self) -> dict[str, Any]:
        pipe: IO[str] | None = self.process.stdout
        assert pipe is not None
        line = pipe.readline()
        if not line:
            self.close()
            last = self.log.read_text("utf-8").strip().splitlines()[-1:]
            raise ConfigError("rival", last[0] if last else None, "a checkout of geriskenderi/graph-jepa that runs")
        return json.loads(line)


def _start_rival(stack: ExitStack, name: str, threads: int, limit: int, options: Options) -> RivalProcess:
    assert options.rival is not None
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    script = Path(__file__).with_name("graph_speed_rival.py")
    raw = data_dir().resolve() / "tu" / name / "raw"
    numbers = [str(number) for number in (limit, HIDDEN, BATCH, threads)]
    command = [sys.executable, str(script), str(options.rival.resolve()), str(raw), name, *numbers]
    process = RivalProcess(command, folder)
    stack.callback(process.close)
    return process


def _masking(options: Options, steps: Steps) -> list[ResultRow]:
    """Milliseconds to mask a batch, one core."""
    graphs = cache(lambda: with_patches(load_dataset("PROTEINS").graphs, 16))
    batches = 10 if options.quick else 100
    table: list[ResultRow] = []
    metric, small = f"time to mask {BATCH} graphs, ms", partial(_turn_row, ours=True, lower_is_better=True)
    for strategy in get_args(Strategy):
        values = [
            steps.value(("PROTEINS", metric, strategy, seed, options.quick), partial(_mask, graphs, strategy, seed))
            for seed in range(batches)
        ]
        metis = strategy == "metis"
        note = "partitions made beforehand" if metis else ""
        aim = None if metis else AIM_MASKING
        table.append(small("PROTEINS", f"jepakit, {strategy}", metric, values, aim=aim, note=note))
    cuts = [
        steps.value(("PROTEINS", metric, "partition", seed, options.quick), partial(_partition, graphs, seed))
        for seed in range(batches)
    ]
    return [*table, small("PROTEINS", "jepakit, METIS partitions, once for a data set", metric, cuts)]


def _batch(graphs: Callable[[], Graphs], seed: int) -> Graphs:
    return graphs()[torch.randperm(len(graphs()), generator=torch.Generator().manual_seed(seed))[:BATCH]]


def _mask(graphs: Callable[[], Graphs], strategy: Strategy, seed: int) -> float:
    batch, masking, generator = _batch(graphs, seed), Masking(strategy), torch.Generator().manual_seed(seed)
    masking(batch, generator)
    start = time.process_time()
    masking(batch, generator)
    return 1e3 * (time.process_time() - start)


def _partition(graphs: Callable[[], Graphs], seed: int) -> float:
    batch = _batch(graphs, seed)
    start = time.process_time()
    with_patches(batch, 16)
    return 1e3 * (time.process_time() - start)


def _memory(steps: Steps) -> list[ResultRow]:
    """How the peak of memory grows with nodes plus edges, in one graph: 1 is linear, 2 would be quadratic."""
    sizes = (20_000, 40_000, 80_000, 160_000)
    metric = "peak memory, exponent of its growth"
    table: list[ResultRow] = []
    for what in (*(s for s in get_args(Strategy) if s != "metis"), "embedding"):
        peaks = [steps.value(("memory", what, nodes), partial(_peak, what, nodes)) for nodes in sizes]
        exponent = float(np.polyfit(np.log(sizes), np.log(peaks), 1)[0])
        # A node of degree 4 comes with four directed edges.
        each = peaks[-1] / (5 * sizes[-1])
        note = f"{each:.0f} bytes a node or directed edge, {sizes[0]:,} to {sizes[-1]:,} nodes"
        method = "jepakit, embedding" if what == "embedding" else f"jepakit, {what} masks"
        where, aim = "a random graph of degree 4", AIM_EXPONENT
        table.append(ResultRow(where, method, metric, exponent, aim=aim, note=note, ours=True, lower_is_better=True))
    return table


def _peak(what: str, nodes: int) -> float:
    """Bytes that torch holds at most beyond what it held before."""
    generator = torch.Generator().manual_seed(0)
    ends = torch.randint(nodes, (2, 2 * nodes), generator=generator)
    graphs = Graphs.pack(torch.ones(nodes, 3), torch.cat([ends, ends.flip(0)], dim=1), torch.tensor([nodes]))
    encoder = GraphEncoder.for_data(graphs, EncoderConfig(hidden=HIDDEN, prototypes=0))
    # Without this the profiler writes a line to the terminal each time it starts.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    strategies: dict[str, Strategy] = {strategy: strategy for strategy in get_args(Strategy)}
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        if what == "embedding":
            encoder.embed(graphs)
        else:
            Masking(strategies[what])(graphs, generator)
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text("utf-8"))["traceEvents"]
    held = np.cumsum([event["args"]["Bytes"] for event in events if event["name"] == "[memory]"])
    return float(held.max())


if __name__ == "__main__":
    main("graph_speed", rows)
