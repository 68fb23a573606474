"""MPS files, read strictly: anything that is not valid is an error with its line.

Solvers read leniently: they skip unknown rows and words in the place of numbers, and read a truncated file as a smaller
problem, which has another optimum. Free and fixed format, gzipped or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
        # Fixed format allows spaces in names. A file does not say which format it has.
        try:
            return _Reader(file, fixed=True).read(lines, relax)
        except DataError:
            raise error from None


@dataclass
class _Reader:
    """State of the reader. ``rows`` maps names to row numbers; rows of type N that are not the objective have -1."""

    file: Path
    fixed: bool
    line: int = 0
    name: str = ""
    maximize: bool = False
    objective: str | None = None
    types: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    columns: dict[str, int] = field(default_factory=dict)
    integer: set[int] = field(default_factory=set)
    in_integers: bool = False
    entries: tuple[list[int], list[int], list[float]] = field(default_factory=lambda: ([], [], []))
    costs: dict[int, float] = field(default_factory=dict)
    seen_in_column: set[str] = field(default_factory=set)
    offset: float | None = None
    sides: dict[int, float] = field(default_factory=dict)
    ranges: dict[int, float] = field(default_factory=dict)
    lower: dict[int, float] = field(default_factory=dict)
    upper: dict[int, float] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)

    def read(self, lines: Sequence[str], relax: bool) -> LinearProgram:
        section = ""
        for number, text in enumerate(lines, 1):
            self.line = number
            if not text.strip() or text[0] == "*":
                continue
            if not text[0].isspace():
                section = self._section(text.split(), section)
                if section == "ENDATA":
                    return self._problem(relax)
            else:
                self._data(section, self._fields(text))
        expected = "ENDATA, so it is cut off or no MPS file"
        raise DataError("ends too early", file=self.file, line=max(1, len(lines)), expected=expected)

    def _section(self, words: Sequence[str], before: str) -> str:
        name = words[0].upper()
        if name not in _SECTIONS:
            raise self._error("no section of a linear program", words[0], f"one of {', '.join(_SECTIONS)}")
        if before and _SECTIONS.index(name) <= _SECTIONS.index(before):
            raise self._error(f"a section that cannot come after {before}", name)
        if name == "NAME":
            self.name = " ".join(words[1:])
        if name == "OBJSENSE" and len(words) > 1:
            self._sense(words[1:])
        if name == "COLUMNS" and self.objective is None:
            raise self._error("no objective", None, "a row of type N before the columns")
        return name

    def _fields(self, text: str) -> list[str]:
        if not self.fixed:
            return text.split()
        fields = [text[first:last].strip() for first, last in _FIXED]
        while fields and not fields[-1]:
            fields.pop()
        return fields

    def _data(self, section: str, fields: list[str]) -> None:
        if section == "ROWS":
            self._row([part for part in fields if part])
        elif section == "COLUMNS":
            self._column(fields[1:] if self.fixed else fields)
        elif section in ("RHS", "RANGES"):
            self._sides(section, self._without_set(section, fields[1:] if self.fixed else fields))
        elif section == "BOUNDS":
            self._bound(fields)
        elif section == "OBJSENSE":
            self._sense([part for part in fields if part])
        else:
            raise self._error("data outside of a section", fields[0])

    def _sense(self, words: Sequence[str]) -> None:
        sense = words[0].upper()
        if len(words) > 1 or sense not in ("MIN", "MAX", "MINIMIZE", "MAXIMIZE", "MINIMISE", "MAXIMISE"):
            raise self._error("no sense of an objective", " ".join(words), "MIN or MAX")
        self.maximize = sense.startswith("MAX")

    def _row(self, fields: list[str]) -> None:
        if len(fields) != 2 or fields[0].upper() not in ("N", "E", "L", "G"):
            raise self._error("no row", " ".join(fields), "N, E, L or G, and a name")
        kind, name = fields[0].upper(), fields[1]
        if name in self.rows or name == self.objective:
            raise self._error("a row that is there already", name)
        if kind == "N" and self.objective is None:
            self.objective = name
            return
        self.rows[name] = -1 if kind == "N" else len(self.types)
        if kind != "N":
            self.types.append(kind)

    def _column(self, fields: list[str]) -> None:
        if "'MARKER'" in fields:
            marks = {"'INTORG'": True, "'INTEND'": False}
            if fields[-1] not in marks:
                raise self._error("no marker", fields[-1], "'INTORG' or 'INTEND'")
            self.in_integers = marks[fields[-1]]
            return
        if len(fields) not in (3, 5):
            raise self._error("no entry of a column", " ".join(fields), "a column, and one or two rows with numbers")
        name = fields[0]
        if name not in self.columns:
            self.columns[name] = len(self.columns)
            self.seen_in_column = set()
        elif self.columns[name] != len(self.columns) - 1:
            raise self._error("a column that was left and is taken up again", name, "all its entries together")
        column = self.columns[name]
        if self.in_integers:
            self.integer.add(column)
        for row, text in self._pairs(fields[1:]):
            if row in self.seen_in_column:
                raise self._error(f"a second entry of column {name!r} in row", row, "one")
            self.seen_in_column.add(row)
            value = self._number(text)
            if row == self.objective:
                self.costs[column] = value
            elif (place := self._known_row(row)) >= 0:
                for part, added in zip(self.entries, (place, column, value), strict=True):
                    part.append(added)  # type: ignore[arg-type]

    def _without_set(self, section: str, fields: list[str]) -> list[str]:
        """The fields without the name of their set, which free format may omit."""
        if not self.fixed and len(fields) % 2 == 0:
            return fields
        self._one_set(section, fields[0])
        return fields[1:]

    def _sides(self, section: str, fields: list[str]) -> None:
        if len(fields) not in (2, 4):
            raise self._error(f"nothing that can stand in {section}", " ".join(fields), "rows with numbers")
        values = self.sides if section == "RHS" else self.ranges
        for row, text in self._pairs(fields):
            value = self._number(text)
            if row == self.objective:
                if section == "RANGES" or self.offset is not None:
                    raise self._error(f"a value in {section} that the objective cannot have", row)
                self.offset = -value
                continue
            place = self._known_row(row)
            if place in values:
                raise self._error(f"a second value in {section} for row", row, "one")
            if place >= 0:
                values[place] = value

    def _bound(self, fields: list[str]) -> None:
        kind, rest = fields[0].upper(), fields[1:]
        if kind not in _BOUND_TYPES:
            known = ", ".join(_BOUND_TYPES)
            raise self._error("no bound that a column of a linear program can have", fields[0], f"one of {known}")
        needed = 2 if _VALUE in _BOUND_TYPES[kind] else 1
        if self.fixed or len(rest) > needed:
            self._one_set("BOUNDS", rest[0] if rest else "")
            rest = rest[1:]
        if len(rest) < needed or len(rest) > 2:
            raise self._error("no bound", " ".join(fields), "its kind, a set, a column" + ", a number" * (needed - 1))
        if rest[0] not in self.columns:
            raise self._error("a column that is not in COLUMNS", rest[0])
        column = self.columns[rest[0]]
        value = self._number(rest[1]) if needed == 2 else 0.0
        for bounds, bound in zip((self.lower, self.upper), _BOUND_TYPES[kind], strict=True):
            if bound is not None:
                bounds[column] = value if bound == _VALUE else float(bound)
        if kind in _INTEGER_BOUND_TYPES:
            self.integer.add(column)

    def _one_set(self, section: str, name: str) -> None:
        if self.sets.setdefault(section, name) != name:
            raise self._error(f"a second set in {section}", name, "one: another set is another problem")

    def _pairs(self, fields: Sequence[str]) -> Iterator[tuple[str, str]]:
        return zip(fields[::2], fields[1::2], strict=True)

    def _known_row(self, name: str) -> int:
        if name not in self.rows:
            raise self._error("a row that is not in ROWS", name)
        return self.rows[name]

    def _number(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = np.nan
        if np.isnan(value) or "_" in text:
            raise self._error("no number", text)
        return value

    def _error(self, problem: str, value: object, expected: str | None = None) -> DataError:
        return DataError(problem, file=self.file, line=self.line, value=value, expected=expected)

    def _problem(self, relax: bool) -> LinearProgram:
        if self.objective is None:
            raise self._error("no objective", None, "a row of type N")
        if self.integer and not relax:
            problem = (
                f"{len(self.integer)} columns have to be integer, such as {list(self.columns)[min(self.integer)]!r}"
            )
            expected = "a linear program; or ask for its relaxation (relax=True, --relax)"
            raise DataError(problem, file=self.file, expected=expected)
        rows, columns, values = self.entries
        m, n = len(self.types), len(self.columns)
        row_lower, row_upper = self._row_sides(m)
        lower, upper = _filled(self.lower, n, 0.0), _filled(self.upper, n, np.inf)
        lower[np.isin(np.arange(n), list(self.lower), invert=True) & (upper < 0)] = -np.inf
        sign = -1.0 if self.maximize else 1.0
        return LinearProgram(
            costs=sign * _filled(self.costs, n, 0.0),
            matrix=sp.csc_array((np.array(values, float), (np.array(rows, int), np.array(columns, int))), shape=(m, n)),
            row_lower=row_lower,
            row_upper=row_upper,
            lower=_with_infinities(lower),
            upper=_with_infinities(upper),
            offset=sign * (self.offset or 0.0),
            maximize=self.maximize,
            name=self.name or self.file.name.partition(".")[0],
            column_names=tuple(self.columns),
            row_names=tuple(name for name, place in self.rows.items() if place >= 0),
        )

    def _row_sides(self, m: int) -> tuple[Array, Array]:
        side, width = _filled(self.sides, m, 0.0), _filled(self.ranges, m, np.nan)
        kind = np.array(self.types, dtype="U1")
        low = np.where(kind == "L", -np.inf, side)
        high = np.where(kind == "G", np.inf, side)
        ranged = ~np.isnan(width)
        span = np.abs(width, where=ranged, out=np.zeros(m))
        low = np.where(ranged & ((kind == "L") | ((kind == "E") & (width < 0))), side - span, low)
        high = np.where(ranged & ((kind == "G") | ((kind == "E") & (width >= 0))), side + span, high)
        return _with_infinities(low), _with_infinities(high)


def _filled(values: dict[int, float], size: int, default: float) -> Array:
    """An array of values by their place."""
    array = np.full(size, default)
    array[list(values)] = list(values.values())
    return array


def _with_infinities(side: Array) -> Array:
    """Replaces numbers that stand for infinity."""
    return np.where(np.abs(side) >= _INFINITE, np.copysign(np.inf, side), side)
