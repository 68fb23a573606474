"""How all columns and rows depend on the nonbasic ones of one basis, and how those of other bases follow from it.

Another basis of the same matrix differs in a few basic variables. Its point is that of the first one plus a few columns
of the tableau, its duals are those of the first one plus a few rows: no other basis has to be factorised.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from jepakit.lp.batch.growing import Growing
from jepakit.lp.batch.scenarios import Scenarios
from jepakit.lp.data import Array, LinearProgram, all_bounds
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, BASIC
from jepakit.lp.solving.completion import BasicBlock

#: Costs are moved by this share of the terms that reduced costs are made of.
_SHIFT = 1e-12


class Tableau:
    """Of a basis that is factorised: variables are columns and rows, counted together as in `Scenarios`.

    Args:
        problem: the problem.
        block: of the basis.
    """

    def __init__(self, problem: LinearProgram, block: BasicBlock) -> None:
        self.problem, self._block = problem, block
        self.statuses = np.concatenate([block.basis.columns, block.basis.rows])
        self._by_row = sp.csr_array(problem.matrix.tocsr())
        self._by_column = sp.csr_array(problem.matrix.T)
        self._nonbasic_rows = sp.csr_array(self._by_row[block.rows])
        self._columns = _Store(len(self.statuses))

    @property
    def size(self) -> int:
        """Number of variables, n + m."""
        return len(self.statuses)

    @cached_property
    def duals(self) -> Array:
        """Reduced costs of the columns and duals of the rows, ``[n + m]``; 0 for basic ones.

        They are those of costs that are moved a little, so that rounding does not give a basic column a reduced cost of
        a sign that its bounds do not allow.
        """
        problem, block = self.problem, self._block
        y = np.zeros(problem.rows)
        y[block.rows] = block.solve(problem.costs[block.columns], transposed=True)
        size = np.abs(problem.costs) + abs(problem.matrix).T @ np.abs(y)
        lower, upper = np.isfinite(problem.lower), np.isfinite(problem.upper)
        costs = problem.costs - _SHIFT * size * (lower.astype(float) - upper.astype(float))
        y[block.rows] = block.solve(costs[block.columns], transposed=True)
        duals = np.concatenate([costs - self._by_column @ y, y])
        duals[self.statuses == BASIC] = 0.0
        return duals

    def points(self, scenarios: Scenarios) -> Array:
        """The columns' values at the basis, ``[n, S]``."""
        block, n, bounded = self._block, self.problem.columns, scenarios.bounded
        base = at_bounds(self.statuses, *all_bounds(self.problem))
        change = at_bounds(self.statuses[bounded][:, None], scenarios.low, scenarios.high) - base[bounded][:, None]
        columns, rows = bounded < n, bounded >= n
        fixed = base[n:][block.rows] - self._nonbasic_rows @ base[:n]
        right = np.repeat(fixed[:, None], scenarios.count, 1)
        place = np.full(self.problem.rows, -1)
        place[block.rows] = np.arange(len(block.rows))
        at = place[bounded[rows] - n]
        right[at[at >= 0]] += change[rows][at >= 0]
        if columns.any():
            right -= self._nonbasic_rows[:, bounded[columns]] @ change[columns]
        x = np.repeat(base[:n, None], scenarios.count, 1)
        x[bounded[columns]] += change[columns]
        x[block.columns] = block.solve(right, transposed=False)
        return x

    def activity(self, rows: Array, x: Array) -> Array:
        """Of some rows, ``[R, S]``."""
        return self._by_row[rows] @ x

    def columns(self, entering: Array, at: Array | slice = slice(None)) -> Array:
        """How variables change with nonbasic ones, ``[n + m, K]``, or ``[A, K]`` of the variables ``at``."""
        return self._columns.get(entering, self._column, at).T

    def row(self, basic: Array, weights: Array) -> Array:
        """How a weighted sum of basic variables depends on the nonbasic ones, ``[n + m]``; 0 for basic ones."""
        problem, block, n = self.problem, self._block, self.problem.columns
        own, of_rows = np.zeros(n), np.zeros(problem.rows)
        columns = basic < n
        own[basic[columns]] = weights[columns]
        of_rows[basic[~columns] - n] = weights[~columns]
        own += self._by_column @ of_rows
        of_rows = np.zeros(problem.rows)
        of_rows[block.rows] = block.solve(own[block.columns], transposed=True)
        found = np.concatenate([own - self._by_column @ of_rows, of_rows])
        found[self.statuses == BASIC] = 0.0
        return found

    def _column(self, entering: int) -> Array:
        block, n = self._block, self.problem.columns
        x, right = np.zeros(n), np.zeros(len(block.rows))
        if entering < n:
            x[entering] = 1.0
            right = -(self._nonbasic_rows @ x)
        else:
            right[np.searchsorted(block.rows, entering - n)] = 1.0
        x[block.columns] = block.solve(right, transposed=False)
        activity = self._by_row @ x
        activity[block.rows] = 0.0
        found = np.concatenate([x, activity])
        found[entering] = 1.0
        return found


class _Store:
    """Vectors that are computed when they are first asked for.

    Args:
        size: of each.
    """

    def __init__(self, size: int) -> None:
        self._slots, self._vectors = np.full(size, -1), Growing(size)

    def get(self, names: Array, make: Callable[[int], Array], at: Array | slice = slice(None)) -> Array:
        """The vectors of some numbers below the size, below each other; of each the entries ``at``."""
        for name in names[self._slots[names] < 0].tolist():
            self._slots[name] = len(self._vectors.rows)
            self._vectors.add(make(name)[None])
        slots, vectors = self._slots[names], self._vectors.rows
        return vectors[slots, at] if isinstance(at, slice) else vectors[slots[:, None], at]


def at_bounds(statuses: Array, low: Array, high: Array) -> Array:
    """The bound that each nonbasic variable is at; 0 for free ones, and where a scenario has no such bound."""
    at = np.where(statuses == AT_LOWER, low, np.where(statuses == AT_UPPER, high, 0.0))
    return np.where(np.isfinite(at), at, 0.0)
