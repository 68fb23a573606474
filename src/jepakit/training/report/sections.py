"""Sections of a report that a system adds by itself: a table each, under ``sections`` in ``results.json``.

``{"title": "...", "text": "...", "columns": ["...", ...], "rows": [["...", 0.5, null], ...]}``: every row has a cell
for each column, a text, a finite number or null; ``text`` may be missing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from jepakit.errors import DataError

Cell = str | float | None


@dataclass(frozen=True)
class ReportSection:
    """A table under a heading.

    Args:
        title: the heading.
        columns: the names of the columns.
        rows: the cells, one for each column; the first of a row says what the row is about.
        text: what the reader has to know, above the table.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    text: str = ""

    @property
    def numeric(self) -> list[int]:
        """Which columns hold a number."""
        columns = enumerate(zip(*self.rows, strict=True))
        return [index for index, cells in columns if any(isinstance(cell, float) for cell in cells)]


def read_sections(sections: object, *, file: str | Path | None = None) -> tuple[ReportSection, ...]:
    """Checks parsed JSON sections and returns them.

    Args:
        sections: what stood under ``sections``: a list of mappings.
        file: the file they came from, for the message.

    Raises:
        DataError: not a list of mappings; a field is missing, unknown or of another type; a row does not fit.
    """
    found = _list(sections, "sections", file)
    return tuple(_read(one, f"sections[{index}]", file) for index, one in enumerate(found))


def _read(content: object, where: str, file: str | Path | None) -> ReportSection:
    if not isinstance(content, Mapping):
        raise DataError("is no section", file=file, field=where, value=content, expected="title, columns, rows")
    known = [field.name for field in fields(ReportSection)]
    for key in content:
        if key not in known:
            raise DataError("a section has no such field", file=file, field=f"{where}.{key}", expected=", ".join(known))
    columns = tuple(
        _text(name, f"{where}.columns[{index}]", file)
        for index, name in enumerate(_list(content.get("columns"), f"{where}.columns", file))
    )
    if not columns:
        raise DataError("is empty", file=file, field=f"{where}.columns", expected="at least one name")
    rows = _list(content.get("rows"), f"{where}.rows", file)
    return ReportSection(
        title=_text(content.get("title"), f"{where}.title", file),
        columns=columns,
        rows=tuple(_row(row, len(columns), f"{where}.rows[{index}]", file) for index, row in enumerate(rows)),
        text=_text(content.get("text", ""), f"{where}.text", file),
    )


def _row(row: object, width: int, where: str, file: str | Path | None) -> tuple[Cell, ...]:
    cells = _list(row, where, file)
    if len(cells) != width:
        raise DataError("not a cell for each column", file=file, field=where, value=len(cells), expected=str(width))
    return tuple(_cell(cell, f"{where}[{index}]", file) for index, cell in enumerate(cells))


def _cell(value: object, where: str, file: str | Path | None) -> Cell:
    if value is None or isinstance(value, str):
        return value
    # bool is an int to Python, but no number of a table; what is not finite is within no bounds.
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return float(value)
    raise DataError("is no cell", file=file, field=where, value=value, expected="text, a finite number or null")


def _text(value: object, where: str, file: str | Path | None) -> str:
    if not isinstance(value, str):
        raise DataError("is not text", file=file, field=where, value=value, expected="text")
    return value


def _list(value: object, where: str, file: str | Path | None) -> list[object]:
    if not isinstance(value, list):
        raise DataError("is not a list", file=file, field=where, value=value, expected="a list")
    return value
