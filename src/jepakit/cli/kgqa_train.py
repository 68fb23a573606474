"""``jepakit kgqa train``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from jepakit.cli.command import config_yaml
from jepakit.cli.kgqa_answerer import FinetuneOptions
from jepakit.cli.kgqa_options import (
    FitOptions,
    PretrainOptions,
    TrainingQuestions,
    counts,
)
from jepakit.cli.outcome import Outcome
from jepakit.cli.plan import planned
from jepakit.cli.runs import NOT_CONFIGURATION, RunControl, found, say, show_evaluation, training_run, write_results
from jepakit.files import write_text
from jepakit.kgqa.evaluate import split_of
from jepakit.kgqa.pipeline import FINETUNE, PRETRAIN, RETRIEVER, PipelineConfig, train
from jepakit.training import RunFolder

PIPELINE_RUN = Path("runs/kgqa-train")
#: The names that people know from the first pipeline of this kind.
NAMES = {
    "dataset": "graph",
    "pretrain_epochs": "pretrain.epochs",
    "pretrain_batch_size": "pretrain.batch_size",
    "pretrain_lr": "pretrain.learning_rate",
    "hidden_dim": "pretrain.encoder.hidden",
    "num_layers": "pretrain.encoder.layers",
    "num_heads": "pretrain.encoder.heads",
    "dropout": "pretrain.encoder.dropout",
    "encoder_type": "pretrain.encoder.conv",
    "masking": "pretrain.masking.strategy",
    "mask_ratio": "pretrain.masking.ratio",
    "k_hops": "pretrain.masking.hops",
    "fanout": "pretrain.sampling.fanout",
    "num_hops": "retriever.hops",
    "finetune_epochs": "finetune.epochs",
    "finetune_lr": "finetune.learning_rate",
    "finetune_batch_size": "finetune.batch_size",
    "llm_model": "finetune.llm_model",
    "freeze_gnn": "finetune.freeze_gnn",
    "encoder_path": "finetune.encoder_path",
    "k_nodes": "finetune.candidates",
    "output_dir": "run",
}
VALUES = {"pretrain.masking.strategy": {"subgraph": "walk"}}


@dataclass
class TrainOptions(PipelineConfig, TrainingQuestions, RunControl):
    """All steps, and what surrounds them.

    Args:
        run: folder of the run.
    """

    run: Path = PIPELINE_RUN


def run_train(options: TrainOptions, out: Console) -> Outcome:
    """Does all steps, measures, reports."""
    graph, run = options.load(), RunFolder(options.run)
    parts = options.load_parts(graph, options.seed)
    if options.dry_run:
        return planned(run, options, f"{counts(graph)}; {parts}", out)
    with training_run(run, options, out) as training:
        say(out, f"{counts(graph)}; {parts}; run in {run.path}")
        trained = train(
            graph,
            parts.train,
            options,
            run,
            unlabelled=parts.unlabelled,
            held_out=parts.held_out,
            measured=split_of(parts.splits, options.evaluate.split),
            resume=options.resume,
            say=partial(say, out),
        )
        training.diagnosis = trained.diagnosis
        if trained.evaluation is not None:
            show_evaluation(trained.evaluation, out)
            training.evaluation = trained.evaluation
            for name, step in _options_of_steps(options).items():
                folder = RunFolder(run.path / name)
                write_text(folder.config, config_yaml(step, leave_out=NOT_CONFIGURATION))
                write_results(folder, None, out)
    return found(run, training.evaluation)


def _options_of_steps(options: TrainOptions) -> dict[str, Any]:
    """The options with which the command of each step does the same; the step's folder is then a run of its own."""
    steps = {PRETRAIN: PretrainOptions, RETRIEVER: FitOptions, FINETUNE: FinetuneOptions}
    given = {one.name: getattr(options, one.name) for one in fields(TrainingQuestions)}
    made: dict[str, Any] = {}
    for name, kind in steps.items():
        if not RunFolder(options.run / name).encoder.is_dir():
            continue
        config = getattr(options, name)
        own = {one.name for one in fields(kind)}
        values = {**given, **{one.name: getattr(config, one.name) for one in fields(config)}}
        if name == FINETUNE:
            values |= {"retriever": str(options.run / RETRIEVER), "split": options.evaluate.split}
            if (options.run / PRETRAIN).is_dir() and config.encoder_path is None:
                values["encoder_path"] = options.run / PRETRAIN
        made[name] = kind(**{key: value for key, value in values.items() if key in own})
    return made
