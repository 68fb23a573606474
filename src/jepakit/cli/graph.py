"""``jepakit graph pretrain | evaluate | embed | finetune | predict | store``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.console import Console

from jepakit.cli.graph_labels import FinetuneOptions, PredictOptions, run_finetune, run_predict
from jepakit.cli.graph_options import DataOptions, RunDataOptions, data_of
from jepakit.cli.graph_source import source_of
from jepakit.cli.graph_store import StoreOptions, embed_large, run_store
from jepakit.cli.outcome import Outcome
from jepakit.cli.plan import planned
from jepakit.cli.ray_options import RayOptions
from jepakit.cli.reading import Command
from jepakit.cli.runs import RunControl, found, say, say_recommendation, show_evaluation, training_run, write_results
from jepakit.errors import ConfigError
from jepakit.graph.evaluate import EvaluateConfig, evaluate
from jepakit.graph.finetune import labelled_part
from jepakit.graph.floors import untrained
from jepakit.graph.large.sampling import FULL_NODES, SamplingConfig, batches_of, is_large, sample_of
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
from jepakit.mapping import mapping
from jepakit.training import RunFolder


@dataclass
class PretrainOptions(PretrainConfig, DataOptions, RunControl):
    """Pre-training and what surrounds it.

    Args:
        run: folder of the run; by default ``runs/graph-DATASET``.
        probe: probe the encoder when it is trained, if there are labels.
        evaluate: how to probe.
    """

    run: Path | None = None
    probe: bool = True
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


@dataclass
class EvaluateOptions(EvaluateConfig, RunDataOptions):
    """Probing an encoder.

    Args:
        repeats: folders of runs with the same options and other seeds; the table then has means over all of them.
        out: folder for ``results.json`` and ``report.html``; by default the run. Of an encoder that is of no run, none
            are written unless a folder is named.
    """

    repeats: list[Path] | None = None
    out: Path | None = None


@dataclass
class EmbedOptions(RunDataOptions, RayOptions):
    """Embedding data.

    Args:
        out: the file to write, ``.parquet``, ``.csv`` or ``.npz``: where each graph or node comes from, its label if it
            has one, and its embedding. A row that could not be read keeps its place, with the problem and no embedding.
        level: a row for each ``graph`` or each ``node``.
    """

    out: Path = Path("embeddings.parquet")
    level: Literal["graph", "node"] = "graph"


def run_pretrain(options: PretrainOptions, out: Console) -> Outcome:
    """Pre-trains, probes, reports."""
    dataset = options.load(descriptors="descriptor" in options.objective.predict)
    run = RunFolder(options.run or Path("runs") / f"graph-{Path(options.dataset).stem}")
    graphs = dataset.graphs
    data = f"{dataset.name}: {len(graphs)} graphs, {graphs.num_nodes} nodes, {graphs.num_edges} edges"
    if options.dry_run:
        return planned(run, options, data, out)
    with training_run(run, options, out) as training:
        say(out, f"{data}; run in {run.path}")
        if dataset.label_candidates and dataset.task == "none":
            say(out, f"columns that look like labels, for --label-columns: {', '.join(dataset.label_candidates)}")
        pretrained = pretrain(dataset, options, run=run, resume=options.resume)
        training.diagnosis = pretrained.diagnosis
        if training.is_first and options.probe:
            labelled = labelled_part(dataset)
            encoders = pretrained.encoder, pretrained.random_encoder
            evaluation = evaluate(labelled, *encoders, options.evaluate, training_seconds=run.training_seconds)
            show_evaluation(evaluation, out)
            training.evaluation = evaluation
    return found(run, training.evaluation)


def run_evaluate(options: EvaluateOptions, out: Console) -> Outcome:
    """Probes an encoder beside its floors."""
    source, *others = (source_of(given) for given in (options.run, *(options.repeats or ())))
    encoder = source.encoder()
    dataset = labelled_part(data_of(source, options, encoder))
    sample = sample_of(dataset.graphs, batches_of(dataset.graphs, SamplingConfig(), seed=0), seed=0)
    random_encoder, *repeats = (
        one.random_encoder() or untrained(encoder, sample, seed=seed) for seed, one in enumerate((source, *others))
    )
    evaluation = evaluate(
        dataset,
        encoder,
        random_encoder,
        options,
        repeats=[(other.encoder(), before) for other, before in zip(others, repeats, strict=True)],
        training_seconds=source.training_seconds,
    )
    show_evaluation(evaluation, out)
    folder = source.run if options.out is None else RunFolder(options.out)
    if folder is None:
        say_recommendation(out, evaluation)
    else:
        write_results(folder, evaluation, out)
    return found(folder, evaluation)


def run_embed(options: EmbedOptions, out: Console) -> None:
    """Writes embeddings to a file."""
    source = source_of(options.run)
    require_known_format("out", options.out)
    encoder = source.encoder()
    dataset = data_of(source, options, encoder)
    if is_large(dataset.graphs):
        if options.ray:
            raise ConfigError("ray", True, f"false for a single graph of more than {FULL_NODES:,} nodes")
        embed_large(encoder, dataset, options.out, options.level, out)
        return
    with mapping(ray=options.ray) as mapped:
        embeddings = encoder.embed(dataset.graphs, key=options.level, mapped=mapped)
    columns, index = graph_rows(dataset) if options.level == "graph" else node_rows(dataset)
    label = dataset.graphs.y if options.level == "graph" else dataset.graphs.node_y
    if label is not None:
        labels = label_columns(label, dataset.label_names)
        columns |= {name: placed(values, index) for name, values in labels.items()}
    write_rows(options.out, columns, embeddings, index)
    unread = unread_note(index, f"{len(index)} rows")
    say(out, f"{len(embeddings)} embeddings of {embeddings.shape[1]} dimensions in {options.out}{unread}")


COMMANDS = {
    "pretrain": Command(PretrainOptions, run_pretrain, optional=("dataset",), presets=PRESETS, json=True),
    "evaluate": Command(EvaluateOptions, run_evaluate, ("run",), ("dataset",), json=True),
    "embed": Command(EmbedOptions, run_embed, ("run",), ("dataset",)),
    "finetune": Command(FinetuneOptions, run_finetune, ("run",), ("dataset",), json=True),
    "predict": Command(PredictOptions, run_predict, ("run",), ("dataset",)),
    "store": Command(StoreOptions, run_store, ("dataset",)),
}
