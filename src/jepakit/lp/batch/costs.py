"""Scenarios that differ in costs: points of remembered bases stay feasible, and duals are made for each scenario."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jepakit.lp.batch.certificate import DualProofs, PointCheck, WidestBounds, costs_of, gaps
from jepakit.lp.batch.growing import Growing
from jepakit.lp.batch.results import Found
from jepakit.lp.batch.search import grouped
from jepakit.lp.data import Array
from jepakit.lp.solving.basis import Basis
from jepakit.lp.solving.completion import BasicBlock
from jepakit.lp.solving.solver import Solution

#: Reduced costs of basic columns are set to this share of their terms, on the side that their bounds allow.
_SHIFT = 1e-12


@dataclass(frozen=True, eq=False)
class _Known:
    """A basis with a feasible point.

    Args:
        basis: the basis.
        block: factorised.
        shift: of the costs of its columns, relative to their size, ``[k]``.
        worst: violation of the rows, ``[m]``.
    """

    basis: Basis
    block: BasicBlock
    shift: Array
    worst: Array


class CostsBatch:
    """Scenarios that differ in costs alone.

    Args:
        found: where results go.
        tolerance: of the rows.
        gap: largest gap of a certified optimum.
    """

    def __init__(self, found: Found, tolerance: Array, gap: float) -> None:
        self._found, self._gap, self._problem = found, gap, found.scenarios.problem
        self._check = PointCheck(self._problem, found.scenarios.bounded, tolerance)
        self._proofs = DualProofs(WidestBounds(found.scenarios))
        self._points, self._known = Growing(self._problem.columns), list[_Known]()

    def add(self, solution: Solution) -> None:
        """Remembers what the solver has found."""
        problem, basis = self._problem, solution.basis
        if solution.status != "optimal" or basis is None:
            return
        block = BasicBlock.of(problem, basis)
        checked = self._check.check(self._found.scenarios.part(slice(0, 1)), solution.x[:, None])
        if block is None or not checked.feasible.all():
            return
        lower, upper = (np.isfinite(bound[block.columns]) for bound in (problem.lower, problem.upper))
        shift = _SHIFT * (lower.astype(float) - upper.astype(float))
        self._points.add(solution.x[None])
        self._known.append(_Known(basis, block, shift, checked.worst))

    def solve(self, places: Array) -> Array:
        """Solves scenarios with the best of the remembered points; returns those that are not certified."""
        if not self._known:
            return places
        scenarios = self._found.scenarios.part(places)
        costs = costs_of(scenarios)
        best = (self._points.rows @ costs).argmin(0)
        left: list[Array] = []
        for number, members in grouped(best, np.arange(len(places))):
            known, own = self._known[number], costs[:, members]
            block, x = known.block, np.repeat(self._points.rows[number][:, None], len(members), 1)
            right = own[block.columns] * (1 - np.sign(own[block.columns]) * known.shift[:, None])
            y = np.zeros((len(members), self._problem.rows))
            y[:, block.rows] = block.solve(right, transposed=True).T
            lower, y = self._proofs.bounds_with_costs(y, own)
            checked = self._check.check(scenarios.part(members), x)
            gap, moved = gaps(lower, checked.value, checked.rounding), np.abs(y) @ known.worst
            allowed = np.maximum(self._gap * np.maximum(np.abs(lower), np.abs(checked.value)), checked.rounding)
            proved = checked.feasible & (gap <= self._gap) & (moved <= allowed)
            self._found.put_with_costs(
                places[members[proved]], x[:, proved], own[:, proved], y[proved], lower[proved], gap[proved]
            )
            for place in places[members[~proved]].tolist():
                self._found.start_from(place, known.basis)
            left.append(places[members[~proved]])
        return np.concatenate(left)
