"""``jepakit graph pretrain | evaluate | embed | finetune | predict``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.console import Console

from jepakit.cli.graph_labels import FinetuneOptions, PredictOptions, run_finetune, run_predict
from jepakit.cli.graph_options import DataOptions, RunDataOptions, data_of
from jepakit.cli.reading import Command
from jepakit.cli.runs import say, show_rows, trained_run, training_run, write_results
from jepakit.graph.encoder import GraphEncoder
from jepakit.graph.evaluate import EvaluateConfig, evaluate
from jepakit.graph.finetune import labelled_part
from jepakit.graph.presets import PRESETS
from jepakit.graph.pretrain import PretrainConfig, pretrain
from jepakit.graph.rows import (
    graph_rows,
    label_columns,
    node_rows,
    placed,
    require_known_format,
    unread_note,
    write_rows,
)
from jepakit.training import RunFolder, load_encoder_as
from jepakit.training.results import Evaluation


@dataclass
class PretrainOptions(PretrainConfig, DataOptions):
    """Pre-training and what surrounds it.

    Args:
        run: folder of the run; by default ``runs/graph-DATASET``.
        resume: go on with an interrupted run.
        probe: probe the encoder when it is trained, if there are labels.
        evaluate: how to probe.
    """

    run: Path | None = None
    resume: bool = False
    probe: bool = True
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


@dataclass
class EvaluateOptions(EvaluateConfig, RunDataOptions):
    """Probing a run again.

    Args:
        repeats: folders of runs with the same options and other seeds; the table then has means over all of them.
    """

    repeats: list[Path] | None = None


@dataclass
class EmbedOptions(RunDataOptions):
    """Embedding data with a run's encoder.

    Args:
        out: the file to write, ``.parquet``, ``.csv`` or ``.npz``: where each graph or node comes from, its label if it
            has one, and its embedding. A row that could not be read keeps its place, with the problem and no embedding.
        level: a row for each ``graph`` or each ``node``.
    """

    out: Path = Path("embeddings.parquet")
    level: Literal["graph", "node"] = "graph"


def run_pretrain(options: PretrainOptions, out: Console) -> None:
    """Pre-trains, probes, reports."""
    dataset = options.load(descriptors="descriptor" in options.objective.predict)
    run = RunFolder(options.run or Path("runs") / f"graph-{Path(options.dataset).stem}")
    with training_run(run, options, out) as training:
        graphs = dataset.graphs
        counts = f"{len(graphs)} graphs, {graphs.num_nodes} nodes, {graphs.num_edges} edges"
        say(out, f"{dataset.name}: {counts}; run in {run.path}")
        if dataset.label_candidates and dataset.task == "none":
            say(out, f"columns that look like labels, for --label-columns: {', '.join(dataset.label_candidates)}")
        pretrained = pretrain(dataset, options, run=run, resume=options.resume)
        training.diagnosis = pretrained.diagnosis
        if training.is_first and options.probe:
            labelled = labelled_part(dataset)
            encoders = pretrained.encoder, pretrained.random_encoder
            evaluation = evaluate(labelled, *encoders, options.evaluate, training_seconds=_training_seconds(run))
            _show(evaluation, out)
            training.evaluation = evaluation


def run_evaluate(options: EvaluateOptions, out: Console) -> None:
    """Probes a finished run again."""
    run, *others = (trained_run(path) for path in (options.run, *(options.repeats or ())))
    (encoder, random_encoder), *repeats = map(_encoders, (run, *others))
    dataset = labelled_part(data_of(run, options, encoder))
    seconds = _training_seconds(run)
    evaluation = evaluate(dataset, encoder, random_encoder, options, repeats=repeats, training_seconds=seconds)
    _show(evaluation, out)
    write_results(run, evaluation, out)


def _encoders(run: RunFolder) -> tuple[GraphEncoder, GraphEncoder]:
    return load_encoder_as(GraphEncoder, run.encoder), load_encoder_as(GraphEncoder, run.random_encoder)


def _training_seconds(run: RunFolder) -> float:
    return sum(float(row.get("seconds") or 0) for row in run.read_metrics())


def run_embed(options: EmbedOptions, out: Console) -> None:
    """Writes embeddings to a file."""
    run = trained_run(options.run)
    require_known_format("out", options.out)
    encoder = load_encoder_as(GraphEncoder, run.encoder)
    dataset = data_of(run, options, encoder)
    embeddings = encoder.embed(dataset.graphs, key=options.level)
    columns, index = graph_rows(dataset) if options.level == "graph" else node_rows(dataset)
    label = dataset.graphs.y if options.level == "graph" else dataset.graphs.node_y
    if label is not None:
        labels = label_columns(label, dataset.label_names)
        columns |= {name: placed(values, index) for name, values in labels.items()}
    write_rows(options.out, columns, embeddings, index)
    unread = unread_note(index, f"{len(index)} rows")
    say(out, f"{len(embeddings)} embeddings of {embeddings.shape[1]} dimensions in {options.out}{unread}")


def _show(evaluation: Evaluation, out: Console) -> None:
    show_rows(out, evaluation.rows)
    for sentence in (*evaluation.summary, evaluation.recommendation):
        say(out, sentence or "")


COMMANDS = {
    "pretrain": Command(
        PretrainOptions,
        run_pretrain,
        presets=PRESETS,
    ),
    "evaluate": Command(EvaluateOptions, run_evaluate, ("run",)),
    "embed": Command(EmbedOptions, run_embed, ("run",)),
    "finetune": Command(FinetuneOptions, run_finetune, ("run",)),
    "predict": Command(PredictOptions, run_predict, ("run",)),
}
