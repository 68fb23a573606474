"""The objective: predict the document's embedding from the query's, and tell it from the other documents'."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from jepakit.core import (
    ContrastiveJEPA,
    InfoNCE,
    SharedTarget,
    SIGReg,
    UnitRows,
    cosine,
    isotropy_penalty,
    variance_hinge,
)
from jepakit.errors import ConfigError, require_choice
from jepakit.retrieval.encoder import Towers

__all__ = ["ObjectiveConfig", "build_jepa"]


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


def build_jepa(towers: Towers, predictor: nn.Module, config: ObjectiveConfig) -> ContrastiveJEPA:
    """The objective.

    Args:
        towers: the encoder of both sides.
        predictor: see `jepakit.retrieval.encoder.build_predictor`.
        config: weights.

    Raises:
        ConfigError: a regulariser has a weight and there is no projection to regularise.
    """
    terms: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {}
    if config.isotropy:
        regularizer = SIGReg() if config.isotropy_term == "sigreg" else isotropy_penalty
        terms["isotropy"] = (config.isotropy, UnitRows(regularizer))
    if config.variance:
        terms["variance"] = (config.variance, UnitRows(variance_hinge))
    if terms and not towers.projections:
        raise ConfigError(next(iter(terms)), terms[next(iter(terms))][0], "0 where projection_depth is 0")
    return ContrastiveJEPA(
        towers,
        SharedTarget(stop_gradient=False),
        predictor,
        _stopped if config.stop_gradient else cosine,
        terms,
        weight=config.predictive,
        contrast=InfoNCE(temperature=config.temperature, learn_temperature=config.learn_temperature),
        contrast_weight=config.contrastive,
    )


def _stopped(prediction: Tensor, target: Tensor) -> Tensor:
    return cosine(prediction, target.detach())
