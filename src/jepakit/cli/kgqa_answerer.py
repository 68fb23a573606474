"""``jepakit kgqa finetune``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from rich.console import Console

from jepakit.cli.kgqa_options import (
    RETRIEVER_RUN,
    TrainingQuestions,
    counts,
    open_retriever_of,
    saved_options,
)
from jepakit.cli.outcome import Outcome
from jepakit.cli.plan import planned
from jepakit.cli.runs import RunControl, found, say, show_evaluation, trained_run, training_run
from jepakit.kgqa.answerer.measure import MeasureConfig, measure
from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.evaluate import split_of
from jepakit.kgqa.features import load_features
from jepakit.kgqa.finetune import FinetuneConfig, finetune, open_answerer
from jepakit.kgqa.retrievers import Retriever
from jepakit.kgqa.retrievers.learned import LearnedPaths
from jepakit.kgqa.retrievers.named import ClassicName, classic_retrievers
from jepakit.text import TextConfig, load_cached_encoder
from jepakit.training import RunFolder
from jepakit.training.results import Evaluation

ANSWERER_RUN = Path("runs/kgqa-answerer")
#: Names that options had in an earlier version -> their names now.
EARLIER_NAMES = {"test_split": "split"}


@dataclass
class FinetuneOptions(FinetuneConfig, TrainingQuestions, RunControl):
    """Training an answerer and what surrounds it.

    Args:
        retriever: what finds the subgraphs: a run of ``fit-retriever``, or ``bm25``, ``knn``, ``khop``, ``path``,
            ``pcst``, ``rrf`` or ``weighted``.
        run: folder of the run.
        split: the one to measure on; by default ``test``, or the only one.
        evaluate: how to measure.
    """

    retriever: str = str(RETRIEVER_RUN)
    run: Path = ANSWERER_RUN
    split: str | None = None
    evaluate: MeasureConfig = field(default_factory=MeasureConfig)


def run_finetune(options: FinetuneOptions, out: Console) -> Outcome:
    """Trains, measures, reports."""
    graph, run = options.load(), RunFolder(options.run)
    parts = options.load_parts(graph, options.seed)
    if options.dry_run:
        return planned(run, options, f"{counts(graph)}; {parts}", out, renamed=EARLIER_NAMES)
    with training_run(run, options, out, renamed=EARLIER_NAMES) as training:
        retriever = named_retriever(options.retriever, graph, options.text)
        say(out, f"{counts(graph)}; {parts}; run in {run.path}")
        tuned = finetune(
            graph, parts.train, retriever, options, held_out=parts.held_out, run=run, resume=options.resume
        )
        training.diagnosis = tuned.diagnosis
        if training.is_first:
            measured = split_of(parts.splits, options.split)
            evaluation = measure(
                graph, measured, tuned.answerer, retriever, options.evaluate, candidates=options.candidates
            )
            show_evaluation(evaluation, out)
            training.evaluation = evaluation
    return found(run, training.evaluation)


def measure_run(run: RunFolder, graph: KnowledgeGraph, questions: Questions, config: MeasureConfig) -> Evaluation:
    """Measures the answerer of a finished run, with the retriever that it was trained with."""
    options, text = run.read_config(), saved_options(run).text
    retriever = named_retriever(options["retriever"], graph, text)
    answerer = open_answerer(run, graph, load_features(graph, text))
    return measure(graph, questions, answerer, retriever, config, candidates=options["candidates"])


def named_retriever(name: str, graph: KnowledgeGraph, text: TextConfig) -> Retriever:
    """The learned retriever of a run, or a classic one by its name."""
    classic: dict[str, ClassicName] = {one: one for one in get_args(ClassicName)}
    if name in classic:
        return classic_retrievers([classic[name]], graph, load_cached_encoder(text))[classic[name]]
    return LearnedPaths(open_retriever_of(trained_run(Path(name)), graph))
