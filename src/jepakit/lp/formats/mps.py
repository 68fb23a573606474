"""MPS files in free or fixed format, read strictly: anything that is not valid is an error with its line.

Solvers skip unknown rows and words in place of numbers, and read a truncated file as a smaller problem, which has
another optimum.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from jepakit.errors import DataError
from jepakit.files import read_text
from jepakit.lp.data import Array, LinearProgram

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
#: A number as Fortran writes it: 1.5D-3.
_FORTRAN = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))[dD]([+-]?\d+)")
#: First and last character of the six fields of a line in fixed format.
_FIXED = ((1, 3), (4, 12), (14, 22), (24, 36), (39, 47), (49, 61))
#: Numbers of at least this size stand for infinity.
_INFINITE = 1e20
_VALUE = "value"
#: Type of a bound -> lower and upper bound: the value in the line, a constant, or None to leave it.
_BOUND_TYPES: dict[str, tuple[str | float | None, str | float | None]] = {
    "UP": (None, _VALUE),
    "LO": (_VALUE, None),
    "FX": (_VALUE, _VALUE),
    "LI": (_VALUE, None),
    "UI": (None, _VALUE),
    "FR": (-np.inf, np.inf),
    "MI": (-np.inf, None),
    "PL": (None, np.inf),
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
    """State of the reader: types of rows, entries of columns by row, sides, ranges and bounds, all by name."""

    file: Path
    fixed: bool
    line: int = 1
    section: str = ""
    name: str = ""
    maximize: bool = False
    objective: str | None = None
    in_integers: bool = False
    seen: set[str] = field(default_factory=set)
    rows: dict[str, str] = field(default_factory=dict)
    columns: dict[str, dict[str, float]] = field(default_factory=dict)
    integer: set[str] = field(default_factory=set)
    semicontinuous: set[str] = field(default_factory=set)
    sides: dict[str, float] = field(default_factory=dict)
    ranges: dict[str, float] = field(default_factory=dict)
    lower: dict[str, float] = field(default_factory=dict)
    upper: dict[str, float] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    other_sets: set[tuple[str, str]] = field(default_factory=set)

    def read(self, lines: Sequence[str], relax: bool) -> LinearProgram:
        for number, text in enumerate(lines, 1):
            self.line = number
            if not text.strip() or text[0] == "*":
                continue
            if text[0].isspace():
                self._data(self._without_comment(self._fields(text)))
            else:
                self._begin_section(text.split())
                if self.section == "ENDATA":
                    return self._problem(relax)
        raise self._error("ends too early", None, "ENDATA: the file is cut off or not an MPS file")

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
        elif name == "COLUMNS" and self.rows.get(self.objective or "") != "N":
            raise self._error("no objective", self.objective, "a row of type N before the columns")

    def _fields(self, text: str) -> list[str]:
        if not self.fixed:
            return text.split()
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

    def _data(self, fields: list[str]) -> None:
        match self.section:
            case "ROWS":
                self._row(fields)
            case "COLUMNS":
                self._column(fields)
            case "RHS":
                self._values_of_set(fields, self.sides)
            case "RANGES":
                self._values_of_set(fields, self.ranges)
            case "BOUNDS":
                self._bound(fields)
            case "OBJSENSE":
                self._sense(fields)
            case "OBJNAME":
                self._objective(fields)
            case _:
                raise self._error("data outside of a section", " ".join(fields))

    def _objective(self, words: Sequence[str]) -> None:
        if len(words) != 1:
            raise self._error("not the name of an objective", " ".join(words), "a row of type N")
        self.objective = words[0]

    def _sense(self, words: Sequence[str]) -> None:
        sense = " ".join(words).upper()
        if sense not in ("MIN", "MAX", "MINIMIZE", "MAXIMIZE", "MINIMISE", "MAXIMISE"):
            raise self._error("not a sense of an objective", " ".join(words), "MIN or MAX")
        self.maximize = sense.startswith("MAX")

    def _row(self, fields: list[str]) -> None:
        if len(fields) != 2 or fields[0].upper() not in ("N", "E", "L", "G"):
            raise self._error("not a row", " ".join(fields), "N, E, L or G, and a name")
        kind, name = fields[0].upper(), fields[1]
        if name in self.rows:
            raise self._error("a duplicate row", name)
        if kind == "N" and self.objective is None:
            self.objective = name
        self.rows[name] = kind

    def _column(self, fields: list[str]) -> None:
        if "'MARKER'" in fields:
            if fields[-1] not in ("'INTORG'", "'INTEND'"):
                raise self._error("not a marker", fields[-1], "'INTORG' or 'INTEND'")
            self.in_integers = fields[-1] == "'INTORG'"
            return
        if len(fields) not in (3, 5):
            raise self._error("not an entry", " ".join(fields), "a column, and one or two rows with numbers")
        name = fields[0]
        if name in self.columns and name != next(reversed(self.columns)):
            raise self._error("a column in two places", name, "all its entries together")
        if self.in_integers:
            self.integer.add(name)
        self._values(fields[1:], self.columns.setdefault(name, {}))

    def _values_of_set(self, fields: list[str], values: dict[str, float]) -> None:
        """Adds the numbers of the first set; free format may omit its name."""
        named = len(fields) > 1 and (self.fixed or len(fields) % 2 == 1)
        # Those of another set are checked, too.
        self._values(fields[1:] if named else fields, values if self._in_first_set(fields, named) else {})

    def _values(self, fields: list[str], values: dict[str, float]) -> None:
        """Adds one or two numbers to ``values``, by row."""
        if len(fields) not in (2, 4):
            raise self._error("not a value", " ".join(fields), "one or two rows with numbers")
        for row, text in zip(fields[::2], fields[1::2], strict=True):
            if row not in self.rows:
                raise self._error("a row that is not in ROWS", row)
            if row in values or (row == self.objective and self.section == "RANGES"):
                raise self._error("one value too many for row", row)
            values[row] = self._number(text)

    def _bound(self, fields: list[str]) -> None:
        kind, rest = "".join(fields[:1]).upper(), fields[1:]
        if kind not in _BOUND_TYPES:
            raise self._error("not a bound of a linear program", kind, f"one of {', '.join(_BOUND_TYPES)}")
        needed = 2 if _VALUE in _BOUND_TYPES[kind] else 1
        named = self.fixed or len(rest) > needed
        first = self._in_first_set(rest, named)
        rest = rest[1:] if named else rest
        if len(rest) < needed or len(rest) > 2:
            raise self._error(
                "not a bound", " ".join(fields), "its type, a set, a column" + ", a number" * (needed - 1)
            )
        column = rest[0]
        if column not in self.columns:
            raise self._error("a column that is not in COLUMNS", column)
        value = self._number(rest[1]) if needed == 2 else 0.0
        if not first:
            return
        for bounds, bound in zip((self.lower, self.upper), _BOUND_TYPES[kind], strict=True):
            if bound is not None:
                bounds[column] = value if bound == _VALUE else float(bound)
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
            value = float(_FORTRAN.sub(r"\1e\2", text) if _FORTRAN.fullmatch(text) else text)
        except ValueError:
            value = np.nan
        if np.isnan(value) or "_" in text:
            raise self._error("not a number", text)
        return value

    def _error(self, problem: str, value: object, expected: str | None = None) -> DataError:
        section = self.section or None
        return DataError(problem, file=self.file, line=self.line, field=section, value=value, expected=expected)

    def _problem(self, relax: bool) -> LinearProgram:
        if self.objective is None:
            raise self._error("no objective", None, "a row of type N")
        for names, kind in ((self.integer, "integer"), (self.semicontinuous, "0 or above their lower bound")):
            if names and not relax:
                first = next(name for name in self.columns if name in names)
                expected = "a linear program; or ask for its relaxation (relax=True, --relax)"
                problem = f"{len(names)} columns have to be {kind}, such as {first!r}"
                raise DataError(problem, file=self.file, expected=expected)
        kinds = {name: kind for name, kind in self.rows.items() if kind != "N"}
        places = {name: place for place, name in enumerate(kinds)}
        entries = [
            (places[row], column, value)
            for column, values in enumerate(self.columns.values())
            for row, value in values.items()
            if row in places
        ]
        row, column, value = np.array(entries, float).reshape(-1, 3).T
        matrix = sp.csc_array((value, (row.astype(int), column.astype(int))), shape=(len(kinds), len(self.columns)))
        sides = [_sides(kind, self.sides.get(name, 0.0), self.ranges.get(name)) for name, kind in kinds.items()]
        row_lower, row_upper = _with_infinities(np.array(sides).reshape(-1, 2).T)
        upper = [self.upper.get(name, np.inf) for name in self.columns]
        lower = [
            self.lower.get(name, -np.inf if high < 0 else 0.0) for name, high in zip(self.columns, upper, strict=True)
        ]
        unstated = [name for name in self.columns if self.upper.get(name, 0.0) < 0 and name not in self.lower]
        if unstated:
            say = "%s: columns with a negative upper bound and no lower bound have the lower bound -inf: %s"
            _LOG.warning(say, self.file, ", ".join(unstated[:5]) + (" and others" if len(unstated) > 5 else ""))
        for place, name in enumerate(self.columns):
            if name in self.semicontinuous:
                lower[place], upper[place] = min(0.0, lower[place]), max(0.0, upper[place])
        sign = -1.0 if self.maximize else 1.0
        return LinearProgram(
            costs=sign * np.array([values.get(self.objective, 0.0) for values in self.columns.values()]),
            matrix=matrix,
            row_lower=row_lower,
            row_upper=row_upper,
            lower=_with_infinities(np.array(lower)),
            upper=_with_infinities(np.array(upper)),
            offset=sign * (0.0 - self.sides.get(self.objective, 0.0)),
            maximize=self.maximize,
            name=self.name or self.file.name.partition(".")[0],
            column_names=tuple(self.columns),
            row_names=tuple(kinds),
        )


def _sides(kind: str, side: float, width: float | None) -> tuple[float, float]:
    """L and U of a row of type E, L or G, with a range of ``width``."""
    low, high = -np.inf if kind == "L" else side, np.inf if kind == "G" else side
    if width is None:
        return low, high
    if kind == "L" or (kind == "E" and width < 0):
        return side - abs(width), high
    return low, side + abs(width)


def _with_infinities(side: Array) -> Array:
    """Replaces numbers that stand for infinity."""
    return np.where(np.abs(side) >= _INFINITE, np.copysign(np.inf, side), side)
