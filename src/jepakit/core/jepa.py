"""The algorithm: encode a context view, encode a target view, predict the target's embedding, compare.

An encoder is any module from a view to embeddings, a loss any callable ``(prediction, target) -> scalar``. The training
loop can be bare PyTorch::

    jepa = JEPA(encoder, EMATarget(encoder), MLPPredictor(64), smooth_l1)
    for context, target in loader:
        output = jepa(Views(context, target))
        output.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        jepa.after_step()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from jepakit.core.distributed import own_part
from jepakit.core.target import Target
from jepakit.errors import ConfigError, require_at_least

Embeddings = Tensor | Mapping[str, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Where:
    """What the predictor has to predict. A predictor reads the fields it needs.

    Args:
        target_rows: rows of the target's embeddings to compare with, ``[M]`` int64; None: all rows.
        context_rows: rows of the context's embeddings to predict from, ``[M]`` int64; None: all rows.
        position: the position of each query, ``[M, P]``: without it all queries of one example are the same.
        query_group: the example of each query, ``[M]`` int64.
        context_group: the example of each row of the context's embeddings, ``[N]`` int64.
        backward: predict in the opposite direction, see `jepakit.core.predictor.BidirectionalPredictor`.
    """

    target_rows: Tensor | None = None
    context_rows: Tensor | None = None
    position: Tensor | None = None
    query_group: Tensor | None = None
    context_group: Tensor | None = None
    backward: bool = False


@dataclass(frozen=True)
class Views:
    """The inputs of the context and the target encoder, and what to predict.

    ``where`` is a mapping where embeddings are a mapping; None: every row is predicted from its own row.
    """

    context: Any
    target: Any
    where: Where | Mapping[str, Where] | None = None


@dataclass(frozen=True)
class JEPAOutput:
    """The result of one step.

    Args:
        total: the scalar to minimise: prediction losses and weighted regularisers.
        terms: every term by name, unweighted, detached.
        context: the context encoder's embeddings of the (last) context view.
        prediction: the predictor's output.
        target: the target embeddings that the prediction is compared with.
        encoded: all embeddings of the (last) target view.
    """

    total: Tensor
    terms: dict[str, Tensor]
    context: Embeddings
    prediction: Embeddings
    target: Embeddings
    encoded: Embeddings


class JEPA(nn.Module):
    """Joint-embedding predictive architecture (LeCun 2022; I-JEPA, Assran et al. 2023).

    In a group of processes a prediction loss counts by the number of its rows, so that with a loss that is a mean over
    rows, or over the global batch, the mean of the totals of all processes is the total of one process on all rows.

    Args:
        context_encoder: view -> embeddings, ``[N, D]`` or a dict of them. Trained.
        target: how targets are encoded, see `jepakit.core.target`.
        predictor: ``(context embeddings, where) -> prediction``, with the keys to be predicted where it is a dict.
        loss: ``(prediction, target) -> scalar``, or a loss for each predicted key of a dict, whose mean counts.
        regularizers: name -> (weight, function of ``[N, D]``). The mean over the context's embeddings and, where the
            target encoder is trained, the target's, for each predicted key that the context encoder puts out.
        weight: of the prediction loss.

    Raises:
        ConfigError: a weight is negative, or the target does not fit the context encoder.
    """

    def __init__(
        self,
        context_encoder: nn.Module,
        target: Target,
        predictor: nn.Module,
        loss: Loss | Mapping[str, Loss],
        regularizers: Mapping[str, tuple[float, Callable[[Tensor], Tensor]]] | None = None,
        *,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = weight
        require_at_least(self, weight=0)
        self.context_encoder, self.target, self.predictor, self.loss = context_encoder, target, predictor, loss
        self.target.check(context_encoder)
        self.regularizers = dict(regularizers or {})
        for name, (factor, _) in self.regularizers.items():
            if not factor >= 0:
                raise ConfigError(f"regularizers[{name!r}]", factor, "at least 0")
        # Registers the state of regularisers, such as SIGReg's step; plain functions have none.
        self._stateful = nn.ModuleList(f for _, f in self.regularizers.values() if isinstance(f, nn.Module))

    def forward(self, views: Views | Sequence[Views]) -> JEPAOutput:
        """One step; several `Views`, such as both directions, count equally.

        Raises:
            ConfigError: no views were given, or the predictor's output does not match its target.
        """
        if isinstance(views, Views):
            return self.step(views)
        if not views:
            raise ConfigError("views", views, "at least one Views")
        outputs = [self.step(view) for view in views]
        terms = {name: torch.stack([o.terms[name] for o in outputs]).mean() for name in outputs[0].terms}
        total = torch.stack([output.total for output in outputs]).mean()
        return replace(outputs[-1], total=total, terms=terms)

    def after_step(self) -> None:
        """Call once after every optimiser step: moves an EMA target."""
        self.target.update(self.context_encoder)

    def step(self, views: Views) -> JEPAOutput:
        """One step on one pair of views; `forward` averages over several. A subclass may add terms here."""
        context = self.joined(self.context_encoder(views.context))
        prediction = self.predictor(context, views.where)
        encoded = self.joined(self.target(views.target, self.context_encoder))
        target = _target_rows(encoded, views.where, prediction)

        terms: dict[str, Tensor] = {}
        for key, predicted in _by_key(prediction).items():
            name, wanted = f"predict/{key}" if key else "predict", _by_key(target)[key]
            # Broadcasting would hide a wrong pairing: [M, D] against [1, D] is a valid but meaningless loss.
            if len(predicted) != len(wanted):
                raise ConfigError(name, tuple(predicted.shape), f"a row for each of the {len(wanted)} target rows")
            terms[name] = own_part(self._loss_of(key)(predicted, wanted), len(predicted))
        total = self.weight * torch.stack(list(terms.values())).mean()
        penalised = [_by_key(self.regularized_context(context))]
        if self.target.trains:
            penalised.append(_by_key(self.regularized_targets(encoded)))
        # What the context encoder does not put out, such as a descriptor, cannot collapse.
        keys = [key for key in _by_key(prediction) if key in penalised[0]]
        for name, (weight, function) in self.regularizers.items():
            terms[name] = torch.stack([function(embeddings[key]) for embeddings in penalised for key in keys]).mean()
            total = total + weight * terms[name]
        return JEPAOutput(total, {k: v.detach() for k, v in terms.items()}, context, prediction, target, encoded)

    def joined(self, embeddings: Embeddings) -> Embeddings:
        """The embeddings that predictor and losses see: those of this process."""
        return embeddings

    def regularized_context(self, context: Embeddings) -> Embeddings:
        """The rows of the context's embeddings that regularisers see: all rows."""
        return context

    def regularized_targets(self, encoded: Embeddings) -> Embeddings:
        """The rows of a trained target's embeddings that regularisers see: all rows."""
        return encoded

    def _loss_of(self, key: str) -> Loss:
        if isinstance(self.loss, Mapping) and key not in self.loss:
            raise ConfigError("loss", sorted(self.loss), f"a loss for {key!r}, which is predicted")
        return self.loss[key] if isinstance(self.loss, Mapping) else self.loss


def _by_key(embeddings: Embeddings) -> Mapping[str, Tensor]:
    """The embeddings by key; the key of a bare tensor is the empty string."""
    return {"": embeddings} if isinstance(embeddings, Tensor) else embeddings


def _target_rows(encoded: Embeddings, where: Where | Mapping[str, Where] | None, prediction: Embeddings) -> Embeddings:
    """The rows of the target's embeddings to compare with, for the keys that were predicted."""
    wheres = where if isinstance(where, Mapping) else {"": where}

    def selected(key: str, embeddings: Tensor) -> Tensor:
        place = wheres.get(key)
        return embeddings if place is None or place.target_rows is None else embeddings[place.target_rows]

    if isinstance(encoded, Tensor):
        return selected("", encoded)
    return {key: selected(key, encoded[key]) for key in _by_key(prediction)}
