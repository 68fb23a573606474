"""Search in the documentation of Python's standard library: from the summary of a docstring to the rest of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from jepakit.cli.demo.case import Compared, Shown, compared, require_minilm
from jepakit.cli.messages import say
from jepakit.cli.retrieval import TrainOptions
from jepakit.cli.runs import training_run
from jepakit.retrieval.data import Pairs, Queries, RetrievalDataset
from jepakit.retrieval.datasets import load_dataset
from jepakit.retrieval.evaluate import OURS, STATIC
from jepakit.retrieval.pipeline import adapt
from jepakit.retrieval.static.config import StaticConfig
from jepakit.search.documents import Documents
from jepakit.training import RunFolder

#: Every so manieth module of the library: all of them take four minutes, most of which encode their texts.
_EVERY = 3
#: Texts that the static encoder learns from.
_TEXTS = 6000


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
        evaluation = training.evaluation = adapted.evaluation
        training.diagnosis = adapted.pretrained.diagnosis
    assert evaluation is not None
    dataset, metric = evaluation.rows[0].dataset, evaluation.rows[0].metric
    lines = [
        compared("search, unseen modules", evaluation.rows, OURS, dataset=dataset, metric=metric),
        compared("without a transformer", evaluation.rows, STATIC, dataset=dataset, metric=metric),
    ]
    return Shown(tuple[Compared, ...](lines), evaluation, trained.report)


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
