"""The networks: from problems to embeddings of their columns and rows, and from these to x, y and a basis."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.errors import DataError, require_at_least
from jepakit.lp.networks.batch import LPBatch
from jepakit.lp.networks.messages import Passing

__all__ = ["COLUMNS", "ROWS", "EncoderConfig", "GNNPolicy", "Heads", "KKTNetMLP", "Masked", "Prediction"]

COLUMNS, ROWS = "columns", "rows"
COLUMN_FEATURES, ROW_FEATURES = 5 + 9, 4 + 9
#: A distance or a dual of this size is told from 0 as well as one of 1 from it.
_SMALL = 1e-3
#: Of the first guess's logits, which of a sure one come to about 1: of which side, and of basic.
_OF_SIDES, _OF_BASIC = 0.05, 0.15
#: Statuses that a basis has: at the lower bound, basic, at the upper bound, free and not basic.
STATUSES = 4


@dataclass
class EncoderConfig:
    """The network.

    Args:
        dim: width of the embeddings.
        depth: rounds of messages of the graph network, hidden layers of the perceptron.
        width_factor: hidden width of a round's perceptrons, in units of ``dim``.
        dropout: after every hidden activation.
        iterations: of a first-order method, whose result the network sees beside the problem; 0: it sees the problem.
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
    """Problems of which an encoder must not see all; nor may it see the iterates, which come from the whole problem.

    Args:
        problems: all of them.
        columns: ``[N]`` bool: columns whose costs and bounds are hidden.
        rows: ``[M]`` bool: rows whose sides are hidden.
        entries: ``[E]`` bool: entries of the matrix that are hidden.
        noise: what the perceptron sees in place of hidden numbers, ``[C N + R M + E]`` with C and R features of columns
            and rows; None: 0.
    """

    problems: LPBatch
    columns: Tensor
    rows: Tensor
    entries: Tensor
    noise: Tensor | None = None


@dataclass(frozen=True)
class Prediction:
    """What a network says of problems with N columns and M rows in all.

    Args:
        x: between the bounds, ``[N]``.
        y: the rows' duals, ``[M]``; never of a sign that a row cannot have.
        column_status: logits, ``[N, 4]``; -inf for a bound that is not there.
        row_status: logits, ``[M, 4]``, likewise.
    """

    x: Tensor
    y: Tensor
    column_status: Tensor
    row_status: Tensor


def column_features(view: LPBatch | Masked) -> Tensor:
    """``[N, COLUMN_FEATURES]``: cost, each bound with a flag that says whether it is there, and the iterate: x, its
    distances from the bounds, its reduced cost."""
    problems = view.problems if isinstance(view, Masked) else view
    sides = _side_features(problems.lower, problems.upper)
    own = torch.cat([problems.costs.unsqueeze(1), sides], 1)
    near = problems.near
    if isinstance(view, Masked) or near is None:
        return F.pad(own, (0, COLUMN_FEATURES - own.shape[1]))
    return torch.cat([own, _near_features(near.x, near.reduced, problems.lower, problems.upper)], 1)


def row_features(view: LPBatch | Masked) -> Tensor:
    """``[M, ROW_FEATURES]``: each side with its flag, and the iterate: activity, its distances from the sides, y."""
    problems = view.problems if isinstance(view, Masked) else view
    own = _side_features(problems.row_lower, problems.row_upper)
    near = problems.near
    if isinstance(view, Masked) or near is None:
        return F.pad(own, (0, ROW_FEATURES - own.shape[1]))
    return torch.cat([own, _near_features(near.activity, near.y, problems.row_lower, problems.row_upper)], 1)


def _near_features(value: Tensor, dual: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """``[N, 9]``: a value, its distances from its sides, its dual; these so that small ones differ; and 1."""
    below = torch.where(lower.isfinite(), value - lower, 0)
    above = torch.where(upper.isfinite(), upper - value, 0)
    plain = torch.stack([value, below, above, dual], 1)
    return torch.cat([plain, torch.asinh(plain / _SMALL) / 5, torch.ones_like(value).unsqueeze(1)], 1)


def _side_features(lower: Tensor, upper: Tensor) -> Tensor:
    there = torch.stack([lower.isfinite(), upper.isfinite()], 1)
    values = torch.stack([lower, upper], 1).masked_fill(~there, 0)
    return torch.cat([values, there.float()], 1)


class GNNPolicy(nn.Module):
    """Messages between the rows and columns of a problem along the entries of its matrix: for problems of any size.

    ``LPBatch | Masked -> {"columns": [N, dim], "rows": [M, dim]}``. In each round a row hears from its columns, then a
    column from its rows: the sum weighted by the matrix, and the mean, each through a linear map.

    Args:
        config: the network.

    Source: Gasse et al. 2019, section 4.2, with both ways of summing and a residual of every round.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.column_input = _perceptron(COLUMN_FEATURES, config)
        self.row_input = _perceptron(ROW_FEATURES, config)
        self.to_rows = nn.ModuleList(_Round(config) for _ in range(config.depth))
        self.to_columns = nn.ModuleList(_Round(config) for _ in range(config.depth))

    @property
    def arguments(self) -> dict[str, object]:
        """What makes the same network."""
        return {"config": asdict(self.config)}

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return self.config.dim

    def forward(self, view: LPBatch | Masked) -> dict[str, Tensor]:
        problems = view.problems if isinstance(view, Masked) else view
        columns, rows = column_features(view), row_features(view)
        weight = problems.entry_value
        if isinstance(view, Masked):
            columns, rows = columns.masked_fill(view.columns[:, None], 0), rows.masked_fill(view.rows[:, None], 0)
            weight = weight.masked_fill(view.entries, 0)
        passing = Passing.of(
            problems.entry_row, problems.entry_column, weight, problems.entry_by_row, len(rows), len(columns)
        )
        columns, rows = self.column_input(columns), self.row_input(rows)
        for to_rows, to_columns in zip(self.to_rows, self.to_columns, strict=True):
            rows = to_rows(rows, passing.to_rows(columns))
            columns = to_columns(columns, passing.to_columns(rows))
        return {COLUMNS: columns, ROWS: rows}


class _Round(nn.Module):
    """``x + g(norm(x), heard)``: one side of a round of messages, ``[N, dim], [N, 2 dim] -> [N, dim]``."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = round(config.width_factor * config.dim)
        self.norm, self.heard_norm = nn.LayerNorm(config.dim), nn.LayerNorm(2 * config.dim)
        self.layers = nn.Sequential(
            nn.Linear(3 * config.dim, width), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(width, config.dim)
        )

    def forward(self, x: Tensor, heard: Tensor) -> Tensor:
        return x + self.layers(torch.cat([self.norm(x), self.heard_norm(heard)], 1))


class KKTNetMLP(nn.Module):
    """A perceptron on all numbers of a problem, one after another: A, then costs, bounds and sides. For one size only.

    ``LPBatch | Masked -> [G, dim]``.

    Args:
        columns: n of every problem.
        rows: m of every problem.
        config: the network.
    """

    def __init__(self, columns: int, rows: int, config: EncoderConfig) -> None:
        super().__init__()
        self.columns, self.rows, self.config = columns, rows, config
        width = round(config.width_factor * config.dim)
        layers: list[nn.Module] = []
        size = columns * rows + COLUMN_FEATURES * columns + ROW_FEATURES * rows
        for _ in range(config.depth):
            layers += [nn.Linear(size, width), nn.SELU(), nn.Dropout(config.dropout)]
            size = width
        self.layers = nn.Sequential(*layers, nn.Linear(size, config.dim))

    @property
    def arguments(self) -> dict[str, object]:
        """What makes the same network."""
        return {"columns": self.columns, "rows": self.rows, "config": asdict(self.config)}

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return self.config.dim

    def forward(self, view: LPBatch | Masked) -> Tensor:
        """The embeddings.

        Raises:
            DataError: a problem is of another size.
        """
        problems = view.problems if isinstance(view, Masked) else view
        self._require_size(problems)
        parts = (column_features(view), row_features(view), problems.entry_value)
        if isinstance(view, Masked):
            hidden = (view.columns[:, None], view.rows[:, None], view.entries)
            sizes = [part.numel() for part in parts]
            noise = problems.costs.new_zeros(sum(sizes)) if view.noise is None else view.noise
            seen = zip(parts, hidden, noise.split(sizes), strict=True)
            parts = tuple(torch.where(mask, other.view_as(part), part) for part, mask, other in seen)
        columns, rows, entries = parts
        count = len(problems)
        # Packed rows of equal size are numbered through: row r of problem g is g m + r.
        matrix = entries.new_zeros(count * self.rows * self.columns)
        matrix[problems.entry_row * self.columns + problems.entry_column % self.columns] = entries
        return self.layers(torch.cat([part.reshape(count, -1) for part in (matrix, columns, rows)], 1))

    def _require_size(self, problems: LPBatch) -> None:
        sizes = torch.stack([problems.column_ptr.diff(), problems.row_ptr.diff()], 1)
        other = (sizes != torch.tensor([self.columns, self.rows], device=sizes.device)).any(1)
        if other.any():
            columns, rows = sizes[other][0].tolist()
            expected = f"{self.columns} columns and {self.rows} rows, or the graph network (use_bipartite_graphs)"
            raise DataError("a problem of another size than the perceptron's", value=(columns, rows), expected=expected)


class Heads(nn.Module):
    """From embeddings to `Prediction`.

    Args:
        encoder: whose embeddings these are.
    """

    def __init__(self, encoder: GNNPolicy | KKTNetMLP) -> None:
        super().__init__()
        outputs = 1 + STATUSES
        wide = isinstance(encoder, KKTNetMLP)
        self.of_columns = nn.Linear(encoder.dim, outputs * (encoder.columns if wide else 1))
        self.of_rows = nn.Linear(encoder.dim, outputs * (encoder.rows if wide else 1))
        # Before training the basis is the one that the iterates look like, where there are any.
        for layer in (self.of_columns, self.of_rows):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.trust = nn.Parameter(torch.ones(()))

    def forward(self, embeddings: Tensor | dict[str, Tensor], problems: LPBatch) -> Prediction:
        columns, rows = (
            (embeddings, embeddings) if isinstance(embeddings, Tensor) else (embeddings[COLUMNS], embeddings[ROWS])
        )
        of_columns = self.of_columns(columns).view(-1, 1 + STATUSES)
        of_rows = self.of_rows(rows).view(-1, 1 + STATUSES)
        x, y = of_columns[:, 0], of_rows[:, 0]
        if (near := problems.near) is None:
            x, y = _between(x, problems.lower, problems.upper), _signed(y, problems.row_lower, problems.row_upper)
        else:
            x = (near.x + x).clamp(problems.lower, problems.upper)
            y = _of_sign(near.y + y, problems.row_lower, problems.row_upper)
            first = _first_guess(near.x, near.reduced, problems.lower, problems.upper)
            of_columns = of_columns + F.pad(self.trust * first, (1, 0))
            first = _first_guess(near.activity, near.y, problems.row_lower, problems.row_upper)
            of_rows = of_rows + F.pad(self.trust * first, (1, 0))
        return Prediction(
            x=x,
            y=y,
            column_status=_possible(of_columns[:, 1:], problems.lower, problems.upper),
            row_status=_possible(of_rows[:, 1:], problems.row_lower, problems.row_upper),
        )


def _first_guess(value: Tensor, dual: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Logits of the statuses that an iterate looks like, ``[N, 4]``; `guessed_basis` of the iterations has the rule.

    Basic is what lies further from its sides than its dual is large; of two sides the nearer one is likelier.
    """
    below, above = value - lower, upper - value
    surplus = torch.minimum(below, above).nan_to_num(posinf=1.0) - dual.abs()
    nearer = torch.where(lower.isfinite() & upper.isfinite(), above - below, 0)
    side, basic = _OF_SIDES * torch.asinh(nearer / _SMALL), _OF_BASIC * torch.asinh(surplus / _SMALL)
    # The likelier side has 0, so that of two columns the one with the larger surplus is likelier to be basic.
    return torch.stack([side.clamp(max=0), basic, (-side).clamp(max=0), torch.zeros_like(value)], 1)


def _between(raw: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Any number brought between two bounds, as far as these are there."""
    has_lower, has_upper = lower.isfinite(), upper.isfinite()
    low, high = lower.masked_fill(~has_lower, 0), upper.masked_fill(~has_upper, 0)
    boxed = low + (high - low) * raw.sigmoid()
    one = torch.where(has_lower, low + F.softplus(raw), torch.where(has_upper, high - F.softplus(-raw), raw))
    return torch.where(has_lower & has_upper, boxed, one)


def _signed(raw: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Any number made one that the dual of a row with these sides can be."""
    has_lower, has_upper = lower.isfinite(), upper.isfinite()
    one = torch.where(has_lower, F.softplus(raw), torch.where(has_upper, -F.softplus(-raw), 0))
    return torch.where(has_lower & has_upper, raw, one)


def _of_sign(duals: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Duals, 0 where they pull towards a side that is not there."""
    least, most = torch.where(upper.isfinite(), -torch.inf, 0.0), torch.where(lower.isfinite(), torch.inf, 0.0)
    return duals.clamp(least, most)


def _possible(logits: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    has_lower, has_upper = lower.isfinite(), upper.isfinite()
    basic = torch.ones_like(has_lower)
    there = torch.stack([has_lower, basic, has_upper, ~(has_lower | has_upper)], 1)
    return logits.masked_fill(~there, -torch.inf)


def _perceptron(inputs: int, config: EncoderConfig) -> nn.Sequential:
    width = round(config.width_factor * config.dim)
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(width, config.dim))
