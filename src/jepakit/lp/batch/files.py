"""Scenarios from Parquet and npz files, a few thousand at a time, and their solutions to Parquet."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jepakit.errors import DataError, did_you_mean
from jepakit.files import reading, whole_file
from jepakit.files.reading import MAX_BYTES
from jepakit.lp.batch.results import BatchSolution
from jepakit.lp.batch.scenarios import Scenarios
from jepakit.lp.batch.solver import BatchSolver
from jepakit.lp.data import LinearProgram
from jepakit.progress import tracked

#: What a column gives; a prefix of its name, or follows from it.
_OF_ROWS, _OF_COLUMNS = ("b", "row_lower", "row_upper"), ("costs", "lower", "upper")
_ID = "id"
#: Scenarios that are read at a time.
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some scenarios of a file.

    Args:
        first: the place of the first of them in the file.
        ids: the file's column ``id``; None without one.
        scenarios: what varies.
    """

    first: int
    ids: pa.Array | None
    scenarios: Scenarios


def read_scenarios(file: Path, problem: LinearProgram, *, chunk: int = _CHUNK) -> Iterator[Chunk]:
    """Reads scenarios of a problem, some at a time.

    A column has the name of a row, and gives its right-hand side; or of a column of the problem, and gives its cost. A
    prefix says what else it gives: ``b:``, ``row_lower:`` and ``row_upper:`` before the name of a row, ``costs:``,
    ``lower:`` and ``upper:`` before that of a column. Costs are those of the objective as the problem's file states it.
    A column ``id`` is carried. An npz file may also have one matrix for all rows or columns, ``b``, ``costs``, ...

    Args:
        file: ``.parquet`` or ``.npz``.
        problem: the problem.
        chunk: scenarios at a time.

    Raises:
        DataError: names the file, the column and the scenario, counted from 0.
    """
    with reading(file):
        if file.suffix.lower() == ".parquet":
            with pq.ParquetFile(file, memory_map=True) as table:
                tables = (
                    dict(zip(batch.schema.names, batch.columns, strict=True))
                    for batch in table.iter_batches(batch_size=chunk)
                )
                yield from _chunks(_named(table.schema_arrow.names), tables, problem)
        elif file.suffix.lower() == ".npz":
            arrays = _arrays(file)
            lengths = {name: len(array) for name, array in arrays.items()}
            if len(set(lengths.values())) > 1:
                raise DataError("not as many scenarios in each array", value=lengths)
            count = max(lengths.values(), default=0)
            parts = (
                {name: array[begin : begin + chunk] for name, array in arrays.items()}
                for begin in range(0, count, chunk)
            )
            yield from _chunks(_named(list(arrays)), parts, problem)
        else:
            raise DataError("neither Parquet nor npz", expected="a name that ends in .parquet or .npz")


def _named(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        duplicate = next(name for name in names if names.count(name) > 1)
        raise DataError("a column that is there twice", field=duplicate)
    return names


def _chunks(names: list[str], tables: Iterable[Mapping[str, Any]], problem: LinearProgram) -> Iterator[Chunk]:
    """The chunks of tables with these columns."""
    places = _Places(problem)
    given = {name: places.meaning(name) for name in names if name != _ID}
    first = 0
    for table in tables:
        values: dict[str, Any] = {}
        for name, (field, of) in given.items():
            numbers = _numbers(name, table[name], first)
            if of is None:
                values[field] = numbers
            elif isinstance(values.setdefault(field, {}), dict) and of not in values[field]:
                values[field][of] = numbers
            else:
                raise DataError("given twice", field=name, expected=f"one column for {field} of {of!r}")
        if problem.maximize and "costs" in values:
            costs = values["costs"]
            values["costs"] = {of: -column for of, column in costs.items()} if isinstance(costs, dict) else -costs
        try:
            scenarios = Scenarios.of(problem, **values)
        except DataError as error:
            if first and error.field and "scenario" in error.field:
                where, _, place = error.field.rpartition(" ")
                field = f"{where} {int(place) + first}"
                raise DataError(error.problem, field=field, value=error.value, expected=error.expected) from None
            raise
        ids = table.get(_ID)
        yield Chunk(first, None if ids is None else pa.array(ids), scenarios)
        first += scenarios.count
    if not first:
        raise DataError("no scenarios", expected="a row for each")


class _Places:
    """What the columns of a file may be called."""

    def __init__(self, problem: LinearProgram) -> None:
        self._rows = {problem.row_name(place) for place in range(problem.rows)}
        self._columns = {problem.column_name(place) for place in range(problem.columns)}

    def meaning(self, name: str) -> tuple[str, str | None]:
        """Which numbers a column gives, and of which row or column; None: of all."""
        in_rows, in_columns = name in self._rows, name in self._columns
        if in_rows and in_columns:
            raise DataError("the name of a row and of a column", field=name, expected=f"b:{name}, or costs:{name}")
        if in_rows or in_columns:
            return ("b" if in_rows else "costs"), name
        kind, colon, of = name.partition(":")
        if not colon and kind in (*_OF_ROWS, *_OF_COLUMNS):
            return kind, None
        for kinds, known, what in ((_OF_ROWS, self._rows, "row"), (_OF_COLUMNS, self._columns, "column")):
            if kind in kinds and of in known:
                return kind, of
            if kind in kinds:
                raise DataError(f"not a {what} of the problem{did_you_mean(of, known)}", field=name, value=of)
        expected = f"a row, a column, {_ID}, or one of {', '.join((*_OF_ROWS, *_OF_COLUMNS))} and a name, as b:NAME"
        hint = did_you_mean(name, [*self._rows, *self._columns])
        raise DataError(f"not in the problem{hint}", field=name, expected=expected)


def _numbers(name: str, values: Any, first: int) -> np.ndarray:
    """A column as numbers; `Scenarios` refuses NaN with its place."""
    if isinstance(values, pa.Array):
        if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
            raise DataError("not numbers", field=name, value=str(values.type), expected="a column of numbers")
        if values.null_count:
            place = first + int(np.asarray(values.is_null()).argmax())
            raise DataError("a number is missing", field=f"{name}, scenario {place}", expected="a number")
        values = values.to_numpy(zero_copy_only=False)
    if not np.issubdtype(values.dtype, np.floating) and not np.issubdtype(values.dtype, np.integer):
        raise DataError("not numbers", field=name, value=str(values.dtype), expected="an array of numbers")
    return values.astype(np.float64)


def _arrays(file: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as members:
        size = sum(member.file_size for member in members.infolist())
        if size > MAX_BYTES:
            raise DataError("too large for an npz file", value=size, expected=f"at most {MAX_BYTES} bytes, or Parquet")
    with np.load(file, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for name, array in arrays.items():
        if not 1 <= array.ndim <= 2:
            raise DataError("of another shape", field=name, value=array.shape, expected="a number for each scenario")
    return arrays


def solve_scenarios(
    file: Path, solver: BatchSolver, out: Path | None = None, *, points: bool = True
) -> Iterator[BatchSolution]:
    """Solves the scenarios of a file, some thousands at a time, and writes their solutions to another.

    The rows of the Parquet file stand in the order of the scenarios: ``id``, or ``scenario``, their number from 0; the
    fields of `BatchSolution`; and lists ``x`` and ``y`` in the order of the problem's columns and rows, whose names are
    in the metadata ``columns`` and ``rows``.

    Args:
        file: see `read_scenarios`.
        solver: of the problem.
        out: the Parquet file; None: none. It is written when all have been solved.
        points: write x and y.

    Raises:
        DataError: see `read_scenarios`.
        ModelError: the file cannot be written.
    """
    if out is None:
        for chunk in tracked(read_scenarios(file, solver.problem), "solving scenarios", unit="parts of the file"):
            yield solver.solve(chunk.scenarios)
        return
    if out.suffix.lower() != ".parquet":
        raise DataError("not a Parquet file", file=out, field="out", expected="a name that ends in .parquet")
    with whole_file(out) as unfinished:
        writer: pq.ParquetWriter | None = None
        try:
            for chunk in tracked(read_scenarios(file, solver.problem), "solving scenarios", unit="parts of the file"):
                solution = solver.solve(chunk.scenarios)
                table = _table(chunk, solution, solver.problem, points=points)
                writer = writer or pq.ParquetWriter(unfinished, table.schema)
                writer.write_table(table)
                yield solution
        finally:
            if writer is not None:
                writer.close()


def _table(chunk: Chunk, solution: BatchSolution, problem: LinearProgram, *, points: bool) -> pa.Table:
    count = len(solution)
    columns: dict[str, Any] = {
        "scenario" if chunk.ids is None else _ID: np.arange(chunk.first, chunk.first + count)
        if chunk.ids is None
        else chunk.ids
    }
    fields = ("status", "message", "certified", "objective", "lower", "upper", "gap", "source", "pivots")
    columns |= {field: pa.array(getattr(solution, field)) for field in fields}
    if points:
        sign = -1.0 if problem.maximize else 1.0
        for name, matrix in (("x", solution.x), ("y", sign * solution.y)):
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])
    names = {
        "columns": json.dumps([problem.column_name(place) for place in range(problem.columns)]),
        "rows": json.dumps([problem.row_name(place) for place in range(problem.rows)]),
    }
    return pa.table(columns).replace_schema_metadata(names)
