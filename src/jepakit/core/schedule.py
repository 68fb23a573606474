"""Schedules: numbers as a function of the steps taken, without state."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jepakit.errors import ConfigError, require_at_least


@dataclass(frozen=True)
class CosineSchedule:
    """Half a cosine from ``start`` at step 0 to ``end`` at ``total_steps``, constant after it.

    For an EMA momentum: ``CosineSchedule(0.996, 1.0, total_steps)`` (BYOL, Grill et al. 2020, §3.3).
    """

    start: float
    end: float
    total_steps: int

    def __post_init__(self) -> None:
        require_at_least(self, total_steps=1)

    def __call__(self, step: int) -> float:
        progress = min(max(step, 0) / self.total_steps, 1.0)
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class WarmupCosine:
    """A learning-rate factor: linear from ``1 / warmup_steps`` to 1, then half a cosine to ``final``."""

    total_steps: int
    warmup_steps: int = 0
    final: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_steps < self.total_steps:
            raise ConfigError("warmup_steps", self.warmup_steps, f"from 0 to below total_steps = {self.total_steps}")

    def __call__(self, step: int) -> float:
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return CosineSchedule(1.0, self.final, self.total_steps - self.warmup_steps)(step - self.warmup_steps)
