"""What reports say of solved problems: pivots and milliseconds of each, and how batches of scenarios were solved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jepakit.training.results import Evaluation, ReportCurve, ReportSection

#: Problems of a curve; of more, evenly spaced ones are drawn.
_SHOWN = 1000


def curves_by_problem(
    names: Sequence[str], *, pivots: Mapping[str, Sequence[float]], milliseconds: Mapping[str, Sequence[float]]
) -> tuple[ReportCurve, ...]:
    """Pivots and milliseconds of each problem, a line for each way; less than two problems have none.

    Args:
        names: of the problems, in the order in which they were solved.
        pivots: way -> of each problem; empty where they were not counted.
        milliseconds: the same, guess included.
    """
    if len(names) < 2:
        return ()
    kept: list[int] = np.linspace(0, len(names) - 1, min(_SHOWN, len(names))).astype(int).tolist()
    tables = (("Pivots of each problem", "pivots", pivots), ("Time of each problem", "milliseconds", milliseconds))
    return tuple(
        ReportCurve(
            title=title,
            x_label="problem, in the order solved",
            y_label=label,
            x=tuple(float(place + 1) for place in kept),
            lines=tuple((way, tuple(float(values[place]) for place in kept)) for way, values in ways.items()),
            lower_is_better=True,
            names=tuple(names[place] for place in kept),
        )
        for title, label, ways in tables
        if ways
    )


def solved_evaluation(facts: Sequence[Mapping[str, Any]]) -> Evaluation:
    """The report of problems solved one after another.

    Args:
        facts: of each, as ``jepakit lp solve --json`` prints them.
    """
    solved = [one for one in facts if "error" not in one]
    times = [1e3 * (one["reading"] + one["guessing"] + one["seconds"]) for one in solved]
    certified = sum(bool(one["certified"]) for one in solved)
    summary = [f"{len(solved)} problems solved, {certified} certified; {sum(times) / 1e3:.3g} s with reading."]
    if unread := len(facts) - len(solved):
        summary.append(f"{unread} problems could not be read.")
    columns = ("problem", "status", "certified", "objective", "pivots", "start", "read, ms", "starts, ms", "solve, ms")
    rows = [
        (
            one["problem"],
            one["status"],
            "yes" if one["certified"] else "no",
            None if one["objective"] is None else float(one["objective"]),
            float(one["pivots"]),
            one["source"] + (" (did not hold)" if one["fell_back"] else ""),
            *(1e3 * one[name] for name in ("reading", "guessing", "seconds")),
        )
        for one in solved[:_SHOWN]
    ]
    unread_rows = tuple((one["problem"], one["error"]) for one in facts if "error" in one)
    curves = curves_by_problem(
        [one["problem"] for one in solved],
        pivots={"pivots": [one["pivots"] for one in solved]},
        milliseconds={"reading, starts and solve": times},
    )
    return Evaluation(
        title=f"{len(solved)} linear programs solved",
        summary=tuple(summary),
        sections=(
            ReportSection("Problems", columns, tuple(rows)),
            ReportSection("Problems that could not be read", ("problem", "why"), unread_rows),
        ),
        curves=curves,
    )


def batch_evaluation(facts: Mapping[str, Any], sentence: str, *, problem: str) -> Evaluation:
    """The report of scenarios of one problem.

    Args:
        facts: of `jepakit.lp.batch.results.Tally`.
        sentence: what it says in words.
        problem: its name.
    """
    count = max(1, facts["scenarios"])
    tables = (("How they were solved", "how", facts["sources"]), ("How they ended", "status", facts["statuses"]))
    sections = (
        ReportSection(title, (column, "scenarios", "share"), tuple((k, float(v), v / count) for k, v in counts.items()))
        for title, column, counts in tables
    )
    return Evaluation(title=f"Scenarios of {problem}", summary=(sentence,), sections=tuple(sections))
