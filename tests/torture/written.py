"""What jepakit writes and reads again: whatever happens to a file, it is refused or means what it meant."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from brought import Reader

OLD = Path(__file__).parents[1] / "old_folders"


def old(name: str) -> Callable[[Path], None]:
    """Writes a copy of a folder that an earlier jepakit has written."""

    def write(folder: Path) -> None:
        shutil.copytree(OLD / name, folder, dirs_exist_ok=True)

    return write


def numbers(tensors: dict[str, torch.Tensor]) -> object:
    return {name: (str(tensor.dtype), tensor.tolist()) for name, tensor in tensors.items()}


def write_encoder(folder: Path) -> None:
    from jepakit.graph.encoder import GraphEncoder
    from jepakit.training import save_encoder

    torch.manual_seed(0)
    config: dict[str, Any] = {"in_dim": 2, "hidden": 4, "layers": 1}
    save_encoder(GraphEncoder(**config), folder / "encoder", config=config)


def encoder(folder: Path) -> object:
    from jepakit.training import load_encoder

    return numbers(load_encoder(folder / "encoder").state_dict())


def write_stop(folder: Path) -> None:
    from jepakit.training.storage.checkpoint import write_checkpoint

    content = {"epoch": 3, "state": {"w": torch.arange(50.0)}, "best": float("inf"), "list": [1, None, "a", {"b": 2.5}]}
    write_checkpoint(content, folder / "last.safetensors")


def stop(folder: Path) -> object:
    from jepakit.training.storage.checkpoint import read_checkpoint

    content = read_checkpoint(folder / "last.safetensors")
    return [content["epoch"], content["state"]["w"].tolist(), content["best"], content["list"]]


def write_results(folder: Path) -> None:
    from jepakit.files import write_json
    from jepakit.training.result_rows import ResultRow
    from jepakit.training.results import Evaluation

    row = ResultRow(dataset="d", method="m", metric="accuracy", value=0.5)
    write_json(folder / "results.json", Evaluation(title="t", summary=("a", "b"), rows=(row, row)).as_json())


def results(folder: Path) -> object:
    from jepakit.training.results import read_evaluation

    return read_evaluation(folder / "results.json")


def write_index(kind: Any, folder: Path) -> None:
    from toy_index import build

    build(folder / "index", 12, kind).close()


def index(folder: Path) -> object:
    from toy_index import DIM, vectors_of

    from jepakit.search.index import Index

    opened = Index.open(folder / "index", fingerprint="f1")
    try:
        hits = opened.search_vectors(vectors_of(range(4)), 3)
        words = opened.search_words(["word3 first", "title 7"], 3)
        documents = opened.documents(range(len(opened)))
        vectors = opened.vectors(range(len(opened)))
        assert vectors.shape[1] == DIM
        return [hits.rows.tolist(), words.rows.tolist(), words.scores.tolist(), documents, vectors.tolist()]
    finally:
        opened.close()


def write_knowledge(folder: Path) -> None:
    from film_samples import GRAPH
    from jepakit.kgqa.storage import write_graph

    write_graph(folder / "graph", GRAPH)


def knowledge(folder: Path) -> object:
    from jepakit.kgqa.storage import open_graph

    graph = open_graph(folder / "graph")
    return [graph.triples().tolist(), graph.entities.to_pylist(), graph.relations]


def starts(folder: Path) -> object:
    """What a run keeps beside its network: the choice, and the solved problems."""
    from jepakit.lp import read_problem
    from jepakit.lp.starts.choice import Choice
    from jepakit.lp.starts.neighbours import Neighbours

    choice = Choice.load(folder / "starts.json")
    start = Neighbours.load(folder / "neighbours.npz").best(
        read_problem(OLD / "lp-new-covers" / "set-cover-000100.mps.gz")
    )
    basis = None if start is None or start.basis is None else (start.basis.columns.tolist(), start.basis.rows.tolist())
    return [choice, basis]


def write_thresholds(folder: Path) -> None:
    from jepakit.guard.audit.thresholds import Thresholds

    Thresholds().write(folder / "thresholds.json")


def thresholds(folder: Path) -> object:
    from jepakit.guard.audit.thresholds import Thresholds

    return Thresholds.read(folder / "thresholds.json")


WRITTEN: dict[str, Reader] = {
    "encoder": Reader(write_encoder, encoder, ("*.json", "*.safetensors")),
    "checkpoint": Reader(write_stop, stop),
    "results": Reader(write_results, results),
    "index": Reader(partial(write_index, "exact"), index),
    "index-hnsw": Reader(partial(write_index, "hnsw"), index),
    "knowledge-graph": Reader(write_knowledge, knowledge),
    # Its weights are older than digests.
    "lp-run": Reader(old("lp-run"), starts, ("starts.json", "*.npz")),
    "thresholds": Reader(write_thresholds, thresholds),
}
"""Name -> what is written, and what it means."""
