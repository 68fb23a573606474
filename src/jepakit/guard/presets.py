"""Configurations by name: dotted option -> value, as changes to the defaults of `jepakit.guard.PretrainConfig`."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "best": {},
    "contrastive": {"objective.predictive": 0.0, "objective.margin": 0.0, "objective.labels": 0.0},
    "labels": {"objective.predictive": 0.0, "objective.contrastive": 0.0, "objective.margin": 0.0},
}
"""``best`` is the default; ``contrastive`` is InfoNCE with hard negatives alone; ``labels`` has no JEPA."""
