"""Graph encoders: a batch of graphs -> embeddings of nodes and graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from jepakit.core.distributed import alone
from jepakit.core.packed import offsets_of_kept, segment_max, segment_mean, segment_sum
from jepakit.errors import ConfigError, DataError, require_at_least, require_choice, require_within
from jepakit.graph.data import Graphs
from jepakit.graph.networks.encoding import Encoding, with_position
from jepakit.graph.networks.layers import LAYERS, BatchNorm, GATLayer, GCNLayer, GINLayer, GPSLayer
from jepakit.graph.networks.messages import Messages
from jepakit.graph.networks.prototypes import PrototypeReadout
from jepakit.graph.vocabulary import Vocabulary, translate
from jepakit.graph.words import best_power, is_bag_of_words, word_weights
from jepakit.mapping import Map
from jepakit.progress import tracked
from jepakit.training import HubMixin

# Features with at least so many columns and at most this share of non-zeros are multiplied as a sparse matrix.
_SPARSE_MIN_COLUMNS, _SPARSE_MAX_DENSITY = 256, 0.05
_NODES_PER_PROTOTYPE = 50
_READOUT_NODES = 50_000

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": BatchNorm,
    "layer": nn.LayerNorm,
    "none": lambda _: nn.Identity(),
}
_POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": segment_sum,
    "mean": segment_mean,
    "max": partial(segment_max, empty=0.0),
}


@dataclass
class EncoderConfig:
    """The architecture of a `GraphEncoder`.

    Args:
        conv: ``gin`` (GINE where there are edge features), ``gcn``, ``gat`` (GATv2) or ``gps`` (graph transformer).
        hidden: width of each layer.
        layers: number of message-passing layers; 0: a linear map of the features.
        spread: steps of personalised PageRank that spread the node embeddings over the graph after the last layer.
        restart: share of a node's own embedding in each of these steps.
        rare_words: power p of the weights ``log(N / n)^p`` of bags of words, for a word that n of N nodes have: 1 is
            TF-IDF, 0 leaves features as they are. None chooses without labels, see `jepakit.graph.words.best_power`.
            The weights are those of the data of pre-training, and other features are left as they are.
        scale_rows: scale the features of each node to a root mean square of 1: long and short texts weigh the same.
        norm: ``batch``, ``layer`` or ``none``.
        dropout: after each layer, in training.
        residual: add a layer's input to its output.
        jumping: a node embedding is the ``last`` layer, or ``concat``, the concatenation of the input and all layers.
        pooling: a graph embedding is the ``sum``, ``mean`` or ``max`` of its nodes.
        heads: attention heads of ``gat`` and ``gps``.
        position: structural encoding added to the features, see `jepakit.graph.networks.encoding.with_position`.
        position_size: columns of the structural encoding.
        prototypes: per layer; they replace ``pooling`` after training, see `jepakit.graph.networks.prototypes`.
    """

    conv: Literal["gin", "gcn", "gat", "gps"] = "gin"
    hidden: int = 128
    layers: int = 4
    spread: int = 0
    restart: float = 0.1
    rare_words: float | None = 0.0
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
        require_choice("norm", self.norm, NORMS)
        require_choice("jumping", self.jumping, ("concat", "last"))
        require_choice("pooling", self.pooling, _POOLINGS)
        require_choice("position", self.position, get_args(Encoding))
        require_at_least(self, hidden=1, layers=0, spread=0, heads=1, position_size=1, prototypes=0)
        require_within(self, "[0, 1)", "dropout")
        require_within(self, "(0, 1]", "restart")
        if self.rare_words is not None:
            require_within(self, "[0, inf)", "rare_words")
        if not self.layers and not self.spread:
            raise ConfigError("layers", 0, "at least 1 where spread = 0")
        if self.conv in ("gat", "gps") and self.hidden % self.heads:
            raise ConfigError("heads", self.heads, f"a divisor of hidden = {self.hidden}")

    @property
    def width(self) -> int:
        """Columns of the embeddings."""
        return self.hidden * (self.layers + 1 if self.jumping == "concat" else 1)

    @property
    def parts(self) -> int:
        """Number of layers concatenated in an embedding."""
        return self.width // self.hidden


class NodeEncoder(nn.Module):
    """An encoder of `Graphs` as the objective needs it: to embeddings by key, ``node`` and ``graph``.

    ``config`` has the ``width``, ``hidden``, ``parts`` and ``heads`` of `EncoderConfig`.
    """

    config: Any
    position_dim: int


class GraphEncoder(HubMixin, NodeEncoder):
    """`Graphs` -> ``{"node": [N, width], "graph": [G, width]}``.

    A learned mask token replaces the features of the nodes in ``graphs.hidden_nodes``, not their structural encoding.
    With a vocabulary, graphs that have one too are read by the names of their columns, others by position. Where the
    graphs have roots, there are embeddings of them alone.

    Args:
        in_dim: columns of ``graphs.x``.
        edge_dim: columns of ``graphs.edge_attr``; 0 for none.
        vocabulary: what the columns are, as a dict of `jepakit.graph.vocabulary.Vocabulary`.
        **config: the fields of `EncoderConfig`.
    """

    config: EncoderConfig

    def __init__(
        self, in_dim: int, edge_dim: int = 0, vocabulary: Mapping[str, object] | None = None, **config: object
    ) -> None:
        super().__init__()
        self.config = EncoderConfig(**config)  # pyright: ignore[reportArgumentType]
        self.in_dim, self.edge_dim = in_dim, edge_dim
        self.vocabulary = None if vocabulary is None else Vocabulary.from_json(vocabulary)
        if self.vocabulary is not None and self.vocabulary.widths != (in_dim, edge_dim):
            raise ConfigError("vocabulary", self.vocabulary.widths, f"names for {in_dim} and {edge_dim} columns")
        self.position_dim = 0 if self.config.position == "none" else self.config.position_size
        hidden = self.config.hidden
        self.features = nn.Linear(in_dim, hidden)
        self.word_weight: Tensor | None
        self.register_buffer("word_weight", None if self.config.rare_words == 0 else torch.ones(in_dim))
        self.mask_token = nn.Parameter(nn.init.normal_(torch.empty(hidden), std=0.02))
        self.position = nn.Linear(self.position_dim, hidden, bias=False) if self.position_dim else None
        self.edges = nn.Linear(edge_dim, hidden) if edge_dim else None
        norm = NORMS[self.config.norm]
        self.layers = nn.ModuleList(self._layer(depth, norm) for depth in range(self.config.layers))
        self.norms = nn.ModuleList(norm(hidden) for _ in range(self.config.layers))
        self.dropout = nn.Dropout(self.config.dropout)
        count = self.config.prototypes
        self.readout = PrototypeReadout(self.config.parts, hidden, count) if count else None

    @property
    def arguments(self) -> dict[str, object]:
        """The constructor's arguments."""
        names = {} if self.vocabulary is None else {"vocabulary": asdict(self.vocabulary)}
        return {"in_dim": self.in_dim, "edge_dim": self.edge_dim, **names, **asdict(self.config)}

    @classmethod
    def for_data(cls, graphs: Graphs, config: EncoderConfig) -> GraphEncoder:
        """An encoder for the features of ``graphs``, with their vocabulary and at most one prototype per 50 nodes."""
        edge_dim = 0 if graphs.edge_attr is None else graphs.edge_attr.shape[1]
        vocabulary = None if graphs.vocabulary is None else asdict(graphs.vocabulary)
        # Clusters of fewer nodes are single nodes more than groups of similar ones.
        prototypes = min(config.prototypes, max(graphs.num_nodes // _NODES_PER_PROTOTYPE, 1))
        power = config.rare_words if is_bag_of_words(graphs.x) else 0.0
        power = best_power(graphs.x, graphs.edge_index) if power is None else power
        chosen = {"prototypes": prototypes, "rare_words": power}
        encoder = cls(graphs.x.shape[1], edge_dim, vocabulary, **{**asdict(config), **chosen})
        if encoder.word_weight is not None:
            encoder.word_weight.copy_(word_weights(graphs.x, power))
        return encoder

    def prepare(self, graphs: Graphs) -> Graphs:
        """The graphs with the columns and the structural encoding of this encoder; to be called once per data set.

        Raises:
            DataError: an attribute is missing, or a value is none that the encoder was trained on.
        """
        return with_position(self.read_by_name(graphs), self.config.position, self.config.position_size)

    def prepared(self, graphs: Graphs) -> Graphs:
        """`prepare`, where that has not been done."""
        return self.prepare(graphs) if self.position_dim and graphs.position is None else self.read_by_name(graphs)

    def read_by_name(self, graphs: Graphs) -> Graphs:
        """The graphs with the columns that this encoder was trained on; then their position says what they are.

        Graphs are left as they are where they or the encoder have no vocabulary.

        Raises:
            DataError: see `prepare`.
        """
        names, own = self.vocabulary, graphs.vocabulary
        if names is None or own is None or names == own:
            return replace(graphs, vocabulary=None)
        edges = graphs.x.new_zeros(graphs.num_edges, 0) if graphs.edge_attr is None else graphs.edge_attr
        edge_attr = translate(edges, own.edges, names.edges, "edge") if names.edges else None
        x = translate(graphs.x, own.nodes, names.nodes, "node")
        return replace(graphs, x=x, edge_attr=edge_attr, vocabulary=None)

    def calibrate(self, graphs: Graphs, *, batch_graphs: int = 256) -> None:
        """Sets the running statistics of batch normalisation to those of prepared graphs; no parameter changes.

        Without this, an untrained encoder in eval mode does not normalise, and its sums grow with every layer. That
        would weaken the EMA target at the first steps and the baseline of a random encoder.
        """
        order = torch.randperm(len(graphs), generator=torch.Generator().manual_seed(0))
        with alone():
            update_bn((graphs[batch] for batch in order.split(batch_graphs)), self)

    def embed(
        self,
        graphs: Graphs,
        *,
        key: Literal["node", "graph"] = "graph",
        batch_nodes: int = 4_000,
        mapped: Map = map,
    ) -> Tensor:
        """Embeddings of a whole data set, in eval mode and without gradient.

        Args:
            graphs: prepared or not.
            key: ``node`` for ``[N, width]``, or ``graph`` for ``[G, D]``: prototype counts after `fit_readout`, pooled
                nodes before.
            batch_nodes: approximate nodes per batch; batches larger than a processor's cache are slower.
            mapped: where batches are embedded, see `jepakit.mapping.mapping`.
        """
        graphs = self.prepared(graphs)
        batch_of = (graphs.node_ptr[1:] - 1).clamp(min=0) // batch_nodes
        sizes: list[int] = torch.unique_consecutive(batch_of, return_counts=True)[1].tolist() or [0]
        was_training = self.training
        self.eval()
        batches = (graphs[ids] for ids in torch.arange(len(graphs)).split(sizes))
        done = mapped(partial(self._read_out, key=key), batches)
        parts = list(tracked(done, "embedding", len(sizes), unit="batches"))
        self.train(was_training)
        return torch.cat(parts)

    def fit_readout(self, graphs: Graphs, *, seed: int = 0) -> None:
        """Places the prototypes, if the encoder has any, by k-means on the nodes of ``graphs``; reads no label.

        Of a large set it uses random graphs with about 50,000 nodes in all.
        """
        if self.readout is None or not graphs.num_nodes:
            return
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(graphs), generator=generator)
        within = graphs.nodes_per_graph[order].cumsum(0) < _READOUT_NODES
        sample = order[: int(within.sum()) + 1]
        self.readout.fit(self.embed(graphs[sample], key="node").to(self.mask_token.device), generator)

    @torch.no_grad()
    def _read_out(self, graphs: Graphs, key: Literal["node", "graph"]) -> Tensor:
        graphs = graphs.to(self.mask_token.device)
        output = self(graphs)
        if key == "node" or self.readout is None or not self.readout.fitted:
            return output[key].cpu()
        return self.readout(output["node"], graphs.node_ptr).cpu()

    def forward(self, graphs: Graphs) -> dict[str, Tensor]:
        """Embeds a batch; raises DataError if its features are not those of the constructor."""
        graphs = graphs if graphs.vocabulary is None else self.read_by_name(graphs)
        self.check(graphs)
        messages = Messages(graphs)
        edges = None if self.edges is None else self.edges(graphs.edge_attr)
        outputs = [self.read_features(graphs)]
        for depth in range(len(self.layers)):
            outputs.append(self.propagate(depth, outputs[-1], messages, edges))
        node = torch.cat(outputs, dim=1) if self.config.jumping == "concat" else outputs[-1]
        node, node_ptr = messages.spread(node, self.config.spread, self.config.restart), graphs.node_ptr
        if graphs.roots is not None:
            node, node_ptr = node[graphs.roots], offsets_of_kept(node_ptr, graphs.roots)
        return {"node": node, "graph": _POOLINGS[self.config.pooling](node, node_ptr)}

    def read_features(self, graphs: Graphs) -> Tensor:
        """The input of the first layer: ``[N, hidden]``."""
        x = self._project(graphs.x)
        if graphs.hidden_nodes is not None:
            x = torch.where(graphs.hidden_nodes[:, None], self.mask_token.to(x.dtype), x)
        return x if self.position is None else x + self.position(graphs.position)

    def propagate(self, depth: int, x: Tensor, messages: Messages, edges: Tensor | None) -> Tensor:
        """The output of the layer at ``depth`` (from 0) for its input ``x``: ``[N, hidden] -> [N, hidden]``."""
        h = self.norms[depth](self.layers[depth](x, messages, edges))
        # Without concatenation, the last layer is the embedding, which needs both signs.
        if depth + 1 < len(self.layers) or self.config.jumping == "concat":
            h = torch.relu(h)
        h = self.dropout(h)
        return x + h if self.config.residual else h

    def _project(self, x: Tensor) -> Tensor:
        if self.word_weight is not None:
            x = x * self.word_weight
        if self.config.scale_rows:
            x = F.normalize(x, dim=1) * self.in_dim**0.5
        # Bags of words are wide and mostly zero: a sparse product is a hundred times less work.
        if self.in_dim < _SPARSE_MIN_COLUMNS or x.count_nonzero() > _SPARSE_MAX_DENSITY * x.numel():
            return self.features(x)
        # torch has no differentiable sparse product in half precision.
        with torch.autocast(x.device.type, enabled=False):
            return torch.sparse.mm(x.to_sparse(), self.features.weight.T) + self.features.bias

    def _layer(self, depth: int, norm: Callable[[int], nn.Module]) -> nn.Module:
        config = self.config
        match config.conv:
            case "gcn":
                return GCNLayer(config.hidden, first=depth == 0)
            case "gat":
                return GATLayer(config.hidden, config.heads, self.edge_dim > 0)
            case "gps":
                return GPSLayer(config.hidden, config.heads, norm)
            case "gin":
                return GINLayer(config.hidden, norm)

    def check(self, graphs: Graphs) -> None:
        """Raises DataError where the features are not those of the constructor."""
        for name, width in (("x", self.in_dim), ("edge_attr", self.edge_dim), ("position", self.position_dim)):
            value = getattr(graphs, name)
            columns = 0 if value is None else value.shape[1]
            # Inputs that the encoder does not use may have any width.
            if width and columns != width:
                problem, expected = "not the features this encoder was trained on", f"{width} columns"
                raise DataError(problem, field=f"graphs.{name}", value=f"{columns} columns", expected=expected)
