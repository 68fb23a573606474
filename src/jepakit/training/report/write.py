"""``report.html``: what a run did, in one file that needs no network. `write_report` makes it from the run folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined, Template

from jepakit.files import write_text
from jepakit.training.report.data import Metrics, RunParts, read_run
from jepakit.training.report.embeddings import embedding_figures
from jepakit.training.report.figures import ReportFigure, line_chart
from jepakit.training.report.page import DIAGNOSTICS, described, number, sentence
from jepakit.training.result_rows import ResultGroup, format_score, group_rows


def write_report(run: str | Path) -> Path:
    """Writes ``report.html`` of a run folder, whole or not at all.

    It shows what of these is there, and says in a line what is not: ``config.yaml``, ``metrics.csv``, ``results.json``,
    ``embeddings.safetensors``, ``diagnosis.json``.

    Returns:
        The path of the report.

    Raises:
        DataError: a file of the run is damaged; names the file, the line and the field.
        MissingExtraError: matplotlib is not installed.
        ModelError: there is no such run folder, or its embeddings cannot be read.
    """
    parts = read_run(Path(run))
    results, name = parts.results, parts.folder.path.resolve().name
    collapsed = parts.diagnosis is not None and parts.diagnosis.collapsed
    groups = group_rows(results.rows) if results else []
    text = _page().render(
        title=results.title if results and results.title else name,
        facts=_facts(parts),
        results=results,
        groups=groups,
        columns=_result_columns(groups),
        metrics=parts.metrics,
        losses=_losses(parts.metrics),
        diagnosis=parts.diagnosis,
        diagnostics=_diagnostics(parts.metrics),
        embeddings=embedding_figures(parts.embeddings, collapsed=collapsed) if parts.embeddings else None,
        config=parts.config,
        version=version("jepakit"),
        described=described,
    )
    write_text(parts.folder.report, text)
    return parts.folder.report


def _page() -> Template:
    """The template; everything that is put into it is escaped, but for the charts."""
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    filters: dict[str, Any] = {"number": number, "sentence": sentence, "score": format_score}
    page.filters.update(filters)
    return page.from_string(files("jepakit.training.report").joinpath("report.html.j2").read_text(encoding="utf-8"))


def _facts(parts: RunParts) -> dict[str, str]:
    rows = parts.results.rows if parts.results else ()
    config = parts.config or ""
    datasets = list(dict.fromkeys(row.dataset for row in rows)) or _config_values(config, "dataset")
    methods = list(dict.fromkeys(row.method for row in rows if row.ours)) or _config_values(config, "method")
    facts = {"Dataset": ", ".join(datasets), "Method": ", ".join(methods)}
    metrics = parts.metrics
    if metrics is not None and len(metrics.columns.get("epoch", ())):
        facts["Epochs"] = f"{metrics.columns['epoch'].max() + 1:.0f}"
        seconds = float(np.nansum(metrics.columns.get("seconds", np.zeros(1))))
        facts["Time in training"] = _duration(seconds) if seconds else ""
    if parts.embeddings is not None:
        count, width = parts.embeddings.embedding.shape
        facts["Embeddings"] = f"{count:,} × {width}"
    written = [file.stat().st_mtime for file in parts.folder.path.iterdir() if file.suffix in (".csv", ".json")]
    facts["Date"] = f"{datetime.fromtimestamp(max(written)):%Y-%m-%d %H:%M}" if written else ""
    return {key: value for key, value in facts.items() if value}


def _config_values(config: str, key: str) -> list[str]:
    """The value of the first ``key: value`` of the YAML text; a fact for the reader, nothing depends on it."""
    return [value.strip("\"'") for value in re.findall(rf"^\s*{key}:[ \t]*(\S.*?)\s*$", config, re.MULTILINE)][:1]


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _result_columns(groups: Sequence[ResultGroup]) -> list[str]:
    """The columns of the result table that hold something."""
    rows = [row for group in groups for row in group.rows]
    filled = {
        "gain": any(group.gain_over(row) is not None for group in groups for row in group.others),
        "seeds": any(row.seeds is not None for row in rows),
        "aim": any(row.aim is not None for row in rows),
        "note": any(row.note for row in rows),
    }
    return [name for name, something in filled.items() if something]


def _losses(metrics: Metrics | None) -> list[ReportFigure]:
    """The curve of each term of the loss; the total is wide."""
    terms = [name.removeprefix("train/") for name in _filled(metrics, "train/")]
    titles = {"total": "Total loss"}
    return [
        _curve(metrics, f"train/{term}", f"loss-{index}", titles.get(term, term), wide=term in titles)
        for index, term in enumerate(terms)
        if metrics
    ]


def _diagnostics(metrics: Metrics | None) -> list[ReportFigure]:
    names = [name.removeprefix("diagnostics/") for name in _filled(metrics, "diagnostics/")]
    known = [name for name in DIAGNOSTICS if name in names]
    return [
        _curve(metrics, f"diagnostics/{name}", f"diagnostic-{index}", *described(name), zero_based=True)
        for index, name in enumerate(known + [name for name in names if name not in known])
        if metrics
    ]


def _filled(metrics: Metrics | None, prefix: str) -> list[str]:
    """The columns of one kind that have a value."""
    filled = metrics.filled if metrics else {}
    return [name for name, cells in filled.items() if name.startswith(prefix) and cells.any()]


def _curve(
    metrics: Metrics,
    column: str,
    ident: str,
    title: str,
    hint: str = "",
    *,
    wide: bool = False,
    zero_based: bool = False,
) -> ReportFigure:
    epochs, values = metrics.series(column)
    finite = values[np.isfinite(values)]
    lost = len(values) - len(finite)
    reading = " → ".join(number(value) for value in (finite[[0, -1]] if len(finite) > 1 else finite))
    description = f"{title} at {len(values)} epochs: {reading or 'no finite value'}"
    svg = line_chart(epochs, values, name=ident, description=description, wide=wide, zero_based=zero_based)
    warning = f"{lost} values are not finite" if lost else ""
    return ReportFigure(title, reading, svg, hint=hint, warning=warning, wide=wide)
