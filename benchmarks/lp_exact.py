"""The truth about small problems: the simplex method in rational arithmetic."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import numpy as np

from jepakit.lp import LinearProgram

Truth = tuple[Literal["optimal", "infeasible", "unbounded"], Fraction]
_NOTHING = Fraction(0)


def truth(problem: LinearProgram) -> Truth:
    """The status, and the optimal cᵀx + c₀ (0 without an optimum), of the numbers as the doubles that they are.

    x = p - q with p, q ≥ 0; every finite side is an inequality a·x ≤ b. Dantzig's rule, then Bland's, from the
    artificial basis.
    """
    matrix, columns = problem.matrix.toarray(), problem.columns
    unit = np.eye(columns)
    sides = [
        *((row, side) for row, side in zip(matrix, problem.row_upper, strict=True)),
        *((-row, -side) for row, side in zip(matrix, problem.row_lower, strict=True)),
        *((row, side) for row, side in zip(unit, problem.upper, strict=True)),
        *((-row, -side) for row, side in zip(unit, problem.lower, strict=True)),
    ]
    rows = [([Fraction(a) for a in row], Fraction(side)) for row, side in sides if np.isfinite(side)]
    costs = [Fraction(cost) for cost in problem.costs]
    split = [*costs, *(-cost for cost in costs)]
    tableau, basis, width = list[list[Fraction]](), list[int](), 2 * columns + len(rows)
    artificial = width
    for number, (row, side) in enumerate(rows):
        slack = [Fraction(int(number == other)) for other in range(len(rows))]
        line = [*row, *(-a for a in row), *slack]
        if side < 0:
            tableau.append([*(-a for a in line), -side])
            basis.append(artificial)
            artificial += 1
        else:
            tableau.append([*line, side])
            basis.append(2 * columns + number)
    _add_artificials(tableau, basis, width, artificial)
    first = [Fraction(int(column >= width)) for column in range(artificial)]
    _, infeasibility = _minimise(tableau, basis, first, artificial)
    if infeasibility:
        return "infeasible", _NOTHING
    second = [*split, *[_NOTHING] * (artificial - 2 * columns)]
    bounded, value = _minimise(tableau, basis, second, width)
    return ("optimal", value + Fraction(problem.offset)) if bounded else ("unbounded", _NOTHING)


def _add_artificials(tableau: list[list[Fraction]], basis: list[int], width: int, end: int) -> None:
    for line, basic in zip(tableau, basis, strict=True):
        line[-1:] = [*(Fraction(int(column == basic)) for column in range(width, end)), line[-1]]


def _minimise(
    tableau: list[list[Fraction]], basis: list[int], costs: list[Fraction], allowed: int
) -> tuple[bool, Fraction]:
    """Pivots until no column below ``allowed`` lowers the costs: whether they are bounded, and their value."""
    reduced = [*costs, _NOTHING]
    for line, basic in zip(tableau, basis, strict=True):
        _subtract(reduced, line, reduced[basic])
    pivots = 0
    while True:
        falling = [column for column in range(allowed) if reduced[column] < 0]
        if not falling:
            return True, -reduced[-1]
        entering = falling[0] if pivots > 50 else min(falling, key=lambda column: reduced[column])
        pivots += 1
        ratios = [
            (line[-1] / line[entering], basis[row], row) for row, line in enumerate(tableau) if line[entering] > 0
        ]
        # An artificial column that is left in the basis at 0 must not grow again.
        ratios += [
            (_NOTHING, -1, row)
            for row, line in enumerate(tableau)
            if line[entering] < 0 and basis[row] >= allowed and line[-1] == 0
        ]
        if not ratios:
            return False, _NOTHING
        *_, leaving = min(ratios)
        line = tableau[leaving]
        factor = line[entering]
        line[:] = [value / factor for value in line]
        basis[leaving] = entering
        for other in (*(line for row, line in enumerate(tableau) if row != leaving), reduced):
            _subtract(other, line, other[entering])


def _subtract(target: list[Fraction], line: list[Fraction], factor: Fraction) -> None:
    if factor:
        target[:] = [value - factor * part if part else value for value, part in zip(target, line, strict=True)]
