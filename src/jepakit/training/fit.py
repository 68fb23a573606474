"""Train a JEPA, a task, or both, in a run folder that survives being killed."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from torch import Tensor, nn

from jepakit.core import JEPA, WarmupCosine
from jepakit.errors import ConfigError, MissingExtraError, ModelError
from jepakit.training.checkpoint import SafetensorsCheckpointIO, read_checkpoint
from jepakit.training.loader import EpochLoader
from jepakit.training.module import DiagnosticsCallback, EpochLog, JEPAModule, MetricsFile, Patience, ProgressBar
from jepakit.training.run import RunFolder

__all__ = ["FitConfig", "FitResult", "fit", "parameter_groups"]

_LEAST = {
    "epochs": 1,
    "batch_size": 1,
    "devices": 1,
    "patience": 1,
    "unfreeze_epoch": 0,
    "checkpoint_every": 1,
    "diagnose_every": 1,
    "seed": 0,
}


@dataclass
class FitConfig:
    """How to train. The same names stand on the command line and in YAML.

    Args:
        epochs: passes over the data.
        batch_size: examples per optimiser step, over all devices.
        learning_rate: of AdamW, after the warm-up.
        learning_rates: other rates for parameters whose name begins so, such as ``{"encoder": 2e-5}``.
        weight_decay: of AdamW, on matrices only.
        warmup_epochs: linear rise of the rate; a cosine to 0 follows.
        clip_norm: largest gradient norm; 0 switches clipping off.
        precision: Lightning's name: ``32-true``, ``16-mixed``, ``bf16-mixed``.
        accelerator: ``auto``, ``cpu``, ``gpu``.
        devices: how many; more than one trains with DistributedDataParallel.
        patience: stop when the training loss has not fallen for so many epochs; None never stops.
        jepa_pretrain_epochs: where there is a task: epochs of JEPA alone before it; fewer than ``epochs``.
        jepa_weight: weight of JEPA beside the task.
        freeze: parameters whose name begins so are not trained.
        unfreeze_epoch: the epoch from which they are; None: never.
        checkpoint_every: epochs between two checkpoints.
        diagnose_every: epochs between two looks at the embeddings.
        logger: ``none``, ``tensorboard`` or ``wandb``, beside metrics.csv.
        progress: show a bar.
        seed: of initialisation, order, views and dropout.
    """

    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3
    learning_rates: dict[str, float] = field(default_factory=dict)
    weight_decay: float = 0.05
    warmup_epochs: float = 1.0
    clip_norm: float = 1.0
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    patience: int | None = None
    jepa_pretrain_epochs: int = 0
    jepa_weight: float = 1.0
    freeze: list[str] = field(default_factory=list)
    unfreeze_epoch: int | None = None
    checkpoint_every: int = 1
    diagnose_every: int = 10
    logger: Literal["none", "tensorboard", "wandb"] = "none"
    progress: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise ConfigError(name, getattr(self, name), f"at least {least}")
        for name in ("weight_decay", "warmup_epochs", "clip_norm", "jepa_pretrain_epochs", "jepa_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(name, getattr(self, name), "a number of at least 0")
        rates = {f"learning_rates.{name}": rate for name, rate in self.learning_rates.items()}
        for name, rate in {"learning_rate": self.learning_rate, **rates}.items():
            if not 0 < rate < math.inf:
                raise ConfigError(name, rate, "a number above 0")
        if self.seed >= 2**63:
            raise ConfigError("seed", self.seed, "below 2^63")
        if self.unfreeze_epoch is not None and not self.freeze:
            raise ConfigError("unfreeze_epoch", self.unfreeze_epoch, "null where freeze names nothing")


@dataclass(frozen=True)
class FitResult:
    """What training did.

    Args:
        epochs: epochs trained in all, resumed ones included.
        steps: optimiser steps in all.
        stopped_early: whether ``patience`` ended it.
        metrics: the last epoch's numbers, named as in metrics.csv.
    """

    epochs: int
    steps: int
    stopped_early: bool
    metrics: dict[str, float]


def fit(
    jepa: JEPA | None,
    loader: EpochLoader,
    config: FitConfig,
    *,
    run: RunFolder | None = None,
    task: nn.Module | None = None,
    embed: Callable[[], tuple[Tensor, Tensor | None]] | None = None,
    resume: bool = False,
) -> FitResult:
    """Trains in place.

    Args:
        jepa: the objective; None trains the task alone.
        loader: the views.
        config: how.
        run: where metrics and checkpoints go; None keeps nothing.
        task: a module from views to a loss, or to named losses that are summed.
        embed: ``() -> (embeddings, groups or None)`` of a fixed sample, for the diagnostics.
        resume: go on from the run's last checkpoint, if there is one.

    Raises:
        ConfigError: there is neither an objective nor a task, or an option does not fit the model.
        ModelError: the checkpoint is damaged or of another architecture, or the loss is no longer finite.
    """
    _check_phases(jepa, task, config)
    total_steps = config.epochs * len(loader)
    warmup = min(round(config.warmup_epochs * len(loader)), total_steps - 1)
    parts = nn.ModuleDict({name: part for name, part in (("jepa", jepa), ("task", task)) if part is not None})
    frozen = [p for name, p in _named(parts) if p.requires_grad and _matches(name, config.freeze)]
    module = JEPAModule(
        jepa,
        task,
        parameter_groups=parameter_groups(parts, config),
        schedule=WarmupCosine(total_steps, warmup),
        jepa_pretrain_epochs=config.jepa_pretrain_epochs,
        jepa_weight=config.jepa_weight,
        frozen=frozen,
        unfreeze_epoch=config.unfreeze_epoch,
    )
    stopping = None if config.patience is None else Patience(config.patience)
    checkpoint = run.checkpoint if run is not None and resume and run.checkpoint.exists() else None
    if checkpoint is not None:
        _check_same_model(module, checkpoint)
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices), warnings.catch_warnings(), _keyboard_interrupt():
        # About worker processes and batch-size guesses, which do not apply: batches are gathers from memory.
        warnings.filterwarnings("ignore", module=r"pytorch_lightning\..*")
        trainer = _trainer(config, run, stopping, embed)
        try:
            trainer.fit(module, loader, ckpt_path=None if checkpoint is None else str(checkpoint))
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.experiment.finish()  # or the next run of this process would be logged into this one
    return FitResult(
        epochs=trainer.global_step // len(loader),
        steps=trainer.global_step,
        stopped_early=stopping is not None and stopping.stopped_epoch > 0,
        metrics=_last_metrics(trainer, run),
    )


def _check_phases(jepa: JEPA | None, task: nn.Module | None, config: FitConfig) -> None:
    if jepa is None and task is None:
        raise ConfigError("jepa", None, "an objective, a task, or both")
    if jepa is None or task is None:
        alone = "where there is no task" if task is None else "where there is no objective"
        for name, only in (("jepa_pretrain_epochs", 0), ("jepa_weight", 1.0)):
            if getattr(config, name) != only:
                raise ConfigError(name, getattr(config, name), f"{only} {alone}")
    elif config.jepa_pretrain_epochs >= config.epochs:
        raise ConfigError("jepa_pretrain_epochs", config.jepa_pretrain_epochs, f"below epochs = {config.epochs}")


@contextmanager
def _keyboard_interrupt() -> Generator[None]:
    """Ctrl-C as what it is: Lightning makes ``exit(1)`` of it."""
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


def _last_metrics(trainer: pl.Trainer, run: RunFolder | None) -> dict[str, float]:
    if trainer.callback_metrics or run is None:
        return {name: float(value) for name, value in trainer.callback_metrics.items()}
    # A run that was complete when it was resumed.
    rows = run.read_metrics()
    return {name: float(value) for name, value in rows[-1].items() if "/" in name and value} if rows else {}


def parameter_groups(module: nn.Module, config: FitConfig) -> list[dict[str, Any]]:
    """AdamW's groups: a rate for each prefix of ``learning_rates``, weight decay on matrices only.

    Parameters are named as in the model: ``context_encoder...``, ``predictor...`` of a JEPA, the task's own names.

    Raises:
        ConfigError: a prefix in ``learning_rates`` or ``freeze`` matches no parameter, or everything is frozen.
    """
    names = [name for name, _ in _named(module)]
    for option, prefixes in (("learning_rates", list(config.learning_rates)), ("freeze", config.freeze)):
        for prefix in prefixes:
            if not any(_matches(name, [prefix]) for name in names):
                known = sorted({name.split(".")[0] for name in names})
                raise ConfigError(option, prefix, f"the beginning of a parameter's name: {', '.join(known)}")
    if all(_matches(name, config.freeze) or not parameter.requires_grad for name, parameter in _named(module)):
        raise ConfigError("freeze", config.freeze, "something left to train")
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    frozen_for_good = config.freeze if config.unfreeze_epoch is None else []
    for name, parameter in _named(module):
        if not parameter.requires_grad or _matches(name, frozen_for_good):
            continue
        fitting = [prefix for prefix in config.learning_rates if _matches(name, [prefix])]
        rate = config.learning_rates[max(fitting, key=len)] if fitting else config.learning_rate
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]


def _named(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Trainable parameters without the name of the part (``jepa``, ``task``) they stand in, each once."""
    return [
        (name.split(".", 1)[1], parameter)
        for name, parameter in module.named_parameters()
        if not name.startswith("jepa.target.") or parameter.requires_grad
    ]


def _matches(name: str, prefixes: list[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _trainer(
    config: FitConfig,
    run: RunFolder | None,
    stopping: Patience | None,
    embed: Callable[[], tuple[Tensor, Tensor | None]] | None,
) -> pl.Trainer:
    log = EpochLog()
    callbacks: list[Callback] = [log]
    if embed is not None:
        callbacks.append(DiagnosticsCallback(embed, config.diagnose_every))
    if run is not None:
        callbacks.append(MetricsFile(run, log))
    if config.progress:
        callbacks.append(ProgressBar())
    if stopping is not None:
        callbacks.append(stopping)
    if run is not None:
        callbacks.append(
            ModelCheckpoint(
                run.checkpoint.parent,
                filename=run.checkpoint.stem,
                every_n_epochs=config.checkpoint_every,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            )
        )
        callbacks[-1].FILE_EXTENSION = run.checkpoint.suffix  # pyright: ignore[reportAttributeAccessIssue]
    # Lightning's start-up lines and tips are not part of a run.
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        trainer = pl.Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            strategy="ddp_find_unused_parameters_true" if config.devices > 1 else "auto",
            precision=config.precision,
            max_epochs=config.epochs,
            gradient_clip_val=config.clip_norm or None,
            callbacks=callbacks,
            plugins=[SafetensorsCheckpointIO()],
            logger=_lightning_logger(config, run),
            enable_checkpointing=run is not None,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
    except MisconfigurationException as error:
        asked = f"{config.accelerator} × {config.devices}"
        raise ConfigError("accelerator", asked, f"devices that this machine has ({error})") from error
    if config.precision == "16-mixed" and trainer.strategy.root_device.type == "cpu":
        raise ConfigError("precision", config.precision, "bf16-mixed or 32-true on a CPU")
    return trainer


def _lightning_logger(config: FitConfig, run: RunFolder | None) -> Logger | bool:
    if config.logger == "none":
        return False
    if run is None:
        raise ConfigError("logger", config.logger, "none where there is no run folder")
    try:
        import_module(config.logger)
    except ModuleNotFoundError as error:
        raise MissingExtraError(config.logger, config.logger) from error
    if config.logger == "tensorboard":
        return TensorBoardLogger(str(run.path), name="tensorboard", version="")
    return WandbLogger(save_dir=str(run.path), name=run.path.name, project="jepakit")


def _check_same_model(module: JEPAModule, path: Path) -> None:
    """Raises ModelError or ConfigError where a checkpoint is not of this model, trained like this."""
    checkpoint = read_checkpoint(path)
    ours = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in checkpoint.get("state_dict", {}).items()}
    different = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if different:
        name = different[0]
        raise ModelError(
            f"{path}: a checkpoint of another architecture: {len(different)} tensors differ, the first is {name}"
            f" (checkpoint {theirs.get(name, 'has none')}, model {ours.get(name, 'has none')})"
        )
    # Both are restored from the checkpoint: other values would be ignored without a word.
    groups = [(len(g["params"]), g["lr"], g["weight_decay"]) for g in module.parameter_groups]
    (optimizer,), (scheduler,) = checkpoint["optimizer_states"], checkpoint["lr_schedulers"]
    if groups != [(len(g["params"]), g["initial_lr"], g["weight_decay"]) for g in optimizer["param_groups"]]:
        raise ConfigError("resume", True, f"the learning rates, weight decay and frozen parameters of {path}")
    if any(schedule != asdict(module.schedule) for schedule in scheduler["lr_lambdas"]):
        raise ConfigError("resume", True, f"the epochs, batch size and warm-up of {path}")
