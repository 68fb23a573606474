"""The search for the optimal basis of each of many scenarios, among known bases and their neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from jepakit.lp.batch.node import Node, pivoted
from jepakit.lp.batch.scenarios import Scenarios
from jepakit.lp.batch.tableau import Tableau
from jepakit.lp.data import Array
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, BASIC, Basis

#: Of signs of duals, relative to 1 + the largest cost: what solvers allow.
_DUAL_TOLERANCE = 1e-6
#: A variable may be outside of its bounds by this share of 1 + their size; the certificate decides.
_TOLERANCE = 1e-9
#: Steps of a scenario at most; new bases in a walk, for each scenario and beyond; and bases whose bounds are compared.
_STEPS, _NEW, _MORE, _COMPARED = 60, 8, 16, 1000
#: A basis further than this from the tableau's costs more than it helps.
_MOST_CHANGES = 300
#: Points that are computed at once.
_AT_ONCE = 128


class Search:
    """Known bases of problems that differ in sides and bounds, and what is learned of them.

    Args:
        tableau: of one basis.
        fixed: variables whose bounds are equal in all scenarios, ``[n + m]``.
    """

    def __init__(self, tableau: Tableau, fixed: Array) -> None:
        self.tableau, self.fixed = tableau, fixed
        tableau.statuses = self._one_side(tableau.statuses)
        self.nodes: list[Node] = []
        #: How many scenarios each basis was optimal for.
        self.uses: list[int] = []
        self._numbers: dict[bytes, int] = {}
        #: Row duals that are to prove scenarios infeasible, ``[m]`` each.
        self.rays: list[Array] = []
        #: Variables that are looked at in every step: those that left or entered a basis, or were found outside.
        self.critical = np.zeros(0, np.intp)
        self._place, self._room = np.full(tableau.size, -1), 0
        self.add(tableau.statuses)

    def add(self, statuses: Array, duals: Array | None = None) -> int | None:
        """The number of a basis ``[n + m]``, known or new; None if it is none, singular, or far from the tableau's."""
        statuses = self._one_side(statuses)
        key = statuses.tobytes()
        if key not in self._numbers:
            basic, first = statuses == BASIC, self.tableau.statuses == BASIC
            if basic.sum() != first.sum() or (basic & ~first).sum() > _MOST_CHANGES:
                return None
            try:
                node = Node(self.tableau, statuses, duals)
            except np.linalg.LinAlgError:
                return None
            if not np.isfinite(node.inverse).all():
                return None
            self._numbers[key] = len(self.nodes)
            self.nodes.append(node)
            self.uses.append(0)
            self.watch(np.concatenate([node.leaving, node.entering, node.moved]))
        return self._numbers[key]

    def _one_side(self, statuses: Array) -> Array:
        """The statuses with fixed variables at their lower bounds, which are also the upper ones."""
        return np.where(self.fixed & (statuses == AT_UPPER), AT_LOWER, statuses).astype(np.int8)

    def add_basis(self, basis: Basis) -> int | None:
        """`add` for a basis of the problem."""
        return self.add(np.concatenate([basis.columns, basis.rows]))

    def is_dual_feasible(self, number: int) -> bool:
        """Whether the duals of a basis have the signs that its bounds allow, but for rounding."""
        duals, statuses = self.nodes[number].duals, self.nodes[number].statuses
        wrong = np.where(statuses == AT_LOWER, -duals, np.where(statuses == AT_UPPER, duals, np.abs(duals)))
        allowed = _DUAL_TOLERANCE * (1 + float(np.abs(self.tableau.problem.costs).max(initial=0)))
        return bool((wrong <= allowed)[~self.fixed & (statuses != BASIC)].all())

    def watch(self, variables: Array) -> None:
        """Makes variables critical."""
        new = np.unique(variables[self._place[variables] < 0])
        self._place[new] = len(self.critical) + np.arange(len(new))
        self.critical = np.concatenate([self.critical, new])

    def most_used(self, count: int) -> Array:
        """The numbers of bases that were optimal for a scenario, the most used first; without any the first basis."""
        uses = np.array(self.uses)
        known = np.argsort(-uses, kind="stable")[:count]
        return known[uses[known] > 0] if uses.any() else known[:1]

    def best(self, block: Block) -> Array:
        """The number of the known basis that proves the highest bound for each scenario, ``[S]``.

        If an optimal basis is known, it is this one, by duality.
        """
        known = self.most_used(_COMPARED)
        found = [self.nodes[number].gains for number in known.tolist()]
        lengths = [len(variables) for variables, _, _ in found]
        variables, prices, statuses = (np.concatenate(part) for part in zip(*found, strict=True))
        node, used = np.repeat(np.arange(len(known)), lengths), np.unique(variables)
        values, low, high = (part[self._place[used]] for part in block.critical(self.critical))
        gain = np.zeros((len(known), block.scenarios.count))
        for status, bound in ((AT_LOWER, low), (AT_UPPER, high)):
            at = statuses == status
            entries = (prices[at], (node[at], np.searchsorted(used, variables[at])))
            gain += sp.csr_array(entries, shape=(len(known), len(used))) @ np.where(
                np.isinf(bound), 0.0, bound - values
            )
        return known[gain.argmax(0)]

    def walk(self, block: Block, at: Array, which: Array) -> tuple[list[Arrived], Array]:
        """Goes from the bases ``at`` ``[S]`` to those where all critical variables are within bounds.

        Args:
            block: the scenarios.
            at: is changed.
            which: of the scenarios.

        Returns:
            Those that have arrived, and those for which there is no such basis, or none was found in a few steps.
        """
        arrived, lost = list[Arrived](), list[Array]()
        self._room = len(self.nodes) + _NEW * len(which) + _MORE
        for _ in range(_STEPS):
            if not len(which):
                break
            moving: list[Array] = []
            for number, members in grouped(at, which):
                node = self.nodes[number]
                steps, leaving, code = self._leaving(node, block, members)
                stays = code < 0
                if stays.any():
                    arrived.append(Arrived(number, members[stays], steps[:, stays]))
                for one in np.unique(code[~stays]).tolist():
                    some = members[code == one]
                    following = self._next(number, int(leaving[one // 2]), AT_UPPER if one % 2 else AT_LOWER)
                    if following is None:
                        lost.append(some)
                    else:
                        at[some] = following
                        moving.append(some)
            which = np.concatenate(moving) if moving else which[:0]
        return arrived, np.concatenate([*lost, which])

    def points(self, block: Block, arrived: Sequence[Arrived]) -> Points:
        """The points of scenarios that have arrived, to be computed some at a time."""
        used = np.unique(np.concatenate([self.nodes[one.number].changed for one in arrived]))
        which = np.concatenate([one.members for one in arrived])
        steps, begin = np.zeros((len(used), len(which))), 0
        for one in arrived:
            end = begin + len(one.members)
            steps[np.searchsorted(used, self.nodes[one.number].changed), begin:end] = one.steps
            begin = end
        columns = self.tableau.columns(used, slice(0, self.tableau.problem.columns))
        return Points(which, block.x, columns, steps)

    def _leaving(self, node: Node, block: Block, members: Array) -> tuple[Array, Array, Array]:
        """What leaves a basis in each scenario.

        Returns:
            The steps of the basis ``[K, S]``; the critical variables; and of each scenario, ``[S]``, twice the place of
            the variable that leaves among these, plus 1 if it is above its upper bound; -1 if none leaves.
        """
        values, low, high = (part[:, members] for part in block.critical(self.critical))
        steps = np.zeros((0, len(members)))
        if len(node.changed):
            steps = node.steps(values, low, high, self._place)
            values = values + node.columns(self.critical) @ steps
        if not len(values):
            return steps, self.critical, np.full(len(members), -1)
        above = values - high
        out = np.maximum(low - values, above)
        allowed = _TOLERANCE * (1 + np.abs(values))
        worst = np.where(out > allowed, out / self._weights()[:, None], 0.0).argmax(0)
        each = np.arange(len(members))
        code = 2 * worst + (above[worst, each] == out[worst, each])
        return steps, self.critical, np.where(out[worst, each] > allowed[worst, each], code, -1)

    def _weights(self) -> Array:
        """Of critical variables: about how far the dual objective is from rising by a unit of what is outside."""
        known = self.__dict__.setdefault("_weights_of", np.zeros(0))
        if len(known) < len(self.critical):
            basic = self.tableau.statuses == BASIC
            new = self.critical[len(known) :]
            sizes = np.ones(len(new))
            for place in np.flatnonzero(basic[new]).tolist():
                sizes[place] = np.sqrt(1 + (self.tableau.row(new[[place]], np.ones(1)) ** 2).sum())
            known = self.__dict__["_weights_of"] = np.concatenate([known, sizes])
        return known

    def _next(self, number: int, leaving: int, goes_to: int) -> int | None:
        node = self.nodes[number]
        if (leaving, goes_to) not in node.next:
            if len(self.nodes) >= self._room:
                return None
            following = pivoted(node, leaving, goes_to, self.fixed)
            if following is None:
                self.rays.append(node.ray(leaving, goes_to))
            node.next[leaving, goes_to] = None if following is None else self.add(*following)
        return node.next[leaving, goes_to]


@dataclass(frozen=True, eq=False)
class Arrived:
    """Scenarios at the same basis, where all critical variables are within bounds.

    Args:
        number: of the basis.
        members: the scenarios, ``[S]``.
        steps: see `Node.steps`, ``[K, S]``.
    """

    number: int
    members: Array
    steps: Array


@dataclass(frozen=True, eq=False)
class Points:
    """Points of scenarios: those of the tableau's basis, and what is added.

    Args:
        which: the scenarios, ``[W]``.
        x: of all scenarios at the tableau's basis, ``[n, S]``.
        columns: of the tableau, ``[n, K]``.
        steps: along these, ``[K, W]``.
    """

    which: Array
    x: Array
    columns: Array
    steps: Array

    def part(self, places: slice) -> Array:
        """Some of the points, ``[n, ...]``."""
        return self.x[:, self.which[places]] + self.columns @ self.steps[:, places]


class Block:
    """Some scenarios, with their points at the tableau's basis.

    Args:
        scenarios: S of them.
        tableau: of the basis.
    """

    def __init__(self, scenarios: Scenarios, tableau: Tableau) -> None:
        self.scenarios, self._tableau = scenarios, tableau
        self.x = np.empty((tableau.problem.columns, scenarios.count))
        for begin in range(0, scenarios.count, _AT_ONCE):
            part = slice(begin, begin + _AT_ONCE)
            self.x[:, part] = tableau.points(scenarios.part(part))
        nothing = np.zeros((0, scenarios.count))
        self._critical = nothing, nothing, nothing

    def critical(self, variables: Array) -> tuple[Array, Array, Array]:
        """Values and bounds of the critical variables, ``[C, S]`` each; these only grow in number."""
        known, n = len(self._critical[0]), len(self.x)
        if known < len(variables):
            new = variables[known:]
            found = np.empty((len(new), self.scenarios.count))
            found[new < n] = self.x[new[new < n]]
            found[new >= n] = self._tableau.activity(new[new >= n] - n, self.x)
            values, low, high = self._critical
            new_low, new_high = self.scenarios.bounds_of(new)
            self._critical = (
                np.concatenate([values, found]),
                np.concatenate([low, new_low]),
                np.concatenate([high, new_high]),
            )
        return self._critical


def grouped(at: Array, which: Array) -> Iterator[tuple[int, Array]]:
    """Each number that ``at`` has in the places ``which``, with these places."""
    order = which[np.argsort(at[which], kind="stable")]
    numbers, begins = np.unique(at[order], return_index=True)
    yield from zip(numbers.tolist(), np.split(order, begins[1:]), strict=True)
