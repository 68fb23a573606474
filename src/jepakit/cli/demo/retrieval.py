"""Search in the documentation of Python's standard library: from the summary of a docstring to the rest of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from rich.console import Console

from jepakit.cli.demo.case import Compared, Shown, compared, require_minilm
from jepakit.cli.messages import say
from jepakit.cli.retrieval import TrainOptions
from jepakit.cli.runs import training_run
from jepakit.progress import tracked
from jepakit.retrieval.data import Pairs, Queries, RetrievalDataset
from jepakit.retrieval.datasets import load_dataset
from jepakit.retrieval.evaluate import BASE, OURS, STATIC
from jepakit.retrieval.pipeline import adapt
from jepakit.retrieval.static.config import StaticConfig
from jepakit.search.documents import Documents
from jepakit.search.static.encoder import STATIC as STATIC_FOLDER
from jepakit.search.static.encoder import StaticEncoder
from jepakit.text import TextConfig, load_text_encoder
from jepakit.training import RunFolder
from jepakit.training.result_rows import ResultRow

#: Every so manieth module of the library: all of them take four minutes, most of which encode their texts.
_EVERY = 3
#: Texts that the static encoder learns from.
_TEXTS = 6000
#: Queries that are timed.
_TIMED = 100
_MILLISECONDS = "ms"


def run(folder: Path, out: Console) -> Shown:
    """Adapts the sentence encoder, trains static queries, and searches for summaries of modules it has not seen."""
    require_minilm("retrieval")
    options = TrainOptions(
        run=folder, accelerator="cpu", query_encoder="static", static=StaticConfig(texts=_TEXTS, megabytes=12)
    )
    corpus = part_of(load_dataset("python"), every=_EVERY)
    trained = RunFolder(folder)
    with training_run(trained, options, out) as training:
        adapted = adapt(corpus, options, trained, say=partial(say, out))
        evaluation = adapted.evaluation
        assert evaluation is not None
        dataset, metric = evaluation.rows[0].dataset, evaluation.rows[0].metric
        asked = [corpus.queries.texts[row] for row in corpus.splits["test"].queries.tolist()[:_TIMED]]
        times = _times(trained, options.text, asked, dataset)
        evaluation = training.evaluation = replace(evaluation, rows=(*evaluation.rows, *times))
    lines = [
        compared("search, unseen modules", evaluation.rows, OURS, dataset=dataset, metric=metric),
        compared("without a transformer", evaluation.rows, STATIC, dataset=dataset, metric=metric),
        compared("a query's vector", times, times[0].method, dataset=dataset, metric=_MILLISECONDS),
    ]
    return Shown(tuple[Compared, ...](lines), evaluation, trained.report)


def _times(run: RunFolder, base: TextConfig, queries: Sequence[str], dataset: str) -> list[ResultRow]:
    """Median milliseconds until a query has its vector, one query at a time, by the static encoder and the base."""
    encoder, static = load_text_encoder(base), StaticEncoder.load(run.path / STATIC_FOLDER)
    methods: dict[str, Callable[[str], object]] = {
        "jepakit: static encoder": lambda text: static.encode([text]),
        BASE: lambda text: encoder.encode([text], "query"),
    }
    rows: list[ResultRow] = []
    for method, encode in methods.items():
        seconds: list[float] = []
        for text in tracked(queries, "timing queries", unit="queries"):
            start = perf_counter()
            encode(text)
            seconds.append(perf_counter() - start)
        rows.append(
            ResultRow(dataset, method, _MILLISECONDS, 1e3 * median(seconds), ours=method != BASE, lower_is_better=True)
        )
    return rows


def part_of(dataset: RetrievalDataset, *, every: int) -> RetrievalDataset:
    """The documents of every so manieth source, with their queries and pairs.

    A query is no part of its document, and a person wrote it: the pairs count as labelled.
    """
    documents, queries = dataset.documents, dataset.queries
    kept = {source for number, source in enumerate(sorted(set(documents.source))) if number % every == 0}
    rows = [row for row, source in enumerate(documents.source) if source in kept]
    place = torch.full((len(documents),), -1)
    place[rows] = torch.arange(len(rows))
    asked = {name: pairs[place[pairs.document] >= 0] for name, pairs in dataset.splits.items()}
    used = torch.cat([pairs.query for pairs in asked.values()]).unique()
    number = torch.full((len(queries),), -1)
    number[used] = torch.arange(len(used))
    return replace(
        dataset,
        documents=Documents(
            **{
                name: tuple(getattr(documents, name)[row] for row in rows)
                for name in ("ids", "texts", "titles", "metadata", "source")
            }
        ),
        queries=Queries(*(tuple(column[row] for row in used.tolist()) for column in (queries.ids, queries.texts))),
        splits={name: Pairs(number[pairs.query], place[pairs.document], pairs.grade) for name, pairs in asked.items()},
        labelled=True,
    )
