"""Batches of the nodes of one large graph: around nodes drawn at random, or clusters of nodes.

Only the rows of nodes and edges that a batch has are read, so the tensors of the graph may be mapped files.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from jepakit.core import Views
from jepakit.core.packed import gather_ranges, select_groups
from jepakit.errors import ConfigError, DataError, require_at_least, require_choice
from jepakit.graph.data import Graphs
from jepakit.graph.large.clusters import Clusters, clusters_of
from jepakit.graph.large.parts import part_of, sources_of, with_degree
from jepakit.graph.masking import Masking
from jepakit.graph.views import BatchViews, ViewConfig

Method = Literal["auto", "full", "neighbours", "clusters"]

FULL_NODES = 100_000
"""A single graph of more nodes is large: it is not trained on or embedded as a whole."""

_SAMPLE_NODES = 20_000
"""A graph of so many nodes is its own sample."""
_SAMPLE_ROOTS = 1_000
_EDGES_AT_ONCE = 1 << 22


@dataclass
class SamplingConfig:
    """How a single graph is divided into batches.

    Methods:

    - ``full``: the whole graph is a batch.
    - ``neighbours``: nodes at random, each in one batch of an epoch, and neighbours drawn around them, without
      replacement (GraphSAGE, Hamilton et al. 2017). Only the nodes in the middle are predicted.
    - ``clusters``: a few parts with few edges to other parts, other ones together in each epoch, and all edges between
      their nodes (Cluster-GCN, Chiang et al. 2019).

    Args:
        method: one of the above; ``auto``: ``neighbours`` for a single graph of more than 100,000 nodes, else ``full``.
        batch_nodes: nodes in the middle, or in all clusters, of a batch; it takes the place of ``batch_size``.
        fanouts: for ``neighbours``, how many are drawn for each node, for each step away from the middle.
        cluster_nodes: for ``clusters``, nodes of a cluster, about.
    """

    method: Method = "auto"
    batch_nodes: int = 1024
    fanouts: list[int] = field(default_factory=lambda: [10, 5])
    cluster_nodes: int = 512

    def __post_init__(self) -> None:
        require_choice("method", self.method, get_args(Method))
        require_at_least(self, batch_nodes=2, cluster_nodes=2)
        if not self.fanouts or min(self.fanouts) < 1:
            raise ConfigError("fanouts", self.fanouts, "a number of neighbours, at least 1, for each step")


class NodeBatches(Protocol):
    """Batches of the nodes of a graph, for an `EpochLoader`."""

    @property
    def size(self) -> int:
        """The examples of an epoch."""
        ...

    @property
    def batch_size(self) -> int:
        """The examples of a batch."""
        ...

    def draw(self, graphs: Graphs, indices: Tensor, generator: torch.Generator) -> Graphs:
        """The batch of some examples, of the graph or the same one with other features."""
        ...


def is_large(graphs: Graphs) -> bool:
    """Whether it is a single graph that is not to be trained on or embedded as a whole."""
    return len(graphs) == 1 and graphs.num_nodes > FULL_NODES


def batches_of(graphs: Graphs, config: SamplingConfig, *, seed: int) -> NodeBatches | None:
    """The batches that a configuration asks for; None where the whole set is trained on graph by graph.

    Args:
        graphs: its tensors may be mapped files.
        config: the options.
        seed: of the clusters, where they are too many for METIS.

    Raises:
        ConfigError: the graph is not a single one.
        DataError: no edge joins two nodes.
    """
    method = config.method
    if method == "auto":
        method = "neighbours" if is_large(graphs) else "full"
    if method == "full":
        return None
    if len(graphs) != 1:
        raise ConfigError("sampling.method", method, f"full, since there are {len(graphs)} graphs, not a single one")
    if method == "clusters":
        return ClusterBatches(clusters_of(graphs, config.cluster_nodes, seed=seed), config)
    return NeighbourBatches(graphs, config)


class NeighbourBatches:
    """Nodes in the middle (roots), and neighbours drawn around them, see `SamplingConfig`.

    An example is a node with an edge to another one; others have nothing to be predicted from.

    Args:
        graphs: a single graph.
        config: numbers of nodes and neighbours.

    Raises:
        DataError: no edge joins two nodes.
    """

    def __init__(self, graphs: Graphs, config: SamplingConfig) -> None:
        self.config, self.ptr = config, graphs.incoming_ptr
        self.nodes = _with_neighbours(graphs).nonzero().squeeze(1)
        if not len(self.nodes):
            raise DataError("no edge joins two nodes", field="graphs.edge_index", expected="edges to sample along")

    @property
    def size(self) -> int:
        """Nodes that have neighbours."""
        return len(self.nodes)

    @property
    def batch_size(self) -> int:
        """Nodes in the middle of a batch."""
        return self.config.batch_nodes

    def draw(self, graphs: Graphs, indices: Tensor, generator: torch.Generator) -> Graphs:
        """The graph around some of the `nodes`."""
        return self.around(graphs, self.nodes[indices], generator)

    def around(self, graphs: Graphs, roots: Tensor, generator: torch.Generator) -> Graphs:
        """The part of a graph around nodes, all different, which are its roots. A node is looked around once."""
        known = rim = roots.sort().values
        edges: list[Tensor] = []
        for fanout in self.config.fanouts:
            start = self.ptr[rim]
            drawn = draw_entries(start, self.ptr[rim + 1] - start, fanout, generator)
            edges.append(drawn)
            reached = sources_of(graphs, drawn).unique()
            rim = reached[~_among(known, reached)]
            known = torch.cat([known, rim]).sort().values
        part = part_of(graphs, known, torch.cat(edges).sort().values)
        return replace(part, roots=_among(roots.sort().values, known))


class ClusterBatches:
    """A few clusters together, and all edges between their nodes, see `SamplingConfig`.

    Args:
        clusters: the nodes of each.
        config: nodes of a batch and of a cluster.
    """

    def __init__(self, clusters: Clusters, config: SamplingConfig) -> None:
        self.clusters, self.config = clusters, config

    @property
    def size(self) -> int:
        """The number of clusters."""
        return len(self.clusters.ptr) - 1

    @property
    def batch_size(self) -> int:
        """Clusters of a batch."""
        return max(self.config.batch_nodes // self.config.cluster_nodes, 1)

    def draw(self, graphs: Graphs, indices: Tensor, generator: torch.Generator) -> Graphs:
        """The nodes of some clusters, and all edges between them."""
        rows, _ = select_groups(self.clusters.ptr, indices)
        nodes = self.clusters.nodes[rows].sort().values
        start = self.clusters.edge_ptr[nodes]
        edges = gather_ranges(start, self.clusters.edge_ptr[nodes + 1] - start)
        return part_of(graphs, nodes, edges[_among(nodes, sources_of(graphs, edges))])


class SampledViews(BatchViews):
    """The `Views` of a batch of nodes: ``(indices of examples [B], generator) -> Views``."""

    def __init__(self, graphs: Graphs, batches: NodeBatches, masking: Masking, config: ViewConfig) -> None:
        super().__init__(masking, config)
        self.graphs, self.batches = with_degree(graphs), batches

    def __call__(self, indices: Tensor, generator: torch.Generator) -> Views:
        return self.draw(self.batches.draw(self.graphs, indices, generator), generator)


def sample_of(graphs: Graphs, batches: NodeBatches | None, *, seed: int) -> Graphs:
    """What stands for a graph where statistics are computed or embeddings looked at: a random batch of a large one."""
    if batches is None or graphs.num_nodes <= _SAMPLE_NODES:
        return graphs
    generator = torch.Generator().manual_seed(seed)
    count = _SAMPLE_ROOTS
    if isinstance(batches, ClusterBatches):
        count = max(_SAMPLE_NODES // batches.config.cluster_nodes, 1)
    return batches.draw(graphs, torch.randperm(batches.size, generator=generator)[:count], generator)


def draw_entries(start: Tensor, degree: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Entries of lists, at most ``most`` of each, uniformly at random without replacement.

    Args:
        start: the first entry of each list, ``[K]`` int64.
        degree: the length of each, ``[K]`` int64.
        most: of each list; of a shorter one all.
        generator: where a list is longer.

    Source: Floyd's algorithm (Bentley and Floyd 1987), for all lists at once.
    """
    few = degree <= most
    first, length = start[~few], degree[~few]
    chosen = length.new_empty(len(length), most)
    for place in range(most):
        last = length - most + place
        draw = (torch.rand(len(length), generator=generator, dtype=torch.float64) * (last + 1)).long().minimum(last)
        taken = (chosen[:, :place] == draw[:, None]).any(1)
        chosen[:, place] = torch.where(taken, last, draw)
    return torch.cat([gather_ranges(start[few], degree[few]), (first[:, None] + chosen).flatten()])


def _among(ascending: Tensor, ids: Tensor) -> Tensor:
    """Whether each id is one of some ascending ones, of which there are some: ``[K]`` bool."""
    place = torch.searchsorted(ascending, ids).clamp(max=len(ascending) - 1)
    return ascending[place] == ids


def _with_neighbours(graphs: Graphs) -> Tensor:
    """Whether each node has an edge from another one: ``[N]`` bool."""
    found = torch.zeros(graphs.num_nodes, dtype=torch.bool)
    for source, target in zip(*(ends.split(_EDGES_AT_ONCE) for ends in graphs.edge_index), strict=True):
        found[target[source != target]] = True
    return found
