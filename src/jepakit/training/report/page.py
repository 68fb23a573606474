"""The frame of every page: one file with its style and its script, which are all that its content policy allows."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from jepakit.files import write_text
from jepakit.training.report.axes import Axis, axis_of
from jepakit.training.report.charts import score_mark
from jepakit.training.report.diagram import draw
from jepakit.training.report.figures import LegendEntry
from jepakit.training.result_rows import ResultGroup, ResultRow, format_score
from jepakit.training.results import ReportExample, ReportSection

_KINDS = (
    ("gold", "right answer"),
    ("answer", "answer"),
    ("asked", "asked about"),
    ("denied", "denied"),
)


def write_page(
    file: Path,
    *,
    title: str,
    eyebrow: str,
    examples: Sequence[ReportExample],
    counts: Sequence[ReportSection] = (),
    sections: Sequence[ReportSection] = (),
    links: Sequence[tuple[str, str]] = (),
) -> None:
    """Writes a page of cases that looks as a report does, whole or not at all.

    Args:
        file: where to.
        title: the heading.
        eyebrow: the small line above it.
        examples: shown one below the other.
        counts: tables above them.
        sections: tables below them.
        links: other pages: what stands there, and where it is from this file.

    Raises:
        ModelError: the file cannot be written.
    """
    tables = {"examples": examples, "counts": counts, "sections": sections}
    content = {"title": title, "eyebrow": eyebrow, "links": links, **tables}
    write_text(file, render("cases.html.j2", content))


def render(template: str, content: dict[str, Any]) -> str:
    """A page; everything that is put into it is escaped, but for charts and drawings, whose texts are."""
    style, script = _text("style.css"), _text("script.js")
    return (
        _environment()
        .get_template(template)
        .render(**content, style=style, script=script, hash=policy_hash, version=version("jepakit"))
    )


def policy_hash(text: str) -> str:
    """A style or script as a content security policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _text(name: str) -> str:
    return files("jepakit.training.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("jepakit.training.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    filters: dict[str, Any] = {
        "drawing": draw,
        "kinds": _kinds,
        "mark": _mark,
        "number": number,
        "scale": _scale,
        "score": format_score,
        "sentence": sentence,
    }
    environment.filters.update(filters)
    return environment


def number(value: float) -> str:
    """Four digits, with a minus sign that is as wide as a plus."""
    return f"{value:.4g}".replace("-", "−")


def sentence(text: str) -> str:
    """The text with a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _kinds(example: ReportExample) -> list[LegendEntry]:
    """The legend of a diagram."""
    if example.diagram is None:
        return []
    kinds = {node.kind for node in example.diagram.nodes}
    named = (("start", example.start), *_KINDS)
    entries = [LegendEntry(kind, "■", name) for kind, name in named if kind in kinds]
    tainted = any(edge.kind == "warned" for edge in example.diagram.edges)
    return [*entries, *([LegendEntry("warned", "⇢", "tainted data")] if tainted else [])]


def _scale(group: ResultGroup) -> Axis | None:
    """The axis of the scores of a group; None where there is nothing to compare."""
    ends = [row.value + sign * (row.std or 0) for row in group.rows if row.value is not None for sign in (-1, 1)]
    ends += [row.aim for row in group.rows if row.aim is not None]
    return axis_of(np.array(ends), count=2) if len(ends) > 2 else None


def _mark(axis: Axis, row: ResultRow) -> str:
    assert row.value is not None
    return score_mark(axis, row.value, row.std, row.aim)
