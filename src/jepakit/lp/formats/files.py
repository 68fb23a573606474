"""Files of problems (MPS, LP), solutions (``.sol``) and bases (``.bas``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import highspy
import numpy as np

from jepakit.errors import DataError
from jepakit.files import read_bytes, read_text, whole_file, write_text
from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.formats.mps import read_mps
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, BASIC, Basis
from jepakit.lp.solving.highs import from_highs, to_highs
from jepakit.lp.solving.solver import Solution

_ENDINGS = (".mps", ".lp")
#: Type of a line in a basis file -> status of its column, and of its row if it names one.
_KINDS = {"XU": (BASIC, AT_UPPER), "XL": (BASIC, AT_LOWER), "UL": (AT_UPPER, None), "LL": (AT_LOWER, None)}


def read_problem(file: Path, *, relax: bool = False) -> LinearProgram:
    """A problem in MPS (``.mps``, ``.mps.gz``) or LP format (``.lp``, ``.lp.gz``).

    Args:
        file: its name gives the format.
        relax: drop integrality; without it integer columns are an error.

    Raises:
        DataError: names the file, in MPS also the line.
        FileNotFoundError: there is no such file.

    Raises:
        DataError: names the file, in MPS also the line.
    """
    name = file.name.lower().removesuffix(".gz")
    if name.endswith(".mps"):
        return read_mps(file, relax=relax)
    if name.endswith(".lp"):
        return _read_lp(file, relax=relax)
    raise DataError("neither MPS nor LP", file=file, expected="a name that ends in .mps, .lp, .mps.gz or .lp.gz")


def problem_files(path: Path) -> list[Path]:
    """The problem files of a folder, sorted by name; a path that is no folder is returned as it is.

    Raises:
        DataError: the folder has no problem files.
    """
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.name.lower().removesuffix(".gz").endswith(_ENDINGS))
    if not files:
        expected = "files that end in .mps, .lp, .mps.gz or .lp.gz"
        raise DataError("no problems in this folder", file=path, expected=expected)
    return files


def write_problem(problem: LinearProgram, file: Path) -> None:
    """Writes a problem as a minimisation, in the format that the name ends in: MPS or LP, gzipped with ``.gz``.

    Raises:
        ModelError: the file cannot be written.
    """
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    model = to_highs(problem)
    model.col_names_ = [problem.column_name(column) for column in range(problem.columns)]
    model.row_names_ = [problem.row_name(row) for row in range(problem.rows)]
    model.model_name_ = problem.name
    highs.passModel(model)
    with whole_file(file) as unfinished:
        if highs.writeModel(str(unfinished)) == highspy.HighsStatus.kError:
            raise OSError("HiGHS cannot; give room, and a name in .mps, .lp, .mps.gz or .lp.gz")
        _require_whole(unfinished)


def _require_whole(file: Path) -> None:
    """Raises OSError where the end is missing: on a full disk HiGHS reports that all went well."""
    try:
        last = read_bytes(file)[-16:].split()
    except DataError as error:
        raise OSError(f"what HiGHS has written cannot be read: {error.problem}") from error
    if not last or last[-1].lower() not in (b"endata", b"end"):
        raise OSError("what HiGHS has written is cut off; is the disk full?")


def _read_lp(file: Path, *, relax: bool) -> LinearProgram:
    # HiGHS reads it by itself, so that it is looked through before: is it there, whole, and no bomb?
    read_bytes(file)
    highs, said = highspy.Highs(), list[str]()
    highs.setOptionValue("log_to_console", False)
    highs.cbLogging.subscribe(lambda event: said.append(event.message))
    status = highs.readModel(str(file))
    faults = [" ".join(line.split()) for line in said if line.startswith(("WARNING", "ERROR"))]
    if status != highspy.HighsStatus.kOk or faults:
        raise DataError(f"no LP file: {'; '.join(faults)}", file=file, expected="the format that HiGHS and CPLEX read")
    try:
        return from_highs(highs, relax=relax)
    except DataError as error:
        raise DataError(error.problem, file=file, expected=error.expected) from None


def write_solution(solution: Solution, problem: LinearProgram, file: Path) -> None:
    """Writes a solution in the text format of HiGHS' solution files.

    Raises:
        DataError: the solution has no point.
        ModelError: the file cannot be written.
    """
    if not np.isfinite(solution.x).all():
        raise DataError("there is no solution to write", file=file, value=solution.status, expected="an optimum")
    sign = -1.0 if problem.maximize else 1.0
    head = ["Model status", solution.status.capitalize(), "", "# Primal solution values", "Feasible"]
    lines = [
        *head,
        f"Objective {solution.objective!r}",
        *_values("Columns", problem.columns, problem.column_name, solution.x),
        *_values("Rows", problem.rows, problem.row_name, problem.matrix @ solution.x),
        *["", "# Dual solution values", "Feasible"],
        *_values("Columns", problem.columns, problem.column_name, sign * solution.z),
        *_values("Rows", problem.rows, problem.row_name, sign * solution.y),
    ]
    write_text(file, "\n".join([*lines, ""]))


def _values(title: str, count: int, name: Callable[[int], str], values: Array) -> Iterator[str]:
    yield f"# {title} {count}"
    for place, value in enumerate(values.tolist()):
        yield f"{name(place)} {value!r}"


def write_basis(basis: Basis, problem: LinearProgram, file: Path) -> None:
    """Writes a basis in the MPS format of basis files, which other solvers read too.

    Raises:
        DataError: the number of basic columns and rows differs from the number of rows; the format cannot express it.
        ModelError: the file cannot be written.
    """
    if basis.basic != problem.rows:
        raise DataError("no basis of as many as rows", file=file, value=basis.basic, expected=str(problem.rows))
    lines = [f"NAME          {problem.name}"]
    rows = iter(np.flatnonzero(basis.rows != BASIC).tolist())
    for column in np.flatnonzero(basis.columns == BASIC).tolist():
        row = next(rows)
        kind = "XU" if basis.rows[row] == AT_UPPER else "XL"
        lines.append(f" {kind} {problem.column_name(column)}  {problem.row_name(row)}")
    lines += [f" UL {problem.column_name(column)}" for column in np.flatnonzero(basis.columns == AT_UPPER).tolist()]
    write_text(file, "\n".join([*lines, "ENDATA", ""]))


def read_basis(problem: LinearProgram, file: Path) -> Basis:
    """Reads a basis of this problem in the MPS format of basis files.

    Rows that the file does not name are basic, columns are at their lower bound.

    Raises:
        DataError: names the line.
    """
    columns = {problem.column_name(place): place for place in range(problem.columns)}
    rows = {problem.row_name(place): place for place in range(problem.rows)}
    of_column = np.full(problem.columns, AT_LOWER, np.int8)
    of_row = np.full(problem.rows, BASIC, np.int8)
    lines = read_text(file, errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or line.startswith(("*", "NAME")):
            continue
        if words[0] == "ENDATA":
            return Basis(of_column, of_row).fitted(problem)
        kind = _KINDS.get(words[0])
        names = words[1:]
        if kind is None or len(names) != (1 if kind[1] is None else 2):
            expected = "XU or XL with a column and a row, or UL or LL with a column"
            raise DataError("no line of a basis", file=file, line=number, value=line.strip(), expected=expected)
        for name, known, what in zip(names, (columns, rows), ("column", "row"), strict=False):
            if name not in known:
                raise DataError(f"a {what} that the problem has not got", file=file, line=number, value=name)
        of_column[columns[names[0]]] = kind[0]
        if kind[1] is not None:
            of_row[rows[names[1]]] = kind[1]
    raise DataError("ends too early", file=file, line=max(1, len(lines)), expected="ENDATA")
