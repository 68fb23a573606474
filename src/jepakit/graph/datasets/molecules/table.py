"""Reads and checks CSV tables with a SMILES column, without parsing the SMILES."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jepakit.errors import DataError
from jepakit.files import reading
from jepakit.graph.datasets.tables import MAX_FLOAT


@dataclass(frozen=True, eq=False)
class SmilesTable:
    """The SMILES and label columns of a table of G molecules and T labels.

    Args:
        smiles: one text per row.
        lines: the line of each row in the file, from 1.
        labels: ``[G, T]`` float, NaN where missing.
    """

    smiles: list[str]
    lines: list[int]
    labels: np.ndarray


def read_smiles_table(
    path: Path, content: bytes, smiles_column: str | None, label_columns: Sequence[str]
) -> SmilesTable:
    """Parses the table.

    Args:
        path: the file, for messages.
        content: of the file, unpacked.
        smiles_column: None selects the column named "smiles", in upper or lower case.
        label_columns: names of T columns of numbers; an empty cell or ``nan`` is a missing label.

    Raises:
        DataError: the content is not UTF-8 or not CSV, there are no rows, a column is missing or ambiguous, or a label
            is not a number.
    """
    with reading(path, expected="a file saved as UTF-8"):
        text = content.decode("utf-8-sig")
    reader = csv.reader(io.StringIO(text, newline=""))
    smiles, lines, labels = [], [], []
    try:
        header = next(reader, [])
        smiles_index = _smiles_column(path, header, smiles_column)
        label_indices = [_column(path, header, name) for name in label_columns]
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                problem, expected = "a row differs from the first line in its number of cells", str(len(header))
                raise DataError(problem, file=path, line=reader.line_num, value=len(cells), expected=expected)
            smiles.append(cells[smiles_index].strip())
            lines.append(reader.line_num)
            labels.append([_label(path, reader.line_num, header[index], cells[index]) for index in label_indices])
    except csv.Error as error:
        raise DataError(f"the row is not valid CSV: {error}", file=path, line=reader.line_num) from error
    if not smiles:
        raise DataError("the file holds no molecules", file=path, expected="rows below the first line")
    return SmilesTable(smiles, lines, np.array(labels, dtype=np.float64).reshape(len(smiles), len(label_columns)))


def _smiles_column(path: Path, header: list[str], name: str | None) -> int:
    if name is not None:
        return _column(path, header, name)
    matches = [index for index, column in enumerate(header) if column.strip().lower() == "smiles"]
    if len(matches) == 1:
        return matches[0]
    problem = f"{'several columns are' if matches else 'no column is'} named smiles"
    raise DataError(problem, file=path, line=1, expected=f"smiles_column to name one of {', '.join(map(repr, header))}")


def _column(path: Path, header: list[str], name: str) -> int:
    if header.count(name) == 1:
        return header.index(name)
    problem = "the first line names this column more than once" if name in header else "no such column"
    raise DataError(problem, file=path, line=1, field=name, expected=f"one of {', '.join(map(repr, header))}")


def _label(path: Path, line: int, column: str, cell: str) -> float:
    try:
        value = float(cell) if cell.strip() else math.nan
    except ValueError:
        value = math.inf
    if abs(value) > MAX_FLOAT:
        expected = "a number, or an empty cell"
        raise DataError("a label is not a number", file=path, line=line, field=column, value=cell, expected=expected)
    return value
