"""Named configurations of pre-training, as changes to the defaults of `jepakit.graph.PretrainConfig`."""

from __future__ import annotations

from typing import Any

__all__ = ["PRESETS"]

#: name -> dotted option -> value. ``best`` is what the defaults are.
PRESETS: dict[str, dict[str, Any]] = {
    "best": {},
    # The recipe that graph JEPA code started from: the masked ball is removed, encoded alone by an EMA copy, and
    # predicted from structural positions by cross-attention.
    "original": {
        "encoder.conv": "gcn",
        "encoder.hidden": 256,
        "encoder.position": "random_walk",
        "encoder.jumping": "last",
        "encoder.pooling": "mean",
        "masking.strategy": "khop",
        "masking.ratio": 0.15,
        "views.context": "drop",
        "views.target": "region",
        "objective.target": "ema",
        "objective.momentum": 0.996,
        "objective.predictor": "cross_attention",
        "objective.predict": ["node"],
        "objective.loss": "normalized_mse",
        "objective.normalize_target": False,
        "objective.sigreg": 0.0,
        "learning_rate": 1e-4,
        "weight_decay": 0.05,
        "clip_norm": 1.0,
        "epochs": 100,
        "batch_size": 32,
    },
    # Graph-JEPA (Skenderi et al. 2023): METIS patches and hyperbolic targets.
    "graph-jepa": {
        "encoder.position": "random_walk",
        "encoder.pooling": "mean",
        "masking.strategy": "metis",
        "masking.ratio": 0.5,
        "views.context": "drop",
        "views.target": "region",
        "objective.target": "ema",
        "objective.predictor": "cross_attention",
        "objective.predict": ["node", "graph"],
        "objective.loss": "hyperbolic",
        "objective.sigreg": 0.0,
        "learning_rate": 5e-4,
        "weight_decay": 0.0,
    },
}
