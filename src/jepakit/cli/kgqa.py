"""``jepakit kgqa train | build | pretrain | fit-retriever | finetune | evaluate | ask | serve``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from jepakit.cli.kgqa_answerer import EARLIER_NAMES, FinetuneOptions, measure_run, run_finetune
from jepakit.cli.kgqa_ask import AskOptions, ServeOptions, run_ask, run_serve
from jepakit.cli.kgqa_options import (
    FitOptions,
    GraphOptions,
    PretrainOptions,
    RetrievingOptions,
    counts,
    open_retriever_of,
    saved_options,
)
from jepakit.cli.kgqa_train import NAMES, VALUES, TrainOptions, run_train
from jepakit.cli.outcome import Outcome
from jepakit.cli.plan import planned
from jepakit.cli.reading import Command
from jepakit.cli.runs import found, say, show_evaluation, trained_run, training_run, write_results
from jepakit.errors import ConfigError
from jepakit.kgqa.answerer.finetune import FOLDER
from jepakit.kgqa.answerer.measure import MeasureConfig
from jepakit.kgqa.datasets import load_splits
from jepakit.kgqa.evaluate import EvaluateConfig, evaluate, split_of
from jepakit.kgqa.paths.fitting import fit_retriever
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.kgqa.presets import PRESETS
from jepakit.kgqa.pretrain import pretrain
from jepakit.kgqa.report.curve import label_curve
from jepakit.kgqa.storage import write_graph
from jepakit.text import load_cached_encoder
from jepakit.training import RunFolder, load_encoder_as
from jepakit.training.results import read_evaluation


@dataclass
class BuildOptions(GraphOptions):
    """Writing a graph folder, which is opened without reading it.

    Args:
        out: the folder to write.
    """

    out: Path | None = None


@dataclass
class EvaluateOptions(EvaluateConfig, RetrievingOptions):
    """Measuring a run again; an answerer has the default beam, and ``bm25`` for questions without a topic.

    Args:
        run: folder of a finished run.
        questions: other questions about the same graph.
    """

    run: Path | None = None
    questions: str | None = None


def run_build(options: BuildOptions, out: Console) -> None:
    """Reads a graph and writes its folder."""
    if options.out is None:
        raise ConfigError("out", None, "the folder to write")
    graph = options.load()
    write_graph(options.out, graph)
    say(out, f"{options.out}: {counts(graph)}")


def run_pretrain(options: PretrainOptions, out: Console) -> Outcome:
    """Pre-trains, reports."""
    graph, run = options.load(), RunFolder(options.run)
    if options.dry_run:
        return planned(run, options, counts(graph), out)
    with training_run(run, options, out) as training:
        say(out, f"{counts(graph)}; run in {run.path}")
        training.diagnosis = pretrain(graph, options, run=run, resume=options.resume).diagnosis
    return found(run, None)


def run_fit(options: FitOptions, out: Console) -> Outcome:
    """Trains, measures, reports."""
    graph = options.load()
    parts = options.load_parts(graph, options.seed)
    run = RunFolder(options.run)
    if options.dry_run:
        return planned(run, options, f"{counts(graph)}; {parts}", out)
    with training_run(run, options, out) as training:
        encoder = load_cached_encoder(options.text)
        say(out, f"{counts(graph)}; {parts}; run in {run.path}")
        fitted = fit_retriever(
            graph,
            parts.train,
            encoder,
            options,
            unlabelled=parts.unlabelled,
            held_out=parts.held_out,
            run=run,
            resume=options.resume,
        )
        training.diagnosis = fitted.diagnosis
        if training.is_first:
            say(out, f"not in this graph: below a confidence of {fitted.retriever.threshold:.3f}")
            measured = split_of(parts.splits, options.evaluate.split)
            evaluation = evaluate(graph, measured, fitted.retriever, fitted.random_encoder, options.evaluate)
            show_evaluation(evaluation, out)
            if options.curve:
                curve = label_curve(graph, parts.train, measured, encoder, options, options.curve)
                evaluation = replace(evaluation, curves=(curve,))
            training.evaluation = evaluation
    return found(run, training.evaluation)


def run_evaluate(options: EvaluateOptions, out: Console) -> Outcome:
    """Measures a finished run again: its retriever or, where it has one, its answerer."""
    run = trained_run(options.run)
    saved = saved_options(run)
    graph = saved.load()
    if options.questions is None:
        questions = split_of(saved.load_questions(graph), options.split)
    else:
        questions = split_of(dict(load_splits(options.questions, graph, data_dir=saved.data_dir)), options.split)
    if (run.path / FOLDER).is_dir():
        evaluation = measure_run(run, graph, questions, MeasureConfig(options.sample, options.examples))
    else:
        untrained = load_encoder_as(PathMatcher, run.random_encoder)
        retriever = open_retriever_of(run, graph, options)
        evaluation = evaluate(graph, questions, retriever, untrained, options)
    if run.results.exists():
        # The curve is of several trainings, which are not repeated.
        evaluation = replace(evaluation, curves=read_evaluation(run.results).curves)
    show_evaluation(evaluation, out)
    write_results(run, evaluation, out)
    return found(run, evaluation)


COMMANDS = {
    "train": Command(
        TrainOptions,
        run_train,
        optional=("graph",),
        aliases=NAMES,
        values=VALUES,
        json=True,
    ),
    "build": Command(BuildOptions, run_build, optional=("graph",)),
    "pretrain": Command(PretrainOptions, run_pretrain, optional=("graph",), presets=PRESETS, json=True),
    "fit-retriever": Command(FitOptions, run_fit, optional=("graph",), json=True),
    "finetune": Command(FinetuneOptions, run_finetune, optional=("graph",), aliases=EARLIER_NAMES, json=True),
    "evaluate": Command(EvaluateOptions, run_evaluate, ("run",), ("questions",), json=True),
    "serve": Command(ServeOptions, run_serve, ("run",)),
    "ask": Command(AskOptions, run_ask, ("run", "question"), run_first=True, json=True),
}
