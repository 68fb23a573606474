"""The search for the optimal basis of each of many scenarios, among known bases and their neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from jepakit.lp.batch.node import Node, pivoted
from jepakit.lp.batch.scenarios import Scenarios
from jepakit.lp.batch.tableau import Tableau
from jepakit.lp.data import Array
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, BASIC, Basis

#: A variable may be outside of its bounds by this share of 1 + their size; the certificate decides.
_TOLERANCE = 1e-9
#: Steps of a scenario at most, and bases whose bounds are compared.
_STEPS, _COMPARED = 200, 1000


class Search:
    """Known bases of problems that differ in sides and bounds, and what is learned of them.

    Args:
        tableau: of one basis.
        fixed: variables whose bounds are equal in all scenarios, ``[n + m]``.
    """

    def __init__(self, tableau: Tableau, fixed: Array) -> None:
        self.tableau, self.fixed = tableau, fixed
        self.nodes: list[Node] = []
        #: How many scenarios each basis was optimal for.
        self.uses: list[int] = []
        self._numbers: dict[bytes, int] = {}
        #: Variables that are looked at in every step: those that left or entered a basis, or were found outside.
        self.critical = np.zeros(0, np.intp)
        self._place = np.full(tableau.size, -1)
        self.add(tableau.statuses)

    def add(self, statuses: Array) -> int | None:
        """The number of a basis ``[n + m]``, known or new; None if it is singular, or not a basis."""
        statuses = np.where(self.fixed & (statuses == AT_UPPER), AT_LOWER, statuses).astype(np.int8)
        key = statuses.tobytes()
        if key not in self._numbers:
            if (statuses == BASIC).sum() != (self.tableau.statuses == BASIC).sum():
                return None
            try:
                node = Node(self.tableau, statuses)
            except np.linalg.LinAlgError:
                return None
            if not np.isfinite(node.inverse).all():
                return None
            self._numbers[key] = len(self.nodes)
            self.nodes.append(node)
            self.uses.append(0)
            self.watch(np.concatenate([node.leaving, node.entering, node.moved]))
        return self._numbers[key]

    def add_basis(self, basis: Basis) -> int | None:
        """`add` for a basis of the problem."""
        return self.add(np.concatenate([basis.columns, basis.rows]))

    def watch(self, variables: Array) -> None:
        """Makes variables critical."""
        new = np.unique(variables[self._place[variables] < 0])
        self._place[new] = len(self.critical) + np.arange(len(new))
        self.critical = np.concatenate([self.critical, new])

    def best(self, block: Block) -> Array:
        """The number of the known basis that proves the highest bound for each scenario, ``[S]``.

        If an optimal basis is known, it is this one, by duality.
        """
        uses = np.array(self.uses)
        known = np.argsort(-uses, kind="stable")[:_COMPARED]
        known = known[uses[known] > 0] if uses.any() else known[:1]
        found = [self.nodes[number].gains for number in known.tolist()]
        lengths = [len(variables) for variables, _, _ in found]
        variables, prices, statuses = (np.concatenate(part) for part in zip(*found, strict=True))
        node, used = np.repeat(np.arange(len(known)), lengths), np.unique(variables)
        low, high = block.scenarios.bounds_of(used)
        values, gain = block.values[used], np.zeros((len(known), block.scenarios.count))
        for status, bound in ((AT_LOWER, low), (AT_UPPER, high)):
            at = statuses == status
            entries = (prices[at], (node[at], np.searchsorted(used, variables[at])))
            gain += sp.csr_array(entries, shape=(len(known), len(used))) @ np.where(np.isinf(bound), 0.0, bound - values)
        return known[gain.argmax(0)]

    def walk(self, block: Block, at: Array, which: Array) -> Array:
        """Goes from the bases ``at`` ``[S]`` to those where all critical variables are within bounds.

        Returns:
            Scenarios for which there is none, or none was found, among ``which``.
        """
        lost: list[Array] = []
        for _ in range(_STEPS):
            if not len(which):
                break
            moving: list[Array] = []
            for number, members in grouped(at, which):
                for step, some in self._leaving(self.nodes[number], block, members):
                    following = self._next(number, *step)
                    if following is None:
                        lost.append(some)
                    else:
                        at[some] = following
                        moving.append(some)
            which = np.concatenate(moving) if moving else which[:0]
        return np.concatenate([*lost, which])

    def point(self, block: Block, at: Array, which: Array) -> Array:
        """The columns' values, ``[n, S]``, of scenarios ``which`` at the bases ``at``."""
        n, tableau = self.tableau.problem.columns, self.tableau
        used = np.unique(np.concatenate([self.nodes[number].changed for number in np.unique(at[which]).tolist()]))
        steps = np.zeros((len(used), len(which)))
        place = np.full(block.scenarios.count, -1)
        place[which] = np.arange(len(which))
        values, low, high = block.critical(self.critical)
        for number, members in grouped(at, which):
            node = self.nodes[number]
            if len(node.changed):
                found = node.steps(values[:, members], low[:, members], high[:, members], self._place)
                steps[np.ix_(np.searchsorted(used, node.changed), place[members])] = found
        return block.values[:n, which] + tableau.columns(used, slice(0, n)) @ steps

    def _leaving(self, node: Node, block: Block, members: Array) -> Iterator[tuple[tuple[int, int], Array]]:
        """The variables that leave a basis, with the bound each goes to, and the scenarios for which it does."""
        values, low, high = (part[:, members] for part in block.critical(self.critical))
        if len(node.changed):
            steps = node.steps(values, low, high, self._place)
            values = values + node.columns(self.critical) @ steps
        below, above = low - values, values - high
        out = np.maximum(below, above)
        with np.errstate(invalid="ignore"):
            size = 1 + np.minimum(np.abs(low), np.abs(high))
        out = np.where(out > _TOLERANCE * np.where(np.isinf(size), 1.0, size), out, 0.0)
        if not len(out):
            return
        worst = (out / self._weights()[:, None]).argmax(0)
        each = np.arange(len(members))
        moves = out[worst, each] > 0
        code = 2 * self.critical[worst] + (above > below)[worst, each]
        for one in np.unique(code[moves]).tolist():
            yield (one // 2, AT_UPPER if one % 2 else AT_LOWER), members[moves & (code == one)]

    def _weights(self) -> Array:
        """Of critical variables: about how far the dual objective is from rising by a unit of what is outside."""
        known = self.__dict__.setdefault("_weights_of", np.zeros(0))
        if len(known) < len(self.critical):
            basic = self.tableau.statuses == BASIC
            new = self.critical[len(known) :]
            sizes = np.ones(len(new))
            rows = self.tableau.rows(new[basic[new]])
            sizes[basic[new]] = np.sqrt(1 + (rows**2).sum(1))
            known = self.__dict__["_weights_of"] = np.concatenate([known, sizes])
        return known

    def _next(self, number: int, leaving: int, goes_to: int) -> int | None:
        node = self.nodes[number]
        if (leaving, goes_to) not in node.next:
            statuses = pivoted(node, leaving, goes_to, self.fixed)
            node.next[leaving, goes_to] = None if statuses is None else self.add(statuses)
        return node.next[leaving, goes_to]


class Block:
    """Some scenarios, and all variables of theirs at the tableau's basis.

    Args:
        scenarios: S of them.
        tableau: of the basis.
    """

    def __init__(self, scenarios: Scenarios, tableau: Tableau) -> None:
        self.scenarios, self.values = scenarios, tableau.values(scenarios)
        self._critical = (self.values[:0],) * 3

    def critical(self, variables: Array) -> tuple[Array, Array, Array]:
        """Values and bounds of the critical variables, ``[C, S]`` each; these only grow in number."""
        known = len(self._critical[0])
        if known < len(variables):
            new = variables[known:]
            parts = zip(self._critical, (self.values[new], *self.scenarios.bounds_of(new)), strict=True)
            values, low, high = (np.concatenate(pair) for pair in parts)
            self._critical = values, low, high
        return self._critical


def grouped(at: Array, which: Array) -> Iterator[tuple[int, Array]]:
    """Each number that ``at`` has in the places ``which``, with these places."""
    order = which[np.argsort(at[which], kind="stable")]
    numbers, begins = np.unique(at[order], return_index=True)
    yield from zip(numbers.tolist(), np.split(order, begins[1:]), strict=True)
