"""A JEPA on random vectors, small enough to be trained in a test, with what may go wrong in a resumed run.

It has dropout (the global generator), batch normalisation (buffers), an EMA target (state and a schedule by step) and
SIGReg (a generator by step).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jepakit.core import JEPA, CosineSchedule, EMATarget, MLPPredictor, SIGReg, Views, mse
from jepakit.training import EpochLoader, FitConfig, RunFolder
from jepakit.training.storage.checkpoint import write_checkpoint

ROWS, WIDTH, BATCH = 40, 6, 8
STEPS = ROWS // BATCH


class Encoder(nn.Module):
    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.first, self.norm, self.dropout = nn.Linear(width, 8), nn.BatchNorm1d(8), nn.Dropout(0.3)
        self.second = nn.Linear(8, 8)
        self.dtypes: set[torch.dtype] = set()

    def forward(self, x: Tensor) -> Tensor:
        out = self.second(self.dropout(torch.relu(self.norm(self.first(x)))))
        self.dtypes.add(out.dtype)
        return out


class Head(nn.Module):
    """A task: reads the target of a view, shares the encoder, counts its calls and keeps its losses."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(8, 1)
        self.losses: list[float] = []

    def forward(self, views: Views) -> Tensor:
        loss = (self.head(self.encoder(views.target)) - views.target[:, :1]).square().mean()
        self.losses.append(float(loss.detach()))
        return loss


def data() -> Tensor:
    return torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(5))


def make_loader(seed: int = 0) -> EpochLoader:
    x = data()

    def views(indices: Tensor, generator: torch.Generator) -> Views:
        rows = x[indices]
        return Views(rows + 0.1 * torch.randn(rows.shape, generator=generator), rows)

    return EpochLoader(ROWS, BATCH, views, seed=seed)


def make_jepa(momentum: Callable[[int], float] | None = None, *, seed: int = 0, width: int = WIDTH) -> JEPA:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(width)
        target = EMATarget(encoder, momentum or CosineSchedule(0.9, 1.0, 6 * STEPS))
        return JEPA(encoder, target, MLPPredictor(8, 8), mse, {"sigreg": (0.1, SIGReg(directions=8))})


def make_head(encoder: nn.Module) -> Head:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Head(encoder)


def config(**changes: Any) -> FitConfig:
    return FitConfig(**{"epochs": 6, "batch_size": BATCH, "accelerator": "cpu", "progress": False, **changes})


def write_for_ever(folder: str) -> None:
    """Writes checkpoints and metrics, all parts of which are of the same round, until it is killed."""
    run, n = RunFolder(Path(folder)), 0
    while True:
        n += 1
        write_checkpoint({"n": n, "values": torch.full((6_000_000,), float(n))}, run.checkpoint)
        run.write_metrics([{"epoch": epoch, "n": n} for epoch in range(3000)])
