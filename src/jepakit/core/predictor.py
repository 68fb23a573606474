"""Predictors: ``(context embeddings, where) -> prediction``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core.jepa import Where
from jepakit.core.packed import positions
from jepakit.errors import ConfigError


class MLPPredictor(nn.Module):
    """A multi-layer perceptron on each asked-for row of the context: ``[N, dim] -> [M, out_dim]``.

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
        if depth < 1:
            raise ConfigError("depth", depth, "at least 1 layer")
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
        self.residual = residual
        self.layers = nn.Sequential(*hidden, last)

    def forward(self, context: Tensor, where: Where | None = None) -> Tensor:
        """``[N, dim] -> [N, out_dim]``; with ``where.context_rows`` (``[M]``), ``[M, out_dim]``."""
        rows = context if where is None or where.context_rows is None else context[where.context_rows]
        return rows + self.layers(rows) if self.residual else self.layers(rows)


class IdentityPredictor(nn.Module):
    """The context's own rows are the prediction: for two views that should embed alike, as in CCA-SSG."""

    def forward(self, context: Tensor, where: Where | None = None) -> Tensor:
        """``[N, D] -> [N, D]``; with ``where.context_rows`` (``[M]``), ``[M, D]``."""
        return context if where is None or where.context_rows is None else context[where.context_rows]


class CrossAttentionPredictor(nn.Module):
    """Queries that carry a position attend to the context of their own example: ``[N, dim] -> [M, out_dim]``.

    A query is a learned vector plus its embedded position; without the position all predictions of one example would be
    the same. Examples are padded to one length and masked, so that none sees another's context. A query whose example
    has no context at all is predicted from its position alone.

    Args:
        dim: width of the context's embeddings.
        position_dim: width P of ``where.position``.
        out_dim: width of the target's embeddings; None: ``dim``.
        hidden: width of the attention; None: ``dim``.
        depth: attention blocks.
        heads: attention heads, a divisor of ``hidden``.
        width_factor: hidden width of each block's perceptron in units of ``hidden``.
        dropout: of the blocks' perceptrons.

    Raises:
        ConfigError: ``depth`` < 1, ``position_dim`` < 1, ``heads`` does not divide ``hidden``; at the call, ``where``
            lacks ``position``, ``query_group`` or ``context_group``.
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
        if depth < 1:
            raise ConfigError("depth", depth, "at least 1 block")
        if position_dim < 1:
            raise ConfigError("position_dim", position_dim, "at least 1: queries without a position are all the same")
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
        groups = 1 + max(int(g.max()) if g.numel() else -1 for g in (where.query_group, where.context_group))
        keys, key_mask, _ = pad_groups(self.context(context), where.context_group, groups)
        queries = self.query + self.position(where.position.to(context.dtype))
        queries, _, place = pad_groups(queries, where.query_group, groups)
        for block in self.blocks:
            queries = block(queries, keys, key_mask)
        return self.out(queries[place])


class _CrossBlock(nn.Module):
    """Pre-norm cross-attention and perceptron, both residual."""

    def __init__(self, dim: int, heads: int, width_factor: float, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_query, self.norm_key, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_query, self.to_key_value, self.merge = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        width = max(1, round(width_factor * dim))
        self.mlp = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, dim))

    def forward(self, queries: Tensor, keys: Tensor, key_mask: Tensor) -> Tensor:
        q = self.to_query(self.norm_query(queries)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key_value = self.to_key_value(self.norm_key(keys))
        k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in key_value.chunk(2, dim=-1))
        # Softmax over nothing is NaN: an example without context attends to its (zero) padding, and adds nothing.
        nothing = ~key_mask.any(1)
        visible = (key_mask | nothing[:, None])[:, None, None, :]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=visible).transpose(1, 2).flatten(2)
        queries = queries + self.merge(attended).masked_fill(nothing[:, None, None], 0.0)
        return queries + self.mlp(self.norm_mlp(queries))


class BidirectionalPredictor(nn.Module):
    """One predictor from context to target and one back; ``where.backward`` says which is asked for.

    Train it on both ``Views(a, b)`` and ``Views(b, a, Where(backward=True))``.
    """

    def __init__(self, forward_predictor: nn.Module, backward_predictor: nn.Module) -> None:
        super().__init__()
        self.forward_predictor, self.backward_predictor = forward_predictor, backward_predictor

    def forward(self, context: Tensor, where: Where | None = None) -> Tensor:
        """``[N, D] -> [N, D]`` by the predictor of the direction in ``where``."""
        backward = where is not None and where.backward
        return (self.backward_predictor if backward else self.forward_predictor)(context, where)


class PredictorPerKey(nn.Module):
    """For embeddings that are a dict: a predictor for each key to be predicted; other keys are left out.

    Args:
        predictors: key -> predictor, such as ``{"node": ..., "graph": ...}``.
        sources: key -> the key of the context's embeddings it is predicted from, where that is another one.
    """

    def __init__(self, predictors: Mapping[str, nn.Module], sources: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.predictors = nn.ModuleDict(predictors)
        self.sources = {key: (sources or {}).get(key, key) for key in predictors}

    def forward(self, context: Mapping[str, Tensor], where: Mapping[str, Where] | None = None) -> dict[str, Tensor]:
        """Key -> prediction, for each key that has a predictor."""
        asked = where or {}
        return {
            key: predictor(context[self.sources[key]], asked.get(key)) for key, predictor in self.predictors.items()
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


def pad_groups(x: Tensor, group: Tensor, groups: int) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Rows of several examples as one padded block.

    Args:
        x: ``[N, D]``.
        group: the example of each row, ``[N]`` int64, in any order.
        groups: how many examples there are.

    Returns:
        ``[groups, L, D]`` padded with zeros, the mask ``[groups, L]`` of true entries, and the index that takes the
        rows back out in their order.
    """
    counts = torch.bincount(group, minlength=groups)
    order = torch.argsort(group, stable=True)
    within = torch.empty_like(group)
    within[order] = positions(counts)
    longest = max(int(counts.max()) if groups else 0, 1)
    padded = x.new_zeros(groups, longest, x.shape[-1]).index_put((group, within), x)
    mask = torch.arange(longest, device=x.device) < counts[:, None]
    return padded, mask, (group, within)
