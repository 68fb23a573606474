"""The training step as a Lightning module, and its callbacks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from jepakit.core import JEPA, WarmupCosine, diagnose
from jepakit.errors import ConfigError, ModelError
from jepakit.training.loader import EpochLoader, derived_seed
from jepakit.training.run import RunFolder

#: Steps between two checks that the loss is finite; a check waits for the device.
FINITE_EVERY = 20

Task = Callable[[Any], Tensor | Mapping[str, Tensor]]


class JEPAModule(pl.LightningModule):
    """The total loss: JEPA alone in the first ``jepa_pretrain_epochs``, then task + ``jepa_weight`` · JEPA.

    Args:
        jepa: the objective, or None for a task alone.
        task: views -> loss, or named losses that are summed; None for JEPA alone.
        parameter_groups: for AdamW, see `jepakit.training.trainer.parameter_groups`.
        schedule: learning-rate factor by step.
        jepa_pretrain_epochs: epochs of JEPA alone where there is a task.
        jepa_weight: weight of JEPA in the sum with the task.
        frozen: parameters that get no gradient before ``unfreeze_epoch``.
        unfreeze_epoch: None keeps them frozen.
    """

    def __init__(
        self,
        jepa: JEPA | None,
        task: nn.Module | None,
        *,
        parameter_groups: list[dict[str, Any]],
        schedule: WarmupCosine,
        jepa_pretrain_epochs: int = 0,
        jepa_weight: float = 1.0,
        frozen: list[nn.Parameter] | None = None,
        unfreeze_epoch: int | None = None,
    ) -> None:
        super().__init__()
        self.jepa, self.task = jepa, task
        self.parameter_groups, self.schedule = parameter_groups, schedule
        self.jepa_pretrain_epochs, self.jepa_weight = jepa_pretrain_epochs, jepa_weight
        self.frozen, self.unfreeze_epoch = frozen or [], unfreeze_epoch
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, with the schedule applied after each step."""
        optimizer = torch.optim.AdamW(self.parameter_groups)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """See `to_device`."""
        return to_device(batch, device)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The total loss of a batch; adds its terms to the sums of the epoch."""
        total, terms = self.losses(batch)
        if not total.requires_grad:
            raise ConfigError("freeze", f"all that epoch {self.current_epoch} depends on", "something left to train")
        self._steps += 1
        for name, value in {**terms, "total": total}.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)).detach() + value.detach()
        if self._steps % FINITE_EVERY == 0:
            self.require_finite([self._sums["total"]])
        return total

    @property
    def pretraining(self) -> bool:
        """Whether this is an epoch of JEPA alone before a task."""
        return self.task is not None and self.current_epoch < self.jepa_pretrain_epochs

    def losses(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The total loss in this epoch, and every term by name; terms of a task are ``task`` or ``task/NAME``."""
        terms: dict[str, Tensor] = {}
        parts: list[Tensor] = []
        with_task = self.task is not None and not self.pretraining
        if self.task is not None and with_task:
            result: Tensor | Mapping[str, Tensor] = self.task(batch)
            named = {"task": result} if isinstance(result, Tensor) else {f"task/{k}": v for k, v in result.items()}
            terms |= {name: value.detach() for name, value in named.items()}
            parts.extend(named.values())
        if self.jepa is not None and (not with_task or self.jepa_weight > 0):
            output = self.jepa(batch)
            terms |= {"loss_jepa": output.total.detach(), **output.terms}
            parts.append(self.jepa_weight * output.total if with_task else output.total)
        return torch.stack(parts).sum(), terms

    def require_finite(self, values: Iterable[Tensor]) -> None:
        """Raises ModelError, on every process, where a value of any process is NaN or infinite."""
        finite = all(bool(value.isfinite().all()) for value in values)
        if not self.trainer.strategy.reduce_boolean_decision(finite, all=True):
            way_out = "lower learning_rate, set clip_norm, or use precision = 32-true"
            raise ModelError(
                f"epoch {self.current_epoch}: the loss or a weight is no longer a finite number; {way_out}"
            )

    def on_train_epoch_start(self) -> None:
        """Seeds the epoch, and freezes or unfreezes parameters."""
        loader = self.trainer.train_dataloader
        assert isinstance(loader, EpochLoader)
        loader.set_epoch(self.current_epoch)
        # Dropout draws from the global generator, which is seeded by epoch so that a resumed epoch repeats exactly.
        # `fit` forks the generator, so the caller's state does not change.
        torch.manual_seed(derived_seed(loader.seed, self.current_epoch, -2 - self.global_rank))
        thawed = self.unfreeze_epoch is not None and self.current_epoch >= self.unfreeze_epoch
        for parameter in self.frozen:
            parameter.requires_grad_(thawed)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Lets the objective update its target after the optimiser step."""
        if self.jepa is not None:
            self.jepa.after_step()

    def take_means(self) -> dict[str, Tensor]:
        """The mean of every term over the steps since the last call."""
        means = {name: value / self._steps for name, value in self._sums.items()}
        self._sums, self._steps = {}, 0
        return means


def to_device(value: Any, device: torch.device) -> Any:
    """The value with every tensor in it on ``device``; Lightning's own mover refuses frozen dataclasses."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: to_device(part, device) for key, part in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_device(part, device) for part in cast(list[Any], value))
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
        return replace(value, **{name: to_device(part, device) for name, part in parts.items()})
    return value


class EpochLog(pl.Callback):
    """Logs the mean terms and the seconds of each epoch; it must be the first callback, since others read them."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._start = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the means; raises ModelError where a loss or a weight is not finite."""
        self.seconds = time.perf_counter() - self._start
        assert isinstance(pl_module, JEPAModule)
        means = pl_module.take_means()
        # Checked before anything of this epoch is written, so the last checkpoint stays usable.
        pl_module.require_finite([means["total"], *pl_module.parameters()])
        means = {f"train/{name}": value for name, value in means.items()}
        pl_module.log_dict(means, sync_dist=True)


class DiagnosticsCallback(pl.Callback):
    """Embeds a fixed sample every few epochs and logs how it is spread.

    Args:
        embed: ``() -> (embeddings [N, D], groups [N] or None)`` with the encoder as it is now.
        every: epochs between two diagnoses; the first and the last epoch are always diagnosed.
    """

    def __init__(self, embed: Callable[[], tuple[Tensor, Tensor | None]], every: int) -> None:
        self.embed, self.every = embed, every

    def is_due(self, trainer: pl.Trainer) -> bool:
        """Whether this epoch is diagnosed."""
        return trainer.current_epoch % self.every == 0 or trainer.current_epoch + 1 == trainer.max_epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the diagnostics, in epochs that are due."""
        if not self.is_due(trainer):
            return
        embeddings, group = self.embed()
        values = diagnose(embeddings, group=group).values
        pl_module.log_dict({f"diagnostics/{name}": value for name, value in values.items()}, rank_zero_only=True)


class Patience(EarlyStopping):
    """Stops when the training loss has not fallen for a number of epochs.

    Epochs of JEPA alone before a task do not count, since they have another loss.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__("train/total", patience=epochs, check_finite=False)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops at once where the resumed run had stopped early."""
        # If the resumed run had stopped early, no further epoch is trained.
        trainer.should_stop = self.stopped_epoch > 0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks the loss, except in epochs of JEPA alone before a task."""
        assert isinstance(pl_module, JEPAModule)
        if not pl_module.pretraining:
            super().on_train_epoch_end(trainer, pl_module)


class MetricsFile(pl.Callback):
    """Writes metrics.csv after every epoch; rows after the checkpoint of a resumed run are written again."""

    def __init__(self, run: RunFolder, log: EpochLog) -> None:
        self.run, self.epoch_log = run, log
        self.rows: list[Mapping[str, object]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reads the rows before the epoch that training starts at."""
        self.rows = [row for row in self.run.read_metrics() if int(row["epoch"]) < trainer.current_epoch]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds the row of this epoch and writes the file."""
        values = {name: f"{float(value):.9g}" for name, value in trainer.callback_metrics.items() if "/" in name}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        # Lightning keeps diagnostics of earlier epochs among its metrics: only those of this epoch are written.
        fresh = {name: value for name, value in values.items() if self._is_fresh(name, trainer)}
        head = {"epoch": trainer.current_epoch, "step": trainer.global_step, "seconds": f"{self.epoch_log.seconds:.3f}"}
        self.rows.append({**head, "learning_rate": f"{rate:.6g}", **dict(sorted(fresh.items()))})
        if trainer.is_global_zero:
            self.run.write_metrics(self.rows)

    @staticmethod
    def _is_fresh(name: str, trainer: pl.Trainer) -> bool:
        looks = [c for c in trainer.callbacks if isinstance(c, DiagnosticsCallback)]  # pyright: ignore
        return not name.startswith("diagnostics/") or any(look.is_due(trainer) for look in looks)


class ProgressBar(pl.Callback):
    """One bar for the whole run: steps, rate, time left, loss."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Shows the bar, on the first process and on a terminal."""
        if not trainer.is_global_zero:
            return
        columns = (
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.1f} steps/s  loss {task.fields[loss]:.4f}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        self._progress = Progress(
            *columns, console=console, transient=True, refresh_per_second=4, disable=not console.is_terminal
        )
        total = int(trainer.estimated_stepping_batches)
        self._bar = self._progress.add_task("", total=total, completed=trainer.global_step, epoch=0, rate=0.0, loss=0.0)
        self._start, self._first = time.perf_counter(), trainer.global_step
        self._progress.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Updates the bar ten times an epoch."""
        # Reading the loss waits for the device, so it is read ten times an epoch.
        if self._progress is None or batch_idx % max(1, int(trainer.num_training_batches) // 10):
            return
        rate = (trainer.global_step - self._first) / (time.perf_counter() - self._start)
        self._progress.update(
            self._bar,
            completed=trainer.global_step,
            epoch=f"{trainer.current_epoch + 1}/{trainer.max_epochs}",
            rate=rate,
            loss=float(outputs["loss"]),
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Removes the bar."""
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Removes the bar."""
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
