"""Encoders of knowledge graphs: entities with text and type, typed edges -> embeddings of entities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core.packed import segment_mean
from jepakit.errors import ConfigError, DataError, require_at_least, require_choice, require_within
from jepakit.graph.data import Graphs
from jepakit.graph.encoder import NORMS, NodeEncoder
from jepakit.graph.networks.encoding import Encoding, with_position
from jepakit.graph.networks.messages import Messages
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.features import EntityFeatures
from jepakit.kgqa.networks.layers import (
    LAYERS,
    RelationalGAT,
    RelationalGCN,
    RelationalGCNBases,
    RelationalGIN,
    RelationalTransformer,
)
from jepakit.training import HubMixin


@dataclass
class EncoderConfig:
    """The architecture of a `KnowledgeEncoder`.

    Args:
        conv: ``rgcn`` (R-GCN with basis matrices), ``gat`` (GATv2), ``gin`` (GINE), ``gcn`` or ``transformer``
            (attention along the edges). In all of them a message depends on the relation and its direction.
        hidden: width of each layer.
        layers: number of message-passing layers.
        norm: ``layer``, ``batch`` or ``none``.
        dropout: after each layer, in training.
        residual: add a layer's input to its output.
        jumping: an embedding is the ``last`` layer, or ``concat``, the concatenation of the input and all layers.
        heads: attention heads of ``gat`` and ``transformer``.
        bases: basis matrices of ``rgcn``.
        position: structural encoding within the subgraph, see `jepakit.graph.networks.encoding.with_position`; the
            predictor ``cross_attention`` needs one.
        position_size: columns of the structural encoding.
    """

    conv: Literal["rgcn", "gat", "gin", "gcn", "transformer"] = "rgcn"
    hidden: int = 128
    layers: int = 2
    norm: Literal["layer", "batch", "none"] = "layer"
    dropout: float = 0.0
    residual: bool = True
    jumping: Literal["last", "concat"] = "concat"
    heads: int = 4
    bases: int = 4
    position: Encoding = "none"
    position_size: int = 16

    def __post_init__(self) -> None:
        require_choice("conv", self.conv, LAYERS)
        require_choice("norm", self.norm, NORMS)
        require_choice("jumping", self.jumping, ("last", "concat"))
        require_choice("position", self.position, get_args(Encoding))
        require_at_least(self, hidden=1, layers=1, heads=1, bases=1, position_size=1)
        require_within(self, "[0, 1)", "dropout")
        if self.conv in ("gat", "transformer") and self.hidden % self.heads:
            raise ConfigError("heads", self.heads, f"a divisor of hidden = {self.hidden}")

    @property
    def width(self) -> int:
        """Columns of the embeddings."""
        return self.hidden * self.parts

    @property
    def parts(self) -> int:
        """Number of layers concatenated in an embedding."""
        return self.layers + 1 if self.jumping == "concat" else 1


class KnowledgeEncoder(HubMixin, NodeEncoder):
    """`Graphs` with text embeddings, node and edge types -> ``{"node": [N, width], "graph": [G, width]}``.

    A learned mask token replaces text and type of the nodes in ``graphs.hidden_nodes``; their edges are seen.

    Args:
        in_dim: columns of the text embeddings.
        relations: names of the relations, in the order of the edge types.
        types: names of the types of entities that have an embedding; any other type is seen as the first, unnamed one.
        fingerprint: of the sentence encoder.
        **config: the fields of `EncoderConfig`.
    """

    config: EncoderConfig

    def __init__(
        self, in_dim: int, relations: Sequence[str], types: Sequence[str] = (), fingerprint: str = "", **config: object
    ) -> None:
        super().__init__()
        self.config = EncoderConfig(**config)  # pyright: ignore[reportArgumentType]
        self.in_dim, self.relations, self.types, self.fingerprint = in_dim, list(relations), list(types), fingerprint
        hidden = self.config.hidden
        self.position_dim = 0 if self.config.position == "none" else self.config.position_size
        self.features = nn.Linear(in_dim, hidden)
        self.kinds = nn.Embedding(len(types) + 1, hidden)
        nn.init.normal_(self.kinds.weight, std=0.5)
        nn.init.zeros_(self.kinds.weight[0])
        self.mask_token = nn.Parameter(nn.init.normal_(torch.empty(hidden), std=0.02))
        self.position = nn.Linear(self.position_dim, hidden, bias=False) if self.position_dim else None
        norm = NORMS[self.config.norm]
        self.layers = nn.ModuleList(self._layer(norm) for _ in range(self.config.layers))
        self.norms = nn.ModuleList(norm(hidden) for _ in range(self.config.layers))
        self.dropout = nn.Dropout(self.config.dropout)

    @property
    def arguments(self) -> dict[str, object]:
        """The constructor's arguments."""
        given = {"in_dim": self.in_dim, "relations": self.relations, "types": self.types}
        return {**given, "fingerprint": self.fingerprint, **asdict(self.config)}

    @property
    def out_channels(self) -> int:
        """Columns of the embeddings."""
        return self.config.width

    @classmethod
    def for_graph(cls, graph: KnowledgeGraph, features: EntityFeatures, config: EncoderConfig) -> KnowledgeEncoder:
        """An encoder for the relations and types of a graph."""
        relations = [relation.name for relation in graph.relations]
        return cls(features.text.shape[1], relations, features.types, features.fingerprint, **asdict(config))

    def fit_to(self, graph: KnowledgeGraph, features: EntityFeatures) -> EntityFeatures:
        """The features of a graph as this encoder reads them: types are places in its own table.

        Raises:
            DataError: the graph has other relations, or the text embeddings are of another sentence encoder.
        """
        relations = [relation.name for relation in graph.relations]
        if relations != self.relations:
            problem, expected = "not the relations this encoder was trained on", ", ".join(self.relations[:10])
            raise DataError(problem, field="relations", value=relations, expected=expected)
        if features.fingerprint != self.fingerprint:
            problem = "not the sentence encoder this encoder was trained on"
            raise DataError(problem, field="fingerprint", value=features.fingerprint, expected=self.fingerprint)
        place = {name: row for row, name in enumerate(self.types, start=1)}
        table = torch.tensor([place.get(name, 0) for name in features.types])
        return EntityFeatures(features.text, table[features.type], ("", *self.types), features.fingerprint)

    def prepare(self, graphs: Graphs) -> Graphs:
        """The graphs with the structural encoding of this encoder."""
        return with_position(graphs, self.config.position, self.config.position_size)

    def forward(self, graphs: Graphs) -> dict[str, Tensor]:
        """Embeds a batch."""
        messages = Messages(graphs)
        x = self.read(graphs)
        outputs = [x]
        for depth in range(self.config.layers):
            x = self.propagate(depth, x, messages)
            outputs.append(x)
        node = torch.cat(outputs, dim=1) if self.config.jumping == "concat" else x
        return {"node": node, "graph": segment_mean(node, graphs.node_ptr)}

    def read(self, graphs: Graphs) -> Tensor:
        """The input of the first layer, ``[N, hidden]``."""
        assert graphs.node_type is not None
        x = self.read_entities(graphs.x, graphs.node_type)
        if graphs.hidden_nodes is not None:
            x = torch.where(graphs.hidden_nodes[:, None], self.mask_token.to(x.dtype), x)
        return x if self.position is None else x + self.position(graphs.position)

    def read_entities(self, text: Tensor, kind: Tensor) -> Tensor:
        """The sum of embedded texts and types, ``[N, in_dim], [N] -> [N, hidden]``."""
        # To a root mean square of 1, as the initial weights expect.
        return self.features(F.normalize(text, dim=1) * self.in_dim**0.5) + self.kinds(kind)

    def propagate(self, depth: int, x: Tensor, messages: Messages) -> Tensor:
        """The output of a layer, ``[N, hidden] -> [N, hidden]``."""
        h = self.norms[depth](self.layers[depth](x, messages))
        # The last layer is an embedding, which needs both signs.
        h = torch.relu(h) if depth + 1 < self.config.layers else h
        h = self.dropout(h)
        return x + h if self.config.residual else h

    def _layer(self, norm: Callable[[int], nn.Module]) -> nn.Module:
        # The last step is that of an edge whose relation is hidden.
        config, steps = self.config, 2 * len(self.relations) + 1
        match config.conv:
            case "gat":
                return RelationalGAT(config.hidden, config.heads, steps)
            case "rgcn":
                return RelationalGCNBases(config.hidden, config.bases, steps)
            case "gin":
                return RelationalGIN(config.hidden, steps, norm)
            case "gcn":
                return RelationalGCN(config.hidden, steps)
            case "transformer":
                return RelationalTransformer(config.hidden, config.heads, steps)
