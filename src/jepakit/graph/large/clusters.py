"""Parts of one graph with few edges between them: METIS where the graph fits, else label propagation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from jepakit.core.packed import offsets, owners, positions
from jepakit.graph.data import Graphs
from jepakit.graph.large.parts import sources_of
from jepakit.graph.masking import with_patches

METIS_EDGES = 5_000_000
"""METIS holds the graph in memory several times: of more (directed) edges, parts are grown."""

_ROUNDS = 10
_FEW_MOVES = 1e-3
_EDGES_AT_ONCE = 1 << 20
_LARGEST = 1.5
"""A part of more than so many times the wanted size is cut."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """Each node in one cluster: cluster ``c`` has ``nodes[ptr[c]:ptr[c + 1]]``.

    Args:
        nodes: ``[N]`` int64.
        ptr: ``[C + 1]`` int64.
        edge_ptr: the first incoming edge of each node of the graph, then the number of edges, ``[N + 1]`` int64.
    """

    nodes: Tensor
    ptr: Tensor
    edge_ptr: Tensor


def clusters_of(graphs: Graphs, size: int, *, seed: int = 0) -> Clusters:
    """Clusters of about ``size`` nodes, at least 2 and at most twice as many.

    Args:
        graphs: a single graph; its tensors may be mapped files.
        size: nodes of a cluster.
        seed: of the parts that are grown; METIS is deterministic.
    """
    edge_ptr = graphs.incoming_ptr
    if graphs.num_edges <= METIS_EDGES:
        # METIS does not look at what it is given.
        sources_of(graphs, slice(None))
        part = with_patches(graphs, size).patch
        assert part is not None
    else:
        part = grown_parts(graphs, edge_ptr, size, torch.Generator().manual_seed(seed))
    return Clusters(*balanced(part, size), edge_ptr)


def balanced(part: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Nodes sorted by part, ``[N]``, and offsets of clusters of about ``size``: large parts are cut, small ones joined.

    Args:
        part: of each node, ``[N]`` int64.
        size: nodes of a cluster.
    """
    sizes = torch.bincount(part)
    small = 2 * sizes < size
    order = small.int().argsort(stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    large, few = sizes[order][~small[order]], sizes[order][small[order]]
    pieces = (large / (_LARGEST * size)).ceil().long()
    cut = (large // pieces.clamp(min=1))[owners(pieces)] + (positions(pieces) < (large % pieces)[owners(pieces)])
    joined = torch.bincount((few.cumsum(0) - few) // size, weights=few.double()).long()
    clusters = torch.cat([cut, joined[joined > 0]])
    if len(clusters) > 1 and clusters[-1] < 2:
        clusters[-2] += clusters[-1]
        clusters = clusters[:-1]
    return rank[part].argsort(stable=True), offsets(clusters)


def grown_parts(graphs: Graphs, edge_ptr: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """A part of each node, ``[N]`` int64, of at most ``size`` nodes: nodes move to where most of their neighbours are.

    Each node begins as a part of its own. A pass reads the edges once, some at a time; beside them there are a few
    numbers for each node in memory. Source: size-constrained label propagation (Meyerhenke, Sanders & Schulz 2014).

    Args:
        graphs: a single graph.
        edge_ptr: the first incoming edge of each node, see `Clusters`.
        size: most nodes of a part.
        generator: which of several parts with equally many neighbours, and who comes first where a part fills up.
    """
    nodes = graphs.num_nodes
    part, load = torch.arange(nodes), torch.ones(nodes, dtype=torch.long)
    for _ in range(_ROUNDS):
        moves = 0
        for first, last in node_ranges(edge_ptr, _EDGES_AT_ONCE):
            source = sources_of(graphs, slice(int(edge_ptr[first]), int(edge_ptr[last])))
            owner = owners(edge_ptr[first : last + 1].diff())
            key, votes = torch.unique(owner * nodes + part[source], return_counts=True)
            node, there = key // nodes, key % nodes
            draw = torch.rand(len(votes), generator=generator, dtype=torch.float64)
            open_to = (load[there] < size) | (part[first + node] == there)
            score = torch.where(open_to, votes + draw, 0.0)
            best = torch.zeros(last - first, dtype=score.dtype).scatter_reduce(0, node, score, "amax")
            chosen = (score > 0) & (score == best[node]) & (part[first + node] != there)
            moved, wanted = _with_room(first + node[chosen], there[chosen], load, size, generator)
            load -= torch.bincount(part[moved], minlength=nodes)
            load += torch.bincount(wanted, minlength=nodes)
            part[moved] = wanted
            moves += len(moved)
        if moves < _FEW_MOVES * nodes:
            break
    return part.unique(return_inverse=True)[1]


def _with_room(
    moved: Tensor, wanted: Tensor, load: Tensor, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The nodes, in random order, that still fit into the part they want, and these parts."""
    order = torch.randperm(len(moved), generator=generator)
    order = order[wanted[order].argsort(stable=True)]
    moved, wanted = moved[order], wanted[order]
    fits = load[wanted] + positions(torch.unique_consecutive(wanted, return_counts=True)[1]) < size
    return moved[fits], wanted[fits]


def node_ranges(edge_ptr: Tensor, edges: int) -> Iterator[tuple[int, int]]:
    """Ranges of nodes with at most ``edges`` nodes and incoming edges together, but one node at least."""
    first, cost = 0, edge_ptr + torch.arange(len(edge_ptr))
    while first < len(edge_ptr) - 1:
        last = int(torch.searchsorted(cost, cost[first] + edges, right=True)) - 1
        yield first, (last := max(last, first + 1))
        first = last
