"""Training with Lightning, from a configuration."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from torch import Tensor, nn

from jepakit.core import JEPA, WarmupCosine
from jepakit.errors import ConfigError, MissingExtraError, ModelError
from jepakit.training.fit_config import FitConfig, FitResult
from jepakit.training.loader import Batches, EpochLoader
from jepakit.training.module import EpochLog, FitModule, Patience, Progress, as_written
from jepakit.training.run import RunFolder
from jepakit.training.storage.checkpoint import SafetensorsCheckpointIO, read_checkpoint
from jepakit.training.storage.weights import require_shapes


def fit_with_lightning(
    jepa: JEPA | None,
    loader: EpochLoader | Batches,
    config: FitConfig,
    *,
    run: RunFolder | None,
    task: nn.Module | None,
    embed: Callable[[], tuple[Tensor, Tensor | None]] | None,
    resume: bool,
) -> FitResult:
    """See `jepakit.training.fit`."""
    _check_phases(jepa, task, config)
    _require_started(config)
    total_steps = config.epochs * len(loader)
    warmup = min(round(config.warmup_epochs * len(loader)), total_steps - 1)
    parts = nn.ModuleDict({name: part for name, part in (("jepa", jepa), ("task", task)) if part is not None})
    frozen = [p for name, p in _named(parts) if p.requires_grad and _matches(name, config.freeze)]
    groups, schedule = parameter_groups(parts, config), WarmupCosine(total_steps, warmup)
    module = FitModule(jepa, task, config, parameter_groups=groups, schedule=schedule, frozen=frozen)
    stops = config.patience is not None or config.stop_loss is not None
    stopping = Patience(config.patience, config.stop_loss) if stops else None
    checkpoint = run.checkpoint if run is not None and resume and run.checkpoint.exists() else None
    if checkpoint is not None:
        _check_same_model(module, checkpoint)
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices), warnings.catch_warnings(), _quiet_lightning(), _keyboard_interrupt():
        # About worker processes and batch-size guesses, which do not apply: batches are gathers from memory.
        warnings.filterwarnings("ignore", module=r"pytorch_lightning\..*")
        log = EpochLog(run, embed, config.diagnose_every)
        trainer = _trainer(config, run, stopping, log)
        try:
            trainer.fit(module, loader, ckpt_path=None if checkpoint is None else str(checkpoint))
        except RuntimeError as error:
            if config.processes > 1 and _is_of_a_peer(error):
                problem = "another process of this training has ended, or cannot be reached"
                raise ModelError(f"{problem}; resume goes on from the last checkpoint") from error
            raise
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
        rows=tuple(log.rows or (run.read_metrics() if run is not None else ())),
    )


def _is_of_a_peer(error: RuntimeError) -> bool:
    """Whether a connection to another process is gone: gloo says so in words, other backends by the class."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)


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


def _require_started(config: FitConfig) -> None:
    """Raises ConfigError where torchrun or SLURM has started other processes than those that are to train together."""
    if config.processes == 1:
        return
    for launcher, kind in (("torchrun", TorchElasticEnvironment), ("SLURM", SLURMEnvironment)):
        if not kind.detect():
            continue
        try:
            environment = kind()
            environment.validate_settings(config.devices, config.num_nodes)
            started = environment.world_size()
        except (RuntimeError, ValueError) as error:
            raise ConfigError("devices", config.devices, f"what {launcher} has started ({error})") from error
        if started != config.processes:
            expected = f"{started} with num_nodes = {config.num_nodes} together, as {launcher} has started"
            raise ConfigError("devices", config.devices, expected)


@contextmanager
def _quiet_lightning() -> Generator[None]:
    """Leaves out Lightning's start-up lines and tips."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _keyboard_interrupt() -> Generator[None]:
    """Ctrl-C and SIGTERM as what they are: Lightning makes ``exit(1)`` of them, and leaves Ctrl-C ignored."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, handler)
            raise error.__context__ from None
        raise


class _KeepSigterm(Callback):
    """Leaves SIGTERM to the handler that was there: Lightning's waits for a process that it has just ended."""

    def __init__(self) -> None:
        self.handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread() and callable(self.handler):
            signal.signal(signal.SIGTERM, self.handler)


def _last_metrics(trainer: pl.Trainer, run: RunFolder | None) -> dict[str, float]:
    metrics: Mapping[str, Any] = trainer.callback_metrics
    if not metrics and run is not None and (rows := run.read_metrics()):
        # A run that was complete when it was resumed.
        metrics = {name: value for name, value in rows[-1].items() if "/" in name and value}
    # To the digit what a resumed run would read.
    return {name: float(as_written(value)) for name, value in metrics.items()}


def parameter_groups(module: nn.Module, config: FitConfig) -> list[dict[str, Any]]:
    """AdamW's groups: a rate for each prefix of ``learning_rates``, weight decay on matrices only.

    Parameters are named as in the model: ``context_encoder...``, ``predictor...`` of a JEPA, the task's own names.

    Raises:
        ConfigError: a prefix in ``learning_rates`` or ``freeze`` matches no parameter, or everything is frozen.
    """
    named = _named(module)
    for option, prefixes in (("learning_rates", config.learning_rates), ("freeze", config.freeze)):
        for prefix in prefixes:
            if not any(_matches(name, [prefix]) for name, _ in named):
                roots = sorted({name.split(".")[0] for name, _ in named})
                raise ConfigError(option, prefix, f"the beginning of a parameter's name: {', '.join(roots)}")
    if all(_matches(name, config.freeze) or not parameter.requires_grad for name, parameter in named):
        raise ConfigError("freeze", config.freeze, "something left to train")
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    always_frozen = config.freeze if config.unfreeze_epoch is None else []
    for name, parameter in named:
        if not parameter.requires_grad or _matches(name, always_frozen):
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
    log: EpochLog,
) -> pl.Trainer:
    callbacks: list[Callback] = [log, _KeepSigterm()]
    callbacks += [Progress()] if config.progress else []
    callbacks += [stopping] if stopping else []
    if run is not None:
        checkpoints = ModelCheckpoint(
            run.checkpoint.parent,
            filename=run.checkpoint.stem,
            every_n_epochs=config.checkpoint_every,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        checkpoints.FILE_EXTENSION = run.checkpoint.suffix  # pyright: ignore[reportAttributeAccessIssue]
        callbacks.append(checkpoints)
    try:
        trainer = pl.Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.num_nodes,
            strategy="ddp_find_unused_parameters_true" if config.processes > 1 else "auto",
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


def _check_same_model(module: FitModule, path: Path) -> None:
    """Raises ModelError where a checkpoint is of another model, ConfigError where it was trained with other options."""
    checkpoint = read_checkpoint(path)
    require_shapes(module, {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}, path)
    # Both are restored from the checkpoint: other values would be ignored without a word.
    groups = [(len(g["params"]), g["lr"], g["weight_decay"]) for g in module.parameter_groups]
    (optimizer,), (scheduler,) = checkpoint["optimizer_states"], checkpoint["lr_schedulers"]
    if groups != [(len(g["params"]), g["initial_lr"], g["weight_decay"]) for g in optimizer["param_groups"]]:
        raise ConfigError("resume", True, f"the learning rates, weight decay and frozen parameters of {path}")
    if any(schedule != asdict(module.schedule) for schedule in scheduler["lr_lambdas"]):
        raise ConfigError("resume", True, f"the epochs, batch size and warm-up of {path}")
