"""Families of linear programs: combinatorial relaxations, power flow, and random instances around given problems."""

from __future__ import annotations

from typing import Protocol

from jepakit.lp.data import LinearProgram

__all__ = ["LPFamily"]


class LPFamily(Protocol):
    """Problems that have much in common. A family is a dataclass whose fields are its parameters."""

    def problem(self, seed: int) -> LinearProgram:
        """An instance; the same for the same seed."""
        ...
