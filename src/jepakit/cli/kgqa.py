"""``jepakit kgqa build | pretrain | fit-retriever | evaluate | ask``."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from jepakit.cli.command import Command
from jepakit.cli.runs import say, show_rows, trained_run, training_run, write_results
from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.abstention import training_and_held_out
from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.datasets import load_graph, load_splits
from jepakit.kgqa.datasets.splits import divided
from jepakit.kgqa.evaluate import EvaluateConfig, evaluate, split_of
from jepakit.kgqa.linking import EntityLinker
from jepakit.kgqa.linking.matches import best_entities
from jepakit.kgqa.paths.fitting import RetrieverConfig, fit_retriever
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.kgqa.presets import PRESETS
from jepakit.kgqa.pretrain import PretrainConfig, pretrain
from jepakit.kgqa.report.curve import label_curve
from jepakit.kgqa.report.examples import write_answer
from jepakit.kgqa.retriever import PathRetriever, open_retriever
from jepakit.kgqa.storage import write_graph
from jepakit.text import TextConfig, load_cached_encoder
from jepakit.training import RunFolder, load_encoder_as
from jepakit.training.results import read_evaluation

RUN, PRETRAINING_RUN = Path("runs/kgqa"), Path("runs/kgqa-pretrain")


@dataclass
class GraphOptions:
    """What to read.

    Args:
        graph: ``python`` (built in), a name such as ``metaqa``, a file, folder or address; see the documentation.
        texts: for triples, a table with the texts of the entities.
        data_dir: folder in which names are looked up first; by default the one JEPAKIT_DATA names.
    """

    graph: str = "python"
    texts: Path | None = None
    data_dir: Path | None = None

    def load(self) -> KnowledgeGraph:
        """The graph that the options name."""
        return load_graph(self.graph, data_dir=self.data_dir, texts=self.texts)


@dataclass
class BuildOptions(GraphOptions):
    """Writing a graph folder, which is opened without reading it.

    Args:
        out: the folder to write.
    """

    out: Path | None = None


@dataclass
class PretrainOptions(PretrainConfig, GraphOptions):
    """Pre-training on subgraphs and what surrounds it.

    Args:
        run: folder of the run.
        resume: go on with an interrupted run.
    """

    run: Path = PRETRAINING_RUN
    resume: bool = False


@dataclass
class QuestionOptions(GraphOptions):
    """The graph, its questions, and the frozen encoder of texts.

    Args:
        questions: ``.jsonl`` file, folder of them, or name; by default the graph's own.
        train_split: the split to train on; by default ``train``, or the only one.
        text: the frozen sentence encoder.
    """

    questions: str | None = None
    train_split: str | None = None
    text: TextConfig = field(default_factory=TextConfig)

    def load_questions(self, graph: KnowledgeGraph) -> dict[str, Questions]:
        """The questions by split; those without a split of their own are divided at random."""
        splits = dict(load_splits(self.questions or self.graph, graph, data_dir=self.data_dir))
        return divided(splits["all"]) if set(splits) == {"all"} else splits


@dataclass
class FitOptions(RetrieverConfig, QuestionOptions):
    """Training a retriever and what surrounds it.

    Args:
        run: folder of the run.
        resume: go on with an interrupted run.
        limit: train on so many questions, the first of a fixed random order; None: on all.
        held_out: split to choose the threshold on below which there is no answer; by default ``dev``, or a tenth of 100
            or more training questions.
        curve: train on so many of the questions too, each from anew, and draw how the answers improve.
        evaluate: how to measure, on the split ``test``, or where it names one.
    """

    run: Path = RUN
    resume: bool = False
    limit: int | None = None
    held_out: str | None = None
    curve: list[int] = field(default_factory=list)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


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
    run: Path = RUN
    entity: list[str] = field(default_factory=list)
    k: int = 5
    page: Path | None = None


def run_build(options: BuildOptions, out: Console) -> None:
    """Reads a graph and writes its folder."""
    if options.out is None:
        raise ConfigError("out", None, "the folder to write")
    graph = options.load()
    write_graph(options.out, graph)
    say(out, f"{options.out}: {_counts(graph)}")


def run_pretrain(options: PretrainOptions, out: Console) -> None:
    """Pre-trains, reports."""
    graph, run = options.load(), RunFolder(options.run)
    with training_run(run, options, out) as training:
        say(out, f"{_counts(graph)}; run in {run.path}")
        training.diagnosis = pretrain(graph, options, run=run, resume=options.resume).diagnosis


def run_fit(options: FitOptions, out: Console) -> None:
    """Trains, measures, reports."""
    graph = options.load()
    splits = options.load_questions(graph)
    questions = _training_questions(splits, options.train_split)
    if options.limit is not None:
        questions = questions.sample(options.limit, seed=options.seed)
    questions, held_out = training_and_held_out(
        splits, questions, train=options.train_split, held_out=options.held_out, seed=options.seed
    )
    run = RunFolder(options.run)
    with training_run(run, options, out) as training:
        encoder = load_cached_encoder(options.text)
        say(out, f"{_counts(graph)}; {len(questions)} questions, {len(held_out)} held out; run in {run.path}")
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
    read, graph, retriever = _opened(run)
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
    _, graph, retriever = _opened(run)
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


def _opened(run: RunFolder) -> tuple[QuestionOptions, KnowledgeGraph, PathRetriever]:
    """The options, graph and retriever of a run."""
    saved = run.read_config()
    options: dict[str, Any] = {f.name: saved[f.name] for f in fields(QuestionOptions) if f.name in saved}
    options["text"] = TextConfig(**options.get("text", {}))
    read = QuestionOptions(**options)
    graph = read.load()
    return read, graph, open_retriever(run, graph, load_cached_encoder(read.text))


def _training_questions(splits: dict[str, Questions], name: str | None) -> Questions:
    if name is None and "train" in splits:
        return splits["train"]
    return split_of(splits, name)


def _counts(graph: KnowledgeGraph) -> str:
    return f"{graph.name}: {graph.num_entities} entities, {graph.num_triples} triples, {len(graph.relations)} relations"


COMMANDS = {
    "build": Command("write a graph as a folder that opens at once", BuildOptions, run_build, ("graph",)),
    "pretrain": Command(
        "pre-train an encoder on subgraphs, without questions", PretrainOptions, run_pretrain, presets=PRESETS
    ),
    "fit-retriever": Command(
        "learn which relation path a question means, from questions with answers", FitOptions, run_fit
    ),
    "evaluate": Command(
        "measure a run's retriever beside its floors and ceilings", EvaluateOptions, run_evaluate, ("run",)
    ),
    "ask": Command("answer a question, with the path that leads to the answers", AskOptions, run_ask, ("question",)),
}
