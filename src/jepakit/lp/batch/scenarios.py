"""Scenarios of a problem: what varies of its sides, bounds and costs, and what stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from jepakit.errors import DataError, did_you_mean
from jepakit.lp.data import Array, LinearProgram, all_bounds

#: Numbers by scenario: of all rows or columns, ``[S, m]`` or ``[S, n]``, or of some by name, ``[S]`` each.
Values = ArrayLike | Mapping[str, ArrayLike]


@dataclass(frozen=True, eq=False)
class Scenarios:
    """S problems of one matrix. Columns and rows are counted together: row i is variable n + i, its activity.

    Args:
        problem: has everything that does not vary.
        count: S.
        bounded: variables with a bound or side that varies, ``[V]``.
        low: their lower bounds, ``[V, S]``.
        high: their upper bounds, ``[V, S]``.
        priced: columns whose costs vary, ``[C]``.
        costs: of the minimisation, ``[C, S]``.
    """

    problem: LinearProgram
    count: int
    bounded: Array
    low: Array
    high: Array
    priced: Array
    costs: Array

    @classmethod
    def of(
        cls,
        problem: LinearProgram,
        *,
        b: Values | None = None,
        costs: Values | None = None,
        lower: Values | None = None,
        upper: Values | None = None,
        row_lower: Values | None = None,
        row_upper: Values | None = None,
    ) -> Scenarios:
        """Checks what varies.

        Args:
            problem: see above.
            b: right-hand sides: of an equation both sides, of another row the only side that it has.
            costs: as in `LinearProgram.costs`.
            lower: bounds of columns.
            upper: bounds of columns.
            row_lower: sides.
            row_upper: sides.

        Raises:
            DataError: names the argument, the row or column, and the scenario.
        """
        given = {
            field: _by_place(problem, field, values)
            for field, values in (
                ("b", b),
                ("costs", costs),
                ("lower", lower),
                ("upper", upper),
                ("row_lower", row_lower),
                ("row_upper", row_upper),
            )
            if values is not None
        }
        counts = {field: next(iter(values.values())).shape[0] for field, values in given.items() if values}
        if not counts:
            raise DataError(
                "nothing varies", field="scenarios", expected="b, costs, lower, upper, row_lower, row_upper"
            )
        if len(set(counts.values())) > 1:
            raise DataError("not as many scenarios in each", field=", ".join(counts), value=list(counts.values()))
        _split_sides(problem, given)
        stated_low = {**given.get("lower", {}), **_shifted(given.get("row_lower", {}), problem.columns)}
        stated_high = {**given.get("upper", {}), **_shifted(given.get("row_upper", {}), problem.columns)}
        count, bounded = next(iter(counts.values())), np.array(sorted({*stated_low, *stated_high}), np.intp)
        priced = np.array(sorted(given.get("costs", {})), np.intp)
        low, high = (
            _stacked([values.get(place, np.full(count, base[place])) for place in bounded.tolist()], count)
            for values, base in zip((stated_low, stated_high), all_bounds(problem), strict=True)
        )
        new_costs = _stacked([given["costs"][place] for place in priced.tolist()], count)
        return cls(problem, count, bounded, low, high, priced, new_costs)

    def part(self, places: Array | slice) -> Scenarios:
        """Some of the scenarios."""
        low, high, costs = self.low[:, places], self.high[:, places], self.costs[:, places]
        return replace(self, count=low.shape[1], low=low, high=high, costs=costs)

    def problem_of(self, place: int) -> LinearProgram:
        """One scenario as a problem."""
        problem = self.problem
        low, high = all_bounds(problem)
        low[self.bounded], high[self.bounded] = self.low[:, place], self.high[:, place]
        costs = problem.costs.copy()
        costs[self.priced] = self.costs[:, place]
        n = problem.columns
        return replace(problem, costs=costs, lower=low[:n], upper=high[:n], row_lower=low[n:], row_upper=high[n:])

    def bounds_of(self, variables: Array) -> tuple[Array, Array]:
        """Lower and upper bounds of some variables, ``[K, S]``."""
        place = np.full(self.problem.columns + self.problem.rows, -1)
        place[self.bounded] = np.arange(len(self.bounded))
        varies = place[variables]
        found: list[Array] = []
        for base, values in zip(all_bounds(self.problem), (self.low, self.high), strict=True):
            bounds = np.repeat(base[variables][:, None], self.count, 1)
            bounds[varies >= 0] = values[varies[varies >= 0]]
            found.append(bounds)
        return found[0], found[1]

    @property
    def crossed(self) -> Array:
        """Whether a lower bound is above its upper bound, ``[S]``."""
        low, high = all_bounds(self.problem)
        stays = np.ones(len(low), bool)
        stays[self.bounded] = False
        return np.asarray((self.low > self.high).any(axis=0)) | bool((low > high)[stays].any())

    def widest(self) -> LinearProgram:
        """A problem whose feasible points are those of all scenarios, and perhaps more."""
        low, high = all_bounds(self.problem)
        low[self.bounded], high[self.bounded] = self.low.min(1, initial=np.inf), self.high.max(1, initial=-np.inf)
        n = self.problem.columns
        return replace(self.problem, lower=low[:n], upper=high[:n], row_lower=low[n:], row_upper=high[n:])


def _by_place(problem: LinearProgram, field: str, values: Values) -> dict[int, Array]:
    """The numbers of each row or column, ``[S]``, checked."""
    of_rows = field in ("b", "row_lower", "row_upper")
    length, name = (problem.rows, problem.row_name) if of_rows else (problem.columns, problem.column_name)
    if isinstance(values, Mapping):
        places = {name(place): place for place in range(length)}
        for given in values:
            if given not in places:
                kind = "row" if of_rows else "column"
                raise DataError(f"not a {kind} of the problem{did_you_mean(given, places)}", field=field, value=given)
        found = {places[given]: np.asarray(column, np.float64) for given, column in values.items()}
        shapes = {column.shape for column in found.values()}
        if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
            raise DataError("not one number for each scenario", field=field, value=sorted(shapes), expected="[S]")
    else:
        matrix = np.asarray(values, np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != length:
            raise DataError("of another shape", field=field, value=matrix.shape, expected=f"[S, {length}]")
        found = dict(enumerate(matrix.T))
    never = {"lower": np.inf, "row_lower": np.inf, "upper": -np.inf, "row_upper": -np.inf}.get(field)
    for place, column in found.items():
        valid = np.isfinite(column) if never is None else ~np.isnan(column) & (column != never)
        if not valid.all():
            at = int(valid.argmin())
            expected = "a finite number" if never is None else f"a number, or {-never:+}"
            where = f"{field}[{name(place)}], scenario {at}"
            raise DataError("not a valid number", field=where, value=float(column[at]), expected=expected)
    return found


def _split_sides(problem: LinearProgram, given: dict[str, dict[int, Array]]) -> None:
    """Replaces right-hand sides by the sides that their rows have."""
    for place, values in given.pop("b", {}).items():
        low, high = problem.row_lower[place], problem.row_upper[place]
        sides = [side for side, value in (("row_lower", low), ("row_upper", high)) if np.isfinite(value)]
        if not sides or (len(sides) == 2 and low != high):
            expected = "an equation, or a row with one side; or give row_lower and row_upper"
            raise DataError("not a right-hand side", field=f"b[{problem.row_name(place)}]", expected=expected)
        for side in sides:
            if place in given.setdefault(side, {}):
                raise DataError("given twice", field=f"b[{problem.row_name(place)}]", expected=f"b, or {side}")
            given[side][place] = values


def _shifted(values: dict[int, Array], by: int) -> dict[int, Array]:
    return {place + by: column for place, column in values.items()}


def _stacked(columns: list[Array], count: int) -> Array:
    return np.stack(columns) if columns else np.zeros((0, count))
