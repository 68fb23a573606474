"""Soft tokens from a subgraph and a question: vectors that the language model reads like embeddings of tokens.

A fusion is a module ``(GraphEmbeddings, question [B, T, E], mask [B, T]) -> [B, K, E]``: the embeddings of B subgraphs,
the embedded tokens of B questions, and K soft tokens of the language model's width E.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core.attention import attend, pad_groups
from jepakit.core.packed import owners
from jepakit.errors import ConfigError, require_at_least, require_choice

SEQUENCE_TOKENS = 32
"""Soft tokens of ``graph_to_sequence`` where no number is given."""
_BILINEAR_WIDTH = 32

FusionName = Literal[
    "projection", "concat", "gating", "hadamard", "bilinear", "cross_attention", "graph_to_sequence", "prompt"
]


@dataclass
class FusionConfig:
    """How subgraph and question become soft tokens.

    Args:
        name: ``projection``: a perceptron on the subgraph's embedding (He et al. 2024, eq. 8). ``concat``, ``gating``,
            ``hadamard``, ``bilinear``: a perceptron on the embeddings of subgraph and question, combined in this way.
            ``cross_attention``: queries made from the question attend to the nodes. ``graph_to_sequence``: learned
            queries do, whatever the question. ``prompt``: learned tokens that depend on neither, a floor.
        tokens: soft tokens K; None: 1, and 32 for ``graph_to_sequence``.
        hidden: width of the fusion.
        heads: attention heads, a divisor of ``hidden``.
    """

    name: FusionName = "projection"
    tokens: int | None = None
    hidden: int = 256
    heads: int = 4

    def __post_init__(self) -> None:
        require_choice("name", self.name, FUSIONS)
        require_at_least(self, tokens=1, hidden=1, heads=1)
        if self.hidden % self.heads:
            raise ConfigError("heads", self.heads, f"a divisor of hidden = {self.hidden}")

    @property
    def count(self) -> int:
        """K."""
        return self.tokens or (SEQUENCE_TOKENS if self.name == "graph_to_sequence" else 1)


@dataclass(frozen=True)
class GraphEmbeddings:
    """What an encoder says about B subgraphs.

    Args:
        graph: ``[B, D]``.
        node: ``[N, D]``, those of the first subgraph first.
        sizes: nodes of each subgraph, ``[B]`` int64.
    """

    graph: Tensor
    node: Tensor
    sizes: Tensor


class Combined(nn.Module):
    """A perceptron on a combination of two vectors: the embedding of the subgraph, and the mean of the question.

    Args:
        combination: ``([B, H], [B, H]) -> [B, H]``.
        dim: D.
        width: E.
        config: H and K.
        scale: see `SoftTokens`.
    """

    def __init__(self, combination: nn.Module, dim: int, width: int, config: FusionConfig, scale: float) -> None:
        super().__init__()
        self.graph, self.text = nn.Linear(dim, config.hidden), nn.Linear(width, config.hidden)
        self.combination, self.out = combination, SoftTokens(config.hidden, width, config.count, scale)

    def forward(self, graphs: GraphEmbeddings, question: Tensor, mask: Tensor) -> Tensor:
        """See the class."""
        weight = mask[..., None].to(question.dtype)
        # Entries of embedded tokens are far smaller than 1.
        mean = F.layer_norm((question * weight).sum(1), question.shape[-1:])
        return self.out(F.gelu(self.combination(self.graph(graphs.graph), self.text(mean))))


class Projection(nn.Module):
    """A perceptron on the embedding of the subgraph; does not read the question. Arguments as for `Combined`."""

    def __init__(self, dim: int, width: int, config: FusionConfig, scale: float) -> None:
        super().__init__()
        self.graph, self.out = nn.Linear(dim, config.hidden), SoftTokens(config.hidden, width, config.count, scale)

    def forward(self, graphs: GraphEmbeddings, question: Tensor, mask: Tensor) -> Tensor:
        """See the class."""
        return self.out(F.gelu(self.graph(graphs.graph)))


class Concat(nn.Module):
    """``W [g; t]``."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * hidden, hidden)

    def forward(self, graph: Tensor, text: Tensor) -> Tensor:
        """See the class."""
        return self.mix(torch.cat([graph, text], -1))


class Gating(nn.Module):
    """``s ⊙ g + (1 - s) ⊙ t`` with ``s = σ(W [g; t])``."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * hidden, hidden)

    def forward(self, graph: Tensor, text: Tensor) -> Tensor:
        """See the class."""
        return torch.lerp(text, graph, self.gate(torch.cat([graph, text], -1)).sigmoid())


class Hadamard(nn.Module):
    """``g ⊙ t``."""

    def forward(self, graph: Tensor, text: Tensor) -> Tensor:
        """See the class."""
        return graph * text


class Bilinear(nn.Module):
    """``(P g)ᵀ W_h (Q t)`` for each column h, with P and Q to a smaller width."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.graph, self.text = nn.Linear(hidden, _BILINEAR_WIDTH), nn.Linear(hidden, _BILINEAR_WIDTH)
        self.form = nn.Bilinear(_BILINEAR_WIDTH, _BILINEAR_WIDTH, hidden)

    def forward(self, graph: Tensor, text: Tensor) -> Tensor:
        """See the class."""
        return self.form(self.graph(graph), self.text(text))


class NodeAttention(nn.Module):
    """K queries attend to the nodes of their subgraph, as in a resampler (Alayrac et al. 2022, section 3.1.1).

    Args:
        dim: D.
        width: E.
        config: width of the attention, heads and K.
        scale: see `SoftTokens`.
        asks: whether the question is added to the queries: each attends to the question's tokens first.
    """

    def __init__(self, dim: int, width: int, config: FusionConfig, scale: float, *, asks: bool) -> None:
        super().__init__()
        hidden = config.hidden
        self.heads = config.heads
        self.queries = nn.Parameter(torch.randn(config.count, hidden) / hidden**0.5)
        self.to_query, self.keys, self.values = (
            nn.Linear(hidden, hidden),
            nn.Linear(dim, hidden),
            nn.Linear(dim, hidden),
        )
        self.text = nn.Linear(width, 2 * hidden) if asks else None
        self.mix = nn.Linear(hidden, hidden)
        self.out = SoftTokens(hidden, width, 1, scale)

    def forward(self, graphs: GraphEmbeddings, question: Tensor, mask: Tensor) -> Tensor:
        """See the class."""
        batch = len(graphs.sizes)
        node, seen, _ = pad_groups(graphs.node, owners(graphs.sizes, len(graphs.node)), batch)
        queries = self.queries.expand(batch, -1, -1)
        if self.text is not None:
            key, value = self.text(F.layer_norm(question, question.shape[-1:])).chunk(2, -1)
            queries = queries + attend(queries, key, value, mask, self.heads)
        answers = attend(self.to_query(queries), self.keys(node), self.values(node), seen, self.heads)
        # A subgraph without nodes answers nothing.
        answers = answers.masked_fill(~seen.any(1)[:, None, None], 0.0)
        states = F.gelu(self.mix(queries + answers))
        return self.out(states.flatten(0, 1)).view(batch, states.shape[1], -1)


class LearnedPrompt(nn.Module):
    """Tokens that are learned and the same for every question (Lester et al. 2021)."""

    def __init__(self, width: int, count: int, scale: float) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(count, width) * scale)

    def forward(self, graphs: GraphEmbeddings | None, question: Tensor, mask: Tensor) -> Tensor:
        """See the class."""
        return self.tokens.expand(len(question), -1, -1)


class SoftTokens(nn.Module):
    """The last layer of a fusion, ``[B, H] -> [B, K, E]``.

    Args:
        hidden: H.
        width: E.
        count: K.
        scale: root mean square of the entries of an embedded token, and of a new layer's output: training starts with
            vectors of the size that the model knows.
    """

    def __init__(self, hidden: int, width: int, count: int, scale: float) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(hidden), nn.Linear(hidden, count * width)
        self.count, self.scale = count, scale
        # Normalised inputs have a root mean square of 1, and so have these outputs.
        nn.init.normal_(self.linear.weight, std=hidden**-0.5)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.linear(self.norm(x)).unflatten(1, (self.count, -1)) * self.scale


def _combined(combination: Callable[[int], nn.Module]) -> Callable[[int, int, FusionConfig, float], nn.Module]:
    return lambda dim, width, config, scale: Combined(combination(config.hidden), dim, width, config, scale)


#: Name -> ``(D, E, config, scale) -> fusion``.
FUSIONS: dict[str, Callable[[int, int, FusionConfig, float], nn.Module]] = {
    "projection": Projection,
    "concat": _combined(Concat),
    "gating": _combined(Gating),
    "hadamard": _combined(lambda _: Hadamard()),
    "bilinear": _combined(Bilinear),
    "cross_attention": lambda *sizes: NodeAttention(*sizes, asks=True),
    "graph_to_sequence": lambda *sizes: NodeAttention(*sizes, asks=False),
    "prompt": lambda _, width, config, scale: LearnedPrompt(width, config.count, scale),
}
