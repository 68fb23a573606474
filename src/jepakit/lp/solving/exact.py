"""The point and the duals of a basis in rational arithmetic, and whether they are optimal.

Source: Wan 2006, "An algorithm to solve integer linear systems exactly using numerical methods"; Gleixner, Steffy &
Wolter 2016, "Iterative refinement for linear programming". A floating-point factorisation gives some tens of bits at a
time; when there are enough of them, each number is the only fraction with a small denominator that is so near.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import SuperLU, splu

from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, Basis
from jepakit.lp.solving.completion import BasicBlock
from jepakit.lp.solving.scaling import powers_of_two

#: Bits that one solve with the factorisation may give, and those that it has to.
_BITS, _LEAST_PROGRESS = 40, 8
#: Bits before the first attempt to recognise fractions; doubled after each.
_FIRST_BITS = 96
#: Bits that the error may be larger than the last bit.
_SLACK = 40


@dataclass(frozen=True)
class ExactOptimum:
    """An optimum without any error.

    Args:
        x: the point, ``[n]`` fractions.
        y: row duals, ``[m]`` fractions.
        objective: cᵀx + c₀.
    """

    x: list[Fraction]
    y: list[Fraction]
    objective: Fraction


def exact_optimum(problem: LinearProgram, basis: Basis, seconds: float) -> ExactOptimum | str:
    """The optimum of a basis, if it is one; otherwise why not, in words.

    Args:
        problem: its numbers are taken for the doubles that they are.
        basis: a basis.
        seconds: time limit.
    """
    end = perf_counter() + seconds
    block = BasicBlock.of(problem, basis)
    if block is None:
        return "the basis is singular"
    x, y = _point(problem, basis, block, end), _duals(problem, block, end)
    if x is None or y is None:
        return "the basis has numbers too long to recognise in the time allowed"
    costs, by_row = [Fraction(cost) for cost in problem.costs.tolist()], sp.csr_array(problem.matrix)
    activity = [_dot(by_row, row, x) for row in range(problem.rows)]
    z = [cost - _dot(problem.matrix, column, y) for column, cost in enumerate(costs)]
    wrong = _violated(problem, x, activity) or _of_wrong_sign(problem, x, y, z, activity)
    objective = sum((cost * value for cost, value in zip(costs, x, strict=True)), Fraction(problem.offset))
    return wrong or ExactOptimum(x, y, objective)


def exact_point(problem: LinearProgram, basis: Basis, seconds: float) -> list[Fraction] | None:
    """The point of a basis, ``[n]``, feasible or not; None if the basis is singular, or if time runs out."""
    block = BasicBlock.of(problem, basis)
    return None if block is None else _point(problem, basis, block, perf_counter() + seconds)


def _point(problem: LinearProgram, basis: Basis, block: BasicBlock, end: float) -> list[Fraction] | None:
    bounds = zip(basis.columns.tolist(), problem.lower.tolist(), problem.upper.tolist(), strict=True)
    x = [_nonbasic(status, low, high) for status, low, high in bounds]
    by_row = sp.csr_array(problem.matrix)
    sides = [
        _nonbasic(basis.rows[row], problem.row_lower[row], problem.row_upper[row]) - _dot(by_row, row, x)
        for row in block.rows.tolist()
    ]
    of_block = _solve(block.matrix, sides, end)
    if of_block is None:
        return None
    for column, value in zip(block.columns.tolist(), of_block, strict=True):
        x[column] = value
    return x


def _duals(problem: LinearProgram, block: BasicBlock, end: float) -> list[Fraction] | None:
    costs = [Fraction(cost) for cost in problem.costs[block.columns].tolist()]
    of_block = _solve(sp.csc_array(block.matrix.T), costs, end)
    if of_block is None:
        return None
    y = [Fraction(0)] * problem.rows
    for row, value in zip(block.rows.tolist(), of_block, strict=True):
        y[row] = value
    return y


def falls_for_ever(problem: LinearProgram, direction: list[Fraction]) -> bool:
    """Whether from every feasible point the objective falls for ever along ``direction``, ``[n]`` fractions."""
    by_row = sp.csr_array(problem.matrix)
    moves = [*direction, *(_dot(by_row, row, direction) for row in range(problem.rows))]
    lower = [*problem.lower.tolist(), *problem.row_lower.tolist()]
    upper = [*problem.upper.tolist(), *problem.row_upper.tolist()]
    stopped = any(
        (move < 0 and low > -np.inf) or (move > 0 and high < np.inf)
        for move, low, high in zip(moves, lower, upper, strict=True)
    )
    costs = zip(problem.costs.tolist(), direction, strict=True)
    return not stopped and sum((Fraction(cost) * move for cost, move in costs), Fraction(0)) < 0


def _nonbasic(status: Any, low: Any, high: Any) -> Fraction:
    """The value of a nonbasic row or column; 0 for others."""
    return Fraction(low) if status == AT_LOWER else Fraction(high) if status == AT_UPPER else Fraction(0)


def _dot(by_line: sp.csr_array | sp.csc_array, line: int, values: list[Fraction]) -> Fraction:
    entries = slice(by_line.indptr[line], by_line.indptr[line + 1])
    pairs = zip(by_line.data[entries].tolist(), by_line.indices[entries].tolist(), strict=True)
    return sum((Fraction(entry) * values[at] for entry, at in pairs), Fraction(0))


def _violated(problem: LinearProgram, x: list[Fraction], activity: list[Fraction]) -> str:
    for column, value in enumerate(x):
        if not problem.lower[column] <= value <= problem.upper[column]:
            return f"column {problem.column_name(column)!r} is outside its bounds at the point of the basis"
    for row, value in enumerate(activity):
        if not problem.row_lower[row] <= value <= problem.row_upper[row]:
            return f"row {problem.row_name(row)!r} is violated at the point of the basis"
    return ""


def _of_wrong_sign(
    problem: LinearProgram, x: list[Fraction], y: list[Fraction], z: list[Fraction], activity: list[Fraction]
) -> str:
    for row, (dual, value) in enumerate(zip(y, activity, strict=True)):
        if _wrong(dual, value, problem.row_lower[row], problem.row_upper[row]):
            return f"the dual of row {problem.row_name(row)!r} has the wrong sign"
    for column, (dual, value) in enumerate(zip(z, x, strict=True)):
        if _wrong(dual, value, problem.lower[column], problem.upper[column]):
            return f"the reduced cost of column {problem.column_name(column)!r} has the wrong sign"
    return ""


def _wrong(dual: Fraction, value: Fraction, low: float, high: float) -> bool:
    return (dual > 0 and value != low) or (dual < 0 and value != high)


def _solve(matrix: sp.csc_array, right: list[Fraction], end: float) -> list[Fraction] | None:
    """The solution of a square system; None if it is too close to singular, or if time runs out."""
    if not right:
        return []
    system = _System.of(matrix)
    sides = [side * Fraction(scale) for side, scale in zip(right, system.of_row, strict=True)]
    common = math.lcm(*(side.denominator for side in sides))
    goal = np.array([side.numerator * (common // side.denominator) for side in sides], object)
    solution, missed, bits, next_try = np.zeros(len(right), object), goal, 0, _FIRST_BITS
    size = system.magnitude(missed)
    while perf_counter() < end:
        more = max(0, _BITS - max(0, size))
        step = system.step(missed, size, more)
        solution = (solution << more) + step
        missed = (missed << more) - system.product(step)
        bits, before, size = bits + more, size + more, system.magnitude(missed)
        if size > before - _LEAST_PROGRESS and missed.any():
            return None
        if missed.any() and (bits < next_try or size > _SLACK):
            continue
        next_try = 2 * bits
        fractions = _recognised(solution, bits, goal, system)
        if fractions is not None:
            return [value / common * Fraction(scale) for value, scale in zip(fractions, system.of_column, strict=True)]
    return None


@dataclass(frozen=True)
class _System:
    """A matrix as integers, and a factorisation of it in floating point, both scaled by powers of two.

    Args:
        data: entries as integers, by row; each row is a power of two times that of ``scaled``.
        scaled: CSR; the largest entry of each row and column is about 1.
        bits: the logarithm of that power, ``[k]``.
        of_row: factors of the rows of ``data``, as fractions.
        of_column: factors of the columns.
        factors: of ``scaled``.
    """

    data: Array
    scaled: sp.csr_array
    bits: Array
    of_row: list[Fraction]
    of_column: list[float]
    factors: SuperLU

    @classmethod
    def of(cls, matrix: sp.csc_array) -> _System:
        rows, columns = powers_of_two(matrix)
        scaled = sp.csr_array(sp.diags_array(rows) @ matrix @ sp.diags_array(columns))
        mantissas, exponents = np.frexp(scaled.data)
        # A double is an integer of 53 bits times a power of two; the smallest power of a row makes it integer.
        least = np.minimum.reduceat(exponents, scaled.indptr[:-1]) - 53
        bits = -least
        row = np.repeat(np.arange(len(rows)), np.diff(scaled.indptr))
        integers = np.array([int(part) for part in np.ldexp(mantissas, 53)], object)
        data = integers << (exponents - 53 - least[row]).astype(object)
        of_row = [Fraction(factor) * 2**power for factor, power in zip(rows.tolist(), bits.tolist(), strict=True)]
        return cls(data, scaled, bits, of_row, columns.tolist(), splu(sp.csc_matrix(scaled)))

    def product(self, values: Array) -> Array:
        """The integer matrix times integers."""
        return np.add.reduceat(self.data * values[self.scaled.indices], self.scaled.indptr[:-1])

    def magnitude(self, missed: Array) -> int:
        """The logarithm of the largest residual, in units of the scaled matrix."""
        return max(int(part).bit_length() - power for part, power in zip(missed, self.bits.tolist(), strict=True))

    def step(self, missed: Array, size: int, more: int) -> Array:
        """The solution for a residual, in units of 2^-``more``, rounded to integers."""
        pairs = zip(missed.tolist(), self.bits.tolist(), strict=True)
        relative = np.array([_scaled(part, -power - size) for part, power in pairs])
        mantissas, exponents = np.frexp(self.factors.solve(relative))
        shifts = (exponents.astype(int) - 53 + size + more).tolist()
        parts = np.ldexp(mantissas, 53).tolist()
        return np.array([_shifted(int(part), shift) for part, shift in zip(parts, shifts, strict=True)], object)


def _scaled(value: int, power: int) -> float:
    """``value`` times a power of two as a double."""
    extra = max(0, value.bit_length() - 60)
    return math.ldexp(value >> extra, power + extra)


def _shifted(value: int, shift: int) -> int:
    """``value`` times a power of two, rounded."""
    return value << shift if shift >= 0 else (value + (1 << (-shift - 1))) >> -shift


def _recognised(solution: Array, bits: int, goal: Array, system: _System) -> list[Fraction] | None:
    """The fractions with a small common denominator next to ``solution`` / 2^bits, if they solve the system."""
    most, common = 1 << max(0, (bits - _SLACK) // 2), 1
    for value in solution.tolist():
        left = most // common
        if left < 1:
            return None
        common *= Fraction(value * common, 1 << bits).limit_denominator(left).denominator
    numerators = np.array([_shifted(value * common, -bits) for value in solution.tolist()], object)
    if (system.product(numerators) != goal * common).any():
        return None
    return [Fraction(numerator, common) for numerator in numerators]
