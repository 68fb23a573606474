"""What the commands of all systems share: the frame around a training run, result tables, and messages."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from jepakit.cli.command import config_yaml
from jepakit.cli.messages import say
from jepakit.cli.outcome import Outcome
from jepakit.core import Diagnosis
from jepakit.errors import ConfigError
from jepakit.files import locked, write_json
from jepakit.files.copies import named
from jepakit.training import RunFolder, is_first_process
from jepakit.training.report.write import write_report
from jepakit.training.result_rows import ResultRow, format_score, group_rows
from jepakit.training.results import Evaluation
from jepakit.training.run import require_launcher

#: Fields of the options of a training command that are no part of the configuration of its run.
NOT_CONFIGURATION = ("run", "resume", "overwrite", "dry_run", "progress", "ray")


@dataclass
class RunControl:
    """How a training command treats its folder.

    Args:
        resume: go on with an interrupted run.
        overwrite: replace the run that is in the folder; it stays until an epoch of the new one is complete.
        dry_run: read and check data and options, say what would be done, and write nothing.
    """

    resume: bool = False
    overwrite: bool = False
    dry_run: bool = False


class _TrainingOptions(Protocol):
    num_nodes: int
    resume: bool
    overwrite: bool

    @property
    def processes(self) -> int: ...


@dataclass
class TrainingRun:
    """The values that a training command sets for `training_run`.

    Args:
        is_first: whether this process writes files; the other processes of a distributed run only train.
        diagnosis: diagnosis of the trained encoder, printed at the end.
        evaluation: content of ``results.json``.
    """

    is_first: bool
    diagnosis: Diagnosis | None = None
    evaluation: Evaluation | None = None


@contextmanager
def training_run(
    run: RunFolder, options: _TrainingOptions, out: Console, *, renamed: Mapping[str, str] | None = None
) -> Generator[TrainingRun]:
    """The frame around a training command.

    The first process makes the folder, and removes it again if no epoch was completed, so that the corrected command
    can use it. After an interruption (Ctrl-C, SIGTERM) it prints how to resume. At the end it prints the findings and
    writes results and report.

    Args:
        run: the folder of the run.
        options: a dataclass; all fields but `NOT_CONFIGURATION` are the configuration of the run.
        out: console of the command; all processes but the first are silent.
        renamed: earlier names of options -> their names now.

    Raises:
        ConfigError: see `jepakit.training.RunFolder.require_startable` and `jepakit.training.run.require_launcher`.
        ModelError: another process trains in the folder, or it cannot be written.
    """
    require_launcher(options.num_nodes)
    training = TrainingRun(is_first_process(options.processes))
    out.quiet = not training.is_first
    if options.processes > 1 and (address := named(f"{run.path}")) != f"{run.path}":
        raise ConfigError("run", address, "a folder that all processes see, where several train")
    if not training.is_first:
        yield training
        return
    with locked(run.path):
        run.start(**starting(options), renamed=renamed)
        try:
            yield training
        except KeyboardInterrupt:
            if run.has_begun:
                say(out, f"to continue, add --resume; or: --config {run.config} --run {run.path} --resume")
            raise
        finally:
            run.withdraw()
        for finding in training.diagnosis.findings if training.diagnosis else ():
            colour = "red" if finding.severity == "error" else "yellow"
            out.print(Text.assemble((finding.what, colour), ": ", finding.advice), soft_wrap=True)
        write_results(run, training.evaluation, out)


def starting(options: Any) -> dict[str, Any]:
    """What `jepakit.training.RunFolder.start` takes, from the options of a training command."""
    config, defaults = (config_yaml(values, leave_out=NOT_CONFIGURATION) for values in (options, type(options)()))
    how = {"resume": options.resume, "overwrite": options.overwrite}
    return {"config_yaml": config, "defaults": defaults, **how}


def found(run: RunFolder | None, evaluation: Evaluation | None) -> Outcome:
    """What a command has measured: the run, if any, and what its ``results.json`` holds."""
    return Outcome({"run": None if run is None else run.path, **(evaluation or Evaluation()).as_json()})


def show_rows(out: Console, rows: tuple[ResultRow, ...]) -> None:
    """A table for each dataset and metric."""
    for group in group_rows(rows):
        noted = any(row.note for row in group.rows)
        score = Column(group.metric, justify="right")
        columns = ["method", score, *(["note"] if noted else [])]
        table = Table(*columns, title=f"{group.dataset}, {group.metric}", title_justify="left")
        for row in group.rows:
            table.add_row(row.method, format_score(row, group.decimals), *([row.note] if noted else []))
        out.print(table)


def show_evaluation(evaluation: Evaluation, out: Console) -> None:
    """The tables, and how they were measured; the recommendation comes last, see `write_results`."""
    show_rows(out, evaluation.rows)
    for sentence in evaluation.summary:
        say(out, sentence)


def write_results(run: RunFolder, evaluation: Evaluation | None, out: Console) -> None:
    """``results.json``, where there is an evaluation, and the report; the last line says what to use."""
    if evaluation is not None:
        write_json(run.results, evaluation.as_json())
    say(out, f"report: {write_report(run.path)}")
    say_recommendation(out, evaluation)


def say_recommendation(out: Console, evaluation: Evaluation | None) -> None:
    """What to use, where the table says so."""
    if evaluation is not None and evaluation.recommendation is not None:
        say(out, evaluation.recommendation)


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
