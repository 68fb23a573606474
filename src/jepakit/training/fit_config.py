"""How to train, and what training did."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jepakit.errors import ConfigError, require_at_least, require_within


@dataclass
class FitConfig:
    """How to train. The same names stand on the command line and in YAML.

    Args:
        epochs: passes over the data.
        batch_size: examples per optimiser step, over all devices.
        learning_rate: of AdamW, after the warm-up.
        learning_rates: other rates for parameters whose name begins so, such as ``{"encoder": 2e-5}``.
        weight_decay: of AdamW, on matrices only.
        betas: of AdamW: how slowly its means of gradients and of their squares change.
        warmup_epochs: linear rise of the rate; a cosine to 0 follows.
        clip_norm: largest gradient norm; 0 switches clipping off.
        precision: Lightning's name: ``32-true``, ``16-mixed``, ``bf16-mixed``.
        accelerator: ``auto``, ``cpu``, ``gpu``.
        devices: how many on each machine; more than one trains with DistributedDataParallel.
        num_nodes: how many machines; torchrun or SLURM starts the command on each of them.
        patience: stop when the training loss has not fallen for so many epochs; None never stops.
        stop_loss: stop when the training loss of an epoch is below it; None never stops.
        jepa_pretrain_epochs: where there is a task: epochs of JEPA alone before it; fewer than ``epochs``.
        jepa_weight: weight of JEPA beside the task.
        freeze: parameters whose name begins so are not trained.
        unfreeze_epoch: the epoch from which they are; None: never.
        checkpoint_every: epochs between two checkpoints.
        diagnose_every: epochs between two looks at the embeddings.
        logger: ``none``, ``tensorboard`` or ``wandb``, beside metrics.csv.
        progress: show what is done, how much of it, and the time left: see `jepakit.progress`.
        seed: of initialisation, order, views and dropout.
    """

    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3
    learning_rates: dict[str, float] = field(default_factory=dict)
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    warmup_epochs: float = 1.0
    clip_norm: float = 1.0
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    num_nodes: int = 1
    patience: int | None = None
    stop_loss: float | None = None
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
        require_at_least(self, epochs=1, batch_size=1, devices=1, num_nodes=1)
        require_at_least(self, patience=1, checkpoint_every=1, diagnose_every=1)
        require_at_least(self, unfreeze_epoch=0, jepa_pretrain_epochs=0)
        require_within(self, "[0, inf)", "weight_decay", "warmup_epochs", "clip_norm", "jepa_weight")
        require_within(self, "(0, inf)", "learning_rate")
        for name, rate in self.learning_rates.items():
            if not 0 < rate < math.inf:
                raise ConfigError(f"learning_rates.{name}", rate, "a number in (0, inf)")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError("betas", self.betas, "two numbers in [0, 1)")
        if self.stop_loss is not None:
            require_within(self, "(0, inf)", "stop_loss")
        # A generator takes no more than 63 bits.
        require_within(self, f"[0, {2**63})", "seed")
        if self.unfreeze_epoch is not None and not self.freeze:
            raise ConfigError("unfreeze_epoch", self.unfreeze_epoch, "null where freeze names nothing")

    @property
    def processes(self) -> int:
        """How many train together: one for each device of each machine."""
        return self.devices * self.num_nodes


@dataclass(frozen=True)
class FitResult:
    """What training did.

    Args:
        epochs: epochs trained in all, resumed ones included.
        steps: optimiser steps in all.
        stopped_early: whether ``patience`` or ``stop_loss`` ended it.
        metrics: the last epoch's numbers, named as in metrics.csv.
        rows: those of metrics.csv, one for each epoch.
    """

    epochs: int
    steps: int
    stopped_early: bool
    metrics: dict[str, float]
    rows: tuple[Mapping[str, object], ...] = ()

    @property
    def predictability(self) -> float | None:
        """Correlation of predictions and targets of the last epoch, see `jepakit.core.diagnose`; None without any."""
        return self.metrics.get("diagnostics/predictability")
