"""Masks: the nodes of each graph that are hidden from the context encoder and predicted from the others.

A mask consists of regions. A region starts at a random centre and grows ring by ring to its share of the graph's quota.
If it cannot (its component is exhausted, its radius is reached, its path is stuck), another round of regions starts
from free nodes. The strategies differ in how a region grows. The regions of all graphs of a batch grow together, so a
hop takes a few tensor operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from jepakit.core.packed import gather_ranges, offsets, owners, positions, segment_max
from jepakit.errors import ConfigError, MissingExtraError, require_at_least, require_choice, require_within
from jepakit.graph.data import Graphs

Strategy = Literal["khop", "random", "walk", "path", "metis", "blocks"]

_UNREACHED = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Masking:
    """Draws masks: ``masking(graphs, generator)`` is ``[N]`` bool, True where masked.

    A graph of n >= 2 nodes has exactly ``min(max(round(ratio * n), 1), n - 1)`` masked nodes, a graph of one node has
    none. The mask depends on the state of the generator only. Time and memory are linear in nodes and edges, up to a
    logarithm for sorting.

    Strategies, all with uniformly random centres:

    - ``khop``: a ball around a random centre, its last ring thinned at random. With ``hops``, balls of that radius.
    - ``blocks``: ``blocks`` balls, each with its share of the quota (the multi-block masks of I-JEPA, Assran et al.
      2023, arXiv:2301.08243).
    - ``walk``: the first nodes visited by random walks of ``length`` steps from one centre, then the ball around them.
    - ``path``: self-avoiding paths of up to ``length`` nodes; another path follows one that is stuck.
    - ``random``: nodes independently of the edges.
    - ``metis``: whole METIS patches in random order, the last one thinned at random (Graph-JEPA, Skenderi et al. 2023,
      arXiv:2309.16014); needs `with_patches`.

    Regions grow from the target of an edge to its source; in an undirected graph the direction does not matter.

    Args:
        strategy: one of the above.
        ratio: the share of each graph's nodes to mask, between 0 and 1, both excluded.
        hops: radius of a ball for ``khop`` and ``blocks``; None: a ball grows until it has its share.
        blocks: number of balls for ``blocks``.
        length: steps of a random walk for ``walk``, nodes of a path for ``path``.
    """

    strategy: Strategy = "khop"
    ratio: float = 0.3
    hops: int | None = None
    blocks: int = 4
    length: int = 16

    def __post_init__(self) -> None:
        require_choice("strategy", self.strategy, get_args(Strategy))
        require_within(self, "(0, 1)", "ratio")
        require_at_least(self, hops=1, blocks=1, length=2)

    def __call__(self, graphs: Graphs, generator: torch.Generator) -> Tensor:
        """Draws a mask, ``[N]`` bool on the device of ``graphs``; the generator may be on any device.

        Raises:
            ConfigError: the strategy is ``metis`` and ``graphs`` has no patches.
        """
        quota = self.quota(graphs.nodes_per_graph)
        if self.strategy == "metis":
            return _whole_patches(graphs, quota, generator)
        if self.strategy == "random":
            return _leading(graphs, _shuffled_within_graphs(graphs, generator), quota)
        return _Regions(graphs, generator).cover(quota, self._first_regions(quota), self._grow)

    def quota(self, nodes_per_graph: Tensor) -> Tensor:
        """Number of masked nodes of each graph, ``[G] -> [G]`` int64."""
        rounded = (nodes_per_graph.double() * self.ratio).round().long()
        return rounded.clamp(min=1).minimum(nodes_per_graph - 1).clamp(min=0)

    def _first_regions(self, quota: Tensor) -> Tensor:
        if self.strategy == "path":
            return (quota + self.length - 1) // self.length
        return quota.clamp(max=self.blocks if self.strategy == "blocks" else 1)

    def _grow(self, regions: _Regions, seeds: _Reached, share: Tensor) -> _Reached:
        if self.strategy == "path":
            return regions.paths(seeds, share)
        if self.strategy == "walk":
            return regions.balls(regions.walks(seeds, share, self.length), share, hops=None)
        return regions.balls(seeds, share, self.hops)


def with_patches(graphs: Graphs, patch_size: int) -> Graphs:
    """The graphs with ``patch`` filled: METIS partitions (Karypis and Kumar 1998) of about ``patch_size`` nodes each.

    To be called once per data set. A graph of n nodes has ``ceil(n / patch_size)`` patches; the partition is
    deterministic.

    Args:
        graphs: any graphs; edge directions are ignored.
        patch_size: nodes per patch, at least 1.

    Raises:
        ConfigError: ``patch_size`` is less than 1.
        MissingExtraError: pymetis is not installed.
    """
    if patch_size < 1:
        raise ConfigError("patch_size", patch_size, "at least 1")
    try:
        import pymetis
    except ImportError as error:
        raise MissingExtraError("pymetis", "graph") from error
    neighbours, neighbour_ptr = _undirected_neighbours(graphs)
    patch = torch.zeros(graphs.num_nodes, dtype=torch.long)
    for start, stop in pairwise(graphs.node_ptr.tolist()):
        parts = -(-(stop - start) // patch_size)
        if parts < 2:
            continue
        pointers = neighbour_ptr[start : stop + 1]
        local = neighbours[int(pointers[0]) : int(pointers[-1])] - start
        adjacency = pymetis.CSRAdjacency((pointers - pointers[0]).numpy(), local.numpy())
        partition = pymetis.part_graph(parts, adjacency, options=pymetis.Options(seed=0))
        patch[start:stop] = torch.as_tensor(partition.vertex_part)
    return replace(graphs, patch=patch.to(graphs.device))


@dataclass(frozen=True)
class _Reached:
    """Nodes in the order in which regions reached them: ``node``, its ``region``, and its distance or step ``rank``.

    All three are ``[K]``.
    """

    node: Tensor
    region: Tensor
    rank: Tensor

    def __getitem__(self, index: Tensor) -> _Reached:
        return _Reached(self.node[index], self.region[index], self.rank[index])

    @staticmethod
    def joined(parts: list[_Reached]) -> _Reached:
        return _Reached(*(torch.cat([getattr(part, name) for part in parts]) for name in ("node", "region", "rank")))


class _Regions:
    """Grows regions in all graphs of a batch together.

    ``mention`` is `_UNREACHED` for free nodes. For a node reached in this or an earlier round it is the first position
    of the node among the candidates of its hop, which decides between several regions that reach it in the same hop.
    """

    def __init__(self, graphs: Graphs, generator: torch.Generator) -> None:
        self.graphs, self.generator = graphs, generator
        self.owner = graphs.graph_of_node
        self.neighbour = graphs.edge_index[0]
        self.degree = graphs.in_degree
        self.start = offsets(self.degree)[:-1]
        self.shuffled = _shuffled_within_graphs(graphs, generator)
        self.mention = self.degree.new_full((graphs.num_nodes,), _UNREACHED)

    def cover(self, quota: Tensor, count: Tensor, grow: Callable[[_Regions, _Reached, Tensor], _Reached]) -> Tensor:
        """A mask ``[N]`` of ``quota`` (``[G]``) nodes per graph, starting with ``count`` (``[G]``) regions in each.

        Every region takes at least its centre, and the number of regions may double in each round, so that a graph
        without edges takes a logarithmic number of rounds.
        """
        missing, limit = quota, count
        while missing.any():
            seeds, owner = self._seed(count)
            share = _split_evenly(missing, count, owner)
            reached = grow(self, seeds, share)
            taken = reached.node[_first_of_each(reached, share, self._uniform(len(reached.node)))]
            self.mention[reached.node] = _UNREACHED
            self.mention[taken] = 0
            gained = torch.bincount(self.owner[taken], minlength=len(quota))
            missing = missing - gained
            limit = (2 * limit).minimum(missing)
            count = limit.minimum((missing * count + gained - 1) // gained.clamp(min=1))
        return self.mention != _UNREACHED

    def balls(self, start: _Reached, share: Tensor, hops: int | None) -> _Reached:
        """Grows each region from its nodes in ``start`` by whole rings, to ``share`` nodes or more."""
        size = torch.bincount(start.region, minlength=len(share))
        rank = int(start.rank.max())
        rings, rim = [start], start
        while hops is None or len(rings) <= hops:
            rim = rim[(size < share)[rim.region]]
            neighbours, parent = self._neighbours(rim.node)
            new = self._claim(neighbours)
            if not new.numel():
                break
            rank += 1
            region = rim.region[parent[new]]
            rim = _Reached(neighbours[new], region, region.new_full((len(new),), rank))
            rings.append(rim)
            size = size + torch.bincount(region, minlength=len(share))
        return _Reached.joined(rings)

    def walks(self, seeds: _Reached, share: Tensor, length: int) -> _Reached:
        """The seeds and the first nodes that random walks from them visit, about two steps per node of the share."""
        if not self.neighbour.numel():
            return seeds
        region = owners((2 * share + length - 1) // length)
        node = seeds.node[region]
        draws = self._uniform(length, len(node))
        visited = []
        for draw in draws:
            degree = self.degree[node]
            step = (self.start[node] + (draw * degree).long()).clamp(max=len(self.neighbour) - 1)
            node = torch.where(degree > 0, self.neighbour[step], node)
            visited.append(node)
        trail = torch.cat(visited)
        new = self._claim(trail)
        walker = new % len(region)
        rank = torch.div(new, len(region), rounding_mode="floor") + 1
        return _Reached.joined([seeds, _Reached(trail[new], region[walker], rank)])

    def paths(self, seeds: _Reached, share: Tensor) -> _Reached:
        """Extends each seed to a self-avoiding path of up to ``share`` nodes that meets no other path."""
        steps, head = [seeds], seeds[share > 1]
        while head.node.numel():
            neighbours, parent = self._neighbours(head.node)
            free = self.mention[neighbours] == _UNREACHED
            neighbours, parent = neighbours[free], parent[free]
            choices = torch.bincount(parent, minlength=len(head.node))
            pick = offsets(choices)[:-1] + (self._uniform(len(choices)) * choices).long()
            movable = choices.nonzero().squeeze(1)
            following = neighbours[pick[movable]]
            moved = self._claim(following)
            head = head[movable]
            head = _Reached(
                head.node.index_put((moved,), following[moved]),
                head.region,
                head.rank.index_put((moved,), head.rank[moved] + 1),
            )
            steps.append(head[moved])
            head = head[head.rank + 1 < share[head.region]]
        return _Reached.joined(steps)

    def _seed(self, count: Tensor) -> tuple[_Reached, Tensor]:
        """``count`` (``[G]``) random free nodes per graph, and the graph of each."""
        free = self.shuffled[self.mention[self.shuffled] == _UNREACHED]
        node = free[_first_of_group(self.owner[free], count)]
        self.mention[node] = 0
        return _Reached(node, torch.arange(len(node), device=node.device), torch.zeros_like(node)), self.owner[node]

    def _neighbours(self, node: Tensor) -> tuple[Tensor, Tensor]:
        """The neighbours of the nodes in ``node`` (``[K]``), and for each the position of its node there."""
        degree = self.degree[node]
        return self.neighbour[gather_ranges(self.start[node], degree)], owners(degree)

    def _claim(self, candidates: Tensor) -> Tensor:
        """Marks the free nodes among the candidates as reached; returns the position of the first mention of each."""
        new = (self.mention[candidates] == _UNREACHED).nonzero().squeeze(1)
        nodes = candidates[new]
        self.mention.scatter_reduce_(0, nodes, new, "amin")
        return new[self.mention[nodes] == new]

    def _uniform(self, *shape: int) -> Tensor:
        return _uniform(self.generator, self.mention.device, *shape)


def _whole_patches(graphs: Graphs, quota: Tensor, generator: torch.Generator) -> Tensor:
    if graphs.patch is None:
        expected = "graphs with patches; call with_patches(graphs, patch_size) on the data set first"
        raise ConfigError("masking.strategy", "metis", expected)
    owner = graphs.graph_of_node
    patches = segment_max(graphs.patch + 1, graphs.node_ptr, empty=0.0)
    first = offsets(patches)
    noise = _uniform(generator, graphs.device, int(patches.sum()))
    key = owner + noise[first[owner] + graphs.patch]
    shuffled = _shuffled_within_graphs(graphs, generator)
    return _leading(graphs, shuffled[key[shuffled].argsort(stable=True)], quota)


def _leading(graphs: Graphs, order: Tensor, quota: Tensor) -> Tensor:
    """``[N]`` bool: the first ``quota`` nodes of each graph in ``order``, which lists the nodes graph by graph."""
    owner = graphs.graph_of_node
    chosen = torch.zeros_like(owner, dtype=torch.bool)
    chosen[order[_first_of_group(owner, quota)]] = True
    return chosen


def _shuffled_within_graphs(graphs: Graphs, generator: torch.Generator) -> Tensor:
    """``[N]``: the nodes sorted by graph, in random order within each."""
    return (graphs.graph_of_node + _uniform(generator, graphs.device, graphs.num_nodes)).argsort()


def _first_of_each(reached: _Reached, share: Tensor, noise: Tensor) -> Tensor:
    """Positions of the ``share`` nodes of lowest rank in each region, ties broken by ``noise``."""
    span = int(reached.rank.max()) + 1
    order = (reached.region * span + reached.rank + noise).argsort()
    region = reached.region[order]
    return order[_first_of_group(region, share)]


def _split_evenly(total: Tensor, parts: Tensor, owner: Tensor) -> Tensor:
    """The share of each region of its group's ``total`` (``[G]``), with ``parts`` (``[G]``) regions per group."""
    extra = _first_of_group(owner, total % parts.clamp(min=1))
    return (total // parts.clamp(min=1))[owner] + extra.long()


def _first_of_group(group: Tensor, quota: Tensor) -> Tensor:
    """For sorted group ids ``[K]``, whether each is among the first ``quota`` (``[G]``) of its group: ``[K]`` bool."""
    return positions(torch.bincount(group, minlength=len(quota))) < quota[group]


def _uniform(generator: torch.Generator, device: torch.device, *shape: int) -> Tensor:
    # Drawn on the generator's device, so that a seed gives the same mask on every device. Keys add these numbers to
    # the index of a graph or region, after which single precision would leave few distinct values.
    return torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64).to(device)


def _undirected_neighbours(graphs: Graphs) -> tuple[Tensor, Tensor]:
    """The simple undirected graph for METIS, as CSR on the CPU: neighbours ``[E']`` and pointers ``[N + 1]``."""
    source, target = graphs.edge_index.cpu()
    proper = source != target
    size = max(graphs.num_nodes, 1)
    pairs = torch.cat([target[proper] * size + source[proper], source[proper] * size + target[proper]]).unique()
    degree = torch.bincount(pairs // size, minlength=graphs.num_nodes)
    return pairs % size, offsets(degree)
