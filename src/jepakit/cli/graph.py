"""``jepakit graph pretrain | evaluate | embed``."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.console import Console

from jepakit.cli.command import Command
from jepakit.cli.runs import say, show_rows, trained_run, training_run, write_results
from jepakit.errors import ConfigError, DataError
from jepakit.files import whole_file
from jepakit.graph.data import GraphDataset
from jepakit.graph.datasets import load_dataset
from jepakit.graph.encoder import GraphEncoder
from jepakit.graph.evaluate import EvaluateConfig, evaluate
from jepakit.graph.presets import PRESETS
from jepakit.graph.pretrain import PretrainConfig, pretrain
from jepakit.training import RunFolder, load_encoder_as
from jepakit.training.results import Evaluation

_LOG = logging.getLogger(__name__)


@dataclass
class DataOptions:
    """What to read.

    Args:
        dataset: ``python`` (built in), a name such as PROTEINS, Cora or tox21, or a path; see the documentation.
        data_dir: folder in which names are looked up first; by default the one JEPAKIT_DATA names.
        smiles_column: of a table of molecules.
        label_columns: of a table of molecules.
        fill_missing: in node-link JSON, GraphML and Parquet, a missing attribute is 0, and a column says where.
    """

    dataset: str = "python"
    data_dir: Path | None = None
    smiles_column: str | None = None
    label_columns: list[str] | None = None
    fill_missing: bool = False

    def load(self, *, descriptors: bool = False, encoder: GraphEncoder | None = None) -> GraphDataset:
        """The data set that the options name.

        Args:
            descriptors: with the descriptors of molecules.
            encoder: the encoder that is to read it.
        """
        options = {name: getattr(self, name) for name in ("data_dir", "smiles_column", "label_columns", "fill_missing")}
        vocabulary = None if encoder is None else encoder.vocabulary
        return load_dataset(self.dataset, descriptors=descriptors, vocabulary=vocabulary, **options)


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
class EvaluateOptions(EvaluateConfig):
    """Probing a run again.

    Args:
        run: folder of a finished run.
        dataset: other data of the same kind; by default the run's own.
    """

    run: Path | None = None
    dataset: str | None = None


@dataclass
class EmbedOptions:
    """Embedding data with a run's encoder.

    Args:
        run: folder of a finished run.
        out: the Parquet file to write: ``graph`` (and ``node``), ``embedding``, ``label`` where there is one.
        dataset: other data of the same kind; by default the run's own.
        level: a row for each ``graph`` or each ``node``.
    """

    run: Path | None = None
    out: Path = Path("embeddings.parquet")
    dataset: str | None = None
    level: Literal["graph", "node"] = "graph"


def run_pretrain(options: PretrainOptions, out: Console) -> None:
    """Pre-trains, probes, reports."""
    dataset = options.load(descriptors="descriptor" in options.objective.predict)
    run = RunFolder(options.run or Path("runs") / f"graph-{Path(options.dataset).stem}")
    with training_run(run, options, out) as training:
        graphs = dataset.graphs
        counts = f"{len(graphs)} graphs, {graphs.num_nodes} nodes, {graphs.num_edges} edges"
        say(out, f"{dataset.name}: {counts}; run in {run.path}")
        pretrained = pretrain(dataset, options, run=run, resume=options.resume)
        training.diagnosis = pretrained.diagnosis
        if training.is_first and options.probe:
            evaluation = evaluate(dataset, pretrained.encoder, pretrained.random_encoder, options.evaluate)
            _show(evaluation, out)
            training.evaluation = evaluation


def run_evaluate(options: EvaluateOptions, out: Console) -> None:
    """Probes a finished run again."""
    run = trained_run(options.run)
    encoder, random_encoder = (load_encoder_as(GraphEncoder, path) for path in (run.encoder, run.random_encoder))
    dataset = _dataset_of(run, options.dataset, encoder)
    evaluation = evaluate(dataset, encoder, random_encoder, options)
    _show(evaluation, out)
    write_results(run, evaluation, out)


def run_embed(options: EmbedOptions, out: Console) -> None:
    """Writes embeddings to a Parquet file."""
    run = trained_run(options.run)
    if options.out.suffix != ".parquet":
        raise ConfigError("out", options.out, "a file name that ends in .parquet")
    encoder = load_encoder_as(GraphEncoder, run.encoder)
    dataset = _dataset_of(run, options.dataset, encoder)
    embeddings = encoder.embed(dataset.graphs, key=options.level)
    table = _table(dataset, embeddings, options.level)
    with whole_file(options.out) as unfinished:
        pq.write_table(table, unfinished)
    say(out, f"{table.num_rows} embeddings of {embeddings.shape[1]} dimensions in {options.out}")


def _table(dataset: GraphDataset, embeddings: torch.Tensor, level: str) -> pa.Table:
    graphs, owner = dataset.graphs, dataset.graphs.graph_of_node
    label = graphs.y if level == "graph" else graphs.node_y
    columns: dict[str, Any] = {"graph": torch.arange(len(graphs)) if level == "graph" else owner}
    if level == "node":
        columns["node"] = torch.arange(graphs.num_nodes) - graphs.node_ptr[owner]
    columns = {name: ids.numpy() for name, ids in columns.items()}
    if label is not None:
        columns["label"] = label.tolist()
    flat = pa.array(embeddings.reshape(-1).numpy())
    return pa.table({**columns, "embedding": pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1])})


def _show(evaluation: Evaluation, out: Console) -> None:
    show_rows(out, evaluation.rows)
    for sentence in [evaluation.recommendation] if evaluation.rows else evaluation.summary:
        say(out, sentence or "")


def _dataset_of(run: RunFolder, other: str | None, encoder: GraphEncoder) -> GraphDataset:
    """The data a run was trained on, or other data read with the same options."""
    saved = run.read_config()
    if not isinstance(saved.get("dataset"), str):
        raise DataError("no data set is named", file=run.config, field="dataset", value=saved.get("dataset"))
    options: dict[str, Any] = {f.name: saved[f.name] for f in fields(DataOptions) if f.name in saved}
    if other:
        options["dataset"] = other
        if encoder.vocabulary is None:
            _LOG.warning(
                "%s is of a version that kept no names of columns: those of %s go by position", run.path, other
            )
    return DataOptions(**options).load(encoder=encoder)


COMMANDS = {
    "pretrain": Command(
        "pre-train an encoder on graphs without labels, probe it, write a report",
        PretrainOptions,
        run_pretrain,
        presets=PRESETS,
    ),
    "evaluate": Command("probe a run's encoder beside its floors", EvaluateOptions, run_evaluate, ("run",)),
    "embed": Command("write the embeddings of a data set to a Parquet file", EmbedOptions, run_embed, ("run",)),
}
