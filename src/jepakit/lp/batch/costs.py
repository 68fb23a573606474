"""Scenarios that differ in costs: points of remembered bases stay feasible, and duals are made for each scenario."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jepakit.lp.batch.certificate import Certifier, costs_of
from jepakit.lp.batch.growing import Growing
from jepakit.lp.batch.results import Found
from jepakit.lp.batch.search import grouped
from jepakit.lp.data import Array
from jepakit.lp.solving.completion import BasicBlock
from jepakit.lp.solving.highs import Answer

#: Reduced costs of basic columns are set to this share of their terms, on the side that their bounds allow.
_SHIFT = 1e-12


@dataclass(frozen=True, eq=False)
class _Known:
    """A basis with a feasible point.

    Args:
        block: of the basis.
        shift: of the costs of its columns, relative to their size, ``[k]``.
    """

    block: BasicBlock
    shift: Array


class CostsBatch:
    """Scenarios that differ in costs alone.

    Args:
        found: where results go.
        certifier: of points and duals.
    """

    def __init__(self, found: Found, certifier: Certifier) -> None:
        self._found, self._certifier, self._problem = found, certifier, found.scenarios.problem
        self._points, self._known = Growing(self._problem.columns), list[_Known]()

    def add(self, answer: Answer) -> None:
        """Remembers an optimum that was found for one of the scenarios."""
        problem, basis = self._problem, answer.basis
        block = None if basis is None else BasicBlock.of(problem, basis)
        if block is None:
            return
        lower, upper = (np.isfinite(bound[block.columns]) for bound in (problem.lower, problem.upper))
        self._points.add(np.clip(answer.x, problem.lower, problem.upper)[None])
        self._known.append(_Known(block, _SHIFT * (lower.astype(float) - upper.astype(float))))

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
            proved = self._certifier.proved(scenarios.part(members), x, y)
            self._found.put_each(places[members], x, proved, "catalogue")
            left.append(places[members[~proved.holds]])
        return np.concatenate(left)
