"""``jepakit guard calibrate | draft-policy``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from jepakit.cli.guard_audit import JudgedTraces, ShownTable, show_table, table_as_json
from jepakit.cli.messages import say
from jepakit.cli.outcome import Outcome
from jepakit.errors import ConfigError
from jepakit.files import write_text
from jepakit.files.copies import named
from jepakit.guard import load_tools
from jepakit.guard.audit.calibration import Calibration, CalibrationConfig, calibrate, run_scores
from jepakit.guard.policy import draft_text


@dataclass
class CalibrateOptions(CalibrationConfig, JudgedTraces):
    """Thresholds from recorded runs.

    Args:
        out: a file for the thresholds.
        report: a folder for ``report.html`` with what the thresholds do.
    """

    out: Path = Path("thresholds.json")
    report: Path | None = None


@dataclass
class DraftOptions:
    """A first policy from tools.

    Args:
        tools: a JSON file: a list of tools, or the answer of a server to ``tools/list``.
        name: of the policy.
        out: a file for it; by default it is printed.
    """

    tools: Path | None = None
    name: str = ""
    out: Path | None = None


def run_calibrate(options: CalibrateOptions, out: Console) -> Outcome:
    """Chooses thresholds, says what they do in each suite, and writes them.

    Raises:
        ConfigError, DataError: options, traces or policy cannot be used.
        ModelError: the file cannot be written.
    """
    found = calibrate(list(run_scores(options.auditors(), options.load())), options)
    table = rates_table(found)
    show_table(table, out)
    for note in found.notes:
        say(out, note)
    facts = {
        "policy": options.policy,
        "model": options.model,
        "ask_rate": options.ask_rate,
        "deny_rate": options.deny_rate,
    }
    found.thresholds.write(options.out, **facts, tasks=found.tasks, notes=list(found.notes))
    say(out, f"thresholds: {options.out}")
    if options.report is not None:
        # It imports torch, which a command without a report need not wait for.
        from jepakit.training.report.page import write_page
        from jepakit.training.results import ReportSection

        page = options.report / "report.html"
        section = ReportSection(*table, " ".join(found.notes))
        write_page(
            page, title=named(f"{options.traces}"), eyebrow="jepakit guard calibrate", examples=[], counts=[section]
        )
        say(out, f"report: {page}")
    return Outcome({**facts, "notes": found.notes, "thresholds": options.out, "tables": [table_as_json(table)]})


def run_draft_policy(options: DraftOptions, out: Console) -> None:
    """Writes a first policy, for a person to go through.

    Raises:
        ConfigError: no file is named.
        DataError: it has no tools.
        ModelError: the policy cannot be written.
    """
    if options.tools is None:
        raise ConfigError("tools", None, "a JSON file with tools")
    tools = load_tools(options.tools)
    text = draft_text(tools, name=options.name)
    if options.out is None:
        out.print(text, soft_wrap=True, end="")
        return
    write_text(options.out, text)
    say(out, f"a draft for {len(tools)} tools: {options.out}; go through it before it is used")


def rates_table(found: Calibration) -> ShownTable:
    """Shares in per cent: asked about or denied, and of these denied."""
    rows = tuple(
        (
            one.suite,
            one.tasks,
            one.runs,
            _shares(one.policy),
            _shares(one.own),
            "" if one.others is None else _shares(one.others),
            one.attacks,
            _shares(one.caught) if one.attacks else "",
        )
        for one in found.suites
    )
    columns = (
        "suite",
        "tasks",
        "runs",
        "policy alone",
        "with thresholds",
        "those of other suites",
        "attacks",
        "caught",
    )
    return "Runs without attacks that are asked about or denied / denied, %", columns, rows


def _shares(pair: tuple[float, float]) -> str:
    return " / ".join(f"{100 * share:.1f}" for share in pair)
