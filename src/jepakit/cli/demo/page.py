"""The table of the demo, on the console and on a page that leads to the reports of the systems."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jepakit.cli.demo.case import Compared, Shown
from jepakit.progress import in_words
from jepakit.training.report.page import number, write_page
from jepakit.training.results import ReportExample, ReportSection

_TITLE = "Every system on built-in data"
_NOTE = (
    "All numbers are of data that nothing was learned from or chosen on. The floor is the strongest row of the system's"
    " table that needs no jepakit."
)


def show_table(parts: Mapping[str, Shown], skipped: Mapping[str, str], out: Console) -> None:
    """Prints a line for each task, the better number in bold, and what to use."""
    table = Table(box=SIMPLE_HEAD, title=_TITLE, title_justify="left", pad_edge=False)
    table.add_column("task")
    for name in ("with jepakit", "floor"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("the strongest floor")
    for name, part in parts.items():
        table.add_row(f"{name}, {in_words(part.seconds)}")
        for row in part.rows:
            ours = Text(number(row.ours[1]), "bold" if row.is_better else "")
            floor = Text(number(row.floor[1]), "" if row.is_better else "bold")
            table.add_row(f"  {row.task}, {row.metric}", ours, floor, row.floor[0])
        table.add_section()
    out.print(table)
    for name, part in parts.items():
        out.print(f"{name}: {part.evaluation.recommendation}", soft_wrap=True)
    for name, why in skipped.items():
        out.print(f"{name}: left out: {why}", soft_wrap=True)


def write_index(file: Path, parts: Mapping[str, Shown], skipped: Mapping[str, str]) -> None:
    """Writes the page.

    Raises:
        ModelError: it cannot be written.
    """
    columns = ("system", "task", "metric", "strongest floor", "value", "with jepakit", "value ", "better", "seconds")
    rows = [
        (name, row.task, row.metric, row.floor[0], row.floor[1], row.ours[0], row.ours[1], _verdict(row), part.seconds)
        for name, part in parts.items()
        for row in part.rows
    ]
    table = ReportSection("", columns, tuple(rows))
    examples = [
        ReportExample("What it comes to", (("How to read it", _NOTE),), tables=(table,)),
        *(ReportExample(name, _facts(part)) for name, part in parts.items()),
        *(ReportExample(name, (("Left out", why),)) for name, why in skipped.items()),
    ]
    links = [
        (f"{name}: report", part.report.relative_to(file.parent).as_posix())
        for name, part in parts.items()
        if part.report.exists()
    ]
    write_page(file, title=_TITLE, eyebrow="jepakit demo", examples=examples, links=links)


def _facts(part: Shown) -> tuple[tuple[str, str], ...]:
    facts = ("What to use", part.evaluation.recommendation), ("How it was measured", " ".join(part.evaluation.summary))
    return tuple((name, text) for name, text in facts if text)


def _verdict(row: Compared) -> str:
    if row.ours[1] == row.floor[1]:
        return "equal"
    return "with jepakit" if row.is_better else "the floor"
