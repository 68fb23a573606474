"""Tables with a SMILES column, as CSV: read and checked, not yet understood as molecules."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jepakit.errors import DataError
from jepakit.files import read_bytes, reading

__all__ = ["SmilesTable", "read_csv_bytes", "read_smiles_table"]


_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class SmilesTable:
    """The columns that matter of a table of G molecules and T labels.

    Args:
        smiles: one text a row.
        lines: the row's line in the file, counted from 1.
        labels: ``[G, T]`` float, NaN where missing.
    """

    smiles: list[str]
    lines: list[int]
    labels: np.ndarray


def read_csv_bytes(path: Path) -> bytes:
    """The file's content, decompressed.

    Raises:
        DataError: the name does not end in ``.csv`` or ``.csv.gz``, or the file cannot be read.
    """
    if not path.name.endswith((".csv", ".csv.gz")):
        raise DataError("not a SMILES table by its name", file=path, expected="a .csv or .csv.gz file")
    return read_bytes(path)


def read_smiles_table(
    path: Path, content: bytes, smiles_column: str | None, label_columns: Sequence[str]
) -> SmilesTable:
    """Reads the table out of a file's content.

    Args:
        path: the file, for messages.
        content: as `read_csv_bytes` gives it.
        smiles_column: None stands for the one column called "smiles" in upper or lower case.
        label_columns: names of T columns of numbers; an empty cell or ``nan`` is a missing label.

    Raises:
        DataError: no text in UTF-8, no CSV, no rows, a column missing or ambiguous, a label that is not a number.
    """
    with reading(path, expected="a file saved as UTF-8"):
        text = content.decode("utf-8-sig")
    reader = csv.reader(io.StringIO(text, newline=""))
    smiles, lines, labels = [], [], []
    try:
        header = next(reader, [])
        smiles_at = _smiles_column(path, header, smiles_column)
        labels_at = [_column(path, header, name) for name in label_columns]
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(
                    "a row has another number of cells than the first line",
                    file=path,
                    line=reader.line_num,
                    value=len(cells),
                    expected=str(len(header)),
                )
            smiles.append(cells[smiles_at].strip())
            lines.append(reader.line_num)
            labels.append([_label(path, reader.line_num, header[at], cells[at]) for at in labels_at])
    except csv.Error as error:
        raise DataError(f"the row is not valid CSV: {error}", file=path, line=reader.line_num) from error
    if not smiles:
        raise DataError("the file holds no molecules", file=path, expected="a row each below the first line")
    return SmilesTable(smiles, lines, np.array(labels, dtype=np.float64).reshape(len(smiles), len(label_columns)))


def _smiles_column(path: Path, header: list[str], name: str | None) -> int:
    if name is not None:
        return _column(path, header, name)
    found = [at for at, column in enumerate(header) if column.strip().lower() == "smiles"]
    if len(found) == 1:
        return found[0]
    raise DataError(
        f"{'several columns are' if found else 'no column is'} called smiles",
        file=path,
        line=1,
        expected=f"smiles_column to name one of {', '.join(map(repr, header))}",
    )


def _column(path: Path, header: list[str], name: str) -> int:
    if header.count(name) == 1:
        return header.index(name)
    problem = "the first line names this column more than once" if name in header else "there is no such column"
    raise DataError(problem, file=path, line=1, field=name, expected=f"one of {', '.join(map(repr, header))}")


def _label(path: Path, line: int, column: str, cell: str) -> float:
    try:
        value = float(cell) if cell.strip() else math.nan
    except ValueError:
        value = math.inf
    if abs(value) > _LARGEST:
        raise DataError(
            "a label is not a number", file=path, line=line, field=column, value=cell, expected="a number or nothing"
        )
    return value
