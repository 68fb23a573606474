"""A basis as a few changes of a tableau, and the steps of the dual simplex method from one to the next.

With fixed costs a step depends on the basis and on the variable that leaves, not on sides and bounds: it is computed
once for all scenarios that take it.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from jepakit.lp.batch.tableau import Tableau, at_bounds
from jepakit.lp.data import Array
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, BASIC, Basis

#: Entries of a tableau's row below this share of the largest count as 0; duals may have the wrong sign by so much.
_PIVOT_TOLERANCE, _DUAL_TOLERANCE = 1e-9, 1e-11


class Node:
    """A basis in terms of a tableau: what leaves and enters the tableau's basis, and what is at another bound.

    Args:
        tableau: of the first basis.
        statuses: of this basis, ``[n + m]``.
        duals: of this basis, where they are known.
    """

    def __init__(self, tableau: Tableau, statuses: Array, duals: Array | None = None) -> None:
        self.statuses = statuses
        if duals is not None:
            self.__dict__["duals"] = duals
        first = tableau.statuses
        self.leaving = np.flatnonzero((first == BASIC) & (statuses != BASIC))
        self.entering = np.flatnonzero((first != BASIC) & (statuses == BASIC))
        self.moved = np.flatnonzero((first != BASIC) & (statuses != BASIC) & (first != statuses))
        self._tableau = tableau
        #: The number of the next basis of the dual simplex method, by the variable that leaves and the bound it goes
        #: to; None: there is none, and no point either.
        self.next: dict[tuple[int, int], int | None] = {}
        self.inverse = np.linalg.inv(tableau.columns(self.entering, self.leaving))

    @property
    def basis(self) -> Basis:
        """As the rest of the library has it."""
        n = self._tableau.problem.columns
        return Basis(self.statuses[:n].copy(), self.statuses[n:].copy())

    @cached_property
    def changed(self) -> Array:
        """Variables that change freely, then those that move: the order of `steps`."""
        return np.concatenate([self.entering, self.moved])

    @cached_property
    def _of_moved(self) -> Array:
        return self._tableau.columns(self.moved, self.leaving)

    def columns(self, at: Array | slice = slice(None)) -> Array:
        """How the variables ``at`` change with the `changed` ones, ``[A, K]``."""
        return self._tableau.columns(self.changed, at)

    @cached_property
    def _prices(self) -> Array:
        """Duals of the leaving variables."""
        return self._tableau.duals[self.entering] @ self.inverse

    @cached_property
    def duals(self) -> Array:
        """As `Tableau.duals`."""
        duals = self._tableau.duals - self._tableau.row(self.leaving, self._prices)
        duals[self.leaving] = self._prices
        duals[self.entering] = 0.0
        return duals

    def steps(self, values: Array, low: Array, high: Array, place: Array) -> Array:
        """How far the `changed` variables are from where the tableau's basis has them, ``[K, S]``.

        Args:
            values: of the tableau's basis, ``[C, S]``.
            low: bounds, ``[C, S]``.
            high: bounds.
            place: of each variable among these C, ``[n + m]``.
        """
        out, moved = place[self.leaving], place[self.moved]
        goal = at_bounds(self.statuses[self.leaving][:, None], low[out], high[out])
        by = at_bounds(self.statuses[self.moved][:, None], low[moved], high[moved]) - values[moved]
        freely = self.inverse @ (goal - values[out] - self._of_moved @ by)
        return np.concatenate([freely, by])

    @cached_property
    def gains(self) -> tuple[Array, Array, Array]:
        """What raises the dual bound above that of the tableau's basis: variables, prices, and statuses.

        The bound rises by the price times the distance of the variable, as the tableau's basis has it, from its bound.
        """
        fixed = np.concatenate([self.leaving, self.moved])
        return fixed, self.duals[fixed], self.statuses[fixed]

    def ray(self, leaving: int, goes_to: int) -> Array:
        """Row duals ``[m]`` that are to prove that a basic variable cannot reach the bound that it violates."""
        n = self._tableau.problem.columns
        y = self.tableau_row(leaving)[n:].copy()
        if leaving >= n:
            y[leaving - n] = -1.0
        return -y if goes_to == AT_LOWER else y

    def tableau_row(self, leaving: int) -> Array:
        """How a variable that is basic here depends on the nonbasic ones, ``[n + m]``."""
        tableau = self._tableau
        entered = np.flatnonzero(self.entering == leaving)
        if len(entered):
            weights = self.inverse[entered[0]]
            found = -tableau.row(self.leaving, weights)
        else:
            weights = tableau.columns(self.entering, np.array([leaving]))[0] @ self.inverse
            found = tableau.row(np.append(self.leaving, leaving), np.append(-weights, 1.0))
        found[self.leaving] = weights
        found[self.statuses == BASIC] = 0.0
        return found


def pivoted(node: Node, leaving: int, goes_to: int, fixed: Array) -> tuple[Array, Array] | None:
    """Statuses and duals after a step of the dual simplex method; None: no variable can enter, there is no point.

    Args:
        node: a dual feasible basis.
        leaving: a basic variable outside of its bounds.
        goes_to: the bound that it violates, ``AT_LOWER`` or ``AT_UPPER``.
        fixed: whether the bounds of a variable are equal, ``[n + m]``; then it never enters.
    """
    own, statuses = node.tableau_row(leaving), node.statuses
    row = own if goes_to == AT_LOWER else -own
    helps = np.where(statuses == AT_LOWER, row, np.where(statuses == AT_UPPER, -row, np.abs(row)))
    may = (helps > _PIVOT_TOLERANCE * np.abs(row).max(initial=0)) & (statuses != BASIC) & ~fixed
    if not may.any():
        return None
    candidates = np.flatnonzero(may)
    duals, size = np.abs(node.duals[candidates]), helps[candidates]
    slack = _DUAL_TOLERANCE * np.abs(node.duals).max(initial=0)
    first = candidates[duals / size <= ((duals + slack) / size).min()]
    entering = int(first[np.argmax(helps[first])])
    after = statuses.copy()
    after[leaving], after[entering] = goes_to, BASIC
    price = node.duals[entering] / own[entering]
    duals = node.duals - price * own
    duals[leaving], duals[entering] = price, 0.0
    return after, duals
