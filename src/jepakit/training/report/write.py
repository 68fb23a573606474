"""``report.html``: what a run did, in one file that needs no network. `write_report` makes it from the run folder."""

from __future__ import annotations

import re
from datetime import datetime
from html import escape
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np

from jepakit.files import write_text
from jepakit.training.report.data import Diagnosed, Metrics, Results, RunParts, read_run
from jepakit.training.report.embeddings import embedding_section
from jepakit.training.report.figures import line_chart
from jepakit.training.report.page import DIAGNOSTICS, described, figure, missing, number, section, sentence
from jepakit.training.report.sections import table_section
from jepakit.training.report.table import result_table
from jepakit.training.result_rows import group_rows

__all__ = ["write_report"]


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
    page = Template(files("jepakit.training.report").joinpath("report.html.in").read_text(encoding="utf-8"))
    text = page.substitute(
        title=escape(results.title if results and results.title else name),
        banner=_banner(parts.diagnosis),
        facts="".join(f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in _facts(parts)),
        sections="\n".join(
            [
                _result_section(results),
                *(table_section(shown) for shown in (results.sections if results else ())),
                _training_section(parts.metrics),
                _diagnostics_section(parts.metrics, parts.diagnosis),
                embedding_section(parts.embeddings, collapsed=collapsed),
                _config_section(parts.config),
            ]
        ),
        version=escape(version("jepakit")),
    )
    write_text(parts.folder.report, text)
    return parts.folder.report


def _banner(diagnosis: Diagnosed | None) -> str:
    if diagnosis is None or not diagnosis.collapsed:
        return ""
    told = "".join(
        f"<p>{escape(sentence(finding.what))} <b>What to change:</b> {escape(sentence(finding.advice))}</p>"
        for finding in diagnosis.findings
        if finding.severity == "error"
    )
    return f'<div class="banner" role="alert"><strong>This encoder has collapsed. Do not use it.</strong>{told}</div>'


def _facts(parts: RunParts) -> list[tuple[str, str]]:
    rows = parts.results.rows if parts.results else ()
    config = parts.config or ""
    datasets = list(dict.fromkeys(row.dataset for row in rows)) or _config_values(config, "dataset")
    methods = list(dict.fromkeys(row.method for row in rows if row.ours)) or _config_values(config, "method")
    facts = [("Dataset", ", ".join(datasets)), ("Method", ", ".join(methods))]
    metrics = parts.metrics
    if metrics is not None and len(metrics.columns.get("epoch", ())):
        facts.append(("Epochs", f"{metrics.columns['epoch'].max() + 1:.0f}"))
        seconds = float(np.nansum(metrics.columns.get("seconds", np.zeros(1))))
        facts.append(("Time in training", _duration(seconds) if seconds else ""))
    if parts.embeddings is not None:
        count, width = parts.embeddings.embedding.shape
        facts.append(("Embeddings", f"{count:,} × {width}"))
    written = [file.stat().st_mtime for file in parts.folder.path.iterdir() if file.suffix in (".csv", ".json")]
    facts.append(("Date", f"{datetime.fromtimestamp(max(written)):%Y-%m-%d %H:%M}" if written else ""))
    return [(key, value) for key, value in facts if value]


def _config_values(config: str, key: str) -> list[str]:
    """The value of the first ``key: value`` of the YAML text; a fact for the reader, nothing depends on it."""
    return [value.strip("\"'") for value in re.findall(rf"^\s*{key}:[ \t]*(\S.*?)\s*$", config, re.MULTILINE)][:1]


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _result_section(results: Results | None) -> str:
    if results is None:
        return section("Results", missing("results.json", "no scores to show"))
    summary = "".join(f"<li>{escape(line)}</li>" for line in results.summary)
    advice = f'<div class="note"><p><b>Recommendation.</b> {escape(results.recommendation or "")}</p></div>'
    table = result_table(group_rows(results.rows)) if results.rows else "<p>results.json has no rows.</p>"
    return section("Results", f"<ul>{summary}</ul>" if summary else "", advice if results.recommendation else "", table)


def _training_section(metrics: Metrics | None) -> str:
    if metrics is None:
        return section("Training", missing("metrics.csv", "no curves to show"))
    names = [column for column in metrics.columns if column.startswith("train/") and metrics.filled[column].any()]
    if not names:
        return section("Training", "<p class='missing'>metrics.csv has no training loss yet.</p>")
    charts = {
        column: _curve(metrics, column, f"loss-{index}", _term(column), wide=column == "train/total")
        for index, column in enumerate(names)
    }
    total = charts.pop("train/total", "")
    terms = f'<h3>Terms of the loss</h3><div class="multiples">{"".join(charts.values())}</div>' if charts else ""
    return section("Training", total, terms)


def _term(column: str) -> str:
    name = column.removeprefix("train/")
    return "Total loss" if name == "total" else name


def _diagnostics_section(metrics: Metrics | None, diagnosis: Diagnosed | None) -> str:
    charts: list[str] = []
    if metrics is not None:
        filled = [name for name, cells in metrics.filled.items() if name.startswith("diagnostics/") and cells.any()]
        known = [name for name in (f"diagnostics/{name}" for name in DIAGNOSTICS) if name in filled]
        for index, column in enumerate(known + [name for name in filled if name not in known]):
            title, hint = described(column.removeprefix("diagnostics/"))
            charts.append(_curve(metrics, column, f"diagnostic-{index}", title, hint))
    none = "<p class='missing'>metrics.csv holds no diagnostics over time.</p>"
    curves = f'<div class="multiples">{"".join(charts)}</div>' if charts else none
    return section("Is it collapsing?", _verdict(diagnosis), curves)


def _verdict(diagnosis: Diagnosed | None) -> str:
    if diagnosis is None:
        return missing("diagnosis.json", "no verdict at the end of training")
    yes, no = "<p class='bad'>Yes: see the top of this page.</p>", "<p class='good'>No collapse found.</p>"
    warnings = "".join(
        f'<div class="note warning"><p><b>{escape(sentence(f.what))}</b> {escape(sentence(f.advice))}</p></div>'
        for f in diagnosis.findings
        if f.severity == "warning"
    )
    values = "".join(
        f"<div><dt>{escape(described(name)[0])}</dt><dd>{number(value)}</dd></div>"
        for name, value in diagnosis.values.items()
    )
    return f'{yes if diagnosis.collapsed else no}{warnings}<dl class="facts">{values}</dl>'


def _curve(metrics: Metrics, column: str, ident: str, title: str, hint: str = "", *, wide: bool = False) -> str:
    epochs, values = metrics.series(column)
    finite = values[np.isfinite(values)]
    lost = len(values) - len(finite)
    ends = finite[[0, -1]] if len(finite) > 1 else finite
    reading = " → ".join(number(value) for value in ends)
    description = f"{title} at {len(values)} epochs: {reading or 'no finite value'}"
    svg = line_chart(
        epochs,
        values,
        name=ident,
        description=description,
        wide=wide,
        zero_based=column.startswith("diagnostics/"),
    )
    diverged = f' <span class="bad">{lost} values are not finite</span>' if lost else ""
    hint = f" <span>— {escape(hint)}</span>" if hint else ""
    return figure(f"<b>{escape(title)}</b> {reading}{hint}{diverged}", svg)


def _config_section(config: str | None) -> str:
    if config is None:
        return section("Configuration", missing("config.yaml", "the run cannot be repeated from this folder"))
    summary = f"config.yaml, {len(config.splitlines())} lines"
    return section("Configuration", f"<details><summary>{summary}</summary><pre>{escape(config)}</pre></details>")
