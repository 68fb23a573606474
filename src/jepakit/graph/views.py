"""Context and target views of a batch of graphs.

The context either keeps the masked nodes, with a mask token for their features (``token``), or lacks them and their
edges (``drop``). The target is the whole graph, of which the masked nodes are read out, as in I-JEPA (``whole``), or
the masked region alone (``region``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from jepakit.core import Views, Where
from jepakit.errors import ConfigError, require_choice
from jepakit.graph.data import Graphs
from jepakit.graph.masking import Masking

__all__ = ["GraphViews", "ViewConfig"]


@dataclass
class ViewConfig:
    """What the two encoders see.

    Args:
        context: ``token`` hides the features of masked nodes, ``drop`` removes the nodes.
        target: ``whole`` encodes the whole graph, ``region`` the subgraph of the masked nodes.
    """

    context: Literal["token", "drop"] = "token"
    target: Literal["whole", "region"] = "whole"

    def __post_init__(self) -> None:
        require_choice("views.context", self.context, ("token", "drop"))
        require_choice("views.target", self.target, ("whole", "region"))


class GraphViews:
    """Makes the `Views` of a batch: ``(indices of graphs [B], generator) -> Views``.

    ``where`` asks for the masked nodes (key ``node``) and for the graphs they are in (key ``graph``): the others show
    the context all there is to predict.

    Args:
        graphs: the data set.
        masking: which nodes are masked.
        config: what the encoders see.
    """

    def __init__(self, graphs: Graphs, masking: Masking, config: ViewConfig) -> None:
        if masking.strategy == "metis" and graphs.patch is None:
            raise ConfigError("masking.strategy", "metis", "graphs with patches; see jepakit.graph.with_patches")
        self.graphs, self.masking, self.config = graphs, masking, config

    def __call__(self, indices: Tensor, generator: torch.Generator) -> Views:
        batch = self.graphs[indices]
        return self.of(batch, self.masking(batch, generator))

    def of(self, batch: Graphs, masked: Tensor) -> Views:
        """The views of a batch with the nodes where ``masked`` (``[N]`` bool) is true to be predicted."""
        rows = masked.nonzero().squeeze(1)
        graph_of_node = batch.graph_of_node
        token = self.config.context == "token"
        node = Where(
            target_rows=rows if self.config.target == "whole" else None,
            context_rows=rows if token else None,
            position=None if batch.position is None else batch.position[rows],
            query_group=graph_of_node[rows],
            context_group=graph_of_node if token else graph_of_node[~masked],
        )
        asked = graph_of_node[rows].unique_consecutive()
        context = replace(batch, hidden_nodes=masked) if token else batch.induced(~masked)
        target = batch if self.config.target == "whole" else batch.induced(masked)
        return Views(context, target, {"node": node, "graph": Where(asked, asked)})
