"""The trained model: an encoder with heads that makes starts for problems in their own units."""

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


class LPModel(nn.Module):
    """An encoder with heads.

    Args:
        use_bipartite_graphs: a graph network, for problems of any size; otherwise a perceptron, for one size.
        columns: n of every problem, for the perceptron.
        rows: m of every problem, for the perceptron.
        encoder: the fields of `EncoderConfig`.
        balance: of the first-order iterations, see `jepakit.lp.solving.iterates.primal_dual`.
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
        """The constructor's keywords, for `jepakit.training.save_encoder`."""
        return {
            "use_bipartite_graphs": isinstance(self.encoder, GNNPolicy),
            "columns": self.columns,
            "rows": self.rows,
            "encoder": vars(self.encoder.config).copy(),
            "balance": self.balance,
        }

    @torch.no_grad()
    def starts(self, problems: Sequence[LinearProgram]) -> list[Start]:
        """A start for each problem.

        Raises:
            DataError: a problem has another size than the perceptron's.
        """
        scaled, scalings = zip(*(equilibrated(problem) for problem in problems), strict=True)
        batch = LPBatch.of(scaled, iterations=self.encoder.config.iterations, balance=self.balance)
        prediction = _no_worse_than_iterates(self.heads(self.encoder(batch), batch), batch)
        columns, rows = batch.column_ptr.diff().tolist(), batch.row_ptr.diff().tolist()
        parts = zip(
            problems,
            scalings,
            _split(prediction.x, columns),
            _split(prediction.y, rows),
            _split(prediction.column_status, columns),
            _split(prediction.row_status, rows),
            strict=True,
        )
        return [
            Start("model", scaling.x(x), scaling.y(y), likeliest_basis(of_columns, of_rows).fitted(problem))
            for problem, scaling, x, y, of_columns, of_rows in parts
        ]


def _no_worse_than_iterates(prediction: Prediction, batch: LPBatch) -> Prediction:
    """The prediction, with x and y replaced by the iterates in each problem where the iterates' KKT terms are smaller.

    A network may move away from every optimum, for example towards the mean of several.
    """
    near = batch.near
    if near is None:
        return prediction
    predicted, iterated = kkt_terms(batch, prediction.x, prediction.y), terms_of(batch, near)
    worse = torch.stack(list(predicted.values())).sum(0) > torch.stack(list(iterated.values())).sum(0)
    return replace(
        prediction,
        x=torch.where(worse[batch.column_of], near.x, prediction.x),
        y=torch.where(worse[batch.row_of], near.y, prediction.y),
    )


def likeliest_basis(columns: Array, rows: Array) -> Basis:
    """The m columns and rows that are most likely basic are basic; the others are at their likeliest bound.

    Args:
        columns: logits, ``[n, 4]``.
        rows: logits, ``[m, 4]``.
    """
    logits = np.concatenate([columns, rows])
    nonbasic = logits.copy()
    nonbasic[:, BASIC] = -np.inf
    # At least one nonbasic status is finite: a column without bounds can be free.
    surplus = logits[:, BASIC] - nonbasic.max(1)
    status = nonbasic.argmax(1).astype(np.int8)
    status[np.argsort(-surplus, kind="stable")[: len(rows)]] = BASIC
    return Basis(status[: len(columns)], status[len(columns) :])


def _split(values: Tensor, sizes: list[int]) -> list[Array]:
    return [part.double().numpy() for part in values.cpu().split(sizes)]
