"""Which nodes of each graph are hidden from the context encoder, to be predicted from the rest.

A mask is grown in *regions*: a region starts at a random centre and takes nodes ring by ring until it has its share
of the graph's quota; where it cannot (its component is exhausted, its radius is reached, its path is stuck), a further
round of regions starts from nodes not yet taken. The strategies differ in how a region takes its nodes. All graphs of a
batch grow at the same time, so a hop costs a handful of tensor operations on the nodes at the rim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from jepakit.core.packed import gather_ranges, offsets, owners, positions, segment_max
from jepakit.errors import ConfigError, MissingExtraError, require_choice
from jepakit.graph.data import Graphs

__all__ = ["Masking", "Strategy", "with_patches"]

Strategy = Literal["khop", "random", "walk", "path", "metis", "blocks"]

_UNREACHED = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Masking:
    """Chooses the nodes to predict: ``masking(graphs, generator)`` is ``[N]`` bool, True where masked.

    A graph of n >= 2 nodes has exactly ``min(max(round(ratio * n), 1), n - 1)`` masked nodes, so that something is
    always predicted and something always seen; a graph of one node has none. The mask depends on the generator's state
    only. Time and memory are linear in nodes and edges, up to a logarithm for sorting.

    Strategies, all uniform in their centres:

    - ``khop``: a ball around a random centre, the last ring thinned at random. With ``hops``, balls of that radius.
    - ``blocks``: ``blocks`` balls at once, each with its share of the quota (the multi-block masks of I-JEPA, Assran et
      al. 2023, arXiv:2301.08243).
    - ``walk``: what random walks of ``length`` steps from one centre visit first, then the ball around that.
    - ``path``: self-avoiding paths of up to ``length`` nodes; a stuck path is followed by another.
    - ``random``: nodes independently of the edges.
    - ``metis``: whole METIS patches in random order, the last one thinned at random (Graph-JEPA, Skenderi et al. 2023,
      arXiv:2309.16014); needs `with_patches`.

    Nodes are reached from an edge's target to its source, which makes no difference in an undirected graph.

    Args:
        strategy: one of the above.
        ratio: the part of each graph's nodes to mask, between 0 and 1, both excluded.
        hops: radius of one ball for ``khop`` and ``blocks``; None lets a ball grow until it has its share.
        blocks: number of balls for ``blocks``.
        length: steps of one random walk for ``walk``, nodes of one path for ``path``.

    Raises:
        ConfigError: an option is outside its range.
    """

    strategy: Strategy = "khop"
    ratio: float = 0.3
    hops: int | None = None
    blocks: int = 4
    length: int = 16

    def __post_init__(self) -> None:
        require_choice("strategy", self.strategy, get_args(Strategy))
        if not 0 < self.ratio < 1:
            raise ConfigError("ratio", self.ratio, "a number between 0 and 1, both excluded")
        if self.hops is not None and self.hops < 1:
            raise ConfigError("hops", self.hops, "at least 1, or null for no limit")
        if self.blocks < 1:
            raise ConfigError("blocks", self.blocks, "at least 1")
        if self.length < 2:
            raise ConfigError("length", self.length, "at least 2")

    def __call__(self, graphs: Graphs, generator: torch.Generator) -> Tensor:
        """Draws a mask.

        Args:
            graphs: G graphs with N nodes in all.
            generator: where all randomness comes from, on any device.

        Returns:
            ``[N]`` bool, on the device of ``graphs``.

        Raises:
            ConfigError: the strategy is ``metis`` and ``graphs`` has no patches.
        """
        quota = self.quota(graphs.nodes_per_graph)
        if self.strategy == "metis":
            return _whole_patches(graphs, quota, generator)
        if self.strategy == "random":
            return _uniform_nodes(graphs, quota, generator)
        return _Regions(graphs, generator).cover(quota, self._first_regions(quota), self._grow)

    def quota(self, nodes_per_graph: Tensor) -> Tensor:
        """Masked nodes per graph, ``[G] -> [G]`` int64."""
        wanted = (nodes_per_graph.double() * self.ratio).round().long()
        return wanted.clamp(min=1).minimum(nodes_per_graph - 1).clamp(min=0)

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
    """The same graphs with ``patch`` filled: METIS partitions of about ``patch_size`` nodes each.

    To be called once per data set; masking then needs no partitioning. Each graph of n nodes is cut into
    ``ceil(n / patch_size)`` patches with few edges between them (Karypis and Kumar 1998), always in the same way.

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
    bounds = graphs.node_ptr.tolist()
    for start, stop in pairwise(bounds):
        parts = -(-(stop - start) // patch_size)
        if parts < 2:
            continue
        pointers = neighbour_ptr[start : stop + 1]
        local = neighbours[int(pointers[0]) : int(pointers[-1])] - start
        partition = pymetis.part_graph(
            parts,
            pymetis.CSRAdjacency((pointers - pointers[0]).numpy(), local.numpy()),
            options=pymetis.Options(seed=0),
        )
        patch[start:stop] = torch.as_tensor(partition.vertex_part)
    return replace(graphs, patch=patch.to(graphs.device))


@dataclass(frozen=True)
class _Reached:
    """Nodes in the order they were taken: ``node`` and its ``region``, ``[K]`` each, at distance or step ``rank``."""

    node: Tensor
    region: Tensor
    rank: Tensor

    def __getitem__(self, index: Tensor) -> _Reached:
        return _Reached(self.node[index], self.region[index], self.rank[index])

    @staticmethod
    def joined(parts: list[_Reached]) -> _Reached:
        return _Reached(
            *(torch.cat([getattr(part, name) for part in parts]) for name in ("node", "region", "rank")),
        )


class _Regions:
    """Grows regions in all graphs of a batch at once.

    ``mention`` holds, for every node reached in this or an earlier round, the position at which it was first mentioned
    among the candidates of its hop, and `_UNREACHED` elsewhere: one buffer both marks nodes and settles who takes one
    that several regions reach in the same hop.
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
        """Masks ``quota`` (``[G]``) nodes per graph, ``[N]`` bool, starting with ``count`` (``[G]``) regions in each.

        Every region takes at least its centre, and the number of regions may double from round to round, so that even
        a graph without edges is covered after logarithmically many rounds.
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
        """Grows each region around its nodes in ``start`` by whole rings until it has ``share`` nodes or more."""
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
        """The seeds and what random walks from them visit first, about two steps of a walk for each node wanted."""
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
        """Extends each seed to a path of up to ``share`` nodes that meets neither itself nor another path."""
        steps, head = [seeds], seeds[share > 1]
        while head.node.numel():
            neighbours, parent = self._neighbours(head.node)
            open_ = self.mention[neighbours] == _UNREACHED
            neighbours, parent = neighbours[open_], parent[open_]
            choices = torch.bincount(parent, minlength=len(head.node))
            pick = offsets(choices)[:-1] + (self._uniform(len(choices)) * choices).long()
            able = choices.nonzero().squeeze(1)
            following = neighbours[pick[able]]
            won = self._claim(following)
            head = head[able]
            head = _Reached(
                head.node.index_put((won,), following[won]),
                head.region,
                head.rank.index_put((won,), head.rank[won] + 1),
            )
            steps.append(head[won])
            head = head[head.rank + 1 < share[head.region]]
        return _Reached.joined(steps)

    def _seed(self, count: Tensor) -> tuple[_Reached, Tensor]:
        """``count`` (``[G]``) random nodes per graph that nothing has reached, and the graph of each."""
        free = self.shuffled[self.mention[self.shuffled] == _UNREACHED]
        node = free[_first_of_group(self.owner[free], count)]
        self.mention[node] = 0
        return _Reached(node, torch.arange(len(node), device=node.device), torch.zeros_like(node)), self.owner[node]

    def _neighbours(self, node: Tensor) -> tuple[Tensor, Tensor]:
        """The neighbours of ``node`` (``[K]``), and for each the position in ``node`` of whose neighbour it is."""
        degree = self.degree[node]
        return self.neighbour[gather_ranges(self.start[node], degree)], owners(degree)

    def _claim(self, candidates: Tensor) -> Tensor:
        """Marks the ``candidates`` not reached before as reached; the position of the first mention of each."""
        new = (self.mention[candidates] == _UNREACHED).nonzero().squeeze(1)
        nodes = candidates[new]
        self.mention.scatter_reduce_(0, nodes, new, "amin")
        return new[self.mention[nodes] == new]

    def _uniform(self, *shape: int) -> Tensor:
        return _uniform(self.generator, self.mention.device, *shape)


def _uniform_nodes(graphs: Graphs, quota: Tensor, generator: torch.Generator) -> Tensor:
    return _leading(graphs, _shuffled_within_graphs(graphs, generator), quota)


def _whole_patches(graphs: Graphs, quota: Tensor, generator: torch.Generator) -> Tensor:
    if graphs.patch is None:
        raise ConfigError(
            "masking.strategy",
            "metis",
            "graphs with patches; call with_patches(graphs, patch_size) on the data set first",
        )
    owner = graphs.graph_of_node
    patches = segment_max(graphs.patch + 1, graphs.node_ptr, empty=0.0)
    first = offsets(patches)
    lot = _uniform(generator, graphs.device, int(patches.sum()))
    key = owner + lot[first[owner] + graphs.patch]
    shuffled = _shuffled_within_graphs(graphs, generator)
    return _leading(graphs, shuffled[key[shuffled].argsort(stable=True)], quota)


def _leading(graphs: Graphs, order: Tensor, quota: Tensor) -> Tensor:
    """``[N]`` bool: the first ``quota`` nodes of each graph in ``order``, which lists the nodes graph by graph."""
    owner = graphs.graph_of_node
    chosen = torch.zeros_like(owner, dtype=torch.bool)
    chosen[order[_first_of_group(owner, quota)]] = True
    return chosen


def _shuffled_within_graphs(graphs: Graphs, generator: torch.Generator) -> Tensor:
    """``[N]``: the nodes of graph 0 in random order, then those of graph 1, and so on."""
    return (graphs.graph_of_node + _uniform(generator, graphs.device, graphs.num_nodes)).argsort()


def _first_of_each(reached: _Reached, share: Tensor, noise: Tensor) -> Tensor:
    """Positions of the ``share`` nodes of lowest rank in each region, ties broken by ``noise``."""
    span = int(reached.rank.max()) + 1
    order = (reached.region * span + reached.rank + noise).argsort()
    region = reached.region[order]
    return order[_first_of_group(region, share)]


def _split_evenly(total: Tensor, parts: Tensor, owner: Tensor) -> Tensor:
    """``total`` (``[G]``) of each group dealt out to its ``parts`` (``[G]``) members, whose groups are ``owner``."""
    extra = _first_of_group(owner, total % parts.clamp(min=1))
    return (total // parts.clamp(min=1))[owner] + extra.long()


def _first_of_group(group: Tensor, quota: Tensor) -> Tensor:
    """For sorted group ids ``[K]``, whether each is among the first ``quota`` (``[G]``) of its group: ``[K]`` bool."""
    return positions(torch.bincount(group, minlength=len(quota))) < quota[group]


def _uniform(generator: torch.Generator, device: torch.device, *shape: int) -> Tensor:
    # Drawn where the generator lives, so that one seed gives one mask on every device. Double precision keeps a node's
    # random key distinct from its neighbours' when the key also counts graphs or regions.
    return torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64).to(device)


def _undirected_neighbours(graphs: Graphs) -> tuple[Tensor, Tensor]:
    """The simple undirected graph METIS wants, as CSR on the CPU: neighbours ``[E']`` and pointers ``[N + 1]``."""
    source, target = graphs.edge_index.cpu()
    proper = source != target
    size = max(graphs.num_nodes, 1)
    pairs = torch.cat([target[proper] * size + source[proper], source[proper] * size + target[proper]]).unique()
    degree = torch.bincount(pairs // size, minlength=graphs.num_nodes)
    return pairs % size, offsets(degree)
