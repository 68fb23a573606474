"""Figures of results, drawn from the rows of a result file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jepakit.training.result_rows import ResultRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROWING = "growing "
"""Begins the data set of rows that differ in a size; the size's name follows, and the method has its value."""


@dataclass(frozen=True)
class ResultFigure:
    """A figure of a benchmark.

    Args:
        title: what it shows, for readers who cannot see it.
        draw: draws it from the rows of the benchmark.
    """

    title: str
    draw: Callable[[Sequence[ResultRow]], Figure]

    def write(self, rows: Sequence[ResultRow], file: Path) -> None:
        """Writes it as SVG; the same rows give the same file."""
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        with mpl.rc_context({"svg.hashsalt": file.stem}):
            FigureCanvasSVG(self.draw(rows)).print_svg(str(file), metadata={"Date": None})


def growth(rows: Sequence[ResultRow]) -> Figure:
    """A row of charts for each size that grows, a column for each metric."""
    from matplotlib.figure import Figure

    growing = [row for row in rows if row.dataset.startswith(GROWING) and row.value is not None]
    sizes = list(dict.fromkeys(row.dataset.removeprefix(GROWING) for row in growing))
    metrics = list(dict.fromkeys(row.metric for row in growing))
    figure = Figure(figsize=(3 * len(metrics), 2.4 * len(sizes)), layout="constrained")
    for line, size in zip(figure.subplots(len(sizes), len(metrics), squeeze=False), sizes, strict=True):
        for axes, metric in zip(line, metrics, strict=True):
            chosen = [row for row in growing if (row.dataset, row.metric) == (GROWING + size, metric)]
            values = [row.value for row in chosen]
            axes.plot(np.array([_size_of(row, size) for row in chosen]) / 1e6, values, marker="o", markersize=3)
            axes.set(xlabel=f"{size}, millions", title=metric, xlim=(0, None), ylim=(0, None))
            axes.grid(visible=True, axis="y", alpha=0.4)
    return figure


def _size_of(row: ResultRow, size: str) -> int:
    found = re.search(rf"([\d,]+) {size}", row.method)
    assert found is not None
    return int(found[1].replace(",", ""))


FIGURES = {"kgqa_scale": ResultFigure("Time and memory over the number of triples and of entities", growth)}
"""By benchmark."""
