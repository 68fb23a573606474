"""A trained model: problems in, guesses out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.encoder import EncoderConfig, GNNPolicy, Heads, KKTNetMLP, Prediction
from jepakit.lp.networks.batch import LPBatch
from jepakit.lp.networks.kkt import kkt_terms, terms_of
from jepakit.lp.solving.basis import BASIC, Basis
from jepakit.lp.solving.scaling import equilibrated
from jepakit.lp.solving.solver import Start

__all__ = ["LPModel"]


class LPModel(nn.Module):
    """An encoder with heads, from problems in their own units to guesses in them.

    Args:
        use_bipartite_graphs: a graph network, for problems of any size; otherwise a perceptron, for one size.
        columns: n of every problem, for the perceptron.
        rows: m of every problem, for the perceptron.
        encoder: the fields of `EncoderConfig`.
        balance: of the iterations, see `jepakit.lp.solving.iterates.primal_dual`.
    """

    def __init__(
        self,
        use_bipartite_graphs: bool,
        columns: int,
        rows: int,
        encoder: Mapping[str, Any] | None = None,
        balance: float = 1.0,
    ) -> None:
        super().__init__()
        config = EncoderConfig(**(encoder or {}))
        self.columns, self.rows, self.balance = columns, rows, balance
        self.encoder = GNNPolicy(config) if use_bipartite_graphs else KKTNetMLP(columns, rows, config)
        self.heads = Heads(self.encoder)

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's keywords, as `jepakit.training.save_encoder` wants them."""
        return {
            "use_bipartite_graphs": isinstance(self.encoder, GNNPolicy),
            "columns": self.columns,
            "rows": self.rows,
            "encoder": vars(self.encoder.config).copy(),
            "balance": self.balance,
        }

    @torch.no_grad()
    def starts(self, problems: Sequence[LinearProgram]) -> list[Start]:
        """A guess for each problem.

        Raises:
            DataError: a problem is of another size than a perceptron's.
        """
        scaled, scalings = zip(*(equilibrated(problem) for problem in problems), strict=True)
        batch = LPBatch.of(scaled, iterations=self.encoder.config.iterations, balance=self.balance)
        found = _no_worse_than_iterates(self.heads(self.encoder(batch), batch), batch)
        columns, rows = batch.column_ptr.diff().tolist(), batch.row_ptr.diff().tolist()
        parts = zip(
            problems,
            scalings,
            _split(found.x, columns),
            _split(found.y, rows),
            _split(found.column_status, columns),
            _split(found.row_status, rows),
            strict=True,
        )
        return [
            Start("model", scaling.x(x), scaling.y(y), likeliest_basis(of_columns, of_rows).fitted(problem))
            for problem, scaling, x, y, of_columns, of_rows in parts
        ]


def _no_worse_than_iterates(found: Prediction, batch: LPBatch) -> Prediction:
    """The prediction, with x and y of the iterates for each problem whose conditions of optimality these miss by less.

    What a network was taught, such as one optimum of many, may be further from any than where it started.
    """
    near = batch.near
    if near is None:
        return found
    missed, before = kkt_terms(batch, found.x, found.y), terms_of(batch, near)
    worse = torch.stack(list(missed.values())).sum(0) > torch.stack(list(before.values())).sum(0)
    return replace(
        found,
        x=torch.where(worse[batch.column_of], near.x, found.x),
        y=torch.where(worse[batch.row_of], near.y, found.y),
    )


def likeliest_basis(columns: Array, rows: Array) -> Basis:
    """As many basic ones as there are rows, those that are likeliest to be; of the others the likeliest bound.

    Args:
        columns: logits, ``[n, 4]``.
        rows: logits, ``[m, 4]``.
    """
    logits = np.concatenate([columns, rows])
    others = logits.copy()
    others[:, BASIC] = -np.inf
    # A column of no bounds at all has another status still: every row of logits has a finite one besides.
    surplus = logits[:, BASIC] - others.max(1)
    status = others.argmax(1).astype(np.int8)
    status[np.argsort(-surplus, kind="stable")[: len(rows)]] = BASIC
    return Basis(status[: len(columns)], status[len(columns) :])


def _split(values: Tensor, sizes: list[int]) -> list[Array]:
    return [part.double().numpy() for part in values.cpu().split(sizes)]
