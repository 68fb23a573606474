"""The objective: predict the document's embedding from the query's, and tell it from the other documents'."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core import JEPA, JEPAOutput, SharedTarget, SIGReg, Views, candidate_info_nce, cosine, isotropy_penalty
from jepakit.core.regularizer import covariance, vicreg_variance
from jepakit.errors import ConfigError, require_choice
from jepakit.retrieval.encoder import Towers
from jepakit.retrieval.views import Contrast

__all__ = ["ContrastiveJEPA", "ObjectiveConfig"]


@dataclass
class ObjectiveConfig:
    """The loss: λ_predictive ‖ẑ − d‖² + λ_contrastive InfoNCE + λ_isotropy isotropy + λ_variance variance.

    Vectors are of length 1 in the first two; the last two see the projections' output, brought to length √D.

    Args:
        predictive: weight of the squared distance between prediction and target.
        contrastive: weight of InfoNCE against the candidates.
        isotropy: weight of the isotropy term; needs a projection.
        isotropy_term: ``sigreg``, or the ``covariance`` penalty ‖cov − I‖_F.
        variance: weight of VICReg's hinge on the standard deviation of each dimension; needs a projection.
        temperature: τ of InfoNCE, the starting value where it is learned.
        learn_temperature: train log τ with the rest.
        stop_gradient: the predictive term does not move its target.
    """

    predictive: float = 1.0
    contrastive: float = 1.0
    isotropy: float = 0.0
    isotropy_term: Literal["sigreg", "covariance"] = "sigreg"
    variance: float = 0.0
    temperature: float = 0.03
    learn_temperature: bool = False
    stop_gradient: bool = True

    def __post_init__(self) -> None:
        require_choice("isotropy_term", self.isotropy_term, ("sigreg", "covariance"))
        for name in ("predictive", "contrastive", "isotropy", "variance"):
            if not getattr(self, name) >= 0:
                raise ConfigError(name, getattr(self, name), "a weight of at least 0")
        if self.predictive == 0 and self.contrastive == 0:
            raise ConfigError("contrastive", 0, "above 0 where predictive is 0: nothing else names the right document")
        if not self.temperature > 0:
            raise ConfigError("temperature", self.temperature, "a number above 0")


class ContrastiveJEPA(JEPA):
    """`jepakit.core.JEPA`, whose prediction is also told from the other rows of the target view.

    Args:
        towers: the encoder of both sides.
        predictor: see `jepakit.retrieval.encoder.build_predictor`.
        config: weights.
    """

    def __init__(self, towers: Towers, predictor: nn.Module, config: ObjectiveConfig) -> None:
        terms: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {}
        if config.isotropy:
            spread = SIGReg() if config.isotropy_term == "sigreg" else isotropy_penalty
            terms["isotropy"] = (config.isotropy, _Spread(spread))
        if config.variance:
            terms["variance"] = (config.variance, _Spread(lambda z: vicreg_variance(covariance(z))))
        if terms and not towers.projections:
            raise ConfigError(next(iter(terms)), terms[next(iter(terms))][0], "0 where projection_depth is 0")
        loss = _stopped if config.stop_gradient else cosine
        target = SharedTarget(stop_gradient=False)
        super().__init__(towers, target, predictor, loss, terms, weight=config.predictive)
        self.contrastive = config.contrastive
        log_temperature = torch.tensor(config.temperature).log()
        self.log_temperature = nn.Parameter(log_temperature, requires_grad=config.learn_temperature)

    def step(self, views: Views) -> JEPAOutput:
        assert isinstance(views, Contrast)
        output = super().step(views)
        assert isinstance(output.prediction, Tensor)
        assert isinstance(output.encoded, Tensor)
        contrastive = candidate_info_nce(
            output.prediction,
            output.encoded,
            views.positive,
            temperature=self.log_temperature.exp(),
            excluded=views.excluded,
        )
        terms = {**output.terms, "contrastive": contrastive.detach()}
        if self.log_temperature.requires_grad:
            terms["temperature"] = self.log_temperature.detach().exp()
        return replace(output, total=output.total + self.contrastive * contrastive, terms=terms)


class _Spread(nn.Module):
    """A regulariser of N(0, I), on unit vectors: centred, and of length √D, at which an isotropic cloud has variance 1.

    As they are, unit vectors of any spread lie so near 0 that the statistic cannot tell them from a collapse.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, embeddings: Tensor) -> Tensor:
        scaled = F.normalize(embeddings, dim=-1) * embeddings.shape[-1] ** 0.5
        return self.function(scaled - scaled.mean(0))


def _stopped(prediction: Tensor, target: Tensor) -> Tensor:
    return cosine(prediction, target.detach())
