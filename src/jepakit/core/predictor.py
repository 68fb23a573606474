"""Predictors: ``(context embeddings, where) -> prediction``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from jepakit.core.attention import GroupAttention
from jepakit.core.jepa import Where
from jepakit.errors import ConfigError, require_at_least


def _selected(context: Tensor, where: Where | None) -> Tensor:
    return context if where is None or where.context_rows is None else context[where.context_rows]


class MLPPredictor(nn.Module):
    """A multi-layer perceptron on the rows that ``where`` selects: ``[N, dim] -> [M, out_dim]``.

    Args:
        dim: width of the context's embeddings.
        out_dim: width of the target's; None: ``dim``.
        depth: linear layers, at least 1.
        width_factor: hidden width in units of ``dim``.
        dropout: after every hidden activation.
        residual: predict ``x + g(x)`` with the last layer of g at zero, so that training starts at the identity.

    Raises:
        ConfigError: ``depth`` < 1, or a residual between different widths.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int | None = None,
        *,
        depth: int = 2,
        width_factor: float = 2.0,
        dropout: float = 0.0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        out_dim = dim if out_dim is None else out_dim
        self.depth, self.residual = depth, residual
        require_at_least(self, depth=1)
        if residual and out_dim != dim:
            raise ConfigError("residual", residual, f"False where out_dim = {out_dim} differs from dim = {dim}")
        widths = [dim] + [max(1, round(width_factor * dim))] * (depth - 1)
        hidden: list[nn.Module] = []
        for i, o in pairwise(widths):
            hidden += [nn.Linear(i, o), nn.GELU(), nn.Dropout(dropout)]
        last = nn.Linear(widths[-1], out_dim)
        if residual:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*hidden, last)

    def forward(self, context: Tensor, where: Where | None = None) -> Tensor:
        """``[N, dim] -> [N, out_dim]``; with ``where.context_rows`` (``[M]``), ``[M, out_dim]``."""
        rows = _selected(context, where)
        return rows + self.layers(rows) if self.residual else self.layers(rows)


class IdentityPredictor(nn.Module):
    """The context's own rows are the prediction: for two views that should embed alike, as in CCA-SSG."""

    def forward(self, context: Tensor, where: Where | None = None) -> Tensor:
        """``[N, D] -> [N, D]``; with ``where.context_rows`` (``[M]``), ``[M, D]``."""
        return _selected(context, where)


class CrossAttentionPredictor(nn.Module):
    """Queries with a position attend to the context of their own example: ``[N, dim] -> [M, out_dim]``.

    A query is a learned vector plus its embedded position; without the position all predictions of one example would be
    the same. A query whose example has no context is predicted from its position alone.

    Args:
        dim: width of the context's embeddings.
        position_dim: width P of ``where.position``.
        out_dim: width of the target's embeddings; None: ``dim``.
        hidden: width of the attention; None: ``dim``.
        depth: attention blocks.
        heads: attention heads, a divisor of ``hidden``.
        width_factor: hidden width of the perceptrons in units of ``hidden``.
        dropout: of the perceptrons.

    Raises:
        ConfigError: a size is out of range; at the call, ``where`` lacks a position or a group.
    """

    def __init__(
        self,
        dim: int,
        position_dim: int,
        out_dim: int | None = None,
        *,
        hidden: int | None = None,
        depth: int = 2,
        heads: int = 4,
        width_factor: float = 2.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = dim if hidden is None else hidden
        self.depth, self.position_dim = depth, position_dim
        require_at_least(self, depth=1, position_dim=1)
        if hidden % heads:
            raise ConfigError("heads", heads, f"a divisor of the attention's width {hidden}")
        self.query = nn.Parameter(torch.randn(hidden) * 0.02)
        self.position = nn.Sequential(nn.Linear(position_dim, hidden), nn.GELU(), nn.Linear(hidden, hidden))
        self.context = nn.Linear(dim, hidden)
        self.blocks = nn.ModuleList(_CrossBlock(hidden, heads, width_factor, dropout) for _ in range(depth))
        self.out = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, dim if out_dim is None else out_dim))

    def forward(self, context: Tensor, where: Where | None = None) -> Tensor:
        """``[N, dim] -> [M, out_dim]``, one row for each of the M queries of ``where``."""
        if where is None or where.position is None or where.query_group is None or where.context_group is None:
            raise ConfigError("where", where and "incomplete", "position, query_group and context_group")
        attention = GroupAttention.of(where.query_group, where.context_group)
        keys, queries = self.context(context), self.query + self.position(where.position.to(context.dtype))
        for block in self.blocks:
            queries = block(queries, keys, attention)
        return self.out(queries)


class _CrossBlock(nn.Module):
    """Pre-norm cross-attention and perceptron, both residual."""

    def __init__(self, dim: int, heads: int, width_factor: float, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_query, self.norm_key, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_query, self.to_key_value, self.merge = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        width = max(1, round(width_factor * dim))
        self.mlp = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, dim))

    def forward(self, queries: Tensor, keys: Tensor, attention: GroupAttention) -> Tensor:
        key, value = self.to_key_value(self.norm_key(keys)).chunk(2, dim=-1)
        attended = attention(self.to_query(self.norm_query(queries)), key, value, self.heads)
        queries = queries + self.merge(attended).masked_fill(~attention.has_keys[:, None], 0.0)
        return queries + self.mlp(self.norm_mlp(queries))


class BidirectionalPredictor(nn.Module):
    """A predictor for each direction; train it on ``Views(a, b)`` and ``Views(b, a, Where(backward=True))``."""

    def __init__(self, forward_predictor: nn.Module, backward_predictor: nn.Module) -> None:
        super().__init__()
        self.forward_predictor, self.backward_predictor = forward_predictor, backward_predictor

    def forward(self, context: Tensor, where: Where | None = None) -> Tensor:
        """``[N, D] -> [N, D]`` by the predictor of the direction in ``where``."""
        backward = where is not None and where.backward
        return (self.backward_predictor if backward else self.forward_predictor)(context, where)


class PredictorPerKey(nn.Module):
    """For embeddings that are a dict: a predictor for each key to be predicted.

    Args:
        predictors: key -> predictor, such as ``{"node": ..., "graph": ...}``.
        sources: key -> the key of the context's embeddings it is predicted from, where that differs.
    """

    def __init__(self, predictors: Mapping[str, nn.Module], sources: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.predictors, self.sources = nn.ModuleDict(predictors), sources or {}

    def forward(self, context: Mapping[str, Tensor], where: Mapping[str, Where] | None = None) -> dict[str, Tensor]:
        """Key -> prediction, for each key that has a predictor."""
        return {
            key: predictor(context[self.sources.get(key, key)], (where or {}).get(key))
            for key, predictor in self.predictors.items()
        }


#: Predictors by the names configurations use, each built by ``(dim, out_dim, depth=, hidden=, width_factor=,
#: position_dim=, heads=)``: see `CrossAttentionPredictor`. A perceptron's hidden width is ``width_factor * hidden``.
PREDICTORS: dict[str, Callable[..., nn.Module]] = {
    "mlp": lambda dim, out_dim, *, depth, hidden, width_factor, **_: MLPPredictor(
        dim, out_dim, depth=depth, width_factor=width_factor * hidden / dim
    ),
    "cross_attention": lambda dim, out_dim, *, position_dim, **sizes: CrossAttentionPredictor(
        dim, position_dim, out_dim, **sizes
    ),
    "none": lambda *_, **__: IdentityPredictor(),
}
