"""The curves of training: each series of metrics.csv once."""

from __future__ import annotations

import numpy as np

from jepakit.training.report.charts import line_chart
from jepakit.training.report.data import Metrics
from jepakit.training.report.figures import ReportFigure
from jepakit.training.report.page import number
from jepakit.training.report.terms import DIAGNOSTICS, described


def loss_figures(metrics: Metrics) -> list[ReportFigure]:
    """The curve of each term of the loss; the total comes first and is wide. Equal terms share a curve."""
    return [
        _curve(rows, *_loss_title(names), wide="total" in names) for names, rows in distinct(columns(metrics, "train/"))
    ]


def diagnostic_figures(metrics: Metrics) -> list[ReportFigure]:
    """The curve of each diagnostic."""
    found = columns(metrics, "diagnostics/")
    ordered = [name for name in DIAGNOSTICS if name in found] + [name for name in found if name not in DIAGNOSTICS]
    return [_curve(found[name], *described(name), zero_based=True) for name in ordered]


def columns(metrics: Metrics, prefix: str) -> Metrics:
    """The columns whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): rows for name, rows in metrics.items() if name.startswith(prefix)}


def distinct(losses: Metrics) -> list[tuple[list[str], np.ndarray]]:
    """The different series, each with the names of all terms that have it, the total before all others."""
    found: list[tuple[list[str], np.ndarray]] = []
    for name in sorted(losses, key=lambda name: name != "total"):
        rows = losses[name]
        same = [names for names, others in found if np.array_equal(rows, others, equal_nan=True)]
        if same:
            same[0].append(name)
        else:
            found.append(([name], rows))
    return found


def _loss_title(names: list[str]) -> tuple[str, str]:
    title = "Total loss" if names[0] == "total" else names[0]
    same = f"; {', '.join(names[1:])}: the same" if len(names) > 1 else ""
    return title, f"lower is better{same}"


def _curve(
    rows: np.ndarray, title: str, hint: str = "", *, wide: bool = False, zero_based: bool = False
) -> ReportFigure:
    epochs, values = rows.T
    finite = values[np.isfinite(values)]
    lost = len(values) - len(finite)
    reading = " → ".join(number(value) for value in (finite[[0, -1]] if len(finite) > 1 else finite))
    description = f"{title} at {len(values)} epochs: {reading or 'no finite value'}"
    svg = line_chart(epochs, values, description=description, wide=wide, zero_based=zero_based)
    warning = f"{lost} values are not finite" if lost else ""
    return ReportFigure(title, reading, svg, hint=hint, warning=warning, wide=wide)
