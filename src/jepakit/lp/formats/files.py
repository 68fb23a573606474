"""Files of problems (MPS, LP), solutions (``.sol``) and bases (``.bas``)."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import highspy
import numpy as np

from jepakit.errors import DataError
from jepakit.files import read_bytes, read_text, reading, whole_file, write_text
from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.formats.mps import read_mps
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, BASIC, Basis
from jepakit.lp.solving.highs import from_highs, to_highs
from jepakit.lp.solving.solver import Solution

_ENDINGS = ".mps, .lp, .mps.gz or .lp.gz"
#: Type of a line in a basis file -> status of its column, and of its row if it names one.
_STATUSES = {"XU": (BASIC, AT_UPPER), "XL": (BASIC, AT_LOWER), "UL": (AT_UPPER,), "LL": (AT_LOWER,)}


def read_problem(file: str | Path, *, relax: bool = False) -> LinearProgram:
    """A problem in MPS (``.mps``, ``.mps.gz``) or LP format (``.lp``, ``.lp.gz``).

    Args:
        file: its name gives the format.
        relax: drop integrality; without it integer columns are an error.

    Raises:
        DataError: names the file, in MPS also the line.
    """
    file = Path(file)
    with reading(file):
        match _format_of(file):
            case ".mps":
                return read_mps(file, relax=relax)
            case ".lp":
                return _read_lp(file, relax=relax)
            case ".parquet" | ".npz":
                expected = f"a name that ends in {_ENDINGS}; scenarios of one problem are for `jepakit lp batch`"
                raise DataError("neither MPS nor LP", expected=expected)
            case _:
                raise DataError("neither MPS nor LP", expected=f"a name that ends in {_ENDINGS}")


def problem_files(path: Path) -> list[Path]:
    """The problem files of a folder, sorted by name; a path that is no folder is returned as it is.

    Raises:
        DataError: the folder has no problem files.
    """
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if _format_of(file) in (".mps", ".lp"))
    if not files:
        raise DataError("no problems in this folder", file=path, expected=f"files that end in {_ENDINGS}")
    return files


def _format_of(file: Path) -> str:
    return Path(file.name.lower().removesuffix(".gz")).suffix


def write_problem(problem: LinearProgram, file: str | Path) -> None:
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
    file = Path(file)
    with whole_file(file) as unfinished:
        if highs.writeModel(str(unfinished)) == highspy.HighsStatus.kError:
            raise OSError(f"HiGHS cannot write it; give room, and a name that ends in {_ENDINGS}")
        # On a full disk HiGHS reports success.
        try:
            content = read_bytes(unfinished)
        except DataError as error:
            raise OSError(f"the file that HiGHS wrote cannot be read: {error.problem}") from error
        if content[-16:].split()[-1:] not in ([b"ENDATA"], [b"end"]):
            raise OSError("the file that HiGHS wrote is cut off; is the disk full?")
        # HiGHS writes plain text whatever the name.
        if file.suffix.lower() == ".gz":
            unfinished.write_bytes(gzip.compress(content, mtime=0))


def _read_lp(file: Path, *, relax: bool) -> LinearProgram:
    # HiGHS reads the file itself, and a file that is cut off as a smaller problem. `read_text` unpacks it.
    lines = read_text(Path(file), errors="replace").splitlines()
    words = [(number, word) for number, line in enumerate(lines, 1) for word in line.partition("\\")[0].split()[-1:]]
    last, word = words[-1] if words else (1, "")
    if word.lower() != "end":
        raise DataError("ends too early", line=last, value=word, expected="End: the file is cut off")
    highs, log = highspy.Highs(), list[str]()
    highs.setOptionValue("log_to_console", False)
    highs.cbLogging.subscribe(lambda event: log.append(event.message))
    try:
        status = highs.readModel(str(file))
    except UnicodeDecodeError:
        # HiGHS names what it refuses, and its binding decodes the message.
        raise DataError("not an LP file, and not UTF-8 text", expected="the format that HiGHS and CPLEX read") from None
    faults = [" ".join(line.split()) for line in log if line.startswith(("WARNING", "ERROR"))]
    if status != highspy.HighsStatus.kOk or faults:
        problem = f"not an LP file: {'; '.join(faults)}"
        raise DataError(problem, expected="the format that HiGHS and CPLEX read")
    return from_highs(highs, relax=relax)


def write_solution(solution: Solution, problem: LinearProgram, file: str | Path) -> None:
    """Writes a solution in the text format of HiGHS' solution files.

    Raises:
        DataError: the solution has no point.
        ModelError: the file cannot be written.
    """
    if not np.isfinite(solution.x).all():
        raise DataError("no solution to write", file=file, field="x", value=solution.status, expected="an optimum")
    sign = -1.0 if problem.maximize else 1.0
    lines = [
        *["Model status", solution.status.capitalize(), "", "# Primal solution values", "Feasible"],
        f"Objective {solution.objective!r}",
        *_values("Columns", problem.columns, problem.column_name, solution.x),
        *_values("Rows", problem.rows, problem.row_name, problem.matrix @ solution.x),
        *["", "# Dual solution values", "Feasible"],
        *_values("Columns", problem.columns, problem.column_name, sign * solution.z),
        *_values("Rows", problem.rows, problem.row_name, sign * solution.y),
    ]
    write_text(Path(file), "\n".join([*lines, ""]))


def _values(title: str, count: int, name: Callable[[int], str], values: Array) -> Iterator[str]:
    yield f"# {title} {count}"
    for place, value in enumerate(values.tolist()):
        yield f"{name(place)} {value!r}"


def write_basis(basis: Basis, problem: LinearProgram, file: str | Path) -> None:
    """Writes a basis in the MPS format of basis files, which other solvers read too.

    Raises:
        DataError: the number of basic columns and rows is not the number of rows; the format cannot express it.
        ModelError: the file cannot be written.
    """
    if basis.basic != problem.rows:
        expected = f"{problem.rows} basic columns and rows"
        raise DataError("cannot be written as MPS", file=file, field="basic", value=basis.basic, expected=expected)
    lines = [f"NAME          {problem.name}"]
    rows = iter(np.flatnonzero(basis.rows != BASIC).tolist())
    for column in np.flatnonzero(basis.columns == BASIC).tolist():
        row = next(rows)
        kind = "XU" if basis.rows[row] == AT_UPPER else "XL"
        lines.append(f" {kind} {problem.column_name(column)}  {problem.row_name(row)}")
    lines += [f" UL {problem.column_name(column)}" for column in np.flatnonzero(basis.columns == AT_UPPER).tolist()]
    write_text(Path(file), "\n".join([*lines, "ENDATA", ""]))


def read_basis(problem: LinearProgram, file: str | Path) -> Basis:
    """Reads a basis of this problem in the MPS format of basis files.

    Rows that the file does not name are basic, columns are at their lower bound.

    Raises:
        DataError: names the line.
    """
    file = Path(file)
    columns = {problem.column_name(place): place for place in range(problem.columns)}
    rows = {problem.row_name(place): place for place in range(problem.rows)}
    basis = Basis(np.full(problem.columns, AT_LOWER, np.int8), np.full(problem.rows, BASIC, np.int8))
    lines = read_text(file, errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or line.startswith(("*", "NAME")):
            continue
        if words[0] == "ENDATA":
            return basis.fitted(problem)
        (kind, *names), parts = words, (("column", columns, basis.columns), ("row", rows, basis.rows))
        if kind not in _STATUSES or len(names) != len(_STATUSES[kind]):
            expected = "XU or XL with a column and a row, or UL or LL with a column"
            raise DataError("not a line of a basis", file=file, line=number, value=line.strip(), expected=expected)
        for name, status, (field, places, statuses) in zip(names, _STATUSES[kind], parts, strict=False):
            if name not in places:
                raise DataError("not in the problem", file=file, line=number, field=field, value=name)
            statuses[places[name]] = status
    raise DataError("ends too early", file=file, line=max(1, len(lines)), expected="ENDATA")
