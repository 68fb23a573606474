"""MPS files in free or fixed format, read strictly: anything that is not valid is an error with its line.

Solvers skip unknown rows and words in place of numbers, and read a truncated file as a smaller problem, which has
another optimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from jepakit.errors import DataError
from jepakit.files import read_text
from jepakit.lp.data import Array, LinearProgram

#: Sections of a linear program, in order.
_SECTIONS = ("NAME", "OBJSENSE", "ROWS", "COLUMNS", "RHS", "RANGES", "BOUNDS", "ENDATA")
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
}
_INTEGER_BOUND_TYPES = ("LI", "UI", "BV")


def read_mps(file: Path, *, relax: bool = False) -> LinearProgram:
    """A problem in MPS format.

    The first row of type N is the objective, others of this type are left out. A column with a negative upper bound and
    no stated lower bound has the lower bound -inf.

    Args:
        file: ``.mps`` or ``.mps.gz``.
        relax: drop integrality; without it integer columns are an error.

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
    rows: dict[str, str] = field(default_factory=dict)
    columns: dict[str, dict[str, float]] = field(default_factory=dict)
    integer: set[str] = field(default_factory=set)
    sides: dict[str, float] = field(default_factory=dict)
    ranges: dict[str, float] = field(default_factory=dict)
    lower: dict[str, float] = field(default_factory=dict)
    upper: dict[str, float] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)

    def read(self, lines: Sequence[str], relax: bool) -> LinearProgram:
        for number, text in enumerate(lines, 1):
            self.line = number
            if not text.strip() or text[0] == "*":
                continue
            if text[0].isspace():
                self._data(self._fields(text))
            else:
                self._begin_section(text.split())
                if self.section == "ENDATA":
                    return self._problem(relax)
        raise self._error("ends too early", None, "ENDATA: the file is cut off or not an MPS file")

    def _begin_section(self, words: Sequence[str]) -> None:
        name = words[0].upper()
        if name not in _SECTIONS:
            raise self._error("not a section of a linear program", words[0], f"one of {', '.join(_SECTIONS)}")
        if self.section and _SECTIONS.index(name) <= _SECTIONS.index(self.section):
            raise self._error(f"a section that cannot come after {self.section}", name)
        self.section = name
        if name == "NAME":
            self.name = " ".join(words[1:])
        elif name == "OBJSENSE" and len(words) > 1:
            self._sense(words[1:])
        elif name == "COLUMNS" and self.objective is None:
            raise self._error("no objective", None, "a row of type N before the columns")

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

    def _data(self, fields: list[str]) -> None:
        match self.section:
            case "ROWS":
                self._row(fields)
            case "COLUMNS":
                self._column(fields)
            case "RHS":
                self._values(self._without_set(fields), self.sides)
            case "RANGES":
                self._values(self._without_set(fields), self.ranges)
            case "BOUNDS":
                self._bound(fields)
            case "OBJSENSE":
                self._sense(fields)
            case _:
                raise self._error("data outside of a section", " ".join(fields))

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

    def _without_set(self, fields: list[str]) -> list[str]:
        """The fields without the name of their set, which free format may omit."""
        if not self.fixed and len(fields) % 2 == 0:
            return fields
        self._require_one_set(fields)
        return fields[1:]

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
        if self.fixed or len(rest) > needed:
            self._require_one_set(rest)
            rest = rest[1:]
        if len(rest) < needed or len(rest) > 2:
            raise self._error(
                "not a bound", " ".join(fields), "its type, a set, a column" + ", a number" * (needed - 1)
            )
        column = rest[0]
        if column not in self.columns:
            raise self._error("a column that is not in COLUMNS", column)
        value = self._number(rest[1]) if needed == 2 else 0.0
        for bounds, bound in zip((self.lower, self.upper), _BOUND_TYPES[kind], strict=True):
            if bound is not None:
                bounds[column] = value if bound == _VALUE else float(bound)
        if kind in _INTEGER_BOUND_TYPES:
            self.integer.add(column)

    def _require_one_set(self, fields: Sequence[str]) -> None:
        name = "".join(fields[:1])
        if self.sets.setdefault(self.section, name) != name:
            raise self._error("a second set", name, "one: another set is another problem")

    def _number(self, text: str) -> float:
        try:
            value = float(text)
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
        if self.integer and not relax:
            first = next(name for name in self.columns if name in self.integer)
            expected = "a linear program; or ask for its relaxation (relax=True, --relax)"
            problem = f"{len(self.integer)} columns have to be integer, such as {first!r}"
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
