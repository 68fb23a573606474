"""What is hidden of a problem, for the rest to predict: nodes of its graph, entries, whole rows, whole columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from jepakit.core import Views, Where
from jepakit.errors import ConfigError, require_choice
from jepakit.lp.encoder import COLUMN_FEATURES, COLUMNS, ROW_FEATURES, ROWS, Masked
from jepakit.lp.networks.batch import LPBatch

__all__ = ["MaskConfig", "ProblemViews"]

Hidden = Literal["nodes", "entries", "rows", "columns"]


@dataclass
class MaskConfig:
    """What is hidden.

    Args:
        hidden: ``nodes``: costs and bounds of columns, sides of rows, while the matrix is seen; ``entries``: these and
            entries of the matrix, each by itself; ``rows`` or ``columns``: whole ones, with their entries.
        ratio_nodes: share of nodes, or of rows or columns, of each problem; at least one, and one is always left.
        ratio_entries: share of numbers that ``entries`` hides.
        noise: standard deviation of what the perceptron sees in place of what is hidden; the graph network sees 0.
    """

    hidden: Hidden = "nodes"
    ratio_nodes: float = 0.3
    ratio_entries: float = 0.5
    noise: float = 0.01

    def __post_init__(self) -> None:
        require_choice("hidden", self.hidden, ("nodes", "entries", "rows", "columns"))
        for name in ("ratio_nodes", "ratio_entries"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(name, getattr(self, name), "a share above 0 and below 1")
        if not self.noise >= 0:
            raise ConfigError("noise", self.noise, "a number of at least 0")


class ProblemViews:
    """Makes the views of some problems: masked, and whole. For `jepakit.training.EpochLoader`.

    Args:
        problems: all of them, scaled.
        config: what is hidden.
        per_node: the encoder embeds columns and rows: the hidden ones are predicted. Otherwise all of a problem is.
    """

    def __init__(self, problems: LPBatch, config: MaskConfig, *, per_node: bool) -> None:
        self.problems, self.config, self.per_node = problems, config, per_node

    def __call__(self, index: Tensor, generator: torch.Generator) -> Views:
        some = self.problems[index]
        masked = masked_view(some, self.config, generator)
        where = None
        if self.per_node:
            where = {key: _asked(hidden) for key, hidden in ((COLUMNS, masked.columns), (ROWS, masked.rows))}
        return Views(masked, some, where)


def _asked(hidden: Tensor) -> Where:
    """What is hidden; all, where it is only the entries of these that are."""
    rows = hidden.nonzero().squeeze(1) if hidden.any() else torch.arange(len(hidden))
    return Where(target_rows=rows, context_rows=rows)


def masked_view(problems: LPBatch, config: MaskConfig, generator: torch.Generator) -> Masked:
    """Some of each problem hidden, at random."""
    ratio = config.ratio_entries if config.hidden == "entries" else config.ratio_nodes
    columns = _some_of_each(problems.column_ptr, ratio, generator)
    rows = _some_of_each(problems.row_ptr, ratio, generator)
    entries = torch.zeros(len(problems.entry_value), dtype=torch.bool)
    if config.hidden == "entries":
        entries = torch.rand(len(entries), generator=generator) < ratio
    elif config.hidden == "rows":
        columns, entries = torch.zeros_like(columns), rows[problems.entry_row]
    elif config.hidden == "columns":
        rows, entries = torch.zeros_like(rows), columns[problems.entry_column]
    noise = None
    if config.noise:
        size = COLUMN_FEATURES * len(columns) + ROW_FEATURES * len(rows) + len(entries)
        noise = config.noise * torch.randn(size, generator=generator)
    return Masked(problems, columns, rows, entries, noise)


def _some_of_each(pointer: Tensor, ratio: float, generator: torch.Generator) -> Tensor:
    """A share of each group's members, at least one and not all: ``[N]`` bool."""
    sizes = pointer.diff()
    owner = torch.repeat_interleave(sizes)
    wanted = (ratio * sizes).round().long().clamp(min=1).minimum((sizes - 1).clamp(min=0))
    # Sorted by owner and then at random, the first of each group are taken.
    order = torch.argsort(owner + torch.rand(len(owner), generator=generator, dtype=torch.float64))
    place = torch.arange(len(owner)) - pointer[:-1][owner]
    chosen = torch.zeros(len(owner), dtype=torch.bool)
    chosen[order] = place < wanted[owner]
    return chosen
