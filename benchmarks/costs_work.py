"""The kinds of work whose costs `benchmarks.costs` measures, each of a size that is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import torch

from jepakit.graph import GraphDataset, Graphs, PretrainConfig, SamplingConfig, pretrain
from jepakit.guard import Call, Trace
from jepakit.guard.audit import Auditor
from jepakit.guard.datasets.generated import GeneratedConfig, generated_traces
from jepakit.guard.policy import draft_policy
from jepakit.lp import LinearProgram, Scenarios, Solver
from jepakit.lp import PretrainConfig as LPConfig
from jepakit.lp import pretrain as train_lp
from jepakit.lp.batch.solver import BatchSolver
from jepakit.lp.families.combinatorial import SetCover
from jepakit.search.documents import Documents
from jepakit.search.index import Index
from jepakit.text import load_text_encoder

__all__ = ["WORKS", "Work"]

_FEATURES, _WORDS, _NODES, _DEGREE = 64, 60, 25, 10


@dataclass(frozen=True)
class Work:
    """A kind of work.

    Args:
        name: what is done, and what its size counts.
        smallest: the smallest size that is measured.
        do: does it: ``(size, empty folder)``.
    """

    name: str
    smallest: int
    do: Callable[[int, Path], object]


def _epoch(nodes: int, edges: int, graphs: int = 1) -> None:
    """An epoch on drawn graphs, each of so many nodes and edges."""
    draw = torch.Generator().manual_seed(nodes)
    first = nodes * torch.arange(graphs)[:, None]
    ends = (torch.randint(nodes, (2, graphs, edges // 2), generator=draw) + first).reshape(2, -1)
    x = torch.randn(nodes * graphs, _FEATURES, generator=draw)
    packed = Graphs.pack(x, torch.cat([ends, ends.flip(0)], 1), torch.full((graphs,), nodes))
    config = PretrainConfig(epochs=1, progress=False, sampling=SamplingConfig("full"))
    pretrain(GraphDataset("drawn", packed), config)


def _index(size: int, folder: Path) -> None:
    """Documents of consecutive words of Python's reference, encoded and indexed."""
    encoder, words = load_text_encoder(), " ".join(topics.values()).split()
    starts = np.random.default_rng(0).integers(len(words) - _WORDS, size=size)
    texts = tuple(" ".join(words[start : start + _WORDS]) for start in starts)
    documents = Documents(tuple(map(str, range(size))), texts, ("",) * size, ({},) * size)
    vectors = encoder.encode(documents.passages, "document").numpy()
    Index.build(folder, documents, vectors, base=encoder.name, fingerprint=encoder.fingerprint)


def _cover(rows: int, seed: int = 0) -> LinearProgram:
    return SetCover(rows=rows, columns=rows, density=_DEGREE / rows).problem(seed)


def _scenarios(size: int) -> None:
    problem, draw = _cover(100), np.random.default_rng(0)
    costs = problem.costs * draw.uniform(0.99, 1.01, (size, problem.columns))
    BatchSolver(problem).solve(Scenarios.of(problem, costs=costs))


def _audit(size: int) -> None:
    """Generated runs with so many calls in all."""
    calls = 0
    for trace in generated_traces(GeneratedConfig(size)):
        Auditor(draft_policy(trace.context.tools)).audit(trace)
        calls += len(trace.calls)
        if calls >= size:
            return


def _audit_one(size: int) -> None:
    """One run whose calls are those of others, one after another."""
    runs = list(generated_traces(GeneratedConfig(size)))
    calls: list[Call] = [call for run in runs for call in run.calls][:size]
    renamed = tuple(call.model_copy(update={"id": str(number)}) for number, call in enumerate(calls))
    trace = Trace(id="long", context=runs[0].context, calls=renamed)
    Auditor(draft_policy(trace.context.tools)).audit(trace)


WORKS = (
    Work(
        "graph pretrain, an epoch of one graph, ten edges a node; nodes",
        1000,
        lambda size, _: _epoch(size, _DEGREE * size),
    ),
    Work("graph pretrain, an epoch of one graph of 2,000 nodes; edges", 40_000, lambda size, _: _epoch(2000, size)),
    Work("graph pretrain, an epoch of graphs of 25 nodes; graphs", 125, lambda size, _: _epoch(_NODES, 60, size)),
    Work("retrieval, encoding and indexing texts of 60 words; documents", 25, _index),
    Work("lp train, an epoch over 8 problems; rows", 100, lambda size, _: _train(size)),
    Work("lp solve, certified, from nothing; rows", 100, lambda size, _: Solver().solve(_cover(size))),
    Work("lp batch, 100 rows, costs 1 % apart; scenarios", 1000, lambda size, _: _scenarios(size)),
    Work("guard audit, runs of some calls; calls", 250, lambda size, _: _audit(size)),
    Work("guard audit, one run; calls", 50, lambda size, _: _audit_one(size)),
)


def _train(rows: int) -> None:
    config = LPConfig(epochs=1, held_out=0, progress=False, accelerator="cpu")
    train_lp([_cover(rows, seed) for seed in range(8)], config)
