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

PRESETS: dict[str, dict[str, Any]] = {
    "best": {},
    "minimal": {
        **_ORIGINAL,
        "objective.predictive": 1.0,
        "objective.contrastive": 0.0,
        "objective.isotropy": 0.0,
    },
    "hybrid": {
        **_ORIGINAL,
        "objective.predictive": 0.5,
        "objective.contrastive": 0.1,
        "objective.isotropy": 1.0,
    },
    "full": {
        **_ORIGINAL,
        "objective.predictive": 1.0,
        "objective.contrastive": 0.0,
        "objective.isotropy": 1.0,
    },
}
"""``best`` is the default and what measured best; the others are the weights and the network of the original idea."""
