"""Named configurations of pre-training, as changes to the defaults of `jepakit.graph.PretrainConfig`."""

from __future__ import annotations

from typing import Any

from jepakit.graph.pretrain import PretrainConfig
from jepakit.training.presets import configured

PRESETS: dict[str, dict[str, Any]] = {
    "best": {},
    # The recipe of the first public graph JEPA code: masked balls are removed from the context, encoded by an EMA copy,
    # and predicted from structural encodings by cross-attention.
    "original": {
        "encoder.conv": "gcn",
        "encoder.hidden": 256,
        "encoder.position": "random_walk",
        "encoder.jumping": "last",
        "encoder.pooling": "mean",
        "encoder.prototypes": 0,
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
        "encoder.prototypes": 0,
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
    # For a table of molecules: predicts masked atoms and RDKit's descriptors of the molecule. Sum pooling, because the
    # prototypes of one table do not suit another.
    "molecules": {
        "encoder.prototypes": 0,
        "masking.ratio": 0.25,
        "objective.predict": ["node", "descriptor"],
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "epochs": 5,
        "batch_size": 128,
    },
    # For node classification in one graph: a linear map of the features, spread over the graph; two views with dropped
    # edges and features, standardised and decorrelated (CCA-SSG, Zhang et al. 2021). What it stops at decides how many
    # epochs a graph has: where views agree early, more of them spread noise over the columns.
    "nodes": {
        "encoder.conv": "gcn",
        "encoder.hidden": 512,
        "encoder.layers": 0,
        "encoder.spread": 10,
        "encoder.restart": 0.1,
        "encoder.rare_words": None,
        "encoder.jumping": "last",
        "encoder.scale_rows": True,
        "encoder.norm": "none",
        "views.context": "all",
        "views.target": "view",
        "views.drop_edges": 0.4,
        "views.drop_features": 0.1,
        "objective.target": "lejepa",
        "objective.predict": ["node"],
        "objective.predictor": "none",
        "objective.loss": "mse",
        "objective.normalize_target": False,
        "objective.standardize": True,
        "objective.decorrelation": 2e-3,
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "clip_norm": 0.0,
        "epochs": 60,
        "stop_loss": 0.17,
    },
}
"""Preset name -> dotted option -> value; ``best`` is the defaults."""


def preset(name: str, **changes: Any) -> PretrainConfig:
    """A configuration of `PRESETS` with changed fields: ``preset("original", epochs=3, seed=1)``.

    Raises:
        ConfigError: no preset or option has this name.
    """
    return configured(PretrainConfig(), PRESETS, name, **changes)
