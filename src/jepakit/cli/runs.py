"""What the commands of every system say and do with a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jepakit.cli.command import config_yaml
from jepakit.core import Diagnosis
from jepakit.errors import ConfigError, MissingExtraError
from jepakit.files import write_json
from jepakit.training import RunFolder
from jepakit.training.report.write import write_report
from jepakit.training.result_rows import ResultRow, format_score, group_rows

__all__ = ["say", "say_findings", "show_rows", "start_run", "trained_run", "write_results"]


def say(out: Console, sentence: str) -> None:
    """Text as it is: a path may hold brackets, and is broken over two lines by nobody."""
    out.print(sentence, highlight=False, markup=False, soft_wrap=True)


def say_findings(out: Console, diagnosis: Diagnosis) -> None:
    """What is wrong with the embeddings, and what to change."""
    for finding in diagnosis.findings:
        colour = "red" if finding.severity == "error" else "yellow"
        out.print(Text.assemble((finding.what, colour), ": ", finding.advice), soft_wrap=True)


def show_rows(out: Console, rows: tuple[ResultRow, ...]) -> None:
    """A table for each dataset and metric."""
    for group in group_rows(rows):
        table = Table(title=f"{group.dataset}, {group.metric}", title_justify="left")
        table.add_column("method")
        table.add_column(group.metric, justify="right")
        noted = any(row.note for row in group.rows)
        if noted:
            table.add_column("chosen by the protocol")
        for row in group.rows:
            table.add_row(row.method, format_score(row, group.decimals), *([row.note] if noted else []))
        out.print(table)


def write_results(run: RunFolder, results: dict[str, Any] | None, out: Console) -> None:
    """``results.json``, where there are results, and the report."""
    if results is not None:
        write_json(run.results, results)
    try:
        say(out, f"report: {write_report(run.path)}")
    except MissingExtraError as error:
        say(out, f"no report: {error}")


def start_run(run: RunFolder, options: Any, *, renamed: Mapping[str, str] | None = None) -> None:
    """Opens a run folder for training with these options.

    Args:
        run: the folder.
        options: the command's.
        renamed: earlier names of options -> their names now.

    Raises:
        ConfigError: see `RunFolder.start`.
    """
    # Where a run is written, and what is shown meanwhile, does not change it.
    now, defaults = (config_yaml(some, leave_out=("run", "resume", "progress")) for some in (options, type(options)()))
    run.start(now, resume=options.resume, defaults=defaults, renamed=renamed)


def trained_run(path: Path | None) -> RunFolder:
    """The run in a folder.

    Raises:
        ConfigError: no folder is named.
        ModelError: it is not a finished run.
    """
    if path is None:
        raise ConfigError("run", None, "the folder of a finished run")
    run = RunFolder(path)
    run.require_trained()
    return run
