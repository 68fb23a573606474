"""The algorithm: encode a context view, encode a target view, predict the target's embedding, compare.

Everything is passed in and nothing is inherited: an encoder is any module from a view to embeddings, a loss is any
callable ``(prediction, target) -> scalar``. The loop around it can be bare PyTorch::

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

from jepakit.core.target import Target
from jepakit.errors import ConfigError

Embeddings = Tensor | Mapping[str, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Where:
    """What the predictor has to predict. Every field is optional; a predictor reads the fields it needs.

    Args:
        target_rows: rows of the target's embeddings to compare with, ``[M]`` int64; None: all of them.
        context_rows: rows of the context's embeddings to predict from, ``[M]`` int64; None: all of them.
        position: the position of each query, ``[M, P]``: without it all queries of one example are the same.
        query_group: the example of the batch each query belongs to, ``[M]`` int64.
        context_group: the example each row of the context's embeddings belongs to, ``[N]`` int64.
        backward: predict in the opposite direction (see `jepakit.core.predictor.BidirectionalPredictor`).
    """

    target_rows: Tensor | None = None
    context_rows: Tensor | None = None
    position: Tensor | None = None
    query_group: Tensor | None = None
    context_group: Tensor | None = None
    backward: bool = False


@dataclass(frozen=True)
class Views:
    """One prediction task.

    Args:
        context: input of the context encoder.
        target: input of the target encoder.
        where: what to predict; a mapping where embeddings are a mapping; None: every row from its own row.
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
        encoded: all embeddings of the (last) target view; those outside ``target`` may serve as negatives of a
            contrastive loss.
    """

    total: Tensor
    terms: dict[str, Tensor]
    context: Embeddings
    prediction: Embeddings
    target: Embeddings
    encoded: Embeddings


class JEPA(nn.Module):
    """Joint-embedding predictive architecture (LeCun 2022; I-JEPA, Assran et al. 2023).

    Args:
        context_encoder: view -> embeddings, ``[N, D]`` or a dict of them. Trained.
        target: how targets are encoded, see `jepakit.core.target`.
        predictor: ``(context embeddings, where) -> prediction``, with the keys to be predicted where it is a dict.
        loss: ``(prediction, target) -> scalar``, or one for each predicted key of a dict, whose mean counts.
        regularizers: name -> (weight, function of ``[N, D]``). Applied to the context's embeddings and, where the
            target encoder is trained too, to the target's (the mean of both), for each predicted key that the context
            encoder's embeddings have.
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
        if not weight >= 0:
            raise ConfigError("weight", weight, "a weight of at least 0")
        self.weight = weight
        self.context_encoder, self.target, self.predictor, self.loss = context_encoder, target, predictor, loss
        self.target.check(context_encoder)
        self.weights = {name: weight for name, (weight, _) in (regularizers or {}).items()}
        self.regularizers = {name: function for name, (_, function) in (regularizers or {}).items()}
        for name, weight in self.weights.items():
            if not weight >= 0:
                raise ConfigError(f"regularizers[{name!r}]", weight, "a weight of at least 0")
        # Registered so that a regulariser's state (SIGReg's step) is saved, while plain functions are welcome too.
        self._stateful = nn.ModuleList(f for f in self.regularizers.values() if isinstance(f, nn.Module))

    def forward(self, views: Views | Sequence[Views]) -> JEPAOutput:
        """One step; several `Views` (both directions, several targets) count equally.

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
        context = self.context_encoder(views.context)
        prediction = self.predictor(context, views.where)
        encoded = self.target(views.target, self.context_encoder)
        target = _asked_for(encoded, views.where, prediction)

        losses = {
            _term(key): self._loss_of(key)(predicted, wanted) for key, predicted, wanted in _pairs(prediction, target)
        }
        total = self.weight * torch.stack(list(losses.values())).mean()
        terms = dict(losses)
        penalised = [_by_key(context)]
        if self.target.trains:
            penalised.append(_by_key(self.regularized_targets(encoded)))
        # A prediction may be of something the encoder itself does not put out: there is nothing to keep from collapse.
        keys = [key for key in _by_key(prediction) if key in penalised[0]]
        for name, function in self.regularizers.items():
            values = [function(embeddings[key]) for embeddings in penalised for key in keys]
            terms[name] = torch.stack(values).mean()
            total = total + self.weights[name] * terms[name]
        return JEPAOutput(total, {k: v.detach() for k, v in terms.items()}, context, prediction, target, encoded)

    def regularized_targets(self, encoded: Embeddings) -> Embeddings:
        """The rows of the target's embeddings that regularisers of a trained target see: all of them."""
        return encoded

    def _loss_of(self, key: str) -> Loss:
        if not isinstance(self.loss, Mapping):
            return self.loss
        if key not in self.loss:
            raise ConfigError("loss", sorted(self.loss), f"a loss for {key!r}, which is predicted")
        return self.loss[key]


def _term(key: str) -> str:
    """What the loss of a predicted key is called."""
    return f"predict/{key}" if key else "predict"


def _by_key(embeddings: Embeddings) -> Mapping[str, Tensor]:
    """The embeddings by key; the key of a bare tensor is the empty string."""
    return {"": embeddings} if isinstance(embeddings, Tensor) else embeddings


def _asked_for(encoded: Embeddings, where: Where | Mapping[str, Where] | None, prediction: Embeddings) -> Embeddings:
    """The rows of the target's embeddings that were to be predicted, for the keys that were predicted."""
    asked = where if isinstance(where, Mapping) else {} if where is None else {"": where}

    def rows(key: str, embeddings: Tensor) -> Tensor:
        wanted = asked[key].target_rows if key in asked else None
        return embeddings if wanted is None else embeddings[wanted]

    if isinstance(encoded, Tensor):
        return rows("", encoded)
    return {key: rows(key, encoded[key]) for key in _by_key(prediction)}


def _pairs(prediction: Embeddings, target: Embeddings) -> list[tuple[str, Tensor, Tensor]]:
    """(key, prediction, target) for each key."""
    targets = _by_key(target)
    pairs = [(key, predicted, targets[key]) for key, predicted in _by_key(prediction).items()]
    for key, predicted, wanted in pairs:
        # Broadcasting would hide a wrong pairing: [M, D] against [1, D] is a valid but meaningless loss.
        if predicted.shape[0] != wanted.shape[0]:
            raise ConfigError(
                _term(key), tuple(predicted.shape), f"a row for each of the {wanted.shape[0]} target rows"
            )
    return pairs
