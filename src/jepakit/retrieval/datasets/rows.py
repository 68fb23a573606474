"""Rows of JSONL, CSV and TSV files, each with the line that it begins at, for errors.

- ``.jsonl``: one JSON object a line.
- ``.csv``: a header, commas, quotes where needed (RFC 4180); a column without a name is left out.
- ``.tsv``: a header, tabs; quotes are characters like any other, as in BEIR and TREC files.

All are UTF-8, with or without a byte order mark. Blank lines are skipped.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from jepakit.errors import DataError
from jepakit.files import json_lines, numbered_lines

_INTEGER = re.compile(r"\s*[-+]?\d{1,9}(\.0*)?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Args:
        file: the file.
        line: its first line there, counted from 1.
        cells: column -> value.
    """

    file: Path
    line: int
    cells: Mapping[str, object]

    def column(self, names: Sequence[str]) -> str | None:
        """The first of the columns with a value that is not null; None without such a column."""
        return next((name for name in names if self.cells.get(name) is not None), None)

    def text(self, names: Sequence[str], *, empty: str | None = None) -> str:
        """The string in the first of these columns that the row has.

        Raises:
            DataError: it has none of them, the value is no string, or blank and ``empty`` says that this is a fault.
        """
        name = self._required(names)
        value = self.cells[name]
        if not isinstance(value, str):
            raise self.error("not a string", name, value)
        if empty and not value.strip():
            raise self.error(empty, name, value)
        return value

    def identifier(self, names: Sequence[str]) -> str:
        """The id in the first of these columns that the row has; integers become strings.

        Raises:
            DataError: it has none of them, or the value is no id.
        """
        name = self._required(names)
        value = self.cells[name]
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.error("not an id", name, value, "a string or a whole number")
        if not str(value).strip():
            raise self.error("an empty id", name, value)
        return str(value)

    def integer(self, names: Sequence[str], default: int) -> int:
        """The integer in the first of these columns, also one written as text or as ``1.0``; else ``default``.

        Raises:
            DataError: the value is no integer, or has more than nine digits.
        """
        name = self.column(names)
        if name is None:
            return default
        value = self.cells[name]
        if isinstance(value, bool) or not _INTEGER.fullmatch(str(value)):
            raise self.error("not a whole number", name, value, "0, 1, 2, ...")
        return int(float(str(value)))

    def error(self, problem: str, field: str | None, value: object = None, expected: str | None = None) -> DataError:
        """An error about a cell, with the row's file and line."""
        return DataError(problem, file=self.file, line=self.line, field=field, value=value, expected=expected)

    def _required(self, names: Sequence[str]) -> str:
        name = self.column(names)
        if name is None:
            raise self.error("the field is missing", names[0], list(self.cells), " or ".join(names))
        return name


def read_rows(file: Path) -> Iterator[Row]:
    """The rows of a table, one after the other.

    Raises:
        DataError: the file cannot be read, is empty, is no UTF-8, or a line is not what its suffix says.
    """
    reader = TABLES.get(file.suffix.lower())
    if reader is None:
        raise DataError("not a kind of table", file=file, value=file.suffix, expected=", ".join(TABLES))
    rows = reader(file)
    first = next(rows, None)
    if first is None:
        raise DataError("no rows", file=file, expected="at least one")
    yield first
    yield from rows


def _json_rows(file: Path) -> Iterator[Row]:
    for line, cells in json_lines(file):
        yield Row(file, line, cells)


def _separated_rows(file: Path, *, delimiter: str, quoting: Literal[0, 3]) -> Iterator[Row]:
    records: list[tuple[int, list[str]]] = []
    start = 1
    # The module refuses cells of more than 128 KiB, and documents are longer; the limit is that of the whole process.
    limit = csv.field_size_limit(2**31 - 1)
    try:
        lines = (text for _, text in numbered_lines(file))
        reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                records.append((start, cells))
            # A quoted cell may span several lines.
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"not a table: {error}", file=file, line=start) from None
    finally:
        csv.field_size_limit(limit)
    if not records:
        return
    names = [cell.strip() for cell in records[0][1]]
    repeated = next((name for place, name in enumerate(names) if name and name in names[:place]), None)
    if repeated is not None:
        raise DataError("a column occurs twice in the header", file=file, line=records[0][0], value=repeated)
    for line, cells in records[1:]:
        if len(cells) != len(names):
            problem = "not one cell for each column"
            raise DataError(problem, file=file, line=line, value=len(cells), expected=str(len(names)))
        yield Row(file, line, {name: cell for name, cell in zip(names, cells, strict=True) if name})


TABLES: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _json_rows,
    ".csv": partial(_separated_rows, delimiter=",", quoting=csv.QUOTE_MINIMAL),
    ".tsv": partial(_separated_rows, delimiter="\t", quoting=csv.QUOTE_NONE),
}
"""Suffix -> reader."""
