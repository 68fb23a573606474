"""Masked views of problems for JEPA: parts of a problem are hidden, and predicted from the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from jepakit.core import Views, Where
from jepakit.core.distributed import is_distributed, own_rows
from jepakit.core.packed import owners, positions
from jepakit.errors import require_at_least, require_choice, require_within
from jepakit.lp.encoder import COLUMN_FEATURES, COLUMNS, ROW_FEATURES, ROWS, Masked
from jepakit.lp.networks.batch import LPBatch

Hidden = Literal["nodes", "entries", "rows", "columns"]


@dataclass
class MaskConfig:
    """What is hidden.

    Args:
        hidden: ``nodes``: costs and bounds of columns, sides of rows, but not the matrix; ``entries``: these and
            entries of the matrix, independently; ``rows`` or ``columns``: whole ones, with their entries.
        ratio_nodes: hidden share of the nodes, rows or columns of a problem; at least one is hidden, at least one not.
        ratio_entries: hidden share of the numbers, for ``entries``.
        noise: standard deviation of what the perceptron sees in place of hidden numbers; the graph network sees 0.
    """

    hidden: Hidden = "nodes"
    ratio_nodes: float = 0.3
    ratio_entries: float = 0.5
    noise: float = 0.01

    def __post_init__(self) -> None:
        require_choice("hidden", self.hidden, get_args(Hidden))
        require_within(self, "(0, 1)", "ratio_nodes", "ratio_entries")
        require_at_least(self, noise=0)


class ProblemViews:
    """Makes a masked and a whole view of some problems, for `jepakit.training.EpochLoader`.

    Args:
        problems: of training, scaled.
        config: what is hidden.
        per_node: the hidden columns and rows are predicted; otherwise the encoder embeds a problem as a whole.
    """

    def __init__(self, problems: LPBatch, config: MaskConfig, *, per_node: bool) -> None:
        self.problems, self.config, self.per_node = problems, config, per_node

    def __call__(self, index: Tensor, generator: torch.Generator) -> Views:
        """The views of the problems at ``index``, ``[B]`` int64."""
        masked = own_problems(masked_view(self.problems[index], self.config, generator))
        problems = masked.problems
        nodes = {COLUMNS: _predicted(masked.columns), ROWS: _predicted(masked.rows)} if self.per_node else None
        return Views(masked, problems, nodes)


def own_problems(masked: Masked) -> Masked:
    """This process's share of the problems of a batch."""
    if not is_distributed():
        return masked
    whole, share = masked.problems, own_rows(len(masked.problems))
    columns, rows, entries = (
        slice(int(ptr[share.start]), int(ptr[share.stop])) for ptr in (whole.column_ptr, whole.row_ptr, whole.entry_ptr)
    )
    noise = masked.noise
    if noise is not None:
        sizes = [COLUMN_FEATURES * len(masked.columns), ROW_FEATURES * len(masked.rows), len(masked.entries)]
        of_columns, of_rows, of_entries = noise.split(sizes)
        parts = (of_columns.view(len(masked.columns), -1)[columns], of_rows.view(len(masked.rows), -1)[rows])
        noise = torch.cat([*(part.flatten() for part in parts), of_entries[entries]])
    own = whole[torch.arange(share.start, share.stop)]
    return Masked(own, masked.columns[columns], masked.rows[rows], masked.entries[entries], noise)


def _predicted(hidden: Tensor) -> Where:
    """The hidden nodes; all nodes if only their entries are hidden."""
    nodes = hidden.nonzero().squeeze(1) if hidden.any() else torch.arange(len(hidden))
    return Where(target_rows=nodes, context_rows=nodes)


def masked_view(problems: LPBatch, config: MaskConfig, generator: torch.Generator) -> Masked:
    """Hides random parts of each problem."""
    ratio = config.ratio_entries if config.hidden == "entries" else config.ratio_nodes
    columns = _sample_per_problem(problems.column_ptr, ratio, generator)
    rows = _sample_per_problem(problems.row_ptr, ratio, generator)
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


def _sample_per_problem(pointer: Tensor, ratio: float, generator: torch.Generator) -> Tensor:
    """A random share of each problem's nodes, at least one and not all: ``[N]`` bool."""
    sizes = pointer.diff()
    owner = owners(sizes)
    counts = (ratio * sizes).round().long().clamp(min=1).minimum((sizes - 1).clamp(min=0))
    # A random order within each problem; its first nodes are taken.
    order = torch.argsort(owner + torch.rand(len(owner), generator=generator, dtype=torch.float64))
    chosen = torch.zeros(len(owner), dtype=torch.bool)
    chosen[order] = positions(sizes) < counts[owner]
    return chosen
