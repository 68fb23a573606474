"""Configurations by name: dotted option -> value, as changes to the defaults of `jepakit.retrieval.PretrainConfig`."""

from __future__ import annotations

from typing import Any

_ORIGINAL: dict[str, Any] = {
    "adapter.output_dim": 512,
    "adapter.projection_depth": 1,
    "adapter.predictor_depth": 2,
    "views.candidates": "batch",
    "objective.isotropy_term": "covariance",
    "learning_rate": 5e-4,
    "weight_decay": 0.01,
    "selection.predictive": [],
}


def _original(predictive: float, contrastive: float, isotropy: float) -> dict[str, Any]:
    weights = {"predictive": predictive, "contrastive": contrastive, "isotropy": isotropy}
    return {**_ORIGINAL, **{f"objective.{name}": weight for name, weight in weights.items()}}


PRESETS: dict[str, dict[str, Any]] = {
    "best": {},
    "minimal": _original(predictive=1.0, contrastive=0.0, isotropy=0.0),
    "hybrid": _original(predictive=0.5, contrastive=0.1, isotropy=1.0),
    "full": _original(predictive=1.0, contrastive=0.0, isotropy=1.0),
}
"""``best`` is the default and measured best; the others have the weights and the network of the original idea."""
