"""A graph of any size with classes, communities and hubs, drawn in parts and written as a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jepakit.graph.large.store import write_store

_PART = 1_000_000


@dataclass(frozen=True)
class Drawn:
    """A graph whose classes are harder to tell from the features of a node than from those around it.

    Nodes have a weight by a power law; an edge starts at a node by weight and ends, again by weight, in its community,
    in its class, or anywhere. Features are the means of class and community, and noise; half of the columns are noise
    alone.

    Args:
        nodes: N.
        edges: undirected edges that are drawn; repeats and self loops are left out.
        features: columns.
        classes: of the nodes.
        community: nodes of a community, all of one class.
        inside: share of edges that stay in the community.
        akin: share of edges that stay in the class.
        exponent: of the density of the weights.
        noise: standard deviation of a feature of a node; class means have length 1.
        varied: that of a mean of a community.
        nuisance: that of the columns that say nothing.
        seed: of everything.
    """

    nodes: int = 1_000_000
    edges: int = 10_000_000
    features: int = 64
    classes: int = 20
    community: int = 500
    inside: float = 0.5
    akin: float = 0.15
    exponent: float = 2.5
    noise: float = 0.25
    varied: float = 0.3
    nuisance: float = 0.5
    seed: int = 0

    def write(self, folder: Path) -> Path:
        """Draws it, and writes a store."""
        rng = np.random.default_rng(self.seed)
        communities = -(-self.nodes // self.community)
        class_of = np.arange(communities) % self.classes
        # Communities of a class are adjacent, so that a class is a range of places.
        class_of.sort()
        place_of = rng.permutation(self.nodes)
        node_y = np.empty(self.nodes, np.int64)
        node_y[place_of] = class_of[np.arange(self.nodes) // self.community]
        weight = rng.pareto(self.exponent - 1, self.nodes) + 1
        names = [f"class {number}" for number in range(self.classes)]
        return write_store(
            folder,
            self._features(node_y, place_of, rng),
            self._edges(class_of, place_of, weight, rng),
            node_y=node_y,
            label_names=names,
        )

    def _features(
        self, node_y: NDArray[np.int64], place_of: NDArray[np.int64], rng: np.random.Generator
    ) -> Iterator[NDArray[np.float32]]:
        width = self.features // 2
        means = rng.standard_normal((self.classes, width)) / np.sqrt(width)
        communities = self.varied * rng.standard_normal((-(-self.nodes // self.community), width))
        community_of = np.empty(self.nodes, np.int64)
        community_of[place_of] = np.arange(self.nodes) // self.community
        for first in range(0, self.nodes, _PART // 4):
            rows = slice(first, first + _PART // 4)
            known = means[node_y[rows]] + communities[community_of[rows]]
            known += self.noise * rng.standard_normal(known.shape)
            other = self.nuisance * rng.standard_normal((len(known), self.features - width))
            yield np.concatenate([known, other], axis=1).astype(np.float32)

    def _edges(
        self,
        class_of: NDArray[np.int64],
        place_of: NDArray[np.int64],
        weight: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> Iterator[NDArray[np.int64]]:
        """Places are sorted by community, and those by class; a range of places is a range of summed weights."""
        total = np.concatenate([[0.0], np.cumsum(weight)])
        starts = np.arange(0, self.nodes, self.community)
        community_bounds = total[np.append(starts, self.nodes)]
        first_of_class = np.searchsorted(class_of, np.arange(self.classes + 1))
        class_bounds = community_bounds[first_of_class]
        for first in range(0, self.edges, _PART):
            count = min(_PART, self.edges - first)
            source = self._by_weight(total, np.zeros(count), np.full(count, total[-1]), rng)
            community = source // self.community
            kind = class_of[community]
            choice = rng.random(count)
            near, akin = choice < self.inside, choice < self.inside + self.akin
            low = np.where(near, community_bounds[community], np.where(akin, class_bounds[kind], 0.0))
            high = np.where(near, community_bounds[community + 1], np.where(akin, class_bounds[kind + 1], total[-1]))
            yield place_of[np.stack([source, self._by_weight(total, low, high, rng)])]

    def _by_weight(
        self, total: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        drawn = low + rng.random(len(low)) * (high - low)
        return (np.searchsorted(total, drawn, side="right") - 1).clip(max=self.nodes - 1)
