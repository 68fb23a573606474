"""``report.html``: a run on one page that needs no network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from jepakit.files import write_text
from jepakit.training.report.charts import curves_chart, key_of
from jepakit.training.report.curves import diagnostic_figures, loss_figures
from jepakit.training.report.data import RunParts, read_run
from jepakit.training.report.embeddings import embedding_figures
from jepakit.training.report.figures import LegendEntry, Ramp, ReportFigure
from jepakit.training.report.maps import Point, level_keys, scatter_chart
from jepakit.training.report.page import number, render
from jepakit.training.report.terms import described
from jepakit.training.result_rows import ResultGroup, group_rows
from jepakit.training.results import ReportCurve, ReportScatter

_MISSING = {
    "results": "no scores to show",
    "metrics": "no curves to show",
    "diagnosis": "no verdict at the end of training",
    "embeddings": "no spectrum and no map",
    "config": "the run cannot be repeated from this folder",
}


def write_report(run: str | Path) -> Path:
    """Writes ``report.html`` of a run folder, whole or not at all.

    It shows ``config.yaml``, ``metrics.csv``, ``results.json``, ``embeddings.safetensors`` and ``diagnosis.json``, and
    says in a line which of them is missing.

    Returns:
        The path of the report.

    Raises:
        DataError: a file of the run is damaged; names the file, the line and the field.
        ModelError: there is no such run folder, or its embeddings cannot be read.
    """
    parts = read_run(Path(run))
    results, metrics = parts.results, parts.metrics or {}
    collapsed = parts.diagnosis is not None and parts.diagnosis.collapsed
    groups = group_rows(results.rows) if results else []
    content = {
        "title": (results and results.title) or parts.folder.path.resolve().name,
        "facts": _facts(parts),
        "results": results,
        "groups": groups,
        "columns": _result_columns(groups),
        "curves": [_lines(curve) for curve in results.curves] if results else [],
        "scatters": [_scatter(scatter) for scatter in results.scatters] if results else [],
        "losses": loss_figures(metrics),
        "diagnosis": parts.diagnosis,
        "diagnostics": diagnostic_figures(metrics),
        "embeddings": embedding_figures(parts.embeddings, collapsed=collapsed) if parts.embeddings else None,
        "config": parts.config,
        "described": described,
        "missing": _missing(parts),
    }
    write_text(parts.folder.report, render("report.html.j2", content))
    return parts.folder.report


def _missing(parts: RunParts) -> list[str]:
    """What a folder lacks; one with results and nothing of what a run keeps beside them is of no run."""
    lacking = [name for name in _MISSING if getattr(parts, name) is None]
    if {*_MISSING} - {*lacking} - {"metrics"} == {"results"}:
        return []
    return [f"{getattr(parts.folder, name).name} is not in the run folder: {_MISSING[name]}." for name in lacking]


def _facts(parts: RunParts) -> dict[str, str]:
    rows = parts.results.rows if parts.results else ()
    config = parts.config or ""
    facts = {
        "Dataset": ", ".join(dict.fromkeys(row.dataset for row in rows)) or _config_value(config, "dataset"),
        "Method": ", ".join(dict.fromkeys(row.method for row in rows if row.ours)) or _config_value(config, "method"),
    }
    metrics = parts.metrics or {}
    if "epoch" in metrics:
        facts["Epochs"] = f"{metrics['epoch'].max() + 1:.0f}"
    if "seconds" in metrics:
        facts["Time in training"] = _duration(float(metrics["seconds"][:, 1].sum()))
    if parts.embeddings is not None:
        count, width = parts.embeddings.embedding.shape
        facts["Embeddings"] = f"{count:,} × {width}"
    written = [file.stat().st_mtime for file in parts.folder.path.iterdir() if file.suffix in (".csv", ".json")]
    facts["Date"] = f"{datetime.fromtimestamp(max(written)):%Y-%m-%d %H:%M}" if written else ""
    return {key: value for key, value in facts.items() if value}


def _config_value(config: str, key: str) -> str:
    """The value of the first ``key: value`` of the YAML text; a fact for the reader, nothing depends on it."""
    value = re.search(rf"^\s*{key}:[ \t]*(\S.*?)\s*$", config, re.MULTILINE)
    return "" if value is None else value[1].strip("\"'")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _result_columns(groups: Sequence[ResultGroup]) -> list[str]:
    """The columns of the result table that are not empty."""
    rows = [row for group in groups for row in group.rows]
    gains = any(group.gain_over(row) is not None for group in groups for row in group.others)
    scales = any(sum(row.value is not None for row in group.rows) > 1 for group in groups)
    filled = [name for name in ("seeds", "aim", "note") if any(getattr(row, name) not in (None, "") for row in rows)]
    return [*(["scale"] if scales else []), *(["gain"] if gains else []), *filled]


def _lines(curve: ReportCurve) -> ReportFigure:
    said = [(name, float(np.mean(values)) if curve.names else values[-1]) for name, values in curve.lines]
    where = "means" if curve.names else f"at {curve.x[-1]:g}"
    scores = f"{where}: {', '.join(f'{name} {number(value)}' for name, value in said)}"
    reading = f"{curve.y_label} by {curve.x_label}"
    svg = curves_chart(curve, description=f"{curve.title}: {reading}; {scores}")
    reading += "" if curve.names else f"; {scores}"
    legend = [LegendEntry(key_of(which), "▬", name) for which, (name, _) in enumerate(curve.lines)]
    hint = {True: "lower is better", False: "higher is better", None: ""}[curve.lower_is_better]
    return ReportFigure(curve.title, reading, svg, hint=hint, legend=legend, wide=True)


def _scatter(scatter: ReportScatter) -> ReportFigure:
    true, predicted = np.array(scatter.true), np.array(scatter.predicted)
    error = np.abs(predicted - true)
    reading = f"{len(true):,} values; mean absolute error {number(float(error.mean()))}"
    names, drawings = (texts or ("",) * len(true) for texts in (scatter.names, scatter.drawings))
    titles = [
        f"{name}\ntrue: {number(a)}\npredicted: {number(b)}".strip()
        for name, a, b in zip(names, scatter.true, scatter.predicted, strict=True)
    ]
    points = [Point(*texts) for texts in zip(level_keys(error), titles, drawings, strict=True)]
    labels = {"x_label": f"{scatter.label}, true", "y_label": f"{scatter.label}, predicted"}
    svg = scatter_chart(true, predicted, points, description=f"{scatter.title}: {reading}", **labels)
    ramp = Ramp("absolute error", number(float(error.min())), number(float(error.max())))
    return ReportFigure(scatter.title, reading, svg, hint="on the line both are equal", ramp=ramp)
