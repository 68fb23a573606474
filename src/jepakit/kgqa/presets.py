"""Named configurations of pre-training, as changes to the defaults of `PretrainConfig`."""

from __future__ import annotations

from typing import Any

from jepakit.kgqa.pretrain import PretrainConfig
from jepakit.training.presets import configured

PRESETS: dict[str, dict[str, Any]] = {
    "best": {},
    # The recipe of the first public JEPA on STaRK-Prime: masked balls are removed from the context, encoded by an EMA
    # copy, and predicted from structural encodings by cross-attention. For a GPU.
    "original": {
        "encoder.conv": "gcn",
        "encoder.hidden": 512,
        "encoder.position": "random_walk",
        "encoder.jumping": "last",
        "sampling.method": "khop",
        "sampling.nodes": 256,
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
        "learning_rate": 1e-4,
        "weight_decay": 0.05,
        "clip_norm": 1.0,
        "export": "target",
        "epochs": 50,
        "subgraphs": 5000,
        "batch_size": 32,
    },
}
"""Preset name -> dotted option -> value; ``best`` is the defaults."""


def preset(name: str, **changes: Any) -> PretrainConfig:
    """A configuration of `PRESETS` with changed fields: ``preset("original", epochs=3, seed=1)``.

    Raises:
        ConfigError: no preset or option has this name.
    """
    return configured(PretrainConfig(), PRESETS, name, **changes)
