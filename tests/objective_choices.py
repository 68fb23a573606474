"""Options of an objective that together name everything that is registered in `jepakit.core`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jepakit.core import LOSSES, REGULARIZERS, TARGETS

__all__ = ["every_choice"]


def every_choice(losses: Sequence[str] = tuple(LOSSES)) -> list[dict[str, Any]]:
    """As few sets of options as name every loss of ``losses``, every target and every regulariser."""
    targets, regularizers = list(TARGETS), list(REGULARIZERS)
    return [
        # Whatever regulariser it is, a trained target has one.
        {
            "loss": losses[place % len(losses)],
            "target": targets[place % len(targets)],
            regularizers[place % len(regularizers)]: 0.1,
        }
        for place in range(max(len(losses), len(targets), len(regularizers)))
    ]
