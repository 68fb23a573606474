"""Relaxations of four combinatorial problems on which learning for optimisation is compared.

Source: Gasse et al. 2019 (arXiv 1906.01629), section 4.1, with the sizes of IPM-MPNN (Qian et al. 2024, arXiv
2310.10603) as defaults. Maximisations are posed as such.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from jepakit.errors import ConfigError, require_at_least
from jepakit.lp.data import Array, LinearProgram

__all__ = ["CombinatorialAuction", "FacilityLocation", "IndependentSet", "SetCover"]


@dataclass(frozen=True)
class SetCover:
    """min cᵀx subject to Ax ≥ 1 and 0 ≤ x ≤ 1: every row is covered by the columns that are taken (Balas & Ho 1980).

    Args:
        rows: to be covered.
        columns: that cover, each two rows at least.
        density: of A; every row has a column at least.
        largest_cost: costs are whole numbers from 1.
    """

    rows: int = 700
    columns: int = 700
    density: float = 0.01
    largest_cost: int = 100

    def __post_init__(self) -> None:
        require_at_least(self, rows=2, columns=1, largest_cost=1)
        most = self.rows * self.columns
        if not max(self.rows, 2 * self.columns) <= round(self.density * most) <= most:
            least = max(self.rows, 2 * self.columns) / most
            raise ConfigError(
                "density", self.density, f"{least:.4g} to 1: two rows a column and a column a row at least"
            )

    def problem(self, seed: int) -> LinearProgram:
        """See `jepakit.lp.families.LPFamily.problem`."""
        draw = np.random.default_rng(seed)
        entries = round(self.density * self.rows * self.columns)
        sizes = 2 + np.bincount(draw.integers(0, self.columns, entries - 2 * self.columns), minlength=self.columns)
        row, column = _sets(_capped(sizes, self.rows), self.rows, draw)
        matrix = sp.csc_array((np.ones(len(row)), (row, column)), shape=(self.rows, self.columns))
        return LinearProgram(
            costs=draw.integers(1, self.largest_cost + 1, self.columns).astype(float),
            matrix=matrix,
            row_lower=np.ones(self.rows),
            row_upper=np.full(self.rows, np.inf),
            lower=np.zeros(self.columns),
            upper=np.ones(self.columns),
            name=f"setcover-{seed}",
        )


@dataclass(frozen=True)
class IndependentSet:
    """max Σx subject to Σ of each clique ≤ 1 and 0 ≤ x ≤ 1, on a Barabási-Albert graph cut into cliques greedily.

    Args:
        nodes: of the graph.
        affinity: edges that each new node brings.
    """

    nodes: int = 550
    affinity: int = 2

    def __post_init__(self) -> None:
        require_at_least(self, affinity=1)
        if self.nodes <= self.affinity:
            raise ConfigError("nodes", self.nodes, f"more than affinity = {self.affinity}")

    def problem(self, seed: int) -> LinearProgram:
        """See `jepakit.lp.families.LPFamily.problem`."""
        draw = np.random.default_rng(seed)
        groups = _clique_inequalities(_barabasi_albert(self.nodes, self.affinity, draw))
        row = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        matrix = sp.csc_array((np.ones(len(row)), (row, np.concatenate(groups))), shape=(len(groups), self.nodes))
        return _packing(matrix, np.ones(self.nodes), f"independent-set-{seed}")


@dataclass(frozen=True)
class CombinatorialAuction:
    """max Σ price · x subject to each item sold once and 0 ≤ x ≤ 1 (arbitrary relationships, Leyton-Brown et al. 2000).

    A bidder asks for a bundle around an item, and for others of about its size and worth, of which he wants one.

    Args:
        items: for sale.
        bids: in all.
        add_item: probability that a bundle gets one item more.
        additivity: the worth of a bundle grows as the power 1 + additivity of its size.
        deviation: of a bidder's values from the common ones.
        substitutes: bids of a bidder at most.
    """

    items: int = 500
    bids: int = 600
    add_item: float = 0.65
    additivity: float = 0.2
    deviation: float = 0.5
    substitutes: int = 5

    def __post_init__(self) -> None:
        require_at_least(self, items=1, bids=1, substitutes=1)
        if not 0 <= self.add_item < 1:
            raise ConfigError("add_item", self.add_item, "a probability below 1")

    def problem(self, seed: int) -> LinearProgram:
        """See `jepakit.lp.families.LPFamily.problem`."""
        draw = np.random.default_rng(seed)
        values = 1 + 99 * draw.random(self.items)
        together = self._compatibility(draw)
        bundles: list[Array] = []
        prices: list[float] = []
        bidder: list[int] = []
        while len(bundles) < self.bids:
            offers = self._bidder(values, together, draw)[: self.bids - len(bundles)]
            bidder += [0 if not bidder else bidder[-1] + 1] * len(offers)
            bundles += [bundle for bundle, _ in offers]
            prices += [price for _, price in offers]
        # A row for each item, and one for each bidder, who wants one of his bundles: what only one bid names is no row.
        item = np.concatenate(bundles)
        bid = np.repeat(np.arange(self.bids), [len(bundle) for bundle in bundles])
        row, column = np.concatenate([item, self.items + np.array(bidder)]), np.concatenate([bid, np.arange(self.bids)])
        shape = (self.items + bidder[-1] + 1, self.bids)
        matrix = sp.csr_array((np.ones(len(row)), (row, column)), shape=shape)
        shared = np.diff(matrix.indptr) > np.where(np.arange(shape[0]) < self.items, 0, 1)
        return _packing(sp.csc_array(matrix[np.flatnonzero(shared)]), np.array(prices), f"auction-{seed}")

    def _compatibility(self, draw: np.random.Generator) -> Array:
        """How well two items go together, ``[items, items]``; each row sums to 1, or to 0 of a single item."""
        upper = np.triu(draw.random((self.items, self.items)), 1)
        both = upper + upper.T
        return both / both.sum(1, keepdims=True).clip(min=1e-12)

    def _bidder(self, values: Array, together: Array, draw: np.random.Generator) -> list[tuple[Array, float]]:
        """The bids of one bidder, (items, price) each, none of them twice."""
        interest = draw.random(self.items)
        own = values + 99 * self.deviation * (2 * interest - 1)
        first = self._bundle(draw.choice(self.items, p=interest / interest.sum()), None, interest, together, draw)
        price = float(own[first].sum() + len(first) ** (1 + self.additivity))
        if price <= 0:
            return []
        offers = {tuple(np.sort(first).tolist()): price}
        others = [self._bundle(item, len(first), interest, together, draw) for item in first]
        worth = sorted(
            ((float(own[o].sum() + len(o) ** (1 + self.additivity)), o) for o in others), key=lambda one: -one[0]
        )
        for value, other in worth:
            if len(offers) > self.substitutes:
                break
            # A substitute costs no more than the bidder can pay, and is worth half at least.
            if 0 <= value <= 1.5 * price and values[other].sum() >= 0.5 * values[first].sum():
                offers.setdefault(tuple(np.sort(other).tolist()), value)
        return [(np.array(bundle), value) for bundle, value in offers.items()]

    def _bundle(
        self, item: int, size: int | None, interest: Array, together: Array, draw: np.random.Generator
    ) -> Array:
        """Items around one: of a given size, or growing as long as chance has it."""
        chosen = np.zeros(self.items, bool)
        chosen[item] = True
        while chosen.sum() < self.items and (draw.random() < self.add_item if size is None else chosen.sum() < size):
            likely = np.where(chosen, 0, interest * together[chosen].mean(0))
            if not likely.sum() > 0:
                break
            chosen[draw.choice(self.items, p=likely / likely.sum())] = True
        return np.flatnonzero(chosen)


@dataclass(frozen=True)
class FacilityLocation:
    """min Σ opening y + Σ transport x: facilities that are open serve customers in shares (Cornuéjols et al. 1991).

    Σ over facilities of x = 1 of each customer, demand carried ≤ capacity · y of each facility, total capacity ≥ total
    demand, x ≤ y; 0 ≤ x, y ≤ 1.

    Args:
        customers: to be served.
        facilities: that can be opened.
        ratio: of all capacities to all demands.
    """

    customers: int = 35
    facilities: int = 25
    ratio: float = 5.0

    def __post_init__(self) -> None:
        require_at_least(self, customers=1, facilities=1)
        if not self.ratio >= 1:
            raise ConfigError("ratio", self.ratio, "at least 1, or nobody can be served")

    def problem(self, seed: int) -> LinearProgram:
        """See `jepakit.lp.families.LPFamily.problem`."""
        draw = np.random.default_rng(seed)
        n, m = self.customers, self.facilities
        places = draw.random((n + m, 2))
        demand = draw.integers(5, 36, n).astype(float)
        capacity = draw.integers(10, 161, m).astype(float)
        opening = draw.integers(100, 111, m) * np.sqrt(capacity) + draw.integers(0, 91, m)
        capacity = np.floor(capacity * self.ratio * demand.sum() / capacity.sum())
        distance = np.linalg.norm(places[:n, None] - places[None, n:], axis=2)
        transport = 10 * demand[:, None] * distance
        serve = sp.kron(sp.eye_array(n), np.ones((1, m)))
        carried = sp.kron(demand[None], sp.eye_array(m))
        shares = sp.eye_array(n * m)
        needed = sp.kron(np.ones((n, 1)), sp.eye_array(m))
        matrix = sp.vstack(
            [
                sp.hstack([serve, sp.csr_array((n, m))]),
                sp.hstack([carried, -sp.diags_array(capacity)]),
                sp.hstack([sp.csr_array((1, n * m)), capacity[None]]),
                sp.hstack([shares, -needed]),
            ]
        )
        return LinearProgram(
            costs=np.concatenate([transport.ravel(), opening]),
            matrix=sp.csc_array(matrix),
            row_lower=np.concatenate([np.ones(n), np.full(m, -np.inf), [demand.sum()], np.full(n * m, -np.inf)]),
            row_upper=np.concatenate([np.ones(n), np.zeros(m), [np.inf], np.zeros(n * m)]),
            lower=np.zeros(n * m + m),
            upper=np.ones(n * m + m),
            name=f"facilities-{seed}",
        )


def _packing(matrix: sp.csc_array, gains: Array, name: str) -> LinearProgram:
    rows, columns = matrix.shape  # type: ignore[misc]
    return LinearProgram(
        costs=-gains,
        matrix=matrix,
        row_lower=np.full(rows, -np.inf),
        row_upper=np.ones(rows),
        lower=np.zeros(columns),
        upper=np.ones(columns),
        maximize=True,
        name=name,
    )


def _capped(sizes: Array, most: int) -> Array:
    """Sizes of the same sum, none above ``most``: what is too much goes to the smallest."""
    while (over := (sizes - most).clip(min=0).sum()) > 0:
        sizes = sizes.clip(max=most)
        smallest = np.argsort(sizes, kind="stable")[: min(over, len(sizes))]
        sizes[smallest] += 1
    return sizes


def _sets(sizes: Array, rows: int, draw: np.random.Generator) -> tuple[Array, Array]:
    """(row, column) of sets of rows at random, column j of ``sizes[j]`` different ones, that cover every row."""
    order = draw.permutation(len(sizes))
    column = np.repeat(order, sizes[order])
    row = np.concatenate([draw.permutation(rows), draw.integers(0, rows, len(column) - rows)])
    while True:
        by = np.lexsort((np.arange(len(row)), row, column))
        again = by[1:][(column[by[1:]] == column[by[:-1]]) & (row[by[1:]] == row[by[:-1]])]
        # The first of equal ones stays, which is the one that the covering permutation put there.
        if not len(again):
            return row, column
        row[again] = draw.integers(0, rows, len(again))


def _barabasi_albert(nodes: int, affinity: int, draw: np.random.Generator) -> list[set[int]]:
    """Neighbours of each node: a new one joins ``affinity`` others, likelier those that have many."""
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
    """Cliques that share no node, found greedily by degree, and the edges that are in none of them."""
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
    edges = [[a, b] for a, some in enumerate(neighbours) for b in some if a < b and clique_of[a] != clique_of[b]]
    return [clique for clique in cliques if len(clique) > 1] + sorted(edges)
