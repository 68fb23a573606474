"""``jepakit kgqa train | build | pretrain | fit-retriever | finetune | evaluate | ask``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from jepakit.cli.command import Command
from jepakit.cli.kgqa_answerer import FinetuneOptions, run_finetune
from jepakit.cli.kgqa_options import (
    RETRIEVER_RUN,
    FitOptions,
    GraphOptions,
    PretrainOptions,
    counts,
    open_run,
)
from jepakit.cli.kgqa_train import NAMES, VALUES, TrainOptions, run_train
from jepakit.cli.runs import say, show_rows, trained_run, training_run, write_results
from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.data import Questions
from jepakit.kgqa.datasets import load_splits
from jepakit.kgqa.evaluate import EvaluateConfig, evaluate, split_of
from jepakit.kgqa.linking import EntityLinker
from jepakit.kgqa.linking.matches import best_entities
from jepakit.kgqa.paths.fitting import fit_retriever
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.kgqa.presets import PRESETS
from jepakit.kgqa.pretrain import pretrain
from jepakit.kgqa.report.curve import label_curve
from jepakit.kgqa.report.examples import write_answer
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
class EvaluateOptions(EvaluateConfig):
    """Measuring a run again.

    Args:
        run: folder of a finished run.
        questions: other questions about the same graph.
    """

    run: Path | None = None
    questions: str | None = None


@dataclass
class AskOptions:
    """Asking a run's retriever.

    Args:
        question: what is asked.
        run: folder of a finished run.
        entity: ids of the topic entities; by default those that the question names.
        k: how many answers.
        page: ``.html`` file to write, with the paths, the subgraph as a drawing, and its triples.
    """

    question: str | None = None
    run: Path = RETRIEVER_RUN
    entity: list[str] = field(default_factory=list)
    k: int = 5
    page: Path | None = None


def run_build(options: BuildOptions, out: Console) -> None:
    """Reads a graph and writes its folder."""
    if options.out is None:
        raise ConfigError("out", None, "the folder to write")
    graph = options.load()
    write_graph(options.out, graph)
    say(out, f"{options.out}: {counts(graph)}")


def run_pretrain(options: PretrainOptions, out: Console) -> None:
    """Pre-trains, reports."""
    graph, run = options.load(), RunFolder(options.run)
    with training_run(run, options, out) as training:
        say(out, f"{counts(graph)}; run in {run.path}")
        training.diagnosis = pretrain(graph, options, run=run, resume=options.resume).diagnosis


def run_fit(options: FitOptions, out: Console) -> None:
    """Trains, measures, reports."""
    graph = options.load()
    splits, questions, held_out = options.load_parts(graph, options.seed)
    run = RunFolder(options.run)
    with training_run(run, options, out) as training:
        encoder = load_cached_encoder(options.text)
        say(out, f"{counts(graph)}; {len(questions)} questions, {len(held_out)} held out; run in {run.path}")
        fitted = fit_retriever(graph, questions, encoder, options, held_out=held_out, run=run, resume=options.resume)
        training.diagnosis = fitted.diagnosis
        if training.is_first:
            measured = split_of(splits, options.evaluate.split)
            evaluation = evaluate(graph, measured, fitted.retriever, fitted.random_encoder, options.evaluate)
            show_rows(out, evaluation.rows)
            if options.curve:
                curve = label_curve(graph, questions, measured, encoder, options, options.curve)
                evaluation = replace(evaluation, curves=(curve,))
            training.evaluation = evaluation


def run_evaluate(options: EvaluateOptions, out: Console) -> None:
    """Measures a finished run again."""
    run = trained_run(options.run)
    read, graph, retriever = open_run(run)
    if options.questions is None:
        questions = split_of(read.load_questions(graph), options.split)
    else:
        questions = split_of(dict(load_splits(options.questions, graph, data_dir=read.data_dir)), options.split)
    untrained = load_encoder_as(PathMatcher, run.random_encoder)
    evaluation = evaluate(graph, questions, retriever, untrained, options)
    if run.results.exists():
        # The curve is of several trainings, which are not repeated.
        evaluation = replace(evaluation, curves=read_evaluation(run.results).curves)
    show_rows(out, evaluation.rows)
    write_results(run, evaluation, out)


def run_ask(options: AskOptions, out: Console) -> None:
    """Answers a question, with the path and the triples that lead to the answers."""
    if not options.question:
        raise ConfigError("question", options.question, "what is asked")
    run = trained_run(options.run)
    _, graph, retriever = open_run(run)
    if options.entity:
        topics = tuple(int(row) for row in graph.rows(options.entity, field="entity"))
    else:
        topics = best_entities(EntityLinker(graph).link([options.question])[0])
    if not topics:
        raise DataError(
            f"no entity of {graph.name} is named", field="question", value=options.question, expected="one, or --entity"
        )
    (ranked,) = retriever.rank(Questions((options.question,), (topics,), ((),)), options.k)
    if not ranked.paths:
        say(out, "not in this graph: no relation leads from " + ", ".join(graph.column("name", topics)))
        return
    if ranked.abstained:
        say(
            out, f"not in this graph (confidence {ranked.confidence:.3f}, below {retriever.threshold:.3f}); nearest is:"
        )
    for path in ranked.paths:
        names = " / ".join(map(graph.step_name, path.steps))
        start = graph.column("name", [path.topic])[0]
        say(out, f"{path.probability:.3f}  {start} / {names}  ({path.size} entities)")
    for score, name in zip(ranked.scores.tolist(), graph.column("name", ranked.entities), strict=True):
        say(out, f"{score:8.3f}  {name}")
    part = retriever.explain(ranked)
    names = graph.column("name", part.entities)
    for head, relation, tail in part.triples.tolist():
        say(out, f"  {names[head]} -- {graph.relations[relation].name} -> {names[tail]}")
    if options.page is not None:
        write_answer(options.page, retriever, options.question, ranked)
        say(out, f"page: {options.page}")


COMMANDS = {
    "train": Command(
        "pre-train the encoder, train the retriever and the answerer, measure: all in one",
        TrainOptions,
        run_train,
        aliases=NAMES,
        values=VALUES,
    ),
    "build": Command("write a graph as a folder that opens at once", BuildOptions, run_build, ("graph",)),
    "pretrain": Command(
        "pre-train an encoder on subgraphs, without questions", PretrainOptions, run_pretrain, presets=PRESETS
    ),
    "fit-retriever": Command(
        "learn which relation path a question means, from questions with answers", FitOptions, run_fit
    ),
    "finetune": Command(
        "train an answerer: a language model that reads the retrieved subgraph", FinetuneOptions, run_finetune
    ),
    "evaluate": Command(
        "measure a run's retriever beside its floors and ceilings", EvaluateOptions, run_evaluate, ("run",)
    ),
    "ask": Command("answer a question, with the path that leads to the answers", AskOptions, run_ask, ("question",)),
}
