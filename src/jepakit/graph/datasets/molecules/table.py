"""Reads tables of molecules: which column holds the SMILES, which the labels, and what kind of labels they are."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jepakit.errors import DataError, did_you_mean
from jepakit.files import reading
from jepakit.graph.data import Task
from jepakit.graph.datasets.tables import MAX_FLOAT

_MISSING = ("", "nan", "na", "n/a", "null")
"""Cells without a label, in upper or lower case."""
_ID_NAME = re.compile(r"(.*[ _-])?(id|ids|idx|index|no|nr|number|name|names|cas|uuid|key|unnamed: 0)", re.IGNORECASE)
_ROWS_PER_CLASS = 5
"""A column with fewer rows for each of its words is not taken for classes unless it is named."""


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of R rows.

    Args:
        values: ``[R]`` int64 classes, -1 where missing, or ``[R, T]`` float64, NaN where missing.
        task: their kind; ``none`` without label columns.
        names: of the classes, or of the T columns.
        columns: of the table that they were read from.
    """

    values: np.ndarray
    task: Task
    names: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SmilesTable:
    """The SMILES of each row, its line in the file, from 1, its labels, the columns that could be labels too, and the
    ids of the rows if a column holds some."""

    smiles: list[str]
    lines: list[int]
    labels: Labels
    candidates: tuple[str, ...]
    ids: list[str] | None


@dataclass(frozen=True, eq=False)
class _Cells:
    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        index = self.header.index(name)
        return [row[index].strip() for row in self.rows]

    def named(self, name: str) -> str:
        """The column of this name, in upper or lower case if that tells it apart."""
        if self.header.count(name) == 1:
            return name
        alike = [column for column in self.header if column.strip().lower() == name.strip().lower()]
        if len(alike) == 1:
            return alike[0]
        problem = "the first line names this column more than once" if alike else "no such column"
        hint = "" if alike else did_you_mean(name, self.header)
        expected = f"one of {', '.join(map(repr, self.header))}{hint}"
        raise DataError(problem, file=self.path, line=1, field=name, expected=expected)


def read_table(
    path: Path, content: bytes, smiles_column: str | None, label_columns: Sequence[str] | None
) -> SmilesTable:
    """Parses the unpacked bytes of a table.

    Args:
        path: the file, for messages.
        content: its bytes; cells are separated by commas, or else by semicolons or tabs.
        smiles_column: the column with the SMILES; None: the one named "smiles".
        label_columns: the columns with labels, in upper or lower case; one name may list several, with commas. None:
            the only one that looks like labels.

    Raises:
        DataError: it is no table, a column is missing or named twice, or labels are neither numbers nor words.
    """
    cells = _read_cells(path, content)
    smiles = cells.named(smiles_column) if smiles_column is not None else _smiles_column(cells)
    if not cells.rows:
        raise DataError("the file holds no molecules", file=path, expected="rows below the first line")
    candidates = _candidates(cells, smiles) if label_columns is None else ()
    given = candidates if len(candidates) == 1 else () if label_columns is None else _listed(cells, label_columns)
    return SmilesTable(cells.column(smiles), cells.lines, _labels(cells, given), candidates, _ids(cells, smiles))


def _read_cells(path: Path, content: bytes) -> _Cells:
    with reading(path, expected="a file saved as UTF-8"):
        text = content.decode("utf-8-sig")
    first = text.partition("\n")[0]
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        header = next(reader, [])
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                problem, expected = "a row differs from the first line in its number of cells", str(len(header))
                raise DataError(problem, file=path, line=reader.line_num, value=len(row), expected=expected)
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"the row is not valid CSV: {error}", file=path, line=reader.line_num) from error
    return _Cells(path, header, rows, lines)


def _smiles_column(cells: _Cells) -> str:
    matches = [column for column in cells.header if column.strip().lower() == "smiles"]
    if len(matches) == 1:
        return matches[0]
    problem = f"{'several columns are' if matches else 'no column is'} named smiles"
    columns = ", ".join(map(repr, cells.header))
    raise DataError(problem, file=cells.path, line=1, expected=f"smiles_column to name one of {columns}")


def _listed(cells: _Cells, names: Sequence[str]) -> tuple[str, ...]:
    known = {column.strip().lower() for column in cells.header}
    parts = [[name] if name.strip().lower() in known else name.split(",") for name in names]
    return tuple(cells.named(name) for part in parts for name in part)


def _candidates(cells: _Cells, smiles: str) -> tuple[str, ...]:
    """Columns that look like labels: numbers of several values, or few words; not what numbers or names the rows."""
    unique = [name for name in cells.header if cells.header.count(name) == 1 and name != smiles]
    return tuple(name for name in unique if not _ID_NAME.fullmatch(name.strip()) and _looks_like_labels(cells, name))


def _ids(cells: _Cells, smiles: str) -> list[str] | None:
    """The first column that is named like an id or a name and differs in every row."""
    for name in cells.header:
        if cells.header.count(name) == 1 and name != smiles and _ID_NAME.fullmatch(name.strip()):
            ids = cells.column(name)
            if len(set(ids)) == len(ids) and all(ids):
                return ids
    return None


def _looks_like_labels(cells: _Cells, name: str) -> bool:
    filled = [cell for cell in cells.column(name) if cell.lower() not in _MISSING]
    distinct = set(filled)
    if len(distinct) < 2:
        return False
    numbers = [value for cell in filled if (value := _number(cell)) is not None]
    if len(numbers) == len(filled):
        return numbers not in ([*range(len(filled))], [*range(1, len(filled) + 1)])
    return not numbers and len(distinct) <= max(2, len(filled) // _ROWS_PER_CLASS)


def _labels(cells: _Cells, columns: tuple[str, ...]) -> Labels:
    rows = len(cells.rows)
    if not columns:
        return Labels(np.zeros((rows, 0)), "none", (), ())
    words = {name: classes for name in columns if (classes := _words(cells, name))}
    if len(columns) == 1 and words:
        ids, names = _class_ids(cells, columns[0], words[columns[0]])
        return Labels(ids, "graph classification", names, columns)
    many = next((name for name, classes in words.items() if len(classes) > 2), None)
    if many is not None:
        problem, expected = f"{len(words[many])} classes in one of several label columns", "this column alone"
        raise DataError(problem, file=cells.path, line=1, field=many, expected=expected)
    parts = [_two_classes(cells, name, words[name]) if name in words else _numbers(cells, name) for name in columns]
    values = np.array(parts, dtype=np.float64).T.reshape(rows, len(columns))
    task: Task = "graph multilabel" if (np.isin(values, (0, 1)) | np.isnan(values)).all() else "graph regression"
    if words and task == "graph regression":
        name = next(iter(words))
        expected = "either classes or measurements"
        raise DataError("words beside columns of numbers", file=cells.path, line=1, field=name, expected=expected)
    names = tuple(f"{name}={words[name][-1]}" if name in words else name for name in columns)
    return Labels(values, task, names, columns)


def _words(cells: _Cells, name: str) -> tuple[str, ...]:
    """The classes of a column of words, in ascending order; none where any cell is a number."""
    column = [(cell, line) for cell, line in zip(cells.column(name), cells.lines, strict=True)]
    filled = [(cell, line) for cell, line in column if cell.lower() not in _MISSING]
    if any(_number(cell) is not None for cell, _ in filled):
        return ()
    classes = tuple(sorted({cell for cell, _ in filled}))
    if len(classes) > max(2, len(filled) // 2):
        problem = f"{len(classes)} different words in {len(filled)} rows are no classes"
        cell, line = filled[0]
        expected = "numbers, or words that several rows share"
        raise DataError(problem, file=cells.path, line=line, field=name, value=cell, expected=expected)
    return classes


def _class_ids(cells: _Cells, name: str, classes: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    place = {word: index for index, word in enumerate(classes)}
    return np.array([place.get(cell, -1) for cell in cells.column(name)], dtype=np.int64), classes


def _two_classes(cells: _Cells, name: str, classes: tuple[str, ...]) -> list[float]:
    """1 for the second of two words, 0 for the first, nan where missing."""
    ids, _ = _class_ids(cells, name, classes)
    return np.where(ids < 0, np.nan, ids == len(classes) - 1).tolist()


def _numbers(cells: _Cells, name: str) -> list[float]:
    values: list[float] = []
    for cell, line in zip(cells.column(name), cells.lines, strict=True):
        value = math.nan if cell.lower() in _MISSING else _number(cell)
        if value is None or abs(value) > MAX_FLOAT:
            expected = "a number, or an empty cell"
            raise DataError(
                "a label is not a number", file=cells.path, line=line, field=name, value=cell, expected=expected
            )
        values.append(value)
    return values


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
