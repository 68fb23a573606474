"""Points in a plane as inline SVG: each has its title, and what the page's script draws beside it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jepakit.training.report.axes import axis_of

_WIDTH, _HEIGHT, _MARGIN = 720, 480, 14
_SIDE, _LEFT, _BELOW = 480, 58, 44
LEVELS = 9
"""Colours of a value, from the lowest to the highest."""

#: Each shape within -1 to 1.
_PATHS = (
    "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0z",
    "M-.85-.85h1.7v1.7h-1.7z",
    "M0-1.05L1 .8H-1z",
    "M0-1.2L1 0 0 1.2-1 0z",
    "M0 1.05L1-.8H-1z",
    "M-.4-1.1h.8v.7h.7v.8h-.7v.7h-.8v-.7h-.7v-.8h.7z",
    "M-.9-.5L-.5-.9 0-.4.5-.9.9-.5.4 0 .9.5.5.9 0 .4-.5.9-.9.5-.4 0z",
    "M0-1.2L.35-.4 1.15-.35.55.2.75 1 0 .55-.75 1-.55.2-1.15-.35-.35-.4z",
    "M-1.05 0L.8 1V-1z",
)


@dataclass(frozen=True)
class Point:
    """What is known of a point.

    Args:
        key: its class: ``c0`` to ``c8``, ``v0`` to ``v8`` for values, or ``none``.
        title: texts under the pointer, one a line.
        drawing: see `jepakit.training.results.PointTexts`.
    """

    key: str
    title: str = ""
    drawing: str = ""


def point_map(places: np.ndarray, points: Sequence[Point], *, description: str) -> str:
    """Points at ``[n, 2]``, as large as fits; their distances keep their proportions."""
    low, high = places.min(0), places.max(0)
    size = np.maximum(high - low, 1e-30)
    room = np.array([_WIDTH, _HEIGHT]) - 2 * _MARGIN
    scale = float((room / size).min())
    shown = (places - (low + high) / 2) * scale * [1, -1] + [_WIDTH / 2, _HEIGHT / 2]
    radius = float(np.clip(120 / np.sqrt(len(points)), 2.6, 5.5))
    start = _start(_WIDTH, _HEIGHT, description, "map zooms", radius)
    return "".join([start, _points(shown, points, radius), "</svg>"])


def scatter_chart(
    true: np.ndarray, predicted: np.ndarray, points: Sequence[Point], *, x_label: str, y_label: str, description: str
) -> str:
    """Predicted against true values, ``[n]`` each, on equal axes with the line on which both are equal."""
    axis = axis_of(np.concatenate([true, predicted]), count=5)
    right, bottom = _SIDE - _MARGIN, _SIDE - _BELOW
    across = _LEFT + axis.share(true) * (right - _LEFT)
    up = bottom - axis.share(predicted) * (bottom - _MARGIN)
    radius = float(np.clip(60 / np.sqrt(max(len(points), 1)), 2.6, 5))
    parts = [_start(_SIDE, _SIDE, description, "map square", radius)]
    for value, text in axis.ticks:
        share = float(axis.share(value))
        x, y = _LEFT + share * (right - _LEFT), bottom - share * (bottom - _MARGIN)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}M{x:.1f} {_MARGIN}V{bottom}"/>')
        parts.append(f'<text class="tick y" x="{_LEFT - 6}" y="{y:.1f}">{text}</text>')
        parts.append(f'<text class="tick x" x="{x:.1f}" y="{bottom + 16}">{text}</text>')
    parts.append(f'<path class="equal" d="M{_LEFT} {bottom}L{right} {_MARGIN}"/>')
    parts.append(
        f'<text class="tick label" x="{(_LEFT + right) / 2:.0f}" y="{_SIDE - 8}">{html.escape(x_label)}</text>'
    )
    middle = (bottom + _MARGIN) / 2
    parts.append(
        f'<text class="tick label" transform="translate(14 {middle:.0f}) rotate(-90)">{html.escape(y_label)}</text>'
    )
    return "".join([*parts, _points(np.stack([across, up], 1), points, radius), "</svg>"])


def level_keys(values: np.ndarray) -> list[str]:
    """The colour of each value ``[n]``, by equal steps between the smallest and the largest; ``none`` if not finite."""
    finite = np.isfinite(values)
    if not finite.any():
        return ["none"] * len(values)
    low, high = float(values[finite].min()), float(values[finite].max())
    share = (np.where(finite, values, low) - low) / ((high - low) or 1.0)
    levels = np.minimum((share * LEVELS).astype(int), LEVELS - 1)
    return [f"v{level}" if there else "none" for level, there in zip(levels.tolist(), finite.tolist(), strict=True)]


def _start(width: int, height: int, description: str, kind: str, radius: float) -> str:
    return (
        f'<svg class="chart {kind}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{html.escape(description)}" data-radius="{radius:.1f}">'
    )


def _points(places: np.ndarray, points: Sequence[Point], radius: float) -> str:
    rows: list[str] = []
    for (x, y), point in zip(places.tolist(), points, strict=True):
        shape = _PATHS[int(point.key[1:]) % len(_PATHS)] if point.key.startswith("c") else _PATHS[0]
        title = f"<title>{html.escape(point.title)}</title>" if point.title else ""
        drawing = f' data-drawing="{html.escape(point.drawing)}"' if point.drawing else ""
        rows.append(
            f'<path class="{point.key}" transform="translate({x:.1f} {y:.1f})scale({radius:.1f})" '
            f'd="{shape}"{drawing}>{title}</path>'
        )
    return f'<g class="points">{"".join(rows)}</g>'
