"""The training step as Lightning wants it, and the callbacks that watch it from outside."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from jepakit.core import JEPA, WarmupCosine, diagnose
from jepakit.training.loader import EpochLoader
from jepakit.training.run import RunFolder

__all__ = ["DiagnosticsCallback", "EpochLog", "JEPAModule", "MetricsFile", "ProgressBar"]

Task = Callable[[Any], Tensor | Mapping[str, Tensor]]


class JEPAModule(pl.LightningModule):
    """Total = JEPA alone in the first ``pretrain_epochs``, then task + ``jepa_weight`` · JEPA.

    Args:
        jepa: the objective, or None for a task alone.
        task: views -> loss, or named losses that are summed; None for JEPA alone.
        parameter_groups: for AdamW, see `jepakit.training.fit.parameter_groups`.
        schedule: learning-rate factor by step.
        pretrain_epochs: epochs of JEPA alone where there is a task.
        jepa_weight: of JEPA beside the task.
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
        pretrain_epochs: int = 0,
        jepa_weight: float = 1.0,
        frozen: list[nn.Parameter] | None = None,
        unfreeze_epoch: int | None = None,
    ) -> None:
        super().__init__()
        self.jepa, self.task = jepa, task
        self.parameter_groups, self.schedule = parameter_groups, schedule
        self.pretrain_epochs, self.jepa_weight = pretrain_epochs, jepa_weight
        self.frozen, self.unfreeze_epoch = frozen or [], unfreeze_epoch
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = torch.optim.AdamW(self.parameter_groups)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return _moved(batch, device)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        total, terms = self.losses(batch)
        self._steps += 1
        for name, value in {"total": total, **terms}.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)).detach() + value.detach()
        return total

    def losses(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The total to minimise in this epoch and every term by name."""
        phase_two = self.task is not None and self.current_epoch >= self.pretrain_epochs
        terms: dict[str, Tensor] = {}
        parts: list[Tensor] = []
        if self.task is not None and phase_two:
            result = self.task(batch)
            named = {"task": result} if isinstance(result, Tensor) else dict(result)
            terms |= {name: value.detach() for name, value in named.items()}
            parts.append(torch.stack(list(named.values())).sum())
        if self.jepa is not None and (not phase_two or self.jepa_weight > 0):
            output = self.jepa(batch)
            terms |= {"loss_jepa": output.total.detach(), **output.terms}
            parts.append(self.jepa_weight * output.total if phase_two else output.total)
        return torch.stack(parts).sum(), terms

    def on_train_epoch_start(self) -> None:
        # Dropout draws from the global generator: seeding it by epoch makes a resumed epoch the same epoch. `fit` forks
        # the generator, so nothing of this reaches the caller.
        loader = self.trainer.train_dataloader
        if isinstance(loader, EpochLoader):
            loader.set_epoch(self.current_epoch)
            torch.manual_seed(loader.seed * 1_000_003 + self.current_epoch)
        thawed = self.unfreeze_epoch is not None and self.current_epoch >= self.unfreeze_epoch
        for parameter in self.frozen:
            parameter.requires_grad_(thawed)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.jepa is not None:
            self.jepa.after_step()

    def take_means(self) -> dict[str, Tensor]:
        """The mean of every term over the steps since the last call."""
        means = {name: value / self._steps for name, value in self._sums.items()}
        self._sums, self._steps = {}, 0
        return means


def _moved(value: Any, device: torch.device) -> Any:
    """The value with every tensor in it on ``device``; Lightning's own mover refuses frozen dataclasses."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: _moved(part, device) for key, part in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(part, device) for part in cast(list[Any], value))
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
        return replace(value, **{name: _moved(part, device) for name, part in parts.items()})
    return value


class EpochLog(pl.Callback):
    """Logs each epoch's mean terms and its seconds; first of the callbacks, so that the others find them logged."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._start = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds = time.perf_counter() - self._start
        assert isinstance(pl_module, JEPAModule)
        means = {f"train/{name}": value for name, value in pl_module.take_means().items()}
        pl_module.log_dict(means, sync_dist=True)


class DiagnosticsCallback(pl.Callback):
    """Embeds a fixed sample every few epochs and logs how it is spread.

    Args:
        embed: ``() -> (embeddings [N, D], groups [N] or None)`` with the encoder as it is now.
        every: epochs between two looks; the first and the last epoch are always looked at.
    """

    def __init__(self, embed: Callable[[], tuple[Tensor, Tensor | None]], every: int) -> None:
        self.embed, self.every = embed, every

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch
        if epoch % self.every and epoch + 1 != trainer.max_epochs:
            return
        embeddings, group = self.embed()
        values = diagnose(embeddings, group=group).values
        pl_module.log_dict({f"diagnostics/{name}": value for name, value in values.items()}, rank_zero_only=True)


class MetricsFile(pl.Callback):
    """Writes metrics.csv after every epoch; rows after the checkpoint of a resumed run are written again."""

    def __init__(self, run: RunFolder, log: EpochLog) -> None:
        self.run, self.epoch_log = run, log
        self.rows: list[Mapping[str, object]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.rows = [row for row in self.run.read_metrics() if int(row["epoch"]) < trainer.current_epoch]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        values = {name: f"{float(value):.9g}" for name, value in trainer.callback_metrics.items() if "/" in name}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        # A diagnostic logged in an earlier epoch stays in Lightning's memory: it is this epoch's only if taken now.
        fresh = {name: value for name, value in values.items() if self._is_fresh(name, trainer)}
        head = {"epoch": trainer.current_epoch, "step": trainer.global_step, "seconds": f"{self.epoch_log.seconds:.3f}"}
        self.rows.append({**head, "learning_rate": f"{rate:.6g}", **dict(sorted(fresh.items()))})
        if trainer.is_global_zero:
            self.run.write_metrics(self.rows)

    @staticmethod
    def _is_fresh(name: str, trainer: pl.Trainer) -> bool:
        looked = [c for c in trainer.callbacks if isinstance(c, DiagnosticsCallback)]  # pyright: ignore
        if not name.startswith("diagnostics/") or not looked:
            return True
        return trainer.current_epoch % looked[0].every == 0 or trainer.current_epoch + 1 == trainer.max_epochs


class ProgressBar(pl.Callback):
    """One bar for the whole run: steps, rate, time left, loss."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
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
        self._progress = Progress(*columns, transient=True, refresh_per_second=4)
        total = int(trainer.estimated_stepping_batches)
        self._bar = self._progress.add_task("", total=total, completed=trainer.global_step, epoch=0, rate=0.0, loss=0.0)
        self._start, self._first = time.perf_counter(), trainer.global_step
        self._progress.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Reading the loss waits for the device: ten times an epoch is enough.
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
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
