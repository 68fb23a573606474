"""The trained model: an encoder with heads that makes starts for problems in their own units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.encoder import EncoderConfig, GNNPolicy, Heads, KKTNetMLP, Prediction
from jepakit.lp.networks.batch import LPBatch
from jepakit.lp.networks.kkt import kkt_terms
from jepakit.lp.solving.basis import BASIC, Basis
from jepakit.lp.solving.scaling import equilibrated
from jepakit.lp.solving.solver import Start
from jepakit.training import HubMixin


class LPModel(HubMixin):
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
            "encoder": asdict(self.encoder.config),
            "balance": self.balance,
        }

    @torch.no_grad()
    def starts(self, problems: Sequence[LinearProgram]) -> list[Start]:
        """A start for each problem.

        Raises:
            DataError: a problem has another size than the perceptron's.
        """
        scaled, scalings = zip(*map(equilibrated, problems), strict=True)
        batch = LPBatch.of(scaled, iterations=self.encoder.config.iterations, balance=self.balance)
        prediction = _no_worse_than_iterates(self.heads(self.encoder(batch), batch), batch)

        def split(values: Tensor, pointer: Tensor) -> list[Array]:
            return [part.double().numpy() for part in values.cpu().split(pointer.diff().tolist())]

        xs, ys = split(prediction.x, batch.column_ptr), split(prediction.y, batch.row_ptr)
        statuses = split(prediction.column_status, batch.column_ptr), split(prediction.row_status, batch.row_ptr)
        return [
            Start("model", scaling.x * x, scaling.y * y, basis.fitted(problem))
            for problem, scaling, x, y, basis in zip(
                problems, scalings, xs, ys, map(likeliest_basis, *statuses), strict=True
            )
        ]


def _no_worse_than_iterates(prediction: Prediction, batch: LPBatch) -> Prediction:
    """The prediction, with x and y replaced by the iterates in each problem where the iterates' KKT terms are smaller.

    A network may move away from every optimum, for example towards the mean of several.
    """
    if (near := batch.near) is None:
        return prediction
    predicted, iterated = (
        torch.stack(list(kkt_terms(batch, point).values())).sum(0)
        for point in (batch.at(prediction.x, prediction.y), near)
    )
    worse = predicted > iterated
    return replace(
        prediction,
        x=torch.where(worse[batch.column_of], near.x, prediction.x),
        y=torch.where(worse[batch.row_of], near.y, prediction.y),
    )


def likeliest_basis(columns: Array, rows: Array) -> Basis:
    """The basis of logits ``[n, 4]`` and ``[m, 4]``.

    The m columns and rows that are most likely basic are basic; the others are at their likeliest bound.
    """
    logits = np.concatenate([columns, rows])
    nonbasic = logits.copy()
    nonbasic[:, BASIC] = -np.inf
    # At least one nonbasic status is finite: a column without bounds can be free.
    surplus = logits[:, BASIC] - nonbasic.max(1)
    status = nonbasic.argmax(1).astype(np.int8)
    status[np.argsort(-surplus, kind="stable")[: len(rows)]] = BASIC
    return Basis(status[: len(columns)], status[len(columns) :])
