"""Relaxations of four combinatorial problems from the literature on learning for optimisation.

Source: Gasse et al. 2019 (arXiv 1906.01629), section 4.1, with the sizes of IPM-MPNN (Qian et al. 2024, arXiv
2310.10603) as defaults. Maximisations are stated as such.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from jepakit.errors import ConfigError, require_at_least, require_within
from jepakit.lp.data import Array, LinearProgram


@dataclass(frozen=True)
class SetCover:
    """min cᵀx subject to Ax ≥ 1 and 0 ≤ x ≤ 1: the chosen columns cover every row (Balas & Ho 1980).

    Args:
        rows: number of elements to cover.
        columns: number of sets; each has at least two rows.
        density: share of nonzeros of A; every row is in at least one set.
        largest_cost: costs are integers from 1 to this.
    """

    rows: int = 700
    columns: int = 700
    density: float = 0.01
    largest_cost: int = 100

    def __post_init__(self) -> None:
        require_at_least(self, rows=2, columns=1, largest_cost=1)
        size, fewest = self.rows * self.columns, max(self.rows, 2 * self.columns)
        if not fewest <= round(self.density * size) <= size:
            expected = f"{fewest / size:.4g} to 1: at least two rows per column and one column per row"
            raise ConfigError("density", self.density, expected)

    def problem(self, seed: int) -> LinearProgram:
        """See `jepakit.lp.families.named.LPFamily.problem`."""
        draw = np.random.default_rng(seed)
        entries = round(self.density * self.rows * self.columns)
        sizes = 2 + np.bincount(draw.integers(0, self.columns, entries - 2 * self.columns), minlength=self.columns)
        row, column = _random_cover(_capped(sizes, self.rows), self.rows, draw)
        matrix = sp.csc_array((np.ones(len(row)), (row, column)), shape=(self.rows, self.columns))
        costs = draw.integers(1, self.largest_cost + 1, self.columns)
        return _in_unit_box(costs, matrix, np.ones(self.rows), np.full(self.rows, np.inf), f"setcover-{seed}")


@dataclass(frozen=True)
class IndependentSet:
    """max Σx subject to Σ over each clique ≤ 1 and 0 ≤ x ≤ 1, on a Barabási-Albert graph with greedy clique cover.

    Args:
        nodes: of the graph.
        affinity: number of edges of each new node.
    """

    nodes: int = 550
    affinity: int = 2

    def __post_init__(self) -> None:
        require_at_least(self, affinity=1)
        if self.nodes <= self.affinity:
            raise ConfigError("nodes", self.nodes, f"more than affinity = {self.affinity}")

    def problem(self, seed: int) -> LinearProgram:
        """See `jepakit.lp.families.named.LPFamily.problem`."""
        draw = np.random.default_rng(seed)
        groups = _clique_inequalities(_barabasi_albert(self.nodes, self.affinity, draw))
        row = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        matrix = sp.csc_array((np.ones(len(row)), (row, np.concatenate(groups))), shape=(len(groups), self.nodes))
        return _packing(matrix, np.ones(self.nodes), f"independent-set-{seed}")


@dataclass(frozen=True)
class CombinatorialAuction:
    """max Σ price · x subject to each item sold once and 0 ≤ x ≤ 1 (arbitrary relationships, Leyton-Brown et al. 2000).

    A bidder bids on a bundle of items, and on substitutes of the same size and similar value; one bid can win.

    Args:
        items: number of items for sale.
        bids: total number of bids.
        add_item: probability that a bundle gets another item.
        additivity: the value of a bundle grows as the power 1 + additivity of its size.
        deviation: of a bidder's item values from the common values.
        substitutes: largest number of substitutes of a bidder.
    """

    items: int = 500
    bids: int = 600
    add_item: float = 0.65
    additivity: float = 0.2
    deviation: float = 0.5
    substitutes: int = 5

    def __post_init__(self) -> None:
        require_at_least(self, items=1, bids=1, substitutes=1)
        require_within(self, "[0, 1)", "add_item")

    def problem(self, seed: int) -> LinearProgram:
        """See `jepakit.lp.families.named.LPFamily.problem`."""
        draw = np.random.default_rng(seed)
        values = 1 + 99 * draw.random(self.items)
        # The compatibility of two items; each row sums to 1, or to 0 if there is one item.
        compatibility = np.triu(draw.random((self.items, self.items)), 1)
        compatibility = compatibility + compatibility.T
        compatibility = compatibility / compatibility.sum(1, keepdims=True).clip(min=1e-12)
        bids: list[tuple[Array, float]] = []
        bidders: list[int] = []
        while len(bids) < self.bids:
            offers = self._offers(values, compatibility, draw)[: self.bids - len(bids)]
            bidders += [bidders[-1] + 1 if bidders else 0] * len(offers)
            bids += offers
        # A row per item and a row per bidder; rows that a single bid makes redundant are left out.
        item = np.concatenate([bundle for bundle, _ in bids])
        bid = np.repeat(np.arange(self.bids), [len(bundle) for bundle, _ in bids])
        row = np.concatenate([item, self.items + np.array(bidders)])
        column = np.concatenate([bid, np.arange(self.bids)])
        shape = (self.items + bidders[-1] + 1, self.bids)
        matrix = sp.csr_array((np.ones(len(row)), (row, column)), shape=shape)
        kept = np.diff(matrix.indptr) > np.where(np.arange(shape[0]) < self.items, 0, 1)
        prices = np.array([price for _, price in bids])
        return _packing(sp.csc_array(matrix[np.flatnonzero(kept)]), prices, f"auction-{seed}")

    def _offers(self, values: Array, compatibility: Array, draw: np.random.Generator) -> list[tuple[Array, float]]:
        """The different bids of one bidder: (items, price) each."""
        interest = draw.random(self.items)
        own = values + 99 * self.deviation * (2 * interest - 1)

        def price_of(bundle: Array) -> float:
            return float(own[bundle].sum() + len(bundle) ** (1 + self.additivity))

        item = draw.choice(self.items, p=interest / interest.sum())
        first = self._bundle(item, None, interest, compatibility, draw)
        budget = price_of(first)
        if budget <= 0:
            return []
        offers = {tuple(np.sort(first).tolist()): budget}
        substitutes = [self._bundle(item, len(first), interest, compatibility, draw) for item in first]
        for bundle in sorted(substitutes, key=price_of, reverse=True):
            if len(offers) > self.substitutes:
                break
            # A substitute costs at most one and a half budgets, and has at least half of the first bundle's value.
            if 0 <= price_of(bundle) <= 1.5 * budget and values[bundle].sum() >= 0.5 * values[first].sum():
                offers.setdefault(tuple(np.sort(bundle).tolist()), price_of(bundle))
        return [(np.array(bundle), price) for bundle, price in offers.items()]

    def _bundle(
        self, item: int, size: int | None, interest: Array, compatibility: Array, draw: np.random.Generator
    ) -> Array:
        """A bundle around an item, of a given size or of a random one."""
        chosen = np.zeros(self.items, bool)
        chosen[item] = True
        while chosen.sum() < self.items and (draw.random() < self.add_item if size is None else chosen.sum() < size):
            weights = np.where(chosen, 0, interest * compatibility[chosen].mean(0))
            if not weights.sum() > 0:
                break
            chosen[draw.choice(self.items, p=weights / weights.sum())] = True
        return np.flatnonzero(chosen)


@dataclass(frozen=True)
class FacilityLocation:
    """min Σ opening · y + Σ transport · x: open facilities serve shares of customers (Cornuéjols et al. 1991).

    Σ of x over the facilities = 1 for each customer, served demand ≤ capacity · y for each facility, open capacity ≥
    total demand, x ≤ y; 0 ≤ x, y ≤ 1.

    Args:
        customers: number of customers.
        facilities: number of possible facilities.
        ratio: total capacity / total demand.
    """

    customers: int = 35
    facilities: int = 25
    ratio: float = 5.0

    def __post_init__(self) -> None:
        require_at_least(self, customers=1, facilities=1, ratio=1)

    def problem(self, seed: int) -> LinearProgram:
        """See `jepakit.lp.families.named.LPFamily.problem`."""
        draw = np.random.default_rng(seed)
        n, m = self.customers, self.facilities
        places = draw.random((n + m, 2))
        demand = draw.integers(5, 36, n).astype(float)
        capacity = draw.integers(10, 161, m).astype(float)
        opening = draw.integers(100, 111, m) * np.sqrt(capacity) + draw.integers(0, 91, m)
        capacity = np.floor(capacity * self.ratio * demand.sum() / capacity.sum())
        distance = np.linalg.norm(places[:n, None] - places[None, n:], axis=2)
        transport = 10 * demand[:, None] * distance
        served, carried = sp.kron(sp.eye_array(n), np.ones((1, m))), sp.kron(demand[None], sp.eye_array(m))
        blocks = [
            [served, None],
            [carried, -sp.diags_array(capacity)],
            [None, sp.csr_array(capacity[None])],
            [sp.eye_array(n * m), -sp.kron(np.ones((n, 1)), sp.eye_array(m))],
        ]
        return _in_unit_box(
            np.concatenate([transport.ravel(), opening]),
            sp.csc_array(sp.block_array(blocks)),
            np.concatenate([np.ones(n), np.full(m, -np.inf), [demand.sum()], np.full(n * m, -np.inf)]),
            np.concatenate([np.ones(n), np.zeros(m), [np.inf], np.zeros(n * m)]),
            f"facilities-{seed}",
        )


def _packing(matrix: sp.csc_array, gains: Array, name: str) -> LinearProgram:
    """max gainsᵀx subject to Ax ≤ 1 and 0 ≤ x ≤ 1."""
    rows = matrix.shape[0]  # type: ignore[index]
    return _in_unit_box(-gains, matrix, np.full(rows, -np.inf), np.ones(rows), name, maximize=True)


def _in_unit_box(
    costs: Array, matrix: sp.csc_array, row_lower: Array, row_upper: Array, name: str, *, maximize: bool = False
) -> LinearProgram:
    lower, upper = np.zeros(len(costs)), np.ones(len(costs))
    return LinearProgram(costs, matrix, row_lower, row_upper, lower, upper, maximize=maximize, name=name)


def _capped(sizes: Array, most: int) -> Array:
    """Sizes of the same sum, none above ``most``: the excess goes to the smallest."""
    while (excess := (sizes - most).clip(min=0).sum()) > 0:
        sizes = sizes.clip(max=most)
        smallest = np.argsort(sizes, kind="stable")[: min(excess, len(sizes))]
        sizes[smallest] += 1
    return sizes


def _random_cover(sizes: Array, rows: int, draw: np.random.Generator) -> tuple[Array, Array]:
    """(row, column) of random entries that cover every row; column j has ``sizes[j]`` different rows."""
    order = draw.permutation(len(sizes))
    column = np.repeat(order, sizes[order])
    row = np.concatenate([draw.permutation(rows), draw.integers(0, rows, len(column) - rows)])
    while True:
        by = np.lexsort((np.arange(len(row)), row, column))
        # The first of equal entries stays: it comes from the permutation, which covers the rows.
        duplicates = by[1:][(column[by[1:]] == column[by[:-1]]) & (row[by[1:]] == row[by[:-1]])]
        if not len(duplicates):
            return row, column
        row[duplicates] = draw.integers(0, rows, len(duplicates))


def _barabasi_albert(nodes: int, affinity: int, draw: np.random.Generator) -> list[set[int]]:
    """Neighbours of each node: a new node gets ``affinity`` edges, to nodes with probability proportional to degree."""
    neighbours: list[set[int]] = [set() for _ in range(nodes)]
    ends: list[int] = []
    for node in range(affinity, nodes):
        joined = set(range(affinity)) if node == affinity else set[int]()
        while len(joined) < affinity:
            joined.add(ends[int(draw.integers(len(ends)))])
        for other in joined:
            neighbours[node].add(other)
            neighbours[other].add(node)
            ends += [node, other]
    return neighbours


def _clique_inequalities(neighbours: list[set[int]]) -> list[list[int]]:
    """Disjoint cliques, chosen greedily by degree, and the edges outside of them."""
    by_degree = sorted(range(len(neighbours)), key=lambda node: -len(neighbours[node]))
    clique_of: dict[int, int] = {}
    cliques: list[list[int]] = []
    for first in by_degree:
        if first in clique_of:
            continue
        clique = [first]
        for node in sorted(neighbours[first] - clique_of.keys(), key=lambda node: (-len(neighbours[node]), node)):
            if all(node in neighbours[member] for member in clique):
                clique.append(node)
        clique_of |= dict.fromkeys(clique, len(cliques))
        cliques.append(clique)
    edges = [[a, b] for a, ends in enumerate(neighbours) for b in ends if a < b and clique_of[a] != clique_of[b]]
    return [clique for clique in cliques if len(clique) > 1] + sorted(edges)
