"""Families of linear programs: made ones, power flow, and instances like a given one."""

from __future__ import annotations

from typing import Protocol

from jepakit.lp.data import LinearProgram

__all__ = ["LPFamily"]


class LPFamily(Protocol):
    """Problems that have much in common. A family is a dataclass: its fields say which problems they are."""

    def problem(self, seed: int) -> LinearProgram:
        """One of them; the same for the same seed."""
        ...
