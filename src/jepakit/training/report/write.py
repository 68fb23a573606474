"""``report.html``: a run on one page that needs no network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from jepakit.files import write_text
from jepakit.training.report.data import Metrics, RunParts, read_run
from jepakit.training.report.diagram import draw
from jepakit.training.report.embeddings import embedding_figures
from jepakit.training.report.figures import ReportFigure, curves_chart, line_chart
from jepakit.training.result_rows import ResultGroup, format_score, group_rows
from jepakit.training.results import ReportCurve, ReportExample, ReportSection

DIAGNOSTICS = {
    "effective_rank": ("Effective rank", "directions in use; higher is better"),
    "within_group_rank": ("Rank within classes", "low: classes have shrunk to points"),
    "dead_dims": ("Dead dimensions", "constant; 0 is best"),
    "uniformity": ("Uniformity", "0 is a point; more negative is more even"),
    "mean_cosine": ("Mean cosine", "of different rows; 1 is a point, 0 is best"),
    "sphericity": ("Sphericity", "1: equally wide in every direction"),
    "mean_abs_correlation": ("Mean |correlation|", "between dimensions; 0 is best"),
    "alignment": ("Alignment", "distance of paired views; lower is closer"),
}
"""Diagnostic -> its title on the page, and how to read it; in the order of the page."""


def write_report(run: str | Path) -> Path:
    """Writes ``report.html`` of a run folder, whole or not at all.

    It shows ``config.yaml``, ``metrics.csv``, ``results.json``, ``embeddings.safetensors`` and ``diagnosis.json``, and
    says in a line which of them is missing.

    Returns:
        The path of the report.

    Raises:
        DataError: a file of the run is damaged; names the file, the line and the field.
        MissingExtraError: matplotlib is not installed.
        ModelError: there is no such run folder, or its embeddings cannot be read.
    """
    parts = read_run(Path(run))
    results, metrics = parts.results, parts.metrics
    collapsed = parts.diagnosis is not None and parts.diagnosis.collapsed
    groups = group_rows(results.rows) if results else []
    text = _template("report.html.j2").render(
        title=(results and results.title) or parts.folder.path.resolve().name,
        facts=_facts(parts),
        results=results,
        groups=groups,
        columns=_result_columns(groups),
        curves=[_lines(curve, f"curve-{index}") for index, curve in enumerate(results.curves)] if results else [],
        metrics=metrics,
        losses=_losses(metrics or {}),
        diagnosis=parts.diagnosis,
        diagnostics=_diagnostics(metrics or {}),
        embeddings=embedding_figures(parts.embeddings, collapsed=collapsed) if parts.embeddings else None,
        config=parts.config,
        version=version("jepakit"),
        described=described,
    )
    write_text(parts.folder.report, text)
    return parts.folder.report


def write_page(
    file: Path, *, title: str, eyebrow: str, examples: Sequence[ReportExample], sections: Sequence[ReportSection] = ()
) -> None:
    """Writes a page of cases that looks as a report does, whole or not at all.

    Args:
        file: where to.
        title: the heading.
        eyebrow: the small line above it.
        examples: shown one below the other.
        sections: tables below them.

    Raises:
        ModelError: the file cannot be written.
    """
    page = _template("cases.html.j2")
    text = page.render(title=title, eyebrow=eyebrow, examples=examples, sections=sections, version=version("jepakit"))
    write_text(file, text)


def _template(name: str) -> Template:
    """A template; everything that is put into it is escaped, but for the charts and drawings."""
    page = Environment(
        loader=PackageLoader("jepakit.training.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    filters: dict[str, Any] = {"drawing": draw, "number": number, "sentence": sentence, "score": format_score}
    page.filters.update(filters)
    return page.get_template(name)


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
    filled = [name for name in ("seeds", "aim", "note") if any(getattr(row, name) not in (None, "") for row in rows)]
    return [*(["gain"] if gains else []), *filled]


def _losses(metrics: Metrics) -> list[ReportFigure]:
    """The curve of each term of the loss; the total is wide."""
    return [
        _curve(rows, f"loss-{index}", "Total loss" if term == "total" else term, wide=term == "total")
        for index, (term, rows) in enumerate(_columns(metrics, "train/").items())
    ]


def _diagnostics(metrics: Metrics) -> list[ReportFigure]:
    columns = _columns(metrics, "diagnostics/")
    ordered = [name for name in DIAGNOSTICS if name in columns] + [name for name in columns if name not in DIAGNOSTICS]
    return [
        _curve(columns[name], f"diagnostic-{index}", *described(name), zero_based=True)
        for index, name in enumerate(ordered)
    ]


def _columns(metrics: Metrics, prefix: str) -> Metrics:
    return {name.removeprefix(prefix): rows for name, rows in metrics.items() if name.startswith(prefix)}


def _curve(
    rows: np.ndarray, ident: str, title: str, hint: str = "", *, wide: bool = False, zero_based: bool = False
) -> ReportFigure:
    epochs, values = rows.T
    finite = values[np.isfinite(values)]
    lost = len(values) - len(finite)
    reading = " → ".join(number(value) for value in (finite[[0, -1]] if len(finite) > 1 else finite))
    description = f"{title} at {len(values)} epochs: {reading or 'no finite value'}"
    svg = line_chart(epochs, values, name=ident, description=description, wide=wide, zero_based=zero_based)
    warning = f"{lost} values are not finite" if lost else ""
    return ReportFigure(title, reading, svg, hint=hint, warning=warning, wide=wide)


def _lines(curve: ReportCurve, ident: str) -> ReportFigure:
    last = ", ".join(f"{name} {number(values[-1])}" for name, values in curve.lines)
    reading = f"{curve.y_label} by {curve.x_label}; at {curve.x[-1]:g}: {last}"
    svg = curves_chart(curve, name=ident, description=f"{curve.title}: {reading}")
    return ReportFigure(curve.title, reading, svg, wide=True)


def described(diagnostic: str) -> tuple[str, str]:
    """The title of a diagnostic, and how to read it; an unknown diagnostic keeps its name."""
    return DIAGNOSTICS.get(diagnostic, (diagnostic, ""))


def number(value: float) -> str:
    """Four digits, with a minus sign that is as wide as a plus."""
    return f"{value:.4g}".replace("-", "−")


def sentence(text: str) -> str:
    """The text with a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
