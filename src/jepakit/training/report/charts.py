"""Charts as inline SVG, which the page colours; its script reads the values from their attributes.

A chart with lines is as wide as its place: its curves are stretched, its texts and dots are not. All texts are escaped.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jepakit.training.report.axes import Axis, axis_of, numbers_axis
from jepakit.training.results import ReportCurve

#: Width of the coordinates of curves; they are stretched to the width of the chart.
_ACROSS = 1000
#: Values of a line that are drawn; of more, the least and greatest of each stretch are.
_MOST = 400
#: Below so many values each has a dot.
_DOTTED = 30
#: Numbers of a curve that all stand below it.
_TICKED = 10
_TOP, _BOTTOM = 8, 24
_COLOURS = 9


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Args:
        name: shown with its values; empty for a single line.
        y: values; those that are not finite are gaps.
        key: the class of its elements.
    """

    name: str
    y: np.ndarray
    key: str = "c0"


def line_chart(
    x: np.ndarray,
    y: np.ndarray,
    *,
    description: str,
    wide: bool = False,
    zero_based: bool = False,
    x_label: str = "epoch",
) -> str:
    """A curve over whole numbers, on a logarithmic axis where it spans more than a factor of 50.

    Args:
        x: epochs, ``[n]``.
        y: values, ``[n]``; those that are not finite are gaps.
        description: the figure in words, for readers who cannot see it.
        wide: as wide as the page.
        zero_based: the axis begins at 0.
        x_label: what the numbers are.
    """
    across = axis_of(x, count=8 if wide else 4, whole=True, room=False)
    up = axis_of(y, count=5 if wide else 4, zero_based=zero_based)
    return _lines(x, [Line("", y)], across, up, description=description, height=220 if wide else 130, x_label=x_label)


def compared_chart(lines: Sequence[tuple[str, str, np.ndarray]], *, description: str, x_label: str = "epoch") -> str:
    """Several curves, each with its name, its class and numbers of its own ``[n, 2]``, on one pair of axes."""
    x = np.unique(np.concatenate([points[:, 0] for _, _, points in lines]))
    rows: list[Line] = []
    for name, key, points in lines:
        values = np.full(len(x), np.nan)
        values[np.searchsorted(x, points[:, 0])] = points[:, 1]
        rows.append(Line(name, values, key))
    across = axis_of(x, count=8, whole=True, room=False)
    up = axis_of(np.concatenate([line.y for line in rows]), count=5)
    return _lines(x, rows, across, up, description=description, height=220, x_label=x_label)


def curves_chart(curve: ReportCurve, *, description: str) -> str:
    """The lines of a curve over its numbers."""
    x = np.array(curve.x)
    lines = [Line(name, np.array(values), key_of(which)) for which, (name, values) in enumerate(curve.lines)]
    across = numbers_axis(curve.x) if len(x) <= _TICKED else axis_of(x, count=8, whole=True, room=False)
    up = axis_of(np.concatenate([line.y for line in lines]), count=5)
    return _lines(
        x,
        lines,
        across,
        up,
        description=description,
        height=260,
        x_label=curve.x_label,
        y_label=curve.y_label,
        names=curve.names,
    )


def spectrum_chart(singular: np.ndarray, effective_rank: float, *, description: str) -> str:
    """Singular values ``[r]``, largest first, relative to the largest (logarithmic), and the effective rank."""
    share = np.maximum(singular / singular[0], 1e-9)
    x = np.arange(1, len(share) + 1)
    across = axis_of(np.array([0.5, len(share) + 0.5]), count=8, whole=True, room=False)
    exponents = axis_of(np.array([float(share.min()) / 60, 1.0]), count=5)
    low = float(share.min()) / 2
    up = Axis(low, 2.0, "log", tuple(tick for tick in exponents.ticks if low <= tick[0] <= 2))
    mark = (effective_rank, f"effective rank {effective_rank:.1f}")
    return _lines(
        x,
        [Line("", share)],
        across,
        up,
        description=description,
        height=220,
        x_label="direction, by size",
        y_label="relative to the largest",
        mark=mark,
    )


def score_mark(axis: Axis, value: float, std: float | None, aim: float | None) -> str:
    """A score on the axis of its group: a dot, its spread as a line, the aim as a stroke."""
    parts = ['<svg class="score" width="100%" height="18" aria-hidden="true">']
    if aim is not None and axis.low <= aim <= axis.high:
        place = f"{100 * float(axis.share(aim)):.1f}%"
        parts.append(f'<line class="aim" x1="{place}" x2="{place}" y1="1" y2="17"/>')
    if std:
        ends = 100 * np.clip(axis.share([max(value - std, axis.low), min(value + std, axis.high)]), 0, 1)
        parts.append(f'<line class="spread" x1="{ends[0]:.1f}%" x2="{ends[1]:.1f}%" y1="9" y2="9"/>')
    return "".join([*parts, f'<circle cx="{100 * float(axis.share(value)):.1f}%" cy="9" r="4.5"/></svg>'])


def key_of(which: int) -> str:
    """The class, and so the colour, of the line or class of points of a number; from the tenth on lines are dashed."""
    return f"{'c' if which < _COLOURS else 'e'}{which % _COLOURS}"


def _lines(
    x: np.ndarray,
    lines: Sequence[Line],
    across: Axis,
    up: Axis,
    *,
    description: str,
    height: int,
    x_label: str = "",
    y_label: str = "",
    mark: tuple[float, str] | None = None,
    names: Sequence[str] = (),
) -> str:
    """The chart. ``mark``: a number and its text, at which a stroke stands; ``names``: of the numbers."""
    bottom = height - _BOTTOM
    parts = [
        f'<div class="plot"><svg class="chart" width="100%" height="{height + (16 if x_label else 0)}" role="img" '
        f'aria-label="{html.escape(description)}" {_data(x, lines, across, up, bottom, names)}>'
    ]
    for value, text in up.ticks:
        y = bottom - float(up.share(value)) * (bottom - _TOP)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick y" x="0" y="{y:.1f}" dx="-8">{text}</text>')
    for value, text in across.ticks:
        place = 100 * float(across.share(value))
        kind = "first" if place < 4 else "last" if place > 96 else ""
        parts.append(f'<text class="tick x {kind}" x="{place:.2f}%" y="{bottom + 16}">{html.escape(text)}</text>')
    parts.append(
        f'<svg x="0" y="0" width="100%" height="{height}" viewBox="0 0 {_ACROSS} {height}" '
        'preserveAspectRatio="none" class="curves">'
    )
    parts += [_line(x, line, across, up, bottom) for line in lines]
    if mark is not None:
        place = _ACROSS * float(across.share(mark[0]))
        parts.append(f'<path class="mark" d="M{place:.1f} {_TOP}V{bottom}"/>')
    parts.append("</svg>")
    if mark is not None:
        place = float(across.share(mark[0]))
        kind, apart = ("mark end", -6) if place > 0.5 else ("mark", 6)
        parts.append(
            f'<text class="{kind}" x="{100 * place:.2f}%" y="{_TOP + 12}" dx="{apart}">{html.escape(mark[1])}</text>'
        )
    if x_label:
        parts.append(f'<text class="tick label" x="50%" y="{height + 12}">{html.escape(x_label)}</text>')
    title = f'<p class="unit">{html.escape(y_label)}</p>' if y_label else ""
    return "".join([title, *parts, "</svg></div>"])


def _line(x: np.ndarray, line: Line, across: Axis, up: Axis, bottom: float) -> str:
    rows = _thinned(line.y)
    y = line.y[rows]
    finite = np.isfinite(up.share(y))
    places = np.stack([_ACROSS * across.share(x[rows]), bottom - up.share(y) * (bottom - _TOP)], 1)
    steps: list[str] = []
    for number, (place, there) in enumerate(zip(places.tolist(), finite.tolist(), strict=True)):
        if there:
            command = "L" if number and finite[number - 1] else "M"
            steps.append(f"{command}{place[0]:.1f} {place[1]:.1f}")
    curve = f'<path class="line {line.key}" d="{"".join(steps)}"/>'
    if finite.sum() > _DOTTED:
        return curve
    # A line without length has round ends: a dot, however the curves are stretched.
    dots = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in places[finite].tolist())
    return f'{curve}<path class="dots {line.key}" d="{dots}"/>'


def _thinned(y: np.ndarray) -> np.ndarray:
    """Places of at most about `_MOST` values; the least and greatest of each stretch, and its first gap, are kept."""
    if len(y) <= _MOST:
        return np.arange(len(y))
    kept = {0, len(y) - 1}
    for part in np.array_split(np.arange(len(y)), _MOST // 2):
        finite = part[np.isfinite(y[part])]
        kept |= {int(finite[y[finite].argmin()]), int(finite[y[finite].argmax()])} if len(finite) else set()
        kept |= set(part[~np.isfinite(y[part])][:1].tolist())
    return np.array(sorted(kept))


def _data(x: np.ndarray, lines: Sequence[Line], across: Axis, up: Axis, bottom: float, names: Sequence[str]) -> str:
    """The values, for the script."""
    rows = np.unique(np.concatenate([_thinned(line.y) for line in lines]))
    content: dict[str, Any] = {
        "x": [_short(value) for value in x[rows].tolist()],
        "lines": [[line.name, line.key, [_short(value) for value in line.y[rows].tolist()]] for line in lines],
        "across": [across.low, across.high, across.scale],
        "up": [up.low, up.high, up.scale, _TOP, bottom],
    }
    if names:
        content["names"] = [names[row] for row in rows.tolist()]
    return f'data-chart="{html.escape(json.dumps(content, separators=(",", ":"), ensure_ascii=False))}"'


def _short(value: float) -> float | None:
    return float(f"{value:.5g}") if np.isfinite(value) else None
