"""Masks: the nodes of each graph that are hidden from the context encoder and predicted from the others.

A mask consists of regions. A region starts at a random centre and grows ring by ring to its share of the graph's quota.
If it cannot (its component is exhausted, its radius is reached, its path is stuck), another round of regions starts
from free nodes. The regions of all graphs of a batch grow together, so a hop takes a few tensor operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, get_args

import pymetis
import torch
from torch import Tensor

from jepakit.core.packed import gather_ranges, offsets, owners, positions, segment_max
from jepakit.errors import ConfigError, require_at_least, require_choice, require_within
from jepakit.graph.data import Graphs

Strategy = Literal["khop", "random", "walk", "path", "metis", "blocks"]

_UNREACHED = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Masking:
    """Draws masks: ``masking(graphs, generator)`` is ``[N]`` bool, True where masked.

    A graph of n >= 2 nodes has exactly ``min(max(round(ratio * n), 1), n - 1)`` masked nodes, a graph of one node has
    none. The mask depends on the state of the generator only. Time and memory are linear in nodes and edges, up to
    sorting. Centres are uniformly random. Regions grow from the target of an edge to its source.

    Strategies:

    - ``khop``: a ball around a random centre, its last ring thinned at random. With ``hops``, balls of that radius.
    - ``blocks``: ``blocks`` balls, each with its share of the quota (the multi-block masks of I-JEPA, Assran et al.
      2023, arXiv:2301.08243).
    - ``walk``: the first nodes visited by random walks of ``length`` steps from a centre, then the ball around them.
    - ``path``: self-avoiding paths of up to ``length`` nodes; another path follows one that is stuck.
    - ``random``: nodes independently of the edges.
    - ``metis``: whole METIS patches in random order, the last one thinned at random (Graph-JEPA, Skenderi et al. 2023,
      arXiv:2309.16014); needs `with_patches`.

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
        match self.strategy:
            case "metis":
                return _leading(graphs, _shuffled_patches(graphs, generator), quota)
            case "random":
                return _leading(graphs, _shuffled_within_graphs(graphs, generator), quota)
            case "path":
                count = (quota + self.length - 1) // self.length
            case "blocks":
                count = quota.clamp(max=self.blocks)
            case _:
                count = quota.clamp(max=1)
        return _Regions(graphs, generator).cover(quota, count, self._grow)

    def quota(self, nodes_per_graph: Tensor) -> Tensor:
        """Number of masked nodes of each graph, ``[G] -> [G]`` int64."""
        rounded = (nodes_per_graph.double() * self.ratio).round().long()
        return rounded.clamp(min=1).minimum(nodes_per_graph - 1).clamp(min=0)

    def _grow(self, regions: _Regions, seeds: Tensor, share: Tensor) -> Tensor:
        if self.strategy == "path":
            return regions.paths(seeds, share)
        if self.strategy == "walk":
            return regions.balls(regions.walks(seeds, share, self.length), share, hops=None)
        return regions.balls(seeds, share, self.hops)


def with_patches(graphs: Graphs, patch_size: int) -> Graphs:
    """The graphs with ``patch`` filled: METIS partitions (Karypis and Kumar 1998) of about ``patch_size`` nodes each.

    To be called once per data set. A graph of n nodes has ``ceil(n / patch_size)`` patches. The partition is
    deterministic and ignores the direction of edges.

    Raises:
        ConfigError: ``patch_size`` is less than 1.
    """
    if patch_size < 1:
        raise ConfigError("patch_size", patch_size, "at least 1")
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


class _Regions:
    """Grows regions in all graphs of a batch together.

    Reached nodes are ``[3, K]`` int64: node, its region, and its distance from the centre or number in a path.

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

    def cover(self, quota: Tensor, count: Tensor, grow: Callable[[_Regions, Tensor, Tensor], Tensor]) -> Tensor:
        """A mask ``[N]`` of ``quota`` (``[G]``) nodes per graph, starting with ``count`` (``[G]``) regions in each.

        Every region takes at least its centre, and the number of regions may double in each round, so that a graph
        without edges takes a logarithmic number of rounds.
        """
        missing, limit = quota, count
        while missing.any():
            seeds, owner = self._seed(count)
            parts = count.clamp(min=1)
            share = (missing // parts)[owner] + _first_of_group(owner, missing % parts).long()
            reached = grow(self, seeds, share)
            node, region, rank = reached
            # Of each region the nodes of lowest rank, ties broken at random.
            order = (region * (int(rank.max()) + 1) + rank + self._uniform(len(node))).argsort()
            taken = node[order[_first_of_group(region[order], share)]]
            self.mention[node] = _UNREACHED
            self.mention[taken] = 0
            gained = torch.bincount(self.owner[taken], minlength=len(quota))
            missing = missing - gained
            limit = (2 * limit).minimum(missing)
            count = limit.minimum((missing * count + gained - 1) // gained.clamp(min=1))
        return self.mention != _UNREACHED

    def balls(self, start: Tensor, share: Tensor, hops: int | None) -> Tensor:
        """Grows each region from its nodes in ``start`` by whole rings, to ``share`` nodes or more."""
        size = torch.bincount(start[1], minlength=len(share))
        rank = start[2].max()
        rings, (rim, region, _) = [start], start
        while hops is None or len(rings) <= hops:
            unfinished = (size < share)[region]
            neighbours, parent = self._neighbours(rim[unfinished])
            new = self._claim(neighbours)
            if not new.numel():
                break
            rank = rank + 1
            rim, region = neighbours[new], region[unfinished][parent[new]]
            rings.append(torch.stack([rim, region, rank.expand_as(rim)]))
            size = size + torch.bincount(region, minlength=len(share))
        return torch.cat(rings, dim=1)

    def walks(self, seeds: Tensor, share: Tensor, length: int) -> Tensor:
        """The seeds and the first nodes that random walks from them visit, about two steps per node of the share."""
        if not self.neighbour.numel():
            return seeds
        region = owners((2 * share + length - 1) // length)
        node = seeds[0, region]
        visited = []
        for draw in self._uniform(length, len(node)):
            degree = self.degree[node]
            step = (self.start[node] + (draw * degree).long()).clamp(max=len(self.neighbour) - 1)
            node = torch.where(degree > 0, self.neighbour[step], node)
            visited.append(node)
        trail = torch.cat(visited)
        new = self._claim(trail)
        step, walker = new // len(region), new % len(region)
        return torch.cat([seeds, torch.stack([trail[new], region[walker], step + 1])], dim=1)

    def paths(self, seeds: Tensor, share: Tensor) -> Tensor:
        """Extends each seed to a self-avoiding path of up to ``share`` nodes that meets no other path."""
        steps, heads = [seeds], seeds[:, share > 1]
        while heads.numel():
            neighbours, parent = self._neighbours(heads[0])
            free = self.mention[neighbours] == _UNREACHED
            neighbours, parent = neighbours[free], parent[free]
            choices = torch.bincount(parent, minlength=heads.shape[1])
            pick = offsets(choices)[:-1] + (self._uniform(len(choices)) * choices).long()
            movable = choices.nonzero().squeeze(1)
            following = neighbours[pick[movable]]
            moved = self._claim(following)
            heads = heads[:, movable]
            heads[0, moved] = following[moved]
            heads[2, moved] += 1
            steps.append(heads[:, moved])
            heads = heads[:, heads[2] + 1 < share[heads[1]]]
        return torch.cat(steps, dim=1)

    def _seed(self, count: Tensor) -> tuple[Tensor, Tensor]:
        """``count`` (``[G]``) random free nodes per graph, and the graph of each."""
        free = self.shuffled[self.mention[self.shuffled] == _UNREACHED]
        node = free[_first_of_group(self.owner[free], count)]
        self.mention[node] = 0
        region = torch.arange(len(node), device=node.device)
        return torch.stack([node, region, torch.zeros_like(node)]), self.owner[node]

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


def _shuffled_patches(graphs: Graphs, generator: torch.Generator) -> Tensor:
    """``[N]``: the nodes sorted by graph, patches in random order within each, nodes in random order within a patch."""
    if graphs.patch is None:
        expected = "graphs with patches; call with_patches(graphs, patch_size) on the data set first"
        raise ConfigError("masking.strategy", "metis", expected)
    owner = graphs.graph_of_node
    patches = segment_max(graphs.patch + 1, graphs.node_ptr, empty=0.0)
    first = offsets(patches)
    noise = _uniform(generator, graphs.device, int(patches.sum()))
    key = owner + noise[first[owner] + graphs.patch]
    shuffled = _shuffled_within_graphs(graphs, generator)
    return shuffled[key[shuffled].argsort(stable=True)]


def _leading(graphs: Graphs, order: Tensor, quota: Tensor) -> Tensor:
    """``[N]`` bool: the first ``quota`` nodes of each graph in ``order``, which lists the nodes graph by graph."""
    owner = graphs.graph_of_node
    chosen = torch.zeros_like(owner, dtype=torch.bool)
    chosen[order[_first_of_group(owner, quota)]] = True
    return chosen


def _shuffled_within_graphs(graphs: Graphs, generator: torch.Generator) -> Tensor:
    """``[N]``: the nodes sorted by graph, in random order within each."""
    return (graphs.graph_of_node + _uniform(generator, graphs.device, graphs.num_nodes)).argsort()


def _first_of_group(group: Tensor, quota: Tensor) -> Tensor:
    """For sorted group ids ``[K]``, whether each is among the first ``quota`` (``[G]``) of its group: ``[K]`` bool."""
    return positions(torch.bincount(group, minlength=len(quota))) < quota[group]


def _uniform(generator: torch.Generator, device: torch.device, *shape: int) -> Tensor:
    # Drawn on the generator's device, so that a seed gives the same mask on every device. In double precision, because
    # these numbers are added to the index of a graph or region.
    return torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64).to(device)


def _undirected_neighbours(graphs: Graphs) -> tuple[Tensor, Tensor]:
    """The simple undirected graph as CSR on the CPU: neighbours ``[E']`` and pointers ``[N + 1]``."""
    source, target = graphs.edge_index.cpu()
    proper = source != target
    size = max(graphs.num_nodes, 1)
    pairs = torch.cat([target[proper] * size + source[proper], source[proper] * size + target[proper]]).unique()
    degree = torch.bincount(pairs // size, minlength=graphs.num_nodes)
    return pairs % size, offsets(degree)
