"""Context and target views of a batch of graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from jepakit.core import Views, Where
from jepakit.core.distributed import is_distributed, own_rows
from jepakit.errors import ConfigError, require_choice, require_within
from jepakit.graph.data import Graphs
from jepakit.graph.masking import Masking


@dataclass
class ViewConfig:
    """The inputs of the two encoders.

    Args:
        context: ``token`` replaces the features of masked nodes by a mask token, ``drop`` removes masked nodes and
            their edges, ``all`` masks no node.
        target: ``whole`` encodes the whole graph and reads out the masked nodes, as in I-JEPA; ``region`` encodes the
            subgraph of the masked nodes; ``view`` encodes a second context. With ``view`` or with the context ``all``,
            every node is predicted.
        drop_edges: share of the undirected edges removed from a context.
        drop_features: share of the feature columns set to zero in a context.
    """

    context: Literal["token", "drop", "all"] = "token"
    target: Literal["whole", "region", "view"] = "whole"
    drop_edges: float = 0.0
    drop_features: float = 0.0

    def __post_init__(self) -> None:
        require_choice("context", self.context, ("token", "drop", "all"))
        require_choice("target", self.target, ("whole", "region", "view"))
        require_within(self, "[0, 1)", "drop_edges", "drop_features")
        if self.context == "all" and self.target == "region":
            raise ConfigError("target", self.target, "whole or view where views.context = all masks nothing")
        if self.context == "drop" and self.target == "view":
            raise ConfigError("target", self.target, "whole or region where views.context = drop removes nodes")
        if self.context == "all" and not (self.drop_edges or self.drop_features):
            raise ConfigError("drop_edges", 0.0, "drop_edges or drop_features above 0: without, the views are equal")

    @property
    def every_node(self) -> bool:
        """Whether every node is predicted, not only the masked nodes."""
        return self.context == "all" or self.target == "view"


class BatchViews:
    """Makes the `Views` of a batch of graphs.

    The predicted rows (``where``) are the masked nodes (key ``node``) and the graphs that have masked nodes (keys
    ``graph`` and ``descriptor``). Where a batch has roots, only they are predicted; a mask has one of them at least.
    """

    def __init__(self, masking: Masking, config: ViewConfig) -> None:
        self.masking, self.config = masking, config

    def draw(self, batch: Graphs, generator: torch.Generator) -> Views:
        """The views of a batch for a random mask."""
        if not self.config.every_node:
            views = self.of(batch, self._with_a_root(self.masking(batch, generator), batch, generator))
            return replace(views, context=self._thinned(views.context, generator))
        target = batch if self.config.target == "whole" else self._whole_context(batch, generator)
        return Views(self._whole_context(batch, generator), target)

    def of(self, batch: Graphs, masked: Tensor) -> Views:
        """The views of a batch for a given mask (``[N]`` bool); raises ConfigError where every node is predicted."""
        if self.config.every_node:
            raise ConfigError("views.target", self.config.target, "whole or region, and the context token or drop")
        roots = torch.ones_like(masked) if batch.roots is None else batch.roots
        rows, graph_of_node = (masked & roots).nonzero().squeeze(1), batch.graph_of_node
        embedded = (roots.cumsum(0) - 1)[rows]
        token = self.config.context == "token"
        node = Where(
            target_rows=embedded if self.config.target == "whole" else None,
            context_rows=embedded if token else None,
            position=None if batch.position is None else batch.position[rows],
            query_group=graph_of_node[rows],
            context_group=graph_of_node[roots] if token else graph_of_node[~masked],
        )
        predicted = graph_of_node[rows].unique_consecutive()
        # What is left where nodes are removed is all there is to predict from, roots or not.
        context = replace(batch, hidden_nodes=masked) if token else replace(batch, roots=None).induced(~masked)
        target = batch if self.config.target == "whole" else batch.induced(masked)
        graph = Where(predicted, predicted)
        return Views(context, target, {"node": node, "graph": graph, "descriptor": graph})

    def _with_a_root(self, masked: Tensor, batch: Graphs, generator: torch.Generator) -> Tensor:
        """The mask; where it has no root, a random root takes the place of another node."""
        if batch.roots is None or bool((masked & batch.roots).any()):
            return masked
        roots, others = batch.roots.nonzero().squeeze(1), masked.nonzero().squeeze(1)
        masked = masked.clone()
        masked[others[:1]] = False
        masked[roots[torch.randint(len(roots), (1,), generator=generator).to(roots.device)]] = True
        return masked

    def _whole_context(self, batch: Graphs, generator: torch.Generator) -> Graphs:
        """A context with every node."""
        if self.config.context == "token":
            batch = replace(batch, hidden_nodes=self.masking(batch, generator))
        return self._thinned(batch, generator)

    def _thinned(self, graphs: Graphs, generator: torch.Generator) -> Graphs:
        """The graphs without randomly chosen edges and feature columns."""
        if self.config.drop_features:
            columns = torch.rand(graphs.x.shape[1], generator=generator) >= self.config.drop_features
            graphs = replace(graphs, x=graphs.x * columns)
        if self.config.drop_edges:
            ends = graphs.edge_index.sort(dim=0).values
            pairs, pair_of_edge = torch.unique(ends[0] * graphs.num_nodes + ends[1], return_inverse=True)
            keep = torch.rand(pairs.numel(), generator=generator) >= self.config.drop_edges
            graphs = graphs.with_edges(keep[pair_of_edge])
        return graphs


class GraphViews(BatchViews):
    """The `Views` of a batch of a set of graphs: ``(indices of graphs [B], generator) -> Views``."""

    def __init__(self, graphs: Graphs, masking: Masking, config: ViewConfig) -> None:
        super().__init__(masking, config)
        if masking.strategy == "metis" and graphs.patch is None:
            raise ConfigError("masking.strategy", "metis", "graphs with patches; see jepakit.graph.with_patches")
        self.graphs = graphs

    def __call__(self, indices: Tensor, generator: torch.Generator) -> Views:
        return own_views(self.draw(self.graphs[indices], generator))


def own_views(views: Views) -> Views:
    """The views of this process's share of the graphs of a batch, which has no roots, from those of all its graphs."""
    if not is_distributed():
        return views
    share = own_rows(len(views.target))
    where = views.where
    if isinstance(where, Mapping):
        first_target, first_context = views.target.node_ptr[share.start], views.context.node_ptr[share.start]
        where = {
            "node": _own_nodes(where["node"], share, target=first_target, context=first_context),
            **dict.fromkeys(("graph", "descriptor"), _own_graphs(where["graph"], share)),
        }
    return Views(views.context[share], views.target[share], where)


def _own_nodes(where: Where, share: slice, *, target: Tensor, context: Tensor) -> Where:
    """The queries of some graphs; ``target`` and ``context`` are the places of the first node of these graphs."""
    group, within = where.query_group, where.context_group
    assert group is not None
    assert within is not None
    own = (group >= share.start) & (group < share.stop)
    return Where(
        target_rows=None if where.target_rows is None else where.target_rows[own] - target,
        context_rows=None if where.context_rows is None else where.context_rows[own] - context,
        position=None if where.position is None else where.position[own],
        query_group=group[own] - share.start,
        context_group=within[(within >= share.start) & (within < share.stop)] - share.start,
    )


def _own_graphs(where: Where, share: slice) -> Where:
    rows = where.target_rows
    assert rows is not None
    rows = rows[(rows >= share.start) & (rows < share.stop)] - share.start
    return Where(rows, rows)
