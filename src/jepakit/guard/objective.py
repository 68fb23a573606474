"""The objective: what governs an agent predicts its calls; attacks are far from the prediction; labels are learned."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.core import JEPA, Embeddings, InfoNCE, JEPAOutput, SeparateTarget, Views, Where, cosine
from jepakit.core.distributed import gather_rows, share_of_rows
from jepakit.errors import ConfigError, require_at_least, require_within
from jepakit.guard.model import GuardModel
from jepakit.training.objective import RegularizerConfig, build_regularizers

#: Width of the step of the margin: differences of energies are in [-2, 2].
_MARGIN_WIDTH = 0.1


@dataclass
class ObjectiveConfig(RegularizerConfig):
    """The loss: λ_predictive (2 - 2 cos) + λ_contrastive InfoNCE + λ_margin margin + λ_labels cross-entropy.

    Args:
        predictive: weight of the distance between prediction and benign call.
        contrastive: weight of InfoNCE in both directions: of a context's call among the calls of the batch, and of a
            call's context among the contexts.
        temperature: τ of InfoNCE.
        hard_negatives: malicious calls are candidates too, those of the same context among them.
        margin: weight of softplus((δ + E⁺ - E⁻) / .1), over pairs of a benign and a malicious call of a context.
        security_margin: δ, by which the energy of malicious calls should exceed that of benign ones.
        labels: weight of the cross-entropy of the labels of calls.
    """

    predictive: float = 0.5
    contrastive: float = 0.5
    temperature: float = 0.07
    hard_negatives: bool = True
    margin: float = 0.5
    security_margin: float = 0.5
    labels: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, predictive=0, contrastive=0, margin=0, labels=0)
        require_within(self, "[0, 2]", "security_margin")
        require_within(self, "(0, inf)", "temperature")
        if not self.predictive + self.contrastive + self.margin + self.labels:
            raise ConfigError("labels", self.labels, "above 0 where all other weights are 0")


@dataclass(frozen=True, kw_only=True)
class Judged(Views):
    """Views of contexts and of plans, with labels; C calls, N contexts.

    ``where`` names the benign calls and the context of each.

    Args:
        context_of: the context of each call, ``[C]`` int64.
        malicious: whether a call serves an attack, ``[C]`` bool.
        known: whether its label is known, ``[C]`` bool.
    """

    context_of: Tensor
    malicious: Tensor
    known: Tensor


class GuardJEPA(JEPA):
    """`JEPA` on `Judged` views, with the further terms of `ObjectiveConfig`.

    The encoders, predictor and head are those of the model.
    """

    def __init__(self, model: GuardModel, config: ObjectiveConfig) -> None:
        super().__init__(
            model.governance,
            SeparateTarget(model.execution),
            model.predictor,
            _distance,
            build_regularizers(config),
            weight=config.predictive,
        )
        self.head, self.config = model.head, config
        self._forward = InfoNCE(temperature=config.temperature)

    def joined(self, embeddings: Embeddings) -> Embeddings:
        """Those of all processes: each encodes its share, and all compute the loss of the whole batch."""
        assert isinstance(embeddings, Tensor)
        return gather_rows(embeddings)[0]

    def regularized_context(self, context: Embeddings) -> Embeddings:
        """This process's share of the rows, so that each counts once."""
        assert isinstance(context, Tensor)
        return share_of_rows(context)

    def regularized_targets(self, encoded: Embeddings) -> Embeddings:
        """This process's share of the rows, so that each counts once."""
        assert isinstance(encoded, Tensor)
        return share_of_rows(encoded)

    def step(self, views: Views) -> JEPAOutput:
        """One step; ``terms`` has ``contrastive``, ``margin``, ``labels``, and the mean energies of both labels."""
        assert isinstance(views, Judged)
        assert isinstance(views.where, Where)
        output = super().step(views)
        assert isinstance(output.context, Tensor)
        assert isinstance(output.encoded, Tensor)
        predicted, calls = self.predictor(output.context, None), output.encoded
        energy = 1 - F.cosine_similarity(predicted[views.context_of], calls, dim=1)
        terms = {
            "contrastive": self._contrast(predicted, calls, views),
            "margin": _margin(energy, views, self.config.security_margin),
            "labels": _cross_entropy(self.head(predicted[views.context_of], calls), views),
        }
        weights = {name: getattr(self.config, name) for name in terms}
        total = output.total + torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        told = {name: term.detach() for name, term in terms.items()}
        for name, chosen in (("benign", ~views.malicious), ("malicious", views.malicious)):
            told[f"energy/{name}"] = energy[chosen].mean().detach() if chosen.any() else energy.new_zeros(())
        return replace(output, total=total, terms={**output.terms, **told})

    def _contrast(self, predicted: Tensor, calls: Tensor, views: Judged) -> Tensor:
        """InfoNCE in both directions, over benign calls; other benign calls of a context are no negatives of it."""
        benign = torch.nonzero(~views.malicious)[:, 0]
        if not len(benign):
            return predicted.new_zeros(())
        owner = views.context_of[benign]
        excluded = (views.context_of[None, :] == owner[:, None]) & ~views.malicious[None, :]
        if not self.config.hard_negatives:
            excluded = excluded | views.malicious[None, :]
        excluded = excluded.scatter(1, benign[:, None], False)
        to_calls = self._forward(predicted[owner], calls, benign, excluded=excluded)
        return (to_calls + self._forward(calls[benign], predicted, owner)) / 2


def _distance(prediction: Tensor, target: Tensor) -> Tensor:
    """2 - 2 cos, 0 for a batch without a benign call."""
    return cosine(prediction, target) if len(target) else prediction.sum()


def _margin(energy: Tensor, views: Judged, margin: float) -> Tensor:
    """The mean over pairs of a benign and a malicious call of one context; 0 without a pair."""
    benign, malicious = torch.nonzero(~views.malicious)[:, 0], torch.nonzero(views.malicious)[:, 0]
    same = views.context_of[benign][:, None] == views.context_of[malicious][None, :]
    excess = (margin + energy[benign][:, None] - energy[malicious][None, :])[same]
    return F.softplus(excess / _MARGIN_WIDTH).mean() if len(excess) else energy.sum() * 0


def _cross_entropy(logits: Tensor, views: Judged) -> Tensor:
    """Of known labels; benign and malicious calls have the same weight."""
    target = views.malicious.to(logits.dtype)
    errors = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    parts = [errors[views.known & chosen] for chosen in (views.malicious, ~views.malicious)]
    means = [part.mean() for part in parts if len(part)]
    return torch.stack(means).mean() if means else logits.sum() * 0


def build_jepa(model: GuardModel, config: ObjectiveConfig) -> GuardJEPA:
    """The objective of a model."""
    return GuardJEPA(model, config)
