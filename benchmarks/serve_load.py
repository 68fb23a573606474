"""``jepakit retrieval serve`` and ``jepakit kgqa serve`` under load: 50 clients, each asking again without pause.

    python -m benchmarks.serve_load            # about ten minutes, most of them to make the runs
    python -m benchmarks.serve_load --quick    # seconds of load

Searches are the test questions of SciFact in its 5,183 documents, by an adapted run with the transformer for queries
and with static queries; questions are those of the test split over the graph of Python's standard library. An answer is
wrong where its best hit is not the one that the same run gives without a server. `benchmarks.load` says what is
measured. `guard_serve` is the table of `jepakit guard serve`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness import Options, Steps, data_dir, main
from benchmarks.load import CLIENTS, Clients, Seen, Work, lasting, load_rows, under_load
from jepakit.cli.main import main as jepakit
from jepakit.errors import ModelError
from jepakit.kgqa import load_graph, load_splits
from jepakit.kgqa.asking import Asker
from jepakit.retrieval.datasets import load_dataset
from jepakit.retrieval.serving.searcher import Searcher
from jepakit.training.result_rows import ResultRow

HITS = 10
SERVICES = {
    "static queries": ("retrieval", ("--query-encoder", "static")),
    "transformer": ("retrieval", ()),
    "standard library": ("kgqa", ()),
}
"""What is served -> the system, and the options of its run."""


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    listed: list[ResultRow] = []
    for what, (system, more) in SERVICES.items():
        loads = [(clients, lasting(clients, quick=options.quick)) for clients in (1, CLIENTS)]
        measured = steps.value((what, loads), lambda: _measured(system, more, loads))  # noqa: B023
        retrieval = system == "retrieval"
        for (clients, seconds), seen in zip(loads, measured, strict=True):
            listed += load_rows(
                Seen(**seen),
                clients,
                seconds,
                method=f"jepakit {system} serve",
                what=what,
                request="a search" if retrieval else "a question",
                requests="searches" if retrieval else "questions",
                wrong="not the run's",
            )
    return listed


def _measured(system: str, more: Sequence[str], loads: Sequence[tuple[int, float]]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        work = (_searches if system == "retrieval" else _questions)(run, more)
        return [asdict(under_load([system, "serve", str(run)], work, *load)) for load in loads]


def _searches(run: Path, more: Sequence[str]) -> Work:
    collection = load_dataset("scifact", data_dir=data_dir())
    _do(["retrieval", "train", "--corpus", "scifact", "--data-dir", str(data_dir()), *more], run)
    queries = [collection.queries.texts[row] for row in collection.splits["test"].query.unique().tolist()]
    best = [hits[0].id for hits in Searcher.open(run).search(queries, HITS)]
    return _asks("/search", "query", queries, best, lambda reply: reply["results"][0][0]["id"], k=HITS)


def _questions(run: Path, more: Sequence[str]) -> Work:
    _do(["kgqa", "fit-retriever", "--graph", "python", "--evaluate.retrievers", "bm25", *more], run)
    graph = load_graph("python")
    texts = list(load_splits("python", graph)["test"].texts)[:300]
    asker = Asker.open(run)
    best = [asker.ask(text).as_json(graph)["answers"][0]["id"] for text in texts]
    return _asks("/ask", "question", texts, best, lambda reply: reply["answers"][0]["id"], limit=HITS)


def _do(words: list[str], run: Path) -> None:
    if jepakit([*words, "--run", str(run), "--progress", "false"]) != 0:
        raise ModelError(f"{run}: the command for it failed")


def _asks(
    path: str, field: str, texts: Sequence[str], best: Sequence[str], first: Callable[[Any], str], **more: int
) -> Work:
    """The texts, one after the other and again from the first; ``first`` of a reply has to be the best hit."""

    async def ask(sender: Clients, number: int) -> None:
        place = number % len(texts)
        answer = await sender.send("POST", path, {field: texts[place], **more}, timed=True)
        sender.seen.wrong += answer is None or first(answer.json()) != best[place]

    return ask


if __name__ == "__main__":
    main("serve_load", rows)
