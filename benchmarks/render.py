"""Puts the tables of ``results/*.json`` into the documentation: every number there comes through here.

    python -m benchmarks.render                  # README.md, docs/results.md and docs/costs.md
    python -m benchmarks.render docs/other.md

In each file, what stands between ``<!-- results:NAME -->`` and ``<!-- /results:NAME -->`` becomes the first table of
that benchmark, with the notes on methods and without those on single numbers; NAME ``all`` becomes every table of every
benchmark, with all notes, and its figure (`benchmarks.figures`), which is written beside the file. The rest of the file
is left alone. Results of ``--quick`` are not used.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.figures import FIGURES
from benchmarks.harness import RESULTS, SOURCE
from jepakit.errors import DataError, JepakitError
from jepakit.files import write_text
from jepakit.training.result_rows import ResultGroup, ResultRow, format_score, group_rows, read_rows

__all__ = ["Result", "fill", "read_results"]

_OPEN = re.compile(r"<!-- results:(\w+) -->")
_FILES = ("README.md", "docs/results.md", "docs/costs.md")
#: Benchmarks whose rows are different tasks: none is the best.
_UNRANKED = frozenset({"costs"})


@dataclass(frozen=True)
class Result:
    """A result file: see `benchmarks.harness.write_results`."""

    benchmark: str
    commit: str
    command: str
    machine: str
    date: str
    rows: tuple[ResultRow, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fills the files named on the command line.

    Raises:
        SystemExit: a file or a result cannot be read; the message is the `DataError`'s.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.render")
    parser.add_argument("files", type=Path, nargs="*", default=[SOURCE / name for name in _FILES])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result files")
    given = parser.parse_args(arguments)
    try:
        results = read_results(given.results)
        filled = {file: fill(_text(file), results, file=file) for file in given.files}
    except JepakitError as error:
        sys.exit(f"benchmarks.render: {error}")
    for file, text in filled.items():
        write_text(file, text)
        for name, figure in FIGURES.items():
            if name in results and _link(name) in text:
                figure.write(results[name].rows, file.with_name(f"{name}.svg"))


def read_results(folder: Path) -> dict[str, Result]:
    """The results in a folder by benchmark, without those of ``--quick``.

    Raises:
        DataError: a file is not JSON, a field is missing or not text, a row is not one.
    """
    files = [file for file in sorted(folder.glob("*.json")) if not file.name.endswith(".quick.json")]
    return {result.benchmark: result for result in map(_read, files)}


def fill(text: str, results: Mapping[str, Result], *, file: Path) -> str:
    """The text with the tables of ``results`` in its marked blocks; filling it again changes nothing.

    Args:
        text: the file's.
        results: by benchmark.
        file: where the text is from, for the message.

    Raises:
        DataError: a block is not closed, or names no benchmark.
    """
    parts: list[str] = []
    end = 0
    while opened := _OPEN.search(text, end):
        name, line = opened[1], text.count("\n", 0, opened.start()) + 1
        closed = text.find(f"<!-- /results:{name} -->", opened.end())
        if closed < 0:
            raise DataError(
                "a block is not closed", file=file, line=line, expected=f"<!-- /results:{name} --> below it"
            )
        if name not in ("all", *results) and not (SOURCE / "benchmarks" / f"{name}.py").exists():
            raise DataError("there is no such benchmark", file=file, line=line, value=name)
        parts += [text[end : opened.end()], "\n", _block(name, results), "\n"]
        end = closed
    return "".join([*parts, text[end:]])


def _block(name: str, results: Mapping[str, Result]) -> str:
    if name == "all":
        sections = [
            f"## {name}\n\n{_source(result)}\n\n{_tables(result)}" + (f"\n\n{_link(name)}" if name in FIGURES else "")
            for name, result in results.items()
        ]
        return "\n\n".join(sections) or "Not measured yet."
    if name not in results:
        return (
            f"Not measured yet: `python -m benchmarks.{name}`, then `python -m benchmarks.render`, puts the table here."
        )
    result = results[name]
    first = result.rows[0].metric if result.rows else ""
    return f"{_table(_without_cell_notes(result), first)}\n\n{_source(result)}"


def _link(name: str) -> str:
    return f"![{FIGURES[name].title}]({name}.svg)"


def _source(result: Result) -> str:
    seeds = sorted({row.seeds for row in result.rows if row.seeds is not None})
    over = f" over {' or '.join(map(str, seeds))} seeds" if seeds else ""
    source = f"`{result.command}` at commit {result.commit} on {result.date}, {result.machine}."
    if result.benchmark in _UNRANKED:
        return source
    return f"{source} Mean ± standard deviation{over}; the best of each column is bold."


def _tables(result: Result) -> str:
    metrics = dict.fromkeys(row.metric for row in result.rows)
    return "\n\n".join(_table(result, metric) for metric in metrics)


def _without_cell_notes(result: Result) -> Result:
    """Without the notes that do not hold for all of a method's numbers in a table."""
    notes: dict[tuple[str, str], set[str]] = {}
    for row in result.rows:
        notes.setdefault((row.metric, row.method), set()).add(row.note)
    rows = [row if len(notes[row.metric, row.method]) == 1 else replace(row, note="") for row in result.rows]
    return replace(result, rows=tuple(rows))


def _table(result: Result, metric: str) -> str:
    """Methods down, ours first, data sets across, notes below."""
    rows = [row for row in result.rows if row.metric == metric]
    groups = {group.dataset: group for group in group_rows(rows)}
    methods = sorted(dict.fromkeys(row.method for row in rows), key=lambda m: not any(_of(rows, m, "ours")))
    notes = list(dict.fromkeys(row.note for row in rows if row.note))
    lines = [_line([metric, *groups]), _line(["---", *["---:"] * len(groups)])]
    for method in methods:
        cells = {row.dataset: row for row in rows if row.method == method}
        shared = set(_of(rows, method, "note")) if len(set(_of(rows, method, "note"))) == 1 else set[str]()
        head = _escaped(method) + "".join(_mark(notes, note) for note in shared)
        lines.append(
            _line(
                [
                    head,
                    *(
                        _cell(cells.get(d), group, notes, shared, ranked=result.benchmark not in _UNRANKED)
                        for d, group in groups.items()
                    ),
                ]
            )
        )
    numbered = [f"{number}. {_escaped(note)}" for number, note in enumerate(notes, start=1)]
    return "\n".join(lines) + ("\n\n" + "\n".join(numbered) if numbered else "")


def _of(rows: Sequence[ResultRow], method: str, field: str) -> list[str]:
    return [getattr(row, field) for row in rows if row.method == method]


def _cell(row: ResultRow | None, group: ResultGroup, notes: Sequence[str], shared: set[str], *, ranked: bool) -> str:
    if row is None:
        return ""
    score = format_score(row, group.decimals)
    if ranked and row.value is not None and row.value == group.best:
        score = f"**{score}**"
    return score + _aim(row, group) + ("" if row.note in shared else _mark(notes, row.note))


def _aim(row: ResultRow, group: ResultGroup) -> str:
    if row.aim is None:
        return ""
    aim = f"{round(row.aim, group.decimals):g}"
    if row.met is None or row.value is None:
        return f" (aim {aim})"
    return f" (aim {aim} met)" if row.met else f" (aim {aim} missed by {abs(row.value - row.aim):.{group.decimals}f})"


def _mark(notes: Sequence[str], note: str) -> str:
    return f" <sup>{notes.index(note) + 1}</sup>" if note else ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _read(file: Path) -> Result:
    try:
        content = json.loads(_text(file))
    except json.JSONDecodeError as error:
        raise DataError("not JSON", file=file, line=error.lineno, expected="what a benchmark wrote") from error
    if not isinstance(content, dict):
        raise DataError("is not a mapping", file=file, value=content, expected="what a benchmark wrote")
    texts: dict[str, str] = {}
    for name in ("benchmark", "commit", "command", "machine", "date"):
        value = content.get(name)
        if not isinstance(value, str):
            raise DataError("is missing or not text", file=file, field=name, value=value, expected="text")
        texts[name] = value
    return Result(**texts, rows=read_rows(content.get("rows"), file=file))


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("cannot be read", file=file, value=str(error), expected="a text file") from error


if __name__ == "__main__":
    main()
