"""``report.html`` of repairs: of each plan the call graph before, the edits, and what is still against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from jepakit.guard.audit.report import masked, run_example
from jepakit.guard.audit.runs import AuditedRun, visible
from jepakit.guard.repair.result import Repair
from jepakit.training.report.page import write_page
from jepakit.training.results import ReportExample, ReportSection


def write_repair_report(folder: Path, repairs: Sequence[tuple[AuditedRun, Repair]], *, title: str) -> Path:
    """Writes ``report.html`` into a folder.

    Args:
        folder: made where it is missing.
        repairs: the audits of the plans as they were, and their repairs.
        title: of the page.

    Returns:
        The page.

    Raises:
        ModelError: it cannot be written.
    """
    file = folder / "report.html"
    examples = [_example(number, run, one) for number, (run, one) in enumerate(repairs, start=1)]
    write_page(file, title=visible(title), eyebrow="jepakit guard repair", examples=examples)
    return file


def _example(number: int, run: AuditedRun, repaired: Repair) -> ReportExample:
    """What the repair did to a plan, and then the audit of the plan before it."""
    before = run_example(number, run)
    names = {call.id: f"{place} {visible(call.tool, 80)}" for place, call in enumerate(run.trace.calls, start=1)}
    facts = (
        ("Energy", f"{repaired.before.total:.2f} before, {repaired.after.total:.2f} after"),
        ("Kept of the intent", f"{repaired.similarity:.0%}"),
        ("Still denied or to be asked about", "nothing" if repaired.passes else "see the table of what is left"),
    )
    tables = (_edits(repaired, names), *(() if repaired.passes else (_left(repaired, names),)), *before.tables)
    return replace(before, facts=(*before.facts, *facts), tables=tables)


def _edits(repaired: Repair, names: Mapping[str, str]) -> ReportSection:
    rows = [
        (
            edit.kind,
            names[edit.call],
            "" if edit.argument is None else visible(edit.argument, 80),
            "" if edit.argument is None else masked(f"{edit.old}"),
            "" if edit.argument is None else masked(f"{edit.new}"),
            ", ".join(dict.fromkeys(reason.rule for reason in edit.reasons)),
            float(sum(edit.lowered.values())),
        )
        for edit in repaired.edits
    ]
    columns = ("edit", "call", "argument", "was", "is", "rules", "energy taken away")
    return ReportSection("Edits, in their order", columns, tuple(rows))


def _left(repaired: Repair, names: Mapping[str, str]) -> ReportSection:
    rows = [
        (names[one.call], one.decision, ", ".join(dict.fromkeys(reason.rule for reason in one.reasons)))
        for one in repaired.after.calls
        if one.decision != "allow"
    ]
    return ReportSection("What is left", ("call", "decision", "rules"), tuple(rows))
