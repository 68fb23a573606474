"""``jepakit guard audit``, and what its options have in common with those of ``calibrate``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TextIO, get_args

from rich.console import Console
from rich.table import Column, Table

from jepakit.cli.messages import say
from jepakit.cli.outcome import Outcome
from jepakit.cli.ray_options import RayOptions
from jepakit.errors import ConfigError, require_at_least
from jepakit.files import whole_file
from jepakit.files.copies import named
from jepakit.guard import Trace, load_traces
from jepakit.guard.audit import Auditor, Judgement, Thresholds
from jepakit.guard.audit.runs import AuditedRun, most_severe, visible
from jepakit.guard.energies import EnergyName
from jepakit.guard.policy import Decision, load_policy, policy_name
from jepakit.guard.policy.schema import SEVERITY
from jepakit.guard.scorer import Scorer
from jepakit.mapping import mapping
from jepakit.progress import tracked

ShownTable = tuple[str, tuple[str, ...], tuple[tuple[str | int, ...], ...]]
"""Title, names of the columns, and rows of a table."""
ENERGIES = get_args(EnergyName)
FLAGGED = 3
"""Exit status of ``guard audit --fail-on``."""


@dataclass
class JudgedTraces:
    """Traces, and what judges them.

    Args:
        traces: a file with traces.
        policy: a policy file, or the name of a ready one such as ``agentdojo/banking``; ``agentdojo/{suite}`` takes for
            each trace the one that its fact ``suite`` names.
        model: a trained guard: a run of ``guard train``, its encoder folder, or a hub id; by default there is none.
        format: of the traces; by default it is found out.
        strict: arguments that cannot be read are an error; else such a call is there to be denied.
        timeout: seconds that a call may take.
    """

    traces: Path | None = None
    policy: str | None = None
    model: str | None = None
    format: str = "auto"
    strict: bool = False
    timeout: float = 2.0

    def load(self) -> Iterator[Trace]:
        """The traces of the file; each counts as judged when the next one is asked for.

        Raises:
            ConfigError: no file is named.
        """
        return tracked(self.read(), "judging", unit="runs")

    def read(self) -> Iterator[Trace]:
        """The traces of the file.

        Raises:
            ConfigError: no file is named.
        """
        if self.traces is None:
            raise ConfigError("traces", None, "a file with traces")
        return iter(load_traces(self.traces, self.format, strict=self.strict))

    def auditors(
        self, thresholds: Thresholds | None = None, mode: Literal["enforce", "record"] = "enforce"
    ) -> Callable[[Trace], Auditor]:
        """What judges a trace.

        Raises:
            ConfigError: no policy is named.
            ModelError: there is no such model.
            DataError: the policy cannot be read; from the function also where a trace has no fact that names it.
        """
        pattern = self.policy
        if pattern is None:
            raise ConfigError("policy", None, "a policy; jepakit guard draft-policy writes a first one")

        scorer = self._scorer()

        @lru_cache(maxsize=16)
        def auditor(policy: str) -> Auditor:
            made = load_policy(policy)
            return Auditor(made, scorer=scorer, thresholds=thresholds, mode=mode, timeout=self.timeout)

        if "{suite}" not in pattern:
            auditor(pattern)

        def of(trace: Trace) -> Auditor:
            return auditor(policy_name(pattern, trace))

        return of

    def _scorer(self) -> Scorer | None:
        if self.model is None:
            return None
        # It imports torch, which a command without a model need not wait for.
        from jepakit.guard.model import GuardModel

        return GuardModel.open(self.model)


@dataclass
class AuditOptions(JudgedTraces, RayOptions):
    """Judging every call of recorded runs.

    Args:
        thresholds: a file that ``guard calibrate`` has written.
        mode: ``record`` decides and lets everything through; the file of ``--out`` has both.
        show: calls in the table: ``flagged``, those that are asked about or denied; ``all``; or ``none``.
        most: rows of the table.
        out: a file for the judgements, one JSON object a line.
        report: a folder for ``report.html`` with the most severe runs.
        report_runs: how many of them.
        fail_on: exit status 3 where a call was denied, or also where one was asked about.
    """

    thresholds: Path | None = None
    mode: Literal["enforce", "record"] = "enforce"
    show: Literal["flagged", "all", "none"] = "flagged"
    most: int = 100
    out: Path | None = None
    report: Path | None = None
    report_runs: int = 20
    fail_on: Literal["never", "deny", "ask"] = "never"

    def __post_init__(self) -> None:
        require_at_least(self, most=0, report_runs=1)


class _Counts:
    """Calls and runs by suite, label and decision."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str, Decision]] = Counter()
        self.runs: Counter[tuple[str, str, Decision]] = Counter()

    def add(self, run: AuditedRun) -> None:
        suite, label = f"{run.trace.about.get('suite', '')}", run.trace.label or ""
        decisions: list[Decision] = [one.decision for one in run.judgements]
        self.calls.update((suite, label, decision) for decision in decisions)
        worst: Decision = max(decisions, key=lambda one: SEVERITY[one]) if decisions else "allow"
        self.runs[suite, label, worst] += 1

    def tables(self) -> list[ShownTable]:
        """Two tables."""
        columns = ("suite", "label", "allowed", "asked about", "denied")
        return [
            (title, columns, _rows(counts))
            for title, counts in (("Runs, by their most severe call", self.runs), ("Calls", self.calls))
        ]

    def shown(self, show: str) -> int:
        """Calls that a table of all would have."""
        return sum(count for (_, _, decision), count in self.calls.items() if show == "all" or decision != "allow")


def run_audit(options: AuditOptions, out: Console) -> Outcome:
    """Judges every call of a file, each by what stands before it.

    Raises:
        ConfigError, DataError: options, traces, policy or thresholds cannot be used.
        ModelError: a file cannot be written.
    """
    thresholds = None if options.thresholds is None else Thresholds.read(options.thresholds)
    audit, counts = _Audit(options, thresholds), _Counts()
    rows: list[tuple[AuditedRun, Judgement]] = []
    with ExitStack() as stack:
        mapped = stack.enter_context(mapping(ray=options.ray))
        runs = tracked(mapped(audit, _named(options.read())), "judging", unit="runs")
        if options.out is not None:
            part = stack.enter_context(whole_file(options.out))
            runs = _written(runs, stack.enter_context(part.open("w", encoding="utf-8")))
        severe = most_severe(_counted(runs, counts, rows, options), options.report_runs if options.report else 1)
    if options.show != "none":
        _show_calls(rows[: options.most], out)
        if (more := counts.shown(options.show) - options.most) > 0:
            say(out, f"{more} more calls are not shown; --most {more + options.most} shows them")
    tables = counts.tables()
    for table in tables:
        show_table(table, out)
    if options.out is not None:
        say(out, f"judgements: {options.out}")
    if options.report is not None:
        # It imports torch, which a command without a report need not wait for.
        from jepakit.guard.audit.report import write_audit_report
        from jepakit.training.results import ReportSection

        sections = [ReportSection(*table) for table in tables]
        page = write_audit_report(options.report, severe, title=named(f"{options.traces}"), sections=sections)
        say(out, f"report: {page}")
    worst = severe[0].rank[0] if severe else 0
    flagged = options.fail_on != "never" and worst >= SEVERITY[options.fail_on]
    content = {
        "traces": options.traces,
        "calls": [{"run": run.trace.id, **one.as_json()} for run, one in rows],
        "tables": [table_as_json(table) for table in tables],
    }
    return Outcome(content, status=FLAGGED if flagged else 0)


class _Audit:
    """Judges a run. Another process reads policy and model again: an auditor has threads."""

    def __init__(self, options: AuditOptions, thresholds: Thresholds | None) -> None:
        self.options, self.thresholds = options, thresholds
        self.auditor = options.auditors(thresholds, options.mode)

    def __reduce__(self) -> tuple[type[_Audit], tuple[AuditOptions, Thresholds | None]]:
        return _Audit, (self.options, self.thresholds)

    def __call__(self, trace: Trace) -> AuditedRun:
        return AuditedRun(trace, self.auditor(trace).audit(trace))


def _named(traces: Iterable[Trace]) -> Iterator[Trace]:
    """The traces; one without an id gets its number in the file, from 1."""
    for number, trace in enumerate(traces, start=1):
        yield trace if trace.id else trace.model_copy(update={"id": f"#{number}"})


def _counted(
    runs: Iterable[AuditedRun], counts: _Counts, rows: list[tuple[AuditedRun, Judgement]], options: AuditOptions
) -> Iterator[AuditedRun]:
    """The runs, which are counted on their way; calls that are shown are put into ``rows``."""
    for run in runs:
        counts.add(run)
        if options.show != "none" and len(rows) < options.most:
            chosen = (one for one in run.judgements if options.show == "all" or one.decision != "allow")
            rows.extend((run, one) for one in chosen)
        yield run


def _written(runs: Iterable[AuditedRun], stream: TextIO) -> Iterator[AuditedRun]:
    """The runs, whose judgements are written on their way."""
    for run in runs:
        for one in run.judgements:
            stream.write(json.dumps({"run": run.trace.id, **one.as_json()}, ensure_ascii=False) + "\n")
        yield run


def _rows(counts: Counter[tuple[str, str, Decision]]) -> tuple[tuple[str | int, ...], ...]:
    groups = sorted({(suite, label) for suite, label, _ in counts})
    return tuple((suite, label, *(counts[suite, label, decision] for decision in SEVERITY)) for suite, label in groups)


def _show_calls(rows: Iterable[tuple[AuditedRun, Judgement]], out: Console) -> None:
    """A line for each call; what strangers have written is shown as it is, and moves nothing."""
    listed = list(rows)
    scored = any(one.score is not None for _, one in listed)
    columns = ["run", "call", "decision", "code", "energies", *(["risk"] if scored else [])]
    table = Table(*(Column(name, overflow="fold") for name in columns))
    for run, one in listed:
        values = asdict(one.energies) if one.energies is not None else {}
        energies = ", ".join(f"{name} {value:.2f}" for name, value in values.items() if name in ENERGIES and value)
        risk = [] if not scored else ["" if one.score is None else f"{one.score.risk:.2f}"]
        table.add_row(visible(run.trace.id), visible(one.tool), one.decision, one.code, energies, *risk)
    if listed:
        out.print(table)


def table_as_json(shown: ShownTable) -> dict[str, Any]:
    """A table as it stands in ``results.json``."""
    title, columns, rows = shown
    return {"title": title, "columns": columns, "rows": rows}


def show_table(shown: ShownTable, out: Console) -> None:
    """Prints a table that has rows."""
    title, columns, rows = shown
    if rows:
        table = Table(*columns, title=title, title_justify="left")
        for row in rows:
            table.add_row(*(f"{cell}" for cell in row))
        out.print(table)
