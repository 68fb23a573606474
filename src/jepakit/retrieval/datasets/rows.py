"""Rows of JSONL, CSV and TSV files, each with its line, so that a fault can be found again.

- ``.jsonl``: one JSON object a line.
- ``.csv``: a header, commas, quotes where needed (RFC 4180); a column without a name is left out.
- ``.tsv``: a header, tabs; quotes are characters like any other, as in BEIR and TREC files.

All are UTF-8, with or without a byte order mark. Blank lines are skipped.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jepakit.errors import DataError

_WHOLE = re.compile(r"\s*[-+]?\d{1,9}(\.0*)?\s*", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Args:
        file: where it stands.
        line: its first line there, counted from 1.
        cells: column -> value.
    """

    file: Path
    line: int
    cells: Mapping[str, object]

    def column(self, names: Sequence[str]) -> str | None:
        """The first of the columns that the row has; None where it has none of them, or only empty ones (null)."""
        return next((name for name in names if self.cells.get(name) is not None), None)

    def text(self, names: Sequence[str]) -> str:
        """What stands in the first of these columns that the row has.

        Raises:
            DataError: it has none of them, or the value is no string.
        """
        name = self._required(names)
        value = self.cells[name]
        if not isinstance(value, str):
            raise self.error("not a string", name, value)
        return value

    def identifier(self, names: Sequence[str]) -> str:
        """An id from the first of these columns that the row has; whole numbers become strings.

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

    def whole(self, names: Sequence[str], default: int) -> int:
        """The whole number in the first of these columns that the row has; ``default`` where it has none of them.

        Raises:
            DataError: the value is no whole number.
        """
        name = self.column(names)
        return default if name is None else whole_number(self.cells[name], self.file, self.line, name)

    def error(self, problem: str, field: str, value: object = None, expected: str | None = None) -> DataError:
        """What is wrong with a cell, with the row's place."""
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
    empty = True
    for row in reader(file):
        empty = False
        yield row
    if empty:
        raise DataError("no rows", file=file, expected="at least one")


def numbered_lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file from 1 on, with their line ends, blank ones too.

    Raises:
        DataError: the file cannot be read, is empty, or is no UTF-8.
    """
    line = 0
    try:
        with file.open("rb") as lines:
            for line, raw in enumerate(lines, 1):
                text = raw.decode("utf-8")
                yield line, text.removeprefix("\ufeff") if line == 1 else text
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 text ({error.reason} at byte {error.start} of the line)"
        raise DataError(problem, file=file, line=line, expected="a file saved as UTF-8") from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", file=file) from None
    if not line:
        raise DataError("the file is empty", file=file)


def whole_number(value: object, file: Path, line: int, field: str) -> int:
    """A whole number out of a cell, also one that is written as text or as ``1.0``.

    Raises:
        DataError: it is none, or has more than nine digits.
    """
    if not isinstance(value, bool) and _WHOLE.fullmatch(str(value)):
        return int(float(str(value)))
    raise DataError("not a whole number", file=file, line=line, field=field, value=value, expected="0, 1, 2, ...")


def _json_rows(file: Path) -> Iterator[Row]:
    for line, text in numbered_lines(file):
        if not text.strip():
            continue
        try:
            cells = json.loads(text, parse_constant=_no_constant)
        except json.JSONDecodeError as error:
            raise DataError(f"not JSON: {error.msg} at column {error.colno}", file=file, line=line) from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"not JSON: {error}", file=file, line=line) from None
        if not isinstance(cells, dict):
            raise DataError("not a JSON object", file=file, line=line, value=cells, expected='{"...": ...}')
        row = Row(file, line, cells)
        # Only an escape can bring half a surrogate pair into UTF-8; no tokeniser takes it.
        if "\\ud" in text.lower():
            _check_characters(row)
        yield row


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


def _check_characters(row: Row) -> None:
    for name, value in row.cells.items():
        if _SURROGATE.search(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)):
            raise row.error("half of a surrogate pair, which is no character", name, value)


def _csv_rows(file: Path) -> Iterator[Row]:
    return _table_rows(file, _records(file, delimiter=",", quoting=csv.QUOTE_MINIMAL))


def _tsv_rows(file: Path) -> Iterator[Row]:
    return _table_rows(file, _records(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def _records(file: Path, *, delimiter: str, quoting: Literal[0, 3]) -> list[tuple[int, list[str]]]:
    """The cells of each record, with the line it begins at; a quoted cell may go over several."""
    found: list[tuple[int, list[str]]] = []
    start = 1
    # The module refuses cells of more than 128 KiB, which documents are; its limit is the whole process's.
    before = csv.field_size_limit(2**31 - 1)
    try:
        records = csv.reader(
            (text for _, text in numbered_lines(file)), delimiter=delimiter, quoting=quoting, strict=True
        )
        for cells in records:
            if any(cell.strip() for cell in cells):
                found.append((start, cells))
            start = records.line_num + 1
    except csv.Error as error:
        raise DataError(f"not a table: {error}", file=file, line=start) from None
    finally:
        csv.field_size_limit(before)
    return found


def _table_rows(file: Path, records: list[tuple[int, list[str]]]) -> Iterator[Row]:
    if not records:
        return
    names = _header(file, *records[0])
    for line, cells in records[1:]:
        if len(cells) != len(names):
            problem = "not one cell for each column"
            raise DataError(problem, file=file, line=line, value=len(cells), expected=str(len(names)))
        yield Row(file, line, {name: cell for name, cell in zip(names, cells, strict=True) if name})


def _header(file: Path, line: int, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = next((name for place, name in enumerate(names) if name and name in names[:place]), None)
    if twice is not None:
        raise DataError("a column stands twice in the header", file=file, line=line, value=twice)
    return names


TABLES: dict[str, Callable[[Path], Iterator[Row]]] = {".jsonl": _json_rows, ".csv": _csv_rows, ".tsv": _tsv_rows}
"""Suffix -> reader."""
