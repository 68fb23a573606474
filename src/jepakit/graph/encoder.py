"""Graph encoders: a batch of graphs -> an embedding of every node and of every graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core.packed import segment_max, segment_mean, segment_sum
from jepakit.errors import ConfigError, DataError, require_choice
from jepakit.graph.data import Graphs
from jepakit.graph.networks.encoding import Encoding, with_position
from jepakit.graph.networks.layers import LAYERS, BatchNorm, GATLayer, GCNLayer, GINLayer, GPSLayer
from jepakit.graph.networks.messages import Messages
from jepakit.graph.networks.prototypes import PrototypeReadout

__all__ = ["EncoderConfig", "GraphEncoder", "refresh_statistics"]

# Features of so many columns, of which at most such a share is not zero, are multiplied as a sparse matrix.
_WIDE, _SPARSE = 256, 0.05


@dataclass
class EncoderConfig:
    """The architecture of a `GraphEncoder`.

    Args:
        conv: ``gin`` (GINE where there are edge features), ``gcn``, ``gat`` (GATv2) or ``gps`` (graph transformer).
        hidden: width of each layer.
        layers: message-passing layers.
        scale_rows: give the features of each node a root mean square of 1, so that a bag of many words weighs no more
            than one of few.
        norm: ``batch``, ``layer`` or ``none``.
        dropout: after each layer, in training.
        residual: add a layer's input to its output.
        jumping: ``concat`` embeds a node by all layers side by side, input included; ``last`` by the last one.
        pooling: a graph is the ``sum``, ``mean`` or ``max`` of its nodes.
        heads: attention heads of ``gat`` and ``gps``.
        position: structural encoding added to the features: ``none``, ``degree``, ``random_walk``, ``laplacian`` or
            ``combined``; see `jepakit.graph.networks.encoding`.
        position_size: its columns.
        prototypes: prototypes of each layer that whole graphs are read out with; see
            `jepakit.graph.networks.prototypes`. With 0, and always in training, they are read out by ``pooling``.
    """

    conv: Literal["gin", "gcn", "gat", "gps"] = "gin"
    hidden: int = 128
    layers: int = 4
    scale_rows: bool = False
    norm: Literal["batch", "layer", "none"] = "batch"
    dropout: float = 0.0
    residual: bool = False
    jumping: Literal["concat", "last"] = "concat"
    pooling: Literal["sum", "mean", "max"] = "sum"
    heads: int = 4
    position: Encoding = "none"
    position_size: int = 16
    prototypes: int = 256

    def __post_init__(self) -> None:
        require_choice("conv", self.conv, LAYERS)
        require_choice("norm", self.norm, ("batch", "layer", "none"))
        require_choice("jumping", self.jumping, ("concat", "last"))
        require_choice("pooling", self.pooling, ("sum", "mean", "max"))
        require_choice("position", self.position, get_args(Encoding))
        for name in ("hidden", "layers", "heads", "position_size"):
            if getattr(self, name) < 1:
                raise ConfigError(name, getattr(self, name), "at least 1")
        if self.prototypes < 0:
            raise ConfigError("prototypes", self.prototypes, "at least 0")
        if not 0 <= self.dropout < 1:
            raise ConfigError("dropout", self.dropout, "from 0 to below 1")
        if self.conv in ("gat", "gps") and self.hidden % self.heads:
            raise ConfigError("heads", self.heads, f"a divisor of hidden = {self.hidden}")

    @property
    def width(self) -> int:
        """Columns of the embeddings."""
        return self.hidden * (self.layers + 1 if self.jumping == "concat" else 1)

    @property
    def parts(self) -> int:
        """How many layers stand side by side in an embedding."""
        return self.width // self.hidden


class GraphEncoder(nn.Module):
    """`Graphs` -> ``{"node": [N, width], "graph": [G, width]}``.

    Nodes that ``graphs.hidden_nodes`` marks enter with a learned mask token in place of their features; their
    structural encoding, which says where they are, stays.

    Args:
        in_dim: columns of ``graphs.x``.
        edge_dim: columns of ``graphs.edge_attr``; 0 for none.
        **config: the fields of `EncoderConfig`.
    """

    def __init__(self, in_dim: int, edge_dim: int = 0, **config: object) -> None:
        super().__init__()
        self.config = EncoderConfig(**config)  # pyright: ignore[reportArgumentType]
        self.in_dim, self.edge_dim = in_dim, edge_dim
        self.position_dim = 0 if self.config.position == "none" else self.config.position_size
        hidden = self.config.hidden
        self.features = nn.Linear(in_dim, hidden)
        self.mask_token = nn.Parameter(torch.randn(hidden) * 0.02)
        self.position = nn.Linear(self.position_dim, hidden, bias=False) if self.position_dim else None
        self.edges = nn.Linear(edge_dim, hidden) if edge_dim else None
        self.layers = nn.ModuleList(self._layer(depth) for depth in range(self.config.layers))
        self.norms = nn.ModuleList(_norm(self.config.norm)(hidden) for _ in range(self.config.layers))
        self.dropout = nn.Dropout(self.config.dropout)
        count = self.config.prototypes
        self.readout = PrototypeReadout(self.config.parts, hidden, count) if count else None

    @property
    def arguments(self) -> dict[str, object]:
        """What the constructor was given: enough to build the same architecture again."""
        return {"in_dim": self.in_dim, "edge_dim": self.edge_dim, **asdict(self.config)}

    @classmethod
    def for_data(cls, graphs: Graphs, config: EncoderConfig) -> GraphEncoder:
        """An encoder whose inputs fit ``graphs``, with a prototype for no fewer than 50 of their nodes."""
        edge_dim = 0 if graphs.edge_attr is None else graphs.edge_attr.shape[1]
        # Prototypes of a few nodes each would be a list of the nodes, not of their kinds.
        prototypes = min(config.prototypes, max(graphs.num_nodes // 50, 1))
        return cls(graphs.x.shape[1], edge_dim, **{**asdict(config), "prototypes": prototypes})

    def prepare(self, graphs: Graphs) -> Graphs:
        """The graphs with the structural encoding this encoder takes: computed once for a data set, not a batch."""
        return with_position(graphs, self.config.position, self.config.position_size)

    @torch.no_grad()
    def calibrate(self, graphs: Graphs, *, batch_graphs: int = 256) -> None:
        """Sets batch normalisation's running statistics to those of ``graphs``, without training anything.

        An untrained encoder in eval mode would otherwise not normalise at all: its sums grow with every layer, and both
        the EMA target at the first steps and the random floor would be far weaker than they need to be.

        Args:
            graphs: prepared graphs, taken in an order of fixed seed.
            batch_graphs: how many at a time.
        """
        order = torch.randperm(len(graphs), generator=torch.Generator().manual_seed(0))
        refresh_statistics(self, (graphs[batch] for batch in order.split(batch_graphs)))

    @torch.no_grad()
    def embed(self, graphs: Graphs, *, key: Literal["node", "graph"] = "graph", batch_nodes: int = 4_000) -> Tensor:
        """Embeddings of a whole data set, in eval mode and without gradient.

        Args:
            graphs: prepared or not.
            key: ``node`` for ``[N, width]``; ``graph`` for ``[G, D]``, read out by prototypes once `fit_readout` has
                placed them, by pooling before.
            batch_nodes: about how many nodes are embedded at a time; more than a processor's cache holds are slower.
        """
        if self.position_dim and graphs.position is None:
            graphs = self.prepare(graphs)
        device = self.mask_token.device
        batch_of = (graphs.node_ptr[1:] - 1).clamp(min=0) // batch_nodes
        sizes: list[int] = torch.unique_consecutive(batch_of, return_counts=True)[1].tolist() or [0]
        batches = torch.arange(len(graphs)).split(sizes)
        was_training = self.training
        self.eval()
        parts = [self._read_out(graphs[batch].to(device), key).cpu() for batch in batches]
        self.train(was_training)
        return torch.cat(parts)

    def fit_readout(self, graphs: Graphs, *, seed: int = 0) -> None:
        """Places the prototypes on the nodes of ``graphs``; no label is read. Does nothing without prototypes.

        Of a large set it looks at as many random graphs as hold about 50,000 nodes.
        """
        if self.readout is None or not graphs.num_nodes:
            return
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(graphs), generator=generator)
        enough = graphs.nodes_per_graph[order].cumsum(0) < 50_000
        sample = order[: int(enough.sum()) + 1]
        self.readout.fit(self.embed(graphs[sample], key="node").to(self.mask_token.device), generator)

    def _read_out(self, graphs: Graphs, key: Literal["node", "graph"]) -> Tensor:
        output = self(graphs)
        if key == "node" or self.readout is None or not self.readout.fitted:
            return output[key]
        return self.readout(output["node"], Messages(graphs))

    def forward(self, graphs: Graphs) -> dict[str, Tensor]:
        """Raises DataError where the features of ``graphs`` are not those the encoder was made for."""
        self._check(graphs)
        messages = Messages(graphs)
        edges = self.edges(graphs.edge_attr) if self.edges is not None else None
        x = self._embed_inputs(graphs)
        outputs = [x]
        for depth, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True), start=1):
            h = norm(layer(x, messages, edges))
            # An embedding that is the last layer alone needs both signs.
            if depth < len(self.layers) or self.config.jumping == "concat":
                h = torch.relu(h)
            h = self.dropout(h)
            x = x + h if self.config.residual else h
            outputs.append(x)
        node = torch.cat(outputs, dim=1) if self.config.jumping == "concat" else outputs[-1]
        return {"node": node, "graph": self._pool(node, messages)}

    def _embed_inputs(self, graphs: Graphs) -> Tensor:
        x = self._project(graphs.x)
        if graphs.hidden_nodes is not None:
            x = torch.where(graphs.hidden_nodes[:, None], self.mask_token.to(x.dtype), x)
        return x if self.position is None else x + self.position(graphs.position)

    def _project(self, x: Tensor) -> Tensor:
        if self.config.scale_rows:
            x = F.normalize(x, dim=1) * self.in_dim**0.5
        # Bags of words are wide and almost empty: a sparse product is a hundred times less work.
        if self.in_dim < _WIDE or x.count_nonzero() > _SPARSE * x.numel():
            return self.features(x)
        # Half precision has no sparse product that can be differentiated.
        with torch.autocast(x.device.type, enabled=False):
            return torch.sparse.mm(x.to_sparse(), self.features.weight.T) + self.features.bias

    def _pool(self, node: Tensor, messages: Messages) -> Tensor:
        if self.config.pooling == "max":
            return segment_max(node, messages.node_ptr, empty=0.0)
        return (segment_sum if self.config.pooling == "sum" else segment_mean)(node, messages.node_ptr)

    def _layer(self, depth: int) -> nn.Module:
        config = self.config
        if config.conv == "gcn":
            return GCNLayer(config.hidden, first=depth == 0)
        if config.conv == "gat":
            return GATLayer(config.hidden, config.heads, self.edge_dim > 0)
        if config.conv == "gps":
            return GPSLayer(config.hidden, config.heads, _norm(config.norm))
        return GINLayer(config.hidden, _norm(config.norm))

    def _check(self, graphs: Graphs) -> None:
        for name, wanted in (("x", self.in_dim), ("edge_attr", self.edge_dim), ("position", self.position_dim)):
            value = getattr(graphs, name)
            found = 0 if value is None else value.shape[1]
            # Unused edge features or encodings do no harm; missing ones do.
            if wanted and found != wanted:
                raise DataError(
                    "not the features this encoder was trained on",
                    field=f"graphs.{name}",
                    value=f"{found} columns",
                    expected=f"{wanted} columns",
                )


@torch.no_grad()
def refresh_statistics(model: nn.Module, batches: Iterable[Graphs]) -> None:
    """Sets the running statistics of batch normalisation in ``model`` to the plain average over ``batches``."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's name for a plain average
    was_training = model.training
    model.train()
    for batch in batches:
        model(batch)
    model.train(was_training)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _norm(name: str) -> Callable[[int], nn.Module]:
    makers: dict[str, Callable[[int], nn.Module]] = {
        "batch": BatchNorm,
        "layer": nn.LayerNorm,
        "none": lambda _: nn.Identity(),
    }
    return makers[name]
