"""``jepakit guard repair``: plans with the harm taken out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from jepakit.cli.guard_audit import JudgedTraces
from jepakit.cli.messages import say
from jepakit.cli.outcome import Outcome
from jepakit.errors import require_at_least, shorten
from jepakit.files import whole_file
from jepakit.files.copies import named
from jepakit.guard import Trace
from jepakit.guard.audit import Thresholds
from jepakit.guard.audit.runs import AuditedRun
from jepakit.guard.repair import Edit, Repair, RepairConfig, repair


@dataclass
class RepairOptions(RepairConfig):
    """Repairing plans.

    Args:
        traces: a file with traces, in any format that is read.
        policy: a policy file, or the name of a ready one such as ``agentdojo/banking``; ``agentdojo/{suite}`` takes for
            each trace the one that its fact ``suite`` names.
        model: a trained guard: a run of ``guard train``, its encoder folder, or a hub id; by default there is none.
        format: of the traces.
        thresholds: a file that ``guard calibrate`` has written; by default the thresholds are the defaults.
        out: a file for the repairs, one JSON object a line, in the order of the traces.
        report: a folder for ``report.html`` with the first repaired plans.
        report_runs: how many of them.
        strict: arguments that cannot be read are an error; else such a call is there to be denied.
    """

    traces: Path | None = None
    policy: str | None = None
    model: str | None = None
    format: str = "auto"
    thresholds: Path | None = None
    out: Path | None = None
    report: Path | None = None
    report_runs: int = 20
    strict: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, report_runs=1)


def run_repair(options: RepairOptions, out: Console) -> Outcome:
    """Repairs every trace of a file.

    Raises:
        ConfigError: no traces or no policy are named.
        DataError: traces, policy or thresholds cannot be read.
        ModelError: there is no such model, or the repairs cannot be written.
    """
    judged = JudgedTraces(options.traces, options.policy, options.model, options.format, options.strict)
    thresholds = Thresholds() if options.thresholds is None else Thresholds.read(options.thresholds)
    auditors = judged.auditors(thresholds)
    config = RepairConfig(options.beam, options.most_values, options.share)

    pictured: list[tuple[AuditedRun, Repair]] = []

    def repaired(trace: Trace) -> Repair:
        auditor = auditors(trace)
        one = repair(trace, auditor.policy, scorer=auditor.scorer, thresholds=thresholds, config=config)
        if options.report is not None and len(pictured) < options.report_runs and (one.edits or not one.passes):
            pictured.append((AuditedRun(trace, auditor.audit(trace)), one))
        return one

    repairs = ((trace.id, repaired(trace)) for trace in judged.load())
    with ExitStack() as stack:
        if options.out is not None:
            part = stack.enter_context(whole_file(options.out))
            repairs = _written(repairs, stack.enter_context(part.open("w", encoding="utf-8")))
        content = _shown(repairs, out)
    if options.out is not None:
        say(out, f"repairs: {options.out}")
        content["out"] = options.out
    if options.report is not None:
        # It imports torch, which a command without a report need not wait for.
        from jepakit.guard.repair.report import write_repair_report

        page = write_repair_report(options.report, pictured, title=named(f"{options.traces}"))
        say(out, f"report: {page}")
        content["report"] = page
    return Outcome(content)


def _written(repairs: Iterator[tuple[str, Repair]], stream: TextIO) -> Iterator[tuple[str, Repair]]:
    for name, one in repairs:
        stream.write(json.dumps({"id": name, **one.as_json()}, ensure_ascii=False) + "\n")
        yield name, one


def _shown(repairs: Iterator[tuple[str, Repair]], out: Console) -> dict[str, Any]:
    """Prints the edits; the counts, and the repairs that have edits, without the plans."""
    counts: Counter[str] = Counter()
    edited: list[dict[str, Any]] = []
    for number, (name, one) in enumerate(repairs, start=1):
        counts["traces"] += 1
        counts["repaired"] += bool(one.edits)
        counts["with what no edit takes away"] += not one.passes
        counts.update(edit.kind for edit in one.edits)
        if one.edits or not one.passes:
            edited.append({"id": name, **{key: part for key, part in one.as_json().items() if key != "plan"}})
            before, after = one.before.total, one.after.total
            say(out, f"{name or f'trace {number}'}: energy {before:.2f} -> {after:.2f}, kept {one.similarity:.0%}")
            for edit in one.edits:
                say(out, f"  {described(edit)}")
            if not one.passes:
                say(out, "  something is still denied")
    say(out, ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "repaired"))
    return {"counts": dict(counts), "repairs": edited}


def described(edit: Edit) -> str:
    """An edit in one line: what was done, to which call, and why. Values are shown without control characters."""
    fell = ", ".join(f"{name} -{value:.2f}" for name, value in edit.lowered.items() if value > 0)
    what = {
        "drop": f"without call {edit.call}" + "".join(f" and {other}" for other in edit.others),
        "move": f"call {edit.call} behind call {''.join(edit.others)}",
        "approve": f"a person is asked about call {edit.call}",
    }
    value = f"call {edit.call}: {edit.argument} {shorten(edit.old)} -> {shorten(edit.new)}"
    rules = ", ".join(dict.fromkeys(reason.rule for reason in edit.reasons))
    return f"{edit.kind}: {what.get(edit.kind, value)} ({edit.tool}; {rules}; {fell})"
