"""The training step as a Lightning module, and its callbacks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from jepakit.core import JEPA, JEPAOutput, WarmupCosine, diagnose
from jepakit.core.diagnostics import predictability
from jepakit.errors import ConfigError, ModelError
from jepakit.progress import phase
from jepakit.training.fit_config import FitConfig
from jepakit.training.loader import Batches, EpochLoader, derived_seed, to_device
from jepakit.training.run import RunFolder

#: Steps between two checks that the loss is finite; a check waits for the device.
FINITE_EVERY = 20
#: How often in an epoch the loss is shown; each time waits for the device.
SHOWN_LOSSES = 10


class FitModule(pl.LightningModule):
    """The total loss: JEPA alone in the first ``jepa_pretrain_epochs``, then task + ``jepa_weight`` · JEPA.

    Args:
        jepa: the objective, or None for a task alone.
        task: views -> loss, or named losses that are summed; None for JEPA alone.
        config: epochs and weight of JEPA, and when frozen parameters are unfrozen.
        parameter_groups: for AdamW, see `jepakit.training.trainer.parameter_groups`.
        schedule: learning-rate factor by step.
        frozen: parameters that get no gradient before ``unfreeze_epoch``.
    """

    def __init__(
        self,
        jepa: JEPA | None,
        task: nn.Module | None,
        config: FitConfig,
        *,
        parameter_groups: list[dict[str, Any]],
        schedule: WarmupCosine,
        frozen: list[nn.Parameter],
    ) -> None:
        super().__init__()
        self.jepa, self.task, self.config = jepa, task, config
        self.parameter_groups, self.schedule, self.frozen = parameter_groups, schedule, frozen
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self._predictability: list[Tensor] = []

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, with the schedule applied after each step."""
        optimizer = torch.optim.AdamW(self.parameter_groups, betas=self.config.betas)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """See `to_device`."""
        return to_device(batch, device)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The total loss of a batch; adds its terms to the sums of the epoch."""
        with self.loader.sharing(batch_idx):
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
    def loader(self) -> EpochLoader | Batches:
        """What gives the batches."""
        loader = self.trainer.train_dataloader
        assert isinstance(loader, EpochLoader | Batches)
        return loader

    @property
    def pretraining(self) -> bool:
        """Whether this is an epoch of JEPA alone before a task."""
        return self.task is not None and self.current_epoch < self.config.jepa_pretrain_epochs

    def losses(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The total loss in this epoch, and every term by name; terms of a task are ``task`` or ``task/NAME``."""
        terms: dict[str, Tensor] = {}
        parts: list[Tensor] = []
        task = None if self.pretraining else self.task
        if task is not None:
            result: Tensor | Mapping[str, Tensor] = task(batch)
            named = {"task": result} if isinstance(result, Tensor) else {f"task/{k}": v for k, v in result.items()}
            terms |= {name: value.detach() for name, value in named.items()}
            parts.extend(named.values())
        if self.jepa is not None and (task is None or self.config.jepa_weight > 0):
            output = self.jepa(batch)
            if (value := predictability_of(output)) is not None:
                self._predictability.append(value)
            terms |= {"loss_jepa": output.total.detach(), **output.terms}
            parts.append(output.total if task is None else self.config.jepa_weight * output.total)
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
        loader = self.loader
        loader.set_epoch(self.current_epoch)
        # Dropout draws from the global generator, which is seeded by epoch so that a resumed epoch repeats exactly.
        # `fit` forks the generator, so the caller's state does not change.
        alike = isinstance(loader, EpochLoader) and loader.shared == "nothing"
        torch.manual_seed(derived_seed(loader.seed, self.current_epoch, -2 - (0 if alike else self.global_rank)))
        unfreeze = self.config.unfreeze_epoch
        for parameter in self.frozen:
            parameter.requires_grad_(unfreeze is not None and self.current_epoch >= unfreeze)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Lets the objective update its target after the optimiser step."""
        if self.jepa is not None:
            self.jepa.after_step()

    def take_means(self) -> dict[str, Tensor]:
        """The mean of every term over the steps since the last call."""
        means = {name: value / self._steps for name, value in self._sums.items()}
        self._sums, self._steps = {}, 0
        return means

    def take_predictability(self) -> float | None:
        """The mean over the steps since the last call; None without an objective."""
        values, self._predictability = self._predictability, []
        return float(torch.stack(values).mean()) if values else None


def predictability_of(output: JEPAOutput) -> Tensor | None:
    """`predictability` of a step, of the key that is predicted worst; None where predictions are no embeddings."""
    prediction, target = output.prediction, output.target
    pairs = (
        [(prediction, target)]
        if isinstance(prediction, Tensor)
        else [(rows, target[key]) for key, rows in prediction.items() if isinstance(target, Mapping)]
    )
    # Predictions of a hyperbolic loss, and scores, have another shape than what they are compared with.
    values = [predictability(x, y) for x, y in pairs if isinstance(y, Tensor) and x.shape == y.shape and x.ndim == 2]
    return torch.stack(values).min() if values else None


def as_written(value: Tensor | float | str) -> str:
    """A metric as it stands in metrics.csv: all digits of single precision."""
    return f"{float(value):.9g}"


class EpochLog(pl.Callback):
    """Logs the mean terms of each epoch and the diagnostics, and writes metrics.csv.

    It must be the first callback, since others read what it logs. Rows after the checkpoint of a resumed run are
    written again.

    Args:
        run: where metrics.csv is; None writes none.
        embed: ``() -> (embeddings [N, D], groups [N] or None)`` with the encoder as it is now; None: no diagnostics.
        every: epochs between two diagnoses; the first and the last epoch are always diagnosed.
    """

    def __init__(
        self, run: RunFolder | None, embed: Callable[[], tuple[Tensor, Tensor | None]] | None, every: int
    ) -> None:
        self.run, self.embed, self.every = run, embed, every
        self.rows: list[Mapping[str, object]] = []
        self._start = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reads the rows before the epoch that training starts at."""
        if self.run is not None:
            self.rows = [row for row in self.run.read_metrics() if int(row["epoch"]) < trainer.current_epoch]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs and writes; raises ModelError where a loss or a weight is not finite."""
        seconds, epoch = time.perf_counter() - self._start, trainer.current_epoch
        assert isinstance(pl_module, FitModule)
        means, predictability = pl_module.take_means(), pl_module.take_predictability()
        # Checked before anything of this epoch is written, so the last checkpoint stays usable.
        pl_module.require_finite([means["total"], *pl_module.parameters()])
        pl_module.log_dict({f"train/{name}": value for name, value in means.items()}, sync_dist=True)
        # Lightning keeps the diagnostics of earlier epochs among its metrics: only new values are written.
        fresh = ["train/"]
        if self.embed is not None and (epoch % self.every == 0 or epoch + 1 == trainer.max_epochs):
            fresh.append("diagnostics/")
            embeddings, group = self.embed()
            values = diagnose(embeddings, group=group, predictability=predictability).values
            pl_module.log_dict({f"diagnostics/{name}": value for name, value in values.items()}, rank_zero_only=True)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        row = {"epoch": epoch, "step": trainer.global_step, "seconds": f"{seconds:.3f}", "learning_rate": f"{rate:.6g}"}
        logged = sorted(trainer.callback_metrics.items())
        self.rows.append(row | {name: as_written(value) for name, value in logged if name.startswith(tuple(fresh))})
        if self.run is not None and trainer.is_global_zero:
            self.run.write_metrics(self.rows)


class Patience(EarlyStopping):
    """Stops when the training loss has not fallen for a number of epochs, or when it is low enough.

    Epochs of JEPA alone before a task do not count, since they have another loss.

    Args:
        epochs: without a fall; None: any number.
        loss: it stops below this; None: never.
    """

    def __init__(self, epochs: int | None, loss: float | None = None) -> None:
        patience = sys.maxsize if epochs is None else epochs
        super().__init__("train/total", patience=patience, stopping_threshold=loss, check_finite=False)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops at once where the resumed run had stopped early."""
        trainer.should_stop = self.stopped_epoch > 0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks the loss, except in epochs of JEPA alone before a task."""
        assert isinstance(pl_module, FitModule)
        if not pl_module.pretraining:
            super().on_train_epoch_end(trainer, pl_module)


class Progress(pl.Callback):
    """Shows the steps, their rate, the time left and the loss, see `jepakit.progress`."""

    def __init__(self) -> None:
        self._ending = ExitStack()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins the phase."""
        total = int(trainer.estimated_stepping_batches)
        self._phase = self._ending.enter_context(phase("training", total, unit="steps", done=trainer.global_step))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the step."""
        self._phase.done = trainer.global_step
        if batch_idx % max(1, int(trainer.num_training_batches) // SHOWN_LOSSES) == 0:
            epoch = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
            self._phase.note = f"{epoch}, loss {float(outputs['loss']):.4f}"

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends the phase."""
        self._ending.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Ends the phase."""
        self._ending.close()
