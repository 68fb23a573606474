"""The page of a comparison of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jepakit.files import write_text
from jepakit.training.comparison import RunsComparison
from jepakit.training.report.charts import compared_chart, key_of
from jepakit.training.report.figures import LegendEntry, ReportFigure
from jepakit.training.report.page import number, render
from jepakit.training.report.terms import described
from jepakit.training.results import Cell, ReportSection


def write_comparison(file: Path, comparison: RunsComparison) -> None:
    """Writes the page, whole or not at all.

    Raises:
        ModelError: the file cannot be written.
    """
    names = [run.name for run in comparison.runs]
    curves = [(name, _figure(name, rows, names)) for name, rows in _distinct(comparison.curves)]
    content = {
        "title": f"{len(names)} runs: {', '.join(names)}",
        "names": names,
        "verdicts": comparison.verdicts,
        "runs": runs_section(comparison),
        "scores": comparison.scores,
        "options": options_section(comparison),
        "loss_changed": comparison.loss_changed,
        "losses": [figure for name, figure in curves if name.startswith("train/")],
        "diagnostics": [figure for name, figure in curves if not name.startswith("train/")],
    }
    write_text(file, render("compare.html.j2", content))


def runs_section(comparison: RunsComparison, *, advice: bool = True) -> ReportSection:
    """A row for each run: how long it trained, whether it has collapsed and, with ``advice``, what it recommends."""
    rows: list[tuple[Cell, ...]] = []
    for run in comparison.runs:
        metrics, diagnosis, results = run.parts.metrics or {}, run.parts.diagnosis, run.parts.results
        loss = metrics.get("train/total")
        rows.append(
            (
                run.name,
                None if "epoch" not in metrics else float(metrics["epoch"][:, 1].max() + 1),
                None if "seconds" not in metrics else float(metrics["seconds"][:, 1].sum()),
                None if loss is None or not np.isfinite(loss[-1, 1]) else float(loss[-1, 1]),
                "" if diagnosis is None else "yes" if diagnosis.collapsed else "no",
                *([(results and results.recommendation) or ""] if advice else []),
            )
        )
    columns = ("run", "epochs", "seconds in training", "last loss", "collapsed")
    return ReportSection("Runs", (*columns, *(["its recommendation"] if advice else [])), tuple(rows))


def options_section(comparison: RunsComparison) -> ReportSection:
    """A row for each option that differs."""
    rows = tuple((name, *map(_shown, values)) for name, values in comparison.options)
    return ReportSection("Options that differ", ("option", *(run.name for run in comparison.runs)), rows)


def _shown(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _distinct(
    curves: Sequence[tuple[str, tuple[tuple[int, np.ndarray], ...]]],
) -> list[tuple[str, tuple[tuple[int, np.ndarray], ...]]]:
    """The curves that differ in any run, the total loss before its terms."""
    found: list[tuple[str, tuple[tuple[int, np.ndarray], ...]]] = []
    for name, rows in sorted(curves, key=lambda curve: curve[0] != "train/total"):
        if not any(_equal(rows, others) for _, others in found):
            found.append((name, rows))
    return found


def _equal(rows: tuple[tuple[int, np.ndarray], ...], others: tuple[tuple[int, np.ndarray], ...]) -> bool:
    pairs = zip(rows, others, strict=False)
    return len(rows) == len(others) and all(a == b and np.array_equal(x, y, equal_nan=True) for (a, x), (b, y) in pairs)


def _figure(name: str, rows: tuple[tuple[int, np.ndarray], ...], names: Sequence[str]) -> ReportFigure:
    kind, _, column = name.partition("/")
    title, hint = (column, "lower is better") if kind == "train" else described(column)
    title = "Total loss" if name == "train/total" else title
    reading = ", ".join(f"{names[place]} {number(float(values[-1, 1]))}" for place, values in rows)
    lines = [(names[place], key_of(place), values) for place, values in rows]
    legend = [LegendEntry(key, "▬", run) for run, key, _ in lines]
    svg = compared_chart(lines, description=f"{title} by epoch, at the end: {reading}")
    return ReportFigure(title, f"at the end: {reading}", svg, hint=hint, legend=legend, wide=True)
