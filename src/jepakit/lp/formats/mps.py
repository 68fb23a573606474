"""MPS files in free or fixed format, read strictly: anything that is not valid is an error with its line.

Solvers skip unknown rows and words in place of numbers, and read a truncated file as a smaller problem, which has
another optimum.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from jepakit.errors import DataError
from jepakit.files import read_text
from jepakit.lp.data import LinearProgram
from jepakit.lp.formats.arrays import bounds_of, entries_of, sides_of

_LOG = logging.getLogger(__name__)
#: Sections of a linear program, and the place of each in the file; those of one place come in any order.
_SECTIONS = {
    "NAME": 0,
    "OBJSENSE": 1,
    "OBJNAME": 1,
    "ROWS": 2,
    "COLUMNS": 3,
    "RHS": 4,
    "RANGES": 4,
    "BOUNDS": 4,
    "ENDATA": 5,
}
#: Of a row: without sides, equal to its side, at most, at least.
_ROW_TYPES = ("N", "E", "L", "G")
#: A number as Fortran writes it: 1.5D-3.
_FORTRAN = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))[dD]([+-]?\d+)")
#: First and last character of the six fields of a line in fixed format.
_FIXED = ((1, 3), (4, 12), (14, 22), (24, 36), (39, 47), (49, 61))
_VALUE = "value"
#: Type of a bound -> lower and upper bound: the value in the line, a constant, or None to leave it.
_BOUND_TYPES: dict[str, tuple[str | float | None, str | float | None]] = {
    "UP": (None, _VALUE),
    "LO": (_VALUE, None),
    "FX": (_VALUE, _VALUE),
    "LI": (_VALUE, None),
    "UI": (None, _VALUE),
    "FR": (-inf, inf),
    "MI": (-inf, None),
    "PL": (None, inf),
    "BV": (0.0, 1.0),
    # 0, or from the lower bound up to this.
    "SC": (None, _VALUE),
}
_INTEGER_BOUND_TYPES = ("LI", "UI", "BV")


def read_mps(file: Path, *, relax: bool = False) -> LinearProgram:
    """A problem in MPS format.

    The objective is the row that OBJNAME names, or the first row of type N; others of this type are left out. Its
    right-hand side is minus the constant of the objective. Of several sets of right-hand sides, ranges or bounds the
    first is taken. A column with a negative upper bound and no stated lower bound has the lower bound -inf, as in CPLEX
    and Gurobi. Both are logged as warnings.

    Args:
        file: ``.mps`` or ``.mps.gz``.
        relax: drop integrality, and take 0 for the lower bound of semi-continuous columns; without it both are an
            error.

    Raises:
        DataError: names the line.
    """
    lines = read_text(file, errors="replace").splitlines()
    try:
        return _Reader(file, fixed=False).read(lines, relax)
    except DataError as error:
        # Fixed format allows spaces in names. A file does not state its format.
        with suppress(DataError):
            return _Reader(file, fixed=True).read(lines, relax)
        raise error from None


@dataclass
class _Reader:
    """State of the reader. Rows and columns are known by their places in the file; rows of type N count."""

    file: Path
    fixed: bool
    texts: Iterator[tuple[int, str]] = field(default_factory=lambda: iter(()))
    line: int = 1
    section: str = ""
    header: list[str] = field(default_factory=list)
    name: str = ""
    maximize: bool = False
    objective: str | None = None
    seen: set[str] = field(default_factory=set)
    rows: dict[str, int] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    columns: dict[str, int] = field(default_factory=dict)
    #: Entries in the order of the file; those of a column begin at its place in ``begins``.
    begins: list[int] = field(default_factory=list)
    entry_rows: list[int] = field(default_factory=list)
    entries: list[float] = field(default_factory=list)
    integer: set[int] = field(default_factory=set)
    semicontinuous: set[int] = field(default_factory=set)
    sides: dict[int, float] = field(default_factory=dict)
    ranges: dict[int, float] = field(default_factory=dict)
    lower: dict[int, float] = field(default_factory=dict)
    upper: dict[int, float] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    other_sets: set[tuple[str, str]] = field(default_factory=set)

    def read(self, lines: Sequence[str], relax: bool) -> LinearProgram:
        self.texts = enumerate(lines, 1)
        while self.section != "ENDATA":
            self._read_section(self._data())
            if not self.header:
                raise self._error("ends too early", None, "ENDATA: the file is cut off or not an MPS file")
            self._begin_section(self.header)
        return self._problem(relax)

    def _data(self) -> Iterator[list[str]]:
        """The fields of each line up to the next section, whose words are ``header`` then; empty at the end."""
        self.header = []
        for line, text in self.texts:
            self.line = line
            fields = text.split()
            if not fields or text[0] == "*":
                continue
            if not text[0].isspace():
                self.header = fields
                return
            if self.fixed:
                fields = self._fixed_fields(text)
            yield self._without_comment(fields) if "$" in text else fields

    def _read_section(self, data: Iterator[list[str]]) -> None:
        match self.section:
            case "ROWS":
                self._read_rows(data)
            case "COLUMNS":
                self._read_columns(data)
            case "RHS":
                self._read_values(data, self.sides)
            case "RANGES":
                self._read_values(data, self.ranges, self.rows.get(self.objective or ""))
            case "BOUNDS":
                self._read_bounds(data)
            case "OBJSENSE":
                for fields in data:
                    self._sense(fields)
            case "OBJNAME":
                for fields in data:
                    self._objective(fields)
            case _:
                for fields in data:
                    raise self._error("data outside of a section", " ".join(fields))

    def _begin_section(self, words: Sequence[str]) -> None:
        name = words[0].upper()
        if name not in _SECTIONS:
            raise self._error("not a section of a linear program", words[0], f"one of {', '.join(_SECTIONS)}")
        if name in self.seen or (self.section and _SECTIONS[name] < _SECTIONS[self.section]):
            raise self._error(f"a section that cannot come after {self.section}", name)
        self.section = name
        self.seen.add(name)
        if name == "NAME":
            self.name = " ".join(words[1:])
        elif name == "OBJSENSE" and len(words) > 1:
            self._sense(words[1:])
        elif name == "OBJNAME" and len(words) > 1:
            self._objective(words[1:])
        elif name == "COLUMNS" and not self._has_objective():
            raise self._error("no objective", self.objective, "a row of type N before the columns")

    def _has_objective(self) -> bool:
        row = self.rows.get(self.objective or "")
        return row is not None and self.kinds[row] == "N"

    def _fixed_fields(self, text: str) -> list[str]:
        fields = [text[first:last].strip() for first, last in _FIXED]
        while fields and not fields[-1]:
            fields.pop()
        match self.section:
            case "BOUNDS":
                return fields
            case "COLUMNS" | "RHS" | "RANGES":
                return fields[1:]
            case _:
                return [part for part in fields if part]

    def _without_comment(self, fields: list[str]) -> list[str]:
        """The fields before one that begins with ``$`` and names no row or column."""
        new = 2 if self.section == "ROWS" else 1
        for place, part in enumerate(fields):
            if place >= new and part.startswith("$") and part not in self.rows and part not in self.columns:
                return fields[:place]
        return fields

    def _objective(self, words: Sequence[str]) -> None:
        if len(words) != 1:
            raise self._error("not the name of an objective", " ".join(words), "a row of type N")
        self.objective = words[0]

    def _sense(self, words: Sequence[str]) -> None:
        sense = " ".join(words).upper()
        if sense not in ("MIN", "MAX", "MINIMIZE", "MAXIMIZE", "MINIMISE", "MAXIMISE"):
            raise self._error("not a sense of an objective", " ".join(words), "MIN or MAX")
        self.maximize = sense.startswith("MAX")

    def _read_rows(self, data: Iterator[list[str]]) -> None:
        rows, kinds = self.rows, self.kinds
        for fields in data:
            if len(fields) != 2 or (kind := fields[0].upper()) not in _ROW_TYPES:
                raise self._error("not a row", " ".join(fields), "N, E, L or G, and a name")
            name = fields[1]
            if name in rows:
                raise self._error("a duplicate row", name)
            if kind == "N" and self.objective is None:
                self.objective = name
            rows[name] = len(kinds)
            kinds.append(kind)

    def _read_columns(self, data: Iterator[list[str]]) -> None:
        rows, columns, entry_rows, entries = self.rows, self.columns, self.entry_rows, self.entries
        # Of each row: the last column that has an entry there.
        last_column = [-1] * len(rows)
        name, column, in_integers = None, -1, False
        for fields in data:
            if "'MARKER'" in fields:
                if fields[-1] not in ("'INTORG'", "'INTEND'"):
                    raise self._error("not a marker", fields[-1], "'INTORG' or 'INTEND'")
                in_integers = fields[-1] == "'INTORG'"
                continue
            count = len(fields)
            if count == 3:
                pairs = ((fields[1], fields[2]),)
            elif count == 5:
                pairs = ((fields[1], fields[2]), (fields[3], fields[4]))
            else:
                raise self._error("not an entry", " ".join(fields), "a column, and one or two rows with numbers")
            if fields[0] != name:
                name, column = fields[0], column + 1
                if name in columns:
                    raise self._error("a column in two places", name, "all its entries together")
                columns[name] = column
                self.begins.append(len(entries))
            if in_integers:
                self.integer.add(column)
            for row_name, text in pairs:
                row = rows.get(row_name)
                if row is None:
                    raise self._error("a row that is not in ROWS", row_name)
                if last_column[row] == column:
                    raise self._error("one value too many for row", row_name)
                try:
                    value = float(text)
                except ValueError:
                    value = self._fortran(text)
                if value != value or "_" in text:
                    raise self._error("not a number", text)
                last_column[row] = column
                entry_rows.append(row)
                entries.append(value)

    def _read_values(self, data: Iterator[list[str]], values: dict[int, float], without: int | None = None) -> None:
        """Adds the numbers of the first set, by row; free format may omit its name. The row ``without`` has none."""
        rows = self.rows
        for fields in data:
            count = len(fields)
            named = count > 1 and (self.fixed or count % 2 == 1)
            # Those of another set are checked, too.
            into = values if self._in_first_set(fields, named) else dict[int, float]()
            rest = fields[1:] if named else fields
            if len(rest) not in (2, 4):
                raise self._error("not a value", " ".join(rest), "one or two rows with numbers")
            for row_name, text in zip(rest[::2], rest[1::2], strict=True):
                row = rows.get(row_name)
                if row is None:
                    raise self._error("a row that is not in ROWS", row_name)
                if row in into or row == without:
                    raise self._error("one value too many for row", row_name)
                into[row] = self._number(text)

    def _read_bounds(self, data: Iterator[list[str]]) -> None:
        columns, lower, upper = self.columns, self.lower, self.upper
        for fields in data:
            kind, rest = "".join(fields[:1]).upper(), fields[1:]
            if kind not in _BOUND_TYPES:
                raise self._error("not a bound of a linear program", kind, f"one of {', '.join(_BOUND_TYPES)}")
            low, high = _BOUND_TYPES[kind]
            needed = 2 if low == _VALUE or high == _VALUE else 1
            named = self.fixed or len(rest) > needed
            first = self._in_first_set(rest, named)
            if named:
                rest = rest[1:]
            if len(rest) < needed or len(rest) > 2:
                expected = "its type, a set, a column" + ", a number" * (needed - 1)
                raise self._error("not a bound", " ".join(fields), expected)
            column = columns.get(rest[0])
            if column is None:
                raise self._error("a column that is not in COLUMNS", rest[0])
            value = self._number(rest[1]) if needed == 2 else 0.0
            if not first:
                continue
            if low is not None:
                lower[column] = value if low == _VALUE else float(low)
            if high is not None:
                upper[column] = value if high == _VALUE else float(high)
            if kind in _INTEGER_BOUND_TYPES:
                self.integer.add(column)
            if kind == "SC":
                self.semicontinuous.add(column)

    def _in_first_set(self, fields: Sequence[str], named: bool) -> bool:
        name = fields[0] if named and fields else ""
        first = self.sets.setdefault(self.section, name)
        if name != first and (self.section, name) not in self.other_sets:
            self.other_sets.add((self.section, name))
            say = "%s:%d: %s: of several sets the first, %r, is taken; %r is left out"
            _LOG.warning(say, self.file, self.line, self.section, first, name)
        return name == first

    def _number(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = self._fortran(text)
        if value != value or "_" in text:
            raise self._error("not a number", text)
        return value

    def _fortran(self, text: str) -> float:
        if not _FORTRAN.fullmatch(text):
            raise self._error("not a number", text)
        return float(_FORTRAN.sub(r"\1e\2", text))

    def _error(self, problem: str, value: object, expected: str | None = None) -> DataError:
        section = self.section or None
        return DataError(problem, file=self.file, line=self.line, field=section, value=value, expected=expected)

    def _problem(self, relax: bool) -> LinearProgram:
        if self.objective is None:
            raise self._error("no objective", None, "a row of type N")
        names = tuple(self.columns)
        for places, kind in ((self.integer, "integer"), (self.semicontinuous, "0 or above their lower bound")):
            if places and not relax:
                expected = "a linear program; or ask for its relaxation (relax=True, --relax)"
                problem = f"{len(places)} columns have to be {kind}, such as {names[min(places)]!r}"
                raise DataError(problem, file=self.file, expected=expected)
        sign, objective = -1.0 if self.maximize else 1.0, self.rows.get(self.objective, -1)
        matrix, costs = entries_of(self.kinds, objective, self.begins, self.entry_rows, self.entries)
        row_lower, row_upper = sides_of(self.kinds, self.sides, self.ranges)
        lower, upper, assumed = bounds_of(len(names), self.lower, self.upper, list(self.semicontinuous))
        if len(assumed):
            say = "%s: columns with a negative upper bound and no lower bound have the lower bound -inf: %s"
            first = ", ".join(names[column] for column in assumed[:5])
            _LOG.warning(say, self.file, first + (" and others" if len(assumed) > 5 else ""))
        return LinearProgram(
            costs=sign * costs,
            matrix=matrix,
            row_lower=row_lower,
            row_upper=row_upper,
            lower=lower,
            upper=upper,
            offset=sign * (0.0 - self.sides.get(objective, 0.0)),
            maximize=self.maximize,
            name=self.name or self.file.name.partition(".")[0],
            column_names=names,
            row_names=tuple(name for name, kind in zip(self.rows, self.kinds, strict=True) if kind != "N"),
        )
