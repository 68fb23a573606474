"""Configurations by name: dotted option -> value, as changes to the defaults of `jepakit.lp.PretrainConfig`."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "best": {},
    "mlp-joint": {
        "use_bipartite_graphs": False,
        "use_jepa": True,
        "objective.target": "ema",
        "epochs": 30,
        "batch_size": 8,
    },
    "gnn-simsiam": {"use_jepa": True, "objective.target": "simsiam", "jepa_pretrain_epochs": 3, "batch_size": 4},
}
"""``best`` is the default, which measured best; the others are two example runs of the original KKT networks."""
