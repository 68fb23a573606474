"""``report.html`` of an audit: of each run the call graph, what was tainted by what, and the energies.

The texts of a run are those of strangers: all are escaped, what cannot be seen in them is shown, and the page loads
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jepakit.guard.audit.judgement import Judgement
from jepakit.guard.audit.runs import SHOWN, AuditedRun, visible
from jepakit.guard.audit.secrets import SecretRules
from jepakit.guard.data import Origin, Trace
from jepakit.guard.traces.editing import at
from jepakit.guard.traces.provenance import data_flow
from jepakit.training.report.diagram import Diagram, DiagramEdge, DiagramNode, NodeKind
from jepakit.training.report.page import write_page
from jepakit.training.results import ReportExample, ReportSection

#: Characters around a place in an output; calls of a drawing; rows of a table; characters of a name in a drawing.
_AROUND, _MOST_CALLS, _MOST_ROWS, _MOST_NAMED = 60, 60, 100, 1000
#: Edges of a drawing; more cannot be told apart.
_MOST_EDGES = 150


def write_audit_report(
    folder: Path, runs: Sequence[AuditedRun], *, title: str, sections: Sequence[ReportSection] = ()
) -> Path:
    """Writes ``report.html`` into a folder.

    Args:
        folder: made where it is missing.
        runs: that are shown.
        title: of the page.
        sections: tables above the runs.

    Returns:
        The page.

    Raises:
        ModelError: it cannot be written.
    """
    file = folder / "report.html"
    examples = [run_example(number, run) for number, run in enumerate(runs, start=1)]
    write_page(file, title=visible(title), eyebrow="jepakit guard audit", examples=examples, counts=sections)
    return file


def run_example(number: int, run: AuditedRun) -> ReportExample:
    """A run as a page shows it; ``number`` stands before its name."""
    trace = run.trace
    about = [(name, visible(f"{value}", 60)) for name, value in trace.about.items() if isinstance(value, str | int)]
    facts = [("Task", masked(trace.context.task)), ("Role", trace.context.role or ""), *about]
    tables = (_decisions(run), _tainted(run), _reasons(run), _parts(run))
    name = f"{number}. {visible(trace.id, 80)}" if trace.id else f"Run {number}"
    shown = tuple((fact, text) for fact, text in facts if text)
    return ReportExample(name, shown, _diagram(run), tables, start="what the user said")


def _diagram(run: AuditedRun) -> Diagram:
    """The calls from left to right, each behind those that it has data from."""
    calls, judgements = run.trace.calls[:_MOST_CALLS], run.judgements[:_MOST_CALLS]
    place = {call.id: number for number, call in enumerate(calls, start=1)}
    tainted = {
        (place.get(origin.call or ""), place[one.call])
        for one in judgements
        for reason in one.reasons
        for origin in reason.taint
    }
    arguments = _read_arguments(run.trace.model_copy(update={"calls": calls, "edges": ()}), judgements)
    layers = [0, *(1 for _ in calls)]
    for source, target in sorted(arguments, key=lambda edge: edge[1]):
        layers[target] = max(layers[target], layers[source] + 1)
    kinds: dict[str, NodeKind] = {"allow": "between", "ask": "asked", "deny": "denied"}
    nodes = [DiagramNode("user", 0, "start", masked(run.trace.context.task))]
    for number, one in enumerate(judgements, start=1):
        title = f"{visible(one.call, 80)}: {one.decision} {one.code}".strip()
        nodes.append(
            DiagramNode(visible(f"{number} {one.tool}", _MOST_NAMED), layers[number], kinds[one.decision], title)
        )
    drawn = sorted(arguments, key=lambda edge: (edge not in tainted, edge))[:_MOST_EDGES]
    edges: list[DiagramEdge] = []
    for source, target in drawn:
        name = visible(", ".join(dict.fromkeys(arguments[source, target])), _MOST_NAMED)
        edges.append(DiagramEdge(source, target, name, "warned" if (source, target) in tainted else "plain"))
    described = (
        f"{len(calls)} of {len(run.trace.calls)} calls, {len(edges)} of {len(arguments)} edges of their data flow"
    )
    return Diagram(tuple(nodes), tuple(edges), described)


def _read_arguments(trace: Trace, judgements: Sequence[Judgement]) -> dict[tuple[int, int], list[str]]:
    """The arguments of a call that are read in an earlier one, by the numbers of the two; 0 is the user."""
    if any(one.energies is None for one in judgements):
        # There is a call whose arguments are not looked at.
        return {}
    place = {call.id: number for number, call in enumerate(trace.calls, start=1)}
    found: dict[tuple[int, int], list[str]] = {}
    for target, values in enumerate(data_flow(trace).values, start=1):
        for value in values or ():
            for origin in (read.origin for read in value.reads if read.origin.source != "system"):
                source = 0 if origin.call is None else place[origin.call]
                found.setdefault((source, target), []).append(value.pointer)
    return found


def _decisions(run: AuditedRun) -> ReportSection:
    names = ("hierarchy", "provenance", "scope", "flow", "jepa")
    rows = [
        (
            f"{number} {visible(one.tool, 80)}",
            one.decision,
            one.code,
            *(None if one.energies is None else float(getattr(one.energies, name)) for name in names),
            None if one.score is None else float(one.score.risk),
        )
        for number, one in enumerate(run.judgements[:_MOST_ROWS], start=1)
    ]
    return ReportSection("Calls", ("call", "decision", "code", *names, "risk"), tuple(rows))


def _tainted(run: AuditedRun) -> ReportSection:
    """Which value comes from where."""
    rows: list[tuple[str, str, str, str, str]] = []
    calls = {call.id: call for call in run.trace.calls}
    numbers = {call.id: f"{number} {visible(call.tool, 80)}" for number, call in enumerate(run.trace.calls, start=1)}
    places = [(one.call, reason, origin) for one in run.judgements for reason in one.reasons for origin in reason.taint]
    for call, argument, origin in dict.fromkeys((call, reason.argument, origin) for call, reason, origin in places):
        if argument is None or origin.call is None:
            continue
        value = at(calls[call].arguments, argument)
        where = numbers[origin.call] + ("" if origin.record is None else f", record {origin.record + 1}")
        text = _excerpt(calls[origin.call].output or "", origin)
        rows.append((numbers[call], visible(argument, 80), masked(f"{value}"), where, text))
    columns = ("call", "argument", "value", "read in", "where it stands")
    text = "Values that untrusted outputs hold, and the places there. Recognised secrets are not shown."
    return ReportSection("What was tainted by what", columns, tuple(rows[:_MOST_ROWS]), text)


def _reasons(run: AuditedRun) -> ReportSection:
    rows = [
        (f"{number} {visible(one.tool, 80)}", why.decision, why.rule, visible(why.argument or "", 80), why.problem)
        for number, one in enumerate(run.judgements, start=1)
        for why in one.reasons
    ]
    return ReportSection("Reasons", ("call", "decision", "rule", "argument", "why"), tuple(rows[:_MOST_ROWS]))


def _parts(run: AuditedRun) -> ReportSection:
    numbers = {call.id: f"{number}" for number, call in enumerate(run.trace.calls, start=1)}
    rows = [
        (
            f"{number} {visible(one.tool, 80)}",
            part.energy,
            float(part.value),
            visible(part.argument or ""),
            part.why,
            ", ".join(numbers.get(source, "") for source in part.sources),
        )
        for number, one in enumerate(run.judgements, start=1)
        for part in (one.energies.parts if one.energies is not None else ())
    ]
    columns = ("call", "energy", "value", "argument", "why", "because of call")
    return ReportSection("Energies", columns, tuple(rows[:_MOST_ROWS]))


def _excerpt(text: str, origin: Origin) -> str:
    """A place in an output with what stands around it."""
    if origin.start is None or origin.end is None:
        return ""
    start, end = max(0, origin.start - _AROUND), min(origin.end, origin.start + SHOWN) + _AROUND
    return visible(_without_secrets(text)[start:end], end - start)


def masked(text: str) -> str:
    """The text as a page shows it: visible, and without recognised secrets."""
    return visible(_without_secrets(text))


def _without_secrets(text: str) -> str:
    """The text, of the same length."""
    for secret in dict.fromkeys(SecretRules().secrets_of(text)):
        text = text.replace(secret, "•" * len(secret))
    return text
