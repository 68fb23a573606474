"""``jepakit compare``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from jepakit.cli.messages import say
from jepakit.cli.outcome import Outcome
from jepakit.cli.reading import Command
from jepakit.training.comparison import ComparedScores, compare_runs
from jepakit.training.report.compare import options_section, runs_section, write_comparison
from jepakit.training.report.page import number
from jepakit.training.result_rows import format_score
from jepakit.training.results import ReportSection


@dataclass
class CompareOptions:
    """Comparing runs.

    Args:
        runs: folders of runs of one system.
        out: an ``.html`` file to write, with the curves of training one over the other; by default none is written.
    """

    runs: list[Path] = field(default_factory=list)
    out: Path | None = None


def run_compare(options: CompareOptions, out: Console) -> Outcome:
    """Prints the tables, and writes the page."""
    comparison = compare_runs(options.runs)
    runs = [run.parts.folder for run in comparison.runs]
    names = [run.name for run in comparison.runs]
    for scores in comparison.scores:
        _show_scores(scores, names, out)
    for section in (options_section(comparison), runs_section(comparison, advice=False)):
        _show_section(section, out)
    for run in comparison.runs:
        if run.parts.results is not None and run.parts.results.recommendation:
            say(out, f"{run.name}: {run.parts.results.recommendation}")
    for verdict in comparison.verdicts:
        say(out, verdict)
    if options.out is not None:
        write_comparison(options.out, comparison)
        say(out, f"page: {options.out}")
    content = {
        "runs": options.runs,
        "rows": [
            {"run": run.path, **asdict(row)}
            for scores in comparison.scores
            for _, rows in scores.methods
            for run, row in zip(runs, rows, strict=True)
            if row is not None
        ],
        "options": {name: dict(zip(names, values, strict=True)) for name, values in comparison.options},
        "verdicts": comparison.verdicts,
    }
    return Outcome(content)


def _show_scores(scores: ComparedScores, names: list[str], out: Console) -> None:
    better = "lower" if scores.lower_is_better else "higher"
    title = f"{scores.dataset}, {scores.metric} ({better} is better)"
    table = Table("method", *(Column(name, justify="right") for name in names), title=title, title_justify="left")
    for method, rows in scores.methods:
        table.add_row(method, *("—" if row is None else format_score(row, scores.decimals) for row in rows))
    out.print(table)


def _show_section(section: ReportSection, out: Console) -> None:
    if not section.rows:
        return
    table = Table(*section.columns, title=section.title, title_justify="left")
    for row in section.rows:
        table.add_row(*("" if cell is None else cell if isinstance(cell, str) else number(cell) for cell in row))
    out.print(table)


COMMANDS = {"compare": Command(CompareOptions, run_compare, positional=("runs",), json=True)}
