"""Graphs that several tests share: random ones for properties, a hand-made batch, a set whose labels are structure."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from jepakit.graph import GraphDataset, Graphs

FEATURES, EDGE_FEATURES = 3, 2
MASKED = torch.zeros(14, dtype=torch.bool).index_fill(0, torch.tensor([0, 3, 5, 8, 10, 11]), True)
"""Of `five_graphs`: two nodes of four, one of two, none of one, one of three, two of four; no two are symmetric."""


@st.composite
def graph_sets(draw: st.DrawFn, *, edge_features: bool | None = None, least_nodes: int = 0) -> Graphs:
    """Up to four graphs of up to seven nodes: directed or not, with self loops and repeated edges, without any edge.

    Args:
        draw: of hypothesis.
        edge_features: with, without, or either.
        least_nodes: of each graph; at 0 some graphs are empty.
    """
    sizes = draw(st.lists(st.integers(least_nodes, 7), min_size=1, max_size=4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    share = draw(st.sampled_from([0.0, 0.25, 0.8]))
    directed, repeated = draw(st.booleans()), draw(st.booleans())
    edges, start = [], 0
    for size in sizes:
        present = torch.rand(size, size, generator=generator) < share
        present = present if directed else present | present.T
        edges.append(present.nonzero().T + start)
        start += size
    edge_index = torch.cat(edges, dim=1)
    edge_index = torch.cat([edge_index, edge_index[:, : int(repeated)]], dim=1)
    edge_index = edge_index[:, torch.randperm(edge_index.shape[1], generator=generator)]
    with_edges = draw(st.booleans()) if edge_features is None else edge_features
    return Graphs.pack(
        torch.randn(start, FEATURES, generator=generator),
        edge_index,
        torch.tensor(sizes),
        edge_attr=torch.randn(edge_index.shape[1], EDGE_FEATURES, generator=generator) if with_edges else None,
    )


def renumbered(graphs: Graphs, seed: int) -> tuple[Graphs, Tensor]:
    """The same graphs with the nodes of each in another order, and where each old node is now, ``[N]``."""
    key = graphs.graph_of_node + torch.rand(graphs.num_nodes, generator=torch.Generator().manual_seed(seed)).double()
    old = key.argsort()
    new = torch.empty_like(old).index_put((old,), torch.arange(len(old)))
    packed = Graphs.pack(graphs.x[old], new[graphs.edge_index], graphs.nodes_per_graph, edge_attr=graphs.edge_attr)
    hidden = graphs.hidden_nodes
    return replace(packed, hidden_nodes=None if hidden is None else hidden[old]), new


def five_graphs(*, edge_features: bool = True) -> Graphs:
    """A directed triangle with a tail, a pair, a single node, three isolated nodes, and a square with a diagonal."""
    pairs = [(0, 1), (1, 2), (2, 0), (2, 3), (4, 5), (5, 4)]
    square = [(10, 11), (11, 12), (12, 13), (13, 10), (10, 12)]
    edge_index = torch.tensor([*pairs, *square, *((v, u) for u, v in square)]).T
    generator = torch.Generator().manual_seed(7)
    edge_attr = torch.randn(edge_index.shape[1], EDGE_FEATURES, generator=generator)
    return Graphs.pack(
        torch.randn(14, FEATURES, generator=generator),
        edge_index,
        torch.tensor([4, 2, 1, 3, 4]),
        edge_attr=edge_attr if edge_features else None,
    )


def necklaces(count: int, *, seed: int = 0, labels: str = "structure") -> GraphDataset:
    """Rings with as many black as white beads, which lie in blocks (class 0) or mostly alternate (class 1).

    Counting nodes, edges, degrees or beads says nothing about the class; looking at a bead and its neighbours does.

    Args:
        count: how many graphs.
        seed: of everything.
        labels: ``structure``, ``random`` (same graphs, coin tosses) or ``none``.
    """
    generator = torch.Generator().manual_seed(seed)
    halves = torch.randint(4, 9, (count,), generator=generator).tolist()
    classes = torch.arange(count) % 2
    beads, edges, start = [], [], 0
    for half, alternate in zip(halves, classes.tolist(), strict=True):
        size = 2 * half
        ring = (torch.arange(size) % 2) if alternate else (torch.arange(size) // half)
        i, j = torch.randint(0, size, (2,), generator=generator).tolist()
        ring[[i, j]] = ring[[j, i]]
        here = torch.arange(size)
        edges.append(torch.stack([here, (here + 1) % size]) + start)
        beads.append(ring.roll(int(torch.randint(0, size, (1,), generator=generator))))
        start += size
    edge_index = torch.cat(edges, dim=1)
    y = classes[torch.randperm(count, generator=generator)] if labels == "random" else classes
    graphs = Graphs.pack(
        torch.nn.functional.one_hot(torch.cat(beads), 2).float(),
        torch.cat([edge_index, edge_index.flip(0)], dim=1),
        2 * torch.tensor(halves),
        y=None if labels == "none" else y,
    )
    return GraphDataset("necklaces", graphs, "none" if labels == "none" else "graph classification", ("block", "mixed"))


def star_of(*sizes: int, features: Sequence[float] = (1.0, 2.0)) -> Graphs:
    """Stars with so many nodes each, the hub first; size 1 is a single node."""
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    spokes = [(start, start + leaf) for start, size in zip(starts, sizes, strict=True) for leaf in range(1, size)]
    edge_index = torch.tensor([*spokes, *((v, u) for u, v in spokes)], dtype=torch.long).reshape(-1, 2).T
    x = torch.outer(torch.arange(1.0, sum(sizes) + 1), torch.tensor(features))
    return Graphs.pack(x, edge_index, torch.tensor(sizes))
