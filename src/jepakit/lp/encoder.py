"""The networks: a graph network on rows and columns, a perceptron on all numbers, and heads that predict x, y and a
basis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core.packed import RowLists, sum_rows
from jepakit.errors import DataError, require_at_least
from jepakit.lp.networks.batch import LPBatch

COLUMNS, ROWS = "columns", "rows"
ITERATE_FEATURES = 9
COLUMN_FEATURES, ROW_FEATURES = 5 + ITERATE_FEATURES, 4 + ITERATE_FEATURES
#: asinh(v / _RESOLUTION) keeps values near 1e-3 distinct from 0.
_RESOLUTION = 1e-3
#: Scales of the first basis logits, of the side and of basic: a clear case gets a logit near 1.
_SIDE_SCALE, _BASIC_SCALE = 0.05, 0.15
#: Number of statuses in a basis: at the lower bound, basic, at the upper bound, free; see `jepakit.lp.solving.basis`.
STATUSES = 4


@dataclass
class EncoderConfig:
    """The network.

    Args:
        dim: width of the embeddings.
        depth: message rounds of the graph network, or hidden layers of the perceptron.
        width_factor: hidden width, in units of ``dim``.
        dropout: after every hidden activation.
        iterations: of the first-order method whose iterates are input features; 0: none.
    """

    dim: int = 64
    depth: int = 4
    width_factor: float = 2.0
    dropout: float = 0.0
    iterations: int = 128

    def __post_init__(self) -> None:
        require_at_least(self, dim=1, depth=1, iterations=0)


@dataclass(frozen=True)
class Masked:
    """Problems with hidden parts. The iterates are hidden too, because they depend on the whole problem.

    Args:
        problems: the whole problems.
        columns: columns whose costs and bounds are hidden, ``[N]`` bool.
        rows: rows whose sides are hidden, ``[M]`` bool.
        entries: hidden entries of the matrix, ``[E]`` bool.
        noise: what the perceptron sees in place of hidden numbers, ``[C N + R M + E]`` with C features per column and R
            per row; None: 0.
    """

    problems: LPBatch
    columns: Tensor
    rows: Tensor
    entries: Tensor
    noise: Tensor | None = None


@dataclass(frozen=True)
class Prediction:
    """x ``[N]`` within the bounds, row duals y ``[M]`` with signs that the sides allow, and logits of the statuses of
    columns ``[N, 4]`` and rows ``[M, 4]``, -inf for a bound or side that does not exist."""

    x: Tensor
    y: Tensor
    column_status: Tensor
    row_status: Tensor


def _inputs(view: LPBatch | Masked) -> tuple[LPBatch, list[Tensor]]:
    """The problems; features of columns ``[N, COLUMN_FEATURES]``, of rows ``[M, ROW_FEATURES]``; entries ``[E]``."""
    problems, near = (view.problems, None) if isinstance(view, Masked) else (view, view.near)
    columns = _features(problems.lower, problems.upper, None if near is None else (near.x, near.reduced))
    rows = _features(problems.row_lower, problems.row_upper, None if near is None else (near.activity, near.y))
    parts = [torch.cat([problems.costs[:, None], columns], 1), rows, problems.entry_value]
    if not isinstance(view, Masked):
        return problems, parts
    sizes = [part.numel() for part in parts]
    noise = problems.costs.new_zeros(sum(sizes)) if view.noise is None else view.noise
    hidden = (view.columns[:, None], view.rows[:, None], view.entries)
    masks = zip(parts, hidden, noise.split(sizes), strict=True)
    return problems, [torch.where(mask, other.view_as(part), part) for part, mask, other in masks]


def _features(lower: Tensor, upper: Tensor, iterate: tuple[Tensor, Tensor] | None) -> Tensor:
    """``[N, 4 + ITERATE_FEATURES]``: the sides, 0 for an infinite one; flags for finite ones; the iterate's value,
    distances to the sides and dual, plain and through asinh, and a 1. Without an iterate the last part is 0."""
    finite = torch.stack([lower.isfinite(), upper.isfinite()], 1)
    sides = torch.stack([lower, upper], 1).masked_fill(~finite, 0)
    features = torch.cat([sides, finite.float()], 1)
    if iterate is None:
        return F.pad(features, (0, ITERATE_FEATURES))
    value, dual = iterate
    below = torch.where(lower.isfinite(), value - lower, 0)
    above = torch.where(upper.isfinite(), upper - value, 0)
    plain = torch.stack([value, below, above, dual], 1)
    return torch.cat([features, plain, torch.asinh(plain / _RESOLUTION) / 5, torch.ones_like(value)[:, None]], 1)


class GNNPolicy(nn.Module):
    """A graph network for problems of any size; messages pass along the entries of the matrix.

    ``LPBatch | Masked -> {"columns": [N, dim], "rows": [M, dim]}``. A round sends messages from columns to rows, then
    from rows to columns: the sum weighted by the matrix, and the mean.

    Source: Gasse et al. 2019, section 4.2; added are the mean and a residual connection in each round.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config, self.dim = config, config.dim
        self.column_input = _perceptron(COLUMN_FEATURES, config)
        self.row_input = _perceptron(ROW_FEATURES, config)
        self.to_rows = nn.ModuleList(_Round(config) for _ in range(config.depth))
        self.to_columns = nn.ModuleList(_Round(config) for _ in range(config.depth))

    def forward(self, view: LPBatch | Masked) -> dict[str, Tensor]:
        """The embeddings of columns and rows."""
        problems, (columns, rows, entries) = _inputs(replace(view, noise=None) if isinstance(view, Masked) else view)
        by_row, by_column = problems.lists(entries)
        columns, rows = self.column_input(columns), self.row_input(rows)
        for to_rows, to_columns in zip(self.to_rows, self.to_columns, strict=True):
            rows = to_rows(rows, messages(columns, by_row, by_column))
            columns = to_columns(columns, messages(rows, by_column, by_row))
        return {COLUMNS: columns, ROWS: rows}


def messages(values: Tensor, lists: RowLists, transposed: RowLists) -> Tensor:
    """Of the values of each list the sum weighted by the matrix, and the mean: ``[N, D] -> [M, 2 D]``."""
    values = values.contiguous()
    weighted = sum_rows(values, lists, lambda: transposed)
    plain = sum_rows(values, replace(lists, weight=None), lambda: replace(transposed, weight=None))
    return torch.cat([weighted, plain / lists.offsets.diff().clamp(min=1).to(plain.dtype)[:, None]], 1)


class _Round(nn.Module):
    """``x + g(norm(x), norm(messages))``: ``[N, dim], [N, 2 dim] -> [N, dim]``."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        # `heard_norm` is a name in the state dicts of saved encoders.
        self.norm, self.heard_norm = nn.LayerNorm(config.dim), nn.LayerNorm(2 * config.dim)
        self.layers = _perceptron(3 * config.dim, config)

    def forward(self, x: Tensor, received: Tensor) -> Tensor:
        return x + self.layers(torch.cat([self.norm(x), self.heard_norm(received)], 1))


class KKTNetMLP(nn.Module):
    """A perceptron on all numbers of a problem: A, then costs, bounds and sides. ``LPBatch | Masked -> [G, dim]``.

    Args:
        columns: n of every problem.
        rows: m of every problem.
        config: the network.
    """

    def __init__(self, columns: int, rows: int, config: EncoderConfig) -> None:
        super().__init__()
        self.columns, self.rows, self.config, self.dim = columns, rows, config, config.dim
        width = round(config.width_factor * config.dim)
        layers: list[nn.Module] = []
        size = columns * rows + COLUMN_FEATURES * columns + ROW_FEATURES * rows
        for _ in range(config.depth):
            layers += [nn.Linear(size, width), nn.SELU(), nn.Dropout(config.dropout)]
            size = width
        self.layers = nn.Sequential(*layers, nn.Linear(size, config.dim))

    def forward(self, view: LPBatch | Masked) -> Tensor:
        """The embeddings.

        Raises:
            DataError: a problem has another size.
        """
        problems, (columns, rows, entries) = _inputs(view)
        sizes = torch.stack([problems.column_ptr.diff(), problems.row_ptr.diff()], 1)
        other = (sizes != torch.tensor([self.columns, self.rows], device=sizes.device)).any(1)
        if other.any():
            expected = f"{self.columns} columns and {self.rows} rows, or the graph network (use_bipartite_graphs)"
            value = tuple(sizes[other][0].tolist())
            raise DataError("a problem of another size than the perceptron's", value=value, expected=expected)
        count = len(problems)
        # Row r of problem g is packed row g m + r.
        matrix = entries.new_zeros(count * self.rows * self.columns)
        matrix[problems.entry_row * self.columns + problems.entry_column % self.columns] = entries
        return self.layers(torch.cat([part.reshape(count, -1) for part in (matrix, columns, rows)], 1))


class Heads(nn.Module):
    """Predicts x, y and a basis from the embeddings of ``encoder``."""

    def __init__(self, encoder: GNNPolicy | KKTNetMLP) -> None:
        super().__init__()
        columns, rows = (encoder.columns, encoder.rows) if isinstance(encoder, KKTNetMLP) else (1, 1)
        self.of_columns = nn.Linear(encoder.dim, (1 + STATUSES) * columns)
        self.of_rows = nn.Linear(encoder.dim, (1 + STATUSES) * rows)
        # With zero weights the first prediction is the iterate and the basis that it suggests.
        for parameter in (*self.of_columns.parameters(), *self.of_rows.parameters()):
            nn.init.zeros_(parameter)
        self.trust = nn.Parameter(torch.ones(()))

    def forward(self, embeddings: Tensor | dict[str, Tensor], problems: LPBatch) -> Prediction:
        """The prediction for ``problems`` from the output of the encoder; iterates are its starting point."""
        if isinstance(embeddings, Tensor):
            embeddings = {COLUMNS: embeddings, ROWS: embeddings}
        of_columns = self.of_columns(embeddings[COLUMNS]).view(-1, 1 + STATUSES)
        of_rows = self.of_rows(embeddings[ROWS]).view(-1, 1 + STATUSES)
        x, of_columns, y, of_rows = of_columns[:, 0], of_columns[:, 1:], of_rows[:, 0], of_rows[:, 1:]
        bounds, sides = (problems.lower, problems.upper), (problems.row_lower, problems.row_upper)
        # Duals are positive only with a lower side, and negative only with an upper side.
        signs = torch.where(sides[1].isfinite(), -torch.inf, 0.0), torch.where(sides[0].isfinite(), torch.inf, 0.0)
        if (near := problems.near) is None:
            x, y = _between(x, *bounds), _between(y, *signs)
        else:
            x, y = (near.x + x).clamp(*bounds), (near.y + y).clamp(*signs)
            of_columns = of_columns + self.trust * _first_logits(near.x, near.reduced, *bounds)
            of_rows = of_rows + self.trust * _first_logits(near.activity, near.y, *sides)
        return Prediction(x, y, _possible_statuses(of_columns, *bounds), _possible_statuses(of_rows, *sides))


def _first_logits(value: Tensor, dual: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Logits of the basis that an iterate suggests, ``[N, 4]``, by the rule of `iterates.guessed_basis`.

    Basic is likely if the distance to the sides exceeds the size of the dual; of two sides the nearer one is likelier.
    """
    below, above = value - lower, upper - value
    surplus = torch.minimum(below, above).nan_to_num(posinf=1.0) - dual.abs()
    nearer = torch.where(lower.isfinite() & upper.isfinite(), above - below, 0)
    side, basic = _SIDE_SCALE * torch.asinh(nearer / _RESOLUTION), _BASIC_SCALE * torch.asinh(surplus / _RESOLUTION)
    # The likelier side has logit 0, so the basic logits of different columns are comparable.
    return torch.stack([side.clamp(max=0), basic, (-side).clamp(max=0), torch.zeros_like(value)], 1)


def _between(raw: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Maps any number into its bounds; the identity without bounds."""
    has_lower, has_upper = lower.isfinite(), upper.isfinite()
    low, high = lower.masked_fill(~has_lower, 0), upper.masked_fill(~has_upper, 0)
    boxed = low + (high - low) * raw.sigmoid()
    one_sided = torch.where(has_lower, low + F.softplus(raw), torch.where(has_upper, high - F.softplus(-raw), raw))
    return torch.where(has_lower & has_upper, boxed, one_sided)


def _possible_statuses(logits: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Sets the logits of statuses that do not exist to -inf."""
    has_lower, has_upper = lower.isfinite(), upper.isfinite()
    possible = torch.stack([has_lower, torch.ones_like(has_lower), has_upper, ~(has_lower | has_upper)], 1)
    return logits.masked_fill(~possible, -torch.inf)


def _perceptron(inputs: int, config: EncoderConfig) -> nn.Sequential:
    width = round(config.width_factor * config.dim)
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(width, config.dim))
