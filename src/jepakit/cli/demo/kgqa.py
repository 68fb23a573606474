"""Questions over the graph of Python's standard library, learned without the answer of a single one."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from jepakit.cli.demo.case import Shown, compared, require_minilm
from jepakit.cli.kgqa_options import FitOptions
from jepakit.cli.runs import training_run
from jepakit.kgqa.evaluate import EXACT, OURS, REACHABLE, EvaluateConfig, evaluate, split_of
from jepakit.kgqa.paths.fitting import fit_retriever
from jepakit.text import load_cached_encoder
from jepakit.training import RunFolder

_TASKS = {"hit@1": "questions, the first answer", "hit@5": "questions, five answers"}


def run(folder: Path, out: Console) -> Shown:
    """Fits the retriever to questions without their answers, and asks others."""
    require_minilm("kgqa")
    options = FitOptions(limit=0, run=folder, accelerator="cpu", evaluate=EvaluateConfig(retrievers=["bm25"]))
    graph = options.load()
    parts = options.load_parts(graph, options.seed)
    trained = RunFolder(folder)
    with training_run(trained, options, out) as training:
        start = time.perf_counter()
        fitted = fit_retriever(
            graph,
            parts.train,
            load_cached_encoder(options.text),
            options,
            unlabelled=parts.unlabelled,
            held_out=parts.held_out,
            run=trained,
        )
        seconds = time.perf_counter() - start
        measured = split_of(parts.splits, "test")
        found = evaluate(
            graph, measured, fitted.retriever, fitted.random_encoder, options.evaluate, training_seconds=seconds
        )
        learned = (
            f"{len(parts.unlabelled):,} questions were read without their answers, for {seconds:.0f} s; no answer and"
            " no gold path was used. No test question has topic and path of one of them."
        )
        evaluation = training.evaluation = replace(found, summary=(*found.summary, learned))
    dataset = evaluation.rows[0].dataset
    # What no method of paths can exceed is no floor.
    methods = [row for row in evaluation.rows if row.method not in (EXACT, REACHABLE)]
    lines = [compared(task, methods, OURS, dataset=dataset, metric=metric) for metric, task in _TASKS.items()]
    return Shown(tuple(lines), evaluation, trained.report)
