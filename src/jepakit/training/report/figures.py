"""The figures of a report as inline SVG: drawn by matplotlib, coloured by the page, so they follow light and dark.

Every colour is a placeholder that becomes a CSS variable of the page. Only `Figure` objects are used and no pyplot:
nothing here touches global state, so reports can be written from several threads.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jepakit.errors import MissingExtraError
from jepakit.training.results import ReportCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# matplotlib's marker and the character that looks like it in a legend made of text.
MARKERS = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("X", "✖"), ("*", "★"), ("<", "◀"))

_MUTED, _GRID, _ACCENT, _BAD = "#0000e0", "#0000e1", "#0000e2", "#0000e3"
_CLASS_COLOURS = tuple(f"#0000f{index}" for index in range(len(MARKERS)))
_VARIABLES = {_MUTED: "--muted", _GRID: "--grid", _ACCENT: "--accent", _BAD: "--bad"} | {
    colour: f"--c{index}" for index, colour in enumerate(_CLASS_COLOURS)
}


@dataclass(frozen=True)
class LegendEntry:
    """A class of points: the CSS variable of its colour, its shape, name and size."""

    colour: str
    shape: str
    name: str
    count: int


@dataclass(frozen=True)
class ReportFigure:
    """A chart under its caption: a title, the values in words, how to read it, what is wrong with it."""

    title: str
    text: str
    svg: str
    hint: str = ""
    warning: str = ""
    legend: Sequence[LegendEntry] = ()
    wide: bool = False


def line_chart(
    x: np.ndarray, y: np.ndarray, *, name: str, description: str, wide: bool = False, zero_based: bool = False
) -> str:
    """A curve over epochs, on a logarithmic axis where it spans more than a factor of 50; not finite values are gaps.

    Args:
        x: epochs, ``[n]``.
        y: values, ``[n]``.
        name: a word that makes the ids of this figure unique on the page.
        description: the figure in words, for readers who cannot see it.
        wide: as wide as the page.
        zero_based: the axis begins at 0.
    """
    figure, axes = _figure(8.4 if wide else 2.8, 2.4 if wide else 1.7)
    finite = np.isfinite(y)
    marker = "o" if finite.sum() <= 30 else ""
    axes.plot(x, np.where(finite, y, np.nan), color=_ACCENT, linewidth=1.6, marker=marker, markersize=3)
    positive = y[finite & (y > 0)]
    if positive.size == finite.sum() > 1 and positive.max() > 50 * positive.min():
        axes.set_yscale("log")
        axes.tick_params(axis="y", which="minor", labelleft=False)
    else:
        axes.set_ylim(*_limits(y[finite], zero_based=zero_based))
        axes.locator_params(axis="y", nbins=4 if not wide else 5)
        axes.ticklabel_format(axis="y", useOffset=False)
    axes.locator_params(axis="x", nbins=8 if wide else 4, integer=True)
    axes.set_xlabel("epoch", color=_MUTED, fontsize=8)
    return _svg(figure, name, description)


def curves_chart(curve: ReportCurve, *, name: str, description: str) -> str:
    """The lines of a curve over its numbers, the axis of which is logarithmic above 1."""
    figure, axes = _figure(8.4, 3.0)
    for which, (label, values) in enumerate(curve.lines):
        colour, (marker, _) = _CLASS_COLOURS[which % len(MARKERS)], MARKERS[which % len(MARKERS)]
        axes.plot(curve.x, values, color=colour, linewidth=1.6, marker=marker, markersize=4, label=_plain(label))
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xticks(curve.x, [f"{value:g}" for value in curve.x])
    axes.set_xlabel(_plain(curve.x_label), color=_MUTED, fontsize=8)
    axes.set_ylabel(_plain(curve.y_label), color=_MUTED, fontsize=8)
    axes.legend(frameon=False, fontsize=8, labelcolor=_MUTED)
    return _svg(figure, name, description)


def spectrum_chart(singular: np.ndarray, effective_rank: float, *, name: str, description: str) -> str:
    """Singular values ``[r]``, largest first, relative to the largest (logarithmic), and the effective rank."""
    figure, axes = _figure(8.4, 2.6)
    share = np.maximum(singular / singular[0], 1e-9)
    index = np.arange(1, len(share) + 1)
    axes.plot(index, share, color=_ACCENT, linewidth=1.6, marker="o" if len(share) <= 64 else "", markersize=3)
    axes.fill_between(index, share, share.min() / 2, color=_ACCENT, alpha=0.12, linewidth=0)
    axes.set_yscale("log")
    axes.tick_params(axis="y", which="minor", labelleft=False)
    axes.set_ylim(share.min() / 2, 2)
    axes.set_xlim(0.5, len(share) + 0.5)
    axes.axvline(effective_rank, color=_BAD, linewidth=1.4, linestyle=(0, (4, 3)))
    place: dict[str, Any] = {"xytext": (6, 0), "ha": "left"}
    if effective_rank >= len(share) / 2:
        place = {"xytext": (-6, 0), "ha": "right"}
    label, point = f"effective rank {effective_rank:.1f}", (effective_rank, 1.0)
    axes.annotate(label, point, textcoords="offset points", va="center", color=_BAD, fontsize=9, **place)
    axes.set_xlabel("direction, by size", color=_MUTED, fontsize=8)
    axes.set_ylabel("relative to the largest", color=_MUTED, fontsize=8)
    return _svg(figure, name, description)


def point_map(points: np.ndarray, colour: np.ndarray, *, name: str, description: str) -> str:
    """Points ``[n, 2]``, coloured and shaped by class: ``[n]`` int, an index into `MARKERS`, or -1 for no class."""
    figure, axes = _figure(8.4, 5.4)
    size = float(np.clip(260 / np.sqrt(len(points)), 2.4, 7))
    for which in np.unique(colour):
        x, y = points[colour == which].T
        marker, shade = ("o", _MUTED) if which < 0 else (MARKERS[which][0], _CLASS_COLOURS[which])
        axes.plot(x, y, linestyle="", marker=marker, markersize=size, color=shade, alpha=0.65, markeredgewidth=0)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return _svg(figure, name, description)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty chart of so many inches, in the colours of the page."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "report") from error
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    axes = figure.add_subplot(facecolor="none")
    axes.grid(visible=True, axis="y", color=_GRID, linewidth=0.8, linestyle="-")
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=_GRID, labelcolor=_MUTED, labelsize=8, length=3)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_color(_GRID)
    axes.spines[["left", "right", "top"]].set_visible(False)
    return figure, axes


def _limits(values: np.ndarray, *, zero_based: bool) -> tuple[float, float]:
    """Limits with room above and below, and with a height even where all values are equal."""
    if not values.size:
        return 0.0, 1.0
    high = float(values.max())
    low = min(0.0, float(values.min())) if zero_based and high > 0 else float(values.min())
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return (0.0 if zero_based and low == 0 else low - room), high + room


def _plain(text: str) -> str:
    """A text in which matplotlib finds no formula."""
    return text.replace("$", r"\$")


def _svg(figure: Figure, name: str, description: str) -> str:
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Its style sheet would hold for the whole page; its comments repeat every text.
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub("#0000[ef][0-9]", lambda colour: f"var({_VARIABLES[colour[0]]})", text)
    # Several figures stand in one page, where an id may exist once; numbering them also makes the page reproducible.
    ids = {old: f"{name}-{number}" for number, old in enumerate(re.findall(r'\bid="([^"]+)"', text))}
    text = re.sub(r'\bid="([^"]+)"', lambda match: f'id="{ids[match[1]]}"', text)
    text = re.sub(r'(href="#|url\(#)([^")]+)', lambda match: match[1] + ids.get(match[2], match[2]), text)
    view_box = re.search(r'viewBox="[^"]+"', text)
    start = f'<svg {view_box[0] if view_box else ""} role="img" aria-label="{html.escape(description)}"'
    start += ' xmlns:xlink="http://www.w3.org/1999/xlink" class="chart">'
    return re.sub(r"<svg[^>]*>", lambda _: start, text, count=1)
