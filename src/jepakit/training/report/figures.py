"""What a figure of a report is made of, beside its drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SHAPES = ("●", "■", "▲", "◆", "▼", "✚", "✖", "★", "◀")
"""The shapes of classes, as characters; each has a colour of its own, too."""


@dataclass(frozen=True)
class LegendEntry:
    """A line, or a class of points.

    Args:
        key: the class of its elements in the drawing.
        shape: the character that looks like them.
        name: what it is.
        count: how many there are; None: it is not said.
    """

    key: str
    shape: str
    name: str
    count: int | None = None


@dataclass(frozen=True)
class Ramp:
    """A legend of colours by value: what the value is, and the values at both ends."""

    name: str
    low: str
    high: str


@dataclass(frozen=True)
class ReportFigure:
    """A chart under its caption: a title, the values in words, how to read it, what is wrong with it."""

    title: str
    text: str
    svg: str
    hint: str = ""
    warning: str = ""
    legend: Sequence[LegendEntry] = ()
    ramp: Ramp | None = None
    wide: bool = False
