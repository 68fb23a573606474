"""The JEPA of the graph system, put together from its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from jepakit.core import (
    JEPA,
    LOSSES,
    CosineSchedule,
    CrossAttentionPredictor,
    EMATarget,
    IdentityPredictor,
    Loss,
    MLPPredictor,
    NormalizedTarget,
    PredictorPerKey,
    SharedTarget,
    SIGReg,
    StandardizedBatch,
    Target,
    VICReg,
    decorrelation,
    isotropy_penalty,
    smooth_l1,
)
from jepakit.errors import ConfigError, require_choice
from jepakit.graph.descriptors import DescribedTarget, DescriptorPredictor
from jepakit.graph.encoder import GraphEncoder

__all__ = ["ObjectiveConfig", "build_jepa"]

TARGETS = ("ema", "simsiam", "lejepa")
KEYS = ("node", "graph", "descriptor")
REGULARIZERS = ("sigreg", "vicreg", "isotropy", "decorrelation")


@dataclass
class ObjectiveConfig:
    """What is predicted, how, and what keeps the embeddings from collapsing.

    Args:
        target: ``ema`` copy, ``simsiam`` (shared weights, stop-gradient), ``lejepa`` (shared, no stop-gradient,
            which needs a regulariser).
        momentum: of the EMA at the first step; it rises to 1 along a cosine.
        predict: any of ``node`` (the masked nodes), ``graph`` (the embedding of the whole target view) and
            ``descriptor`` (`Graphs.descriptors`, of a table of molecules RDKit's; by smooth-L1 on normal scores).
        predictor: for nodes: ``mlp`` on a masked node's own row, ``cross_attention`` from its position, or ``none``,
            where the context's own embedding is the prediction.
        predictor_depth: layers or blocks.
        loss: a name in `jepakit.core.LOSSES`.
        normalize_target: layer-normalise targets, each layer of the encoder apart.
        standardize: standardise predictions and targets over the batch, as CCA-SSG does.
        sigreg: weight of SIGReg.
        vicreg: weight of VICReg's variance and covariance.
        isotropy: weight of ‖cov − I‖.
        decorrelation: weight of ‖corr − I‖² / D.
    """

    target: Literal["ema", "simsiam", "lejepa"] = "ema"
    momentum: float = 0.996
    predict: list[Literal["node", "graph", "descriptor"]] = field(default_factory=lambda: ["node"])
    predictor: Literal["mlp", "cross_attention", "none"] = "mlp"
    predictor_depth: int = 2
    loss: Literal["mse", "normalized_mse", "cosine", "smooth_l1", "huber", "hyperbolic"] = "smooth_l1"
    normalize_target: bool = True
    standardize: bool = False
    sigreg: float = 0.0
    vicreg: float = 0.0
    isotropy: float = 0.0
    decorrelation: float = 0.0

    def __post_init__(self) -> None:
        require_choice("target", self.target, TARGETS)
        require_choice("predictor", self.predictor, ("mlp", "cross_attention", "none"))
        require_choice("loss", self.loss, LOSSES)
        for key in self.predict:
            require_choice("predict", key, KEYS)
        if not {"node", "graph"} & {*self.predict}:
            raise ConfigError("predict", self.predict, "node, graph, or both, with or without descriptor")
        if self.loss == "hyperbolic" and (self.predictor == "none" or self.standardize):
            raise ConfigError("loss", self.loss, "another loss where predictor = none or standardize = true")
        if self.predictor_depth < 1:
            raise ConfigError("predictor_depth", self.predictor_depth, "at least 1")
        if not 0 <= self.momentum <= 1:
            raise ConfigError("momentum", self.momentum, "a number from 0 to 1")
        for name in REGULARIZERS:
            if not getattr(self, name) >= 0:
                raise ConfigError(name, getattr(self, name), "a weight of at least 0")
        if self.target == "lejepa" and not any(getattr(self, name) for name in REGULARIZERS):
            raise ConfigError("sigreg", self.sigreg, "above 0, or another regulariser, with target = lejepa")


def build_jepa(encoder: GraphEncoder, config: ObjectiveConfig, *, total_steps: int, descriptors: int = 0) -> JEPA:
    """The objective for ``encoder``.

    Args:
        encoder: the context encoder.
        config: what to build.
        total_steps: optimiser steps of the run, for the momentum's schedule.
        descriptors: columns of ``graphs.descriptors``, where they are to be predicted.

    Raises:
        ConfigError: descriptors are to be predicted and there are none, or cross-attention is asked for without
            structural encodings, or its heads do not divide its width.
    """
    if "descriptor" in config.predict and not descriptors:
        raise ConfigError("objective.predict", "descriptor", "graphs with descriptors, such as a table of molecules")
    predictors = {key: _predictor(key, encoder, config, descriptors) for key in config.predict}
    loss = _loss(encoder, config)
    target = _target(encoder, config, total_steps)
    return JEPA(
        encoder,
        DescribedTarget(target) if "descriptor" in predictors else target,
        PredictorPerKey(predictors, {"descriptor": "graph"}),
        {key: smooth_l1 if key == "descriptor" else loss for key in predictors},
        {
            name: (weight, function)
            for name, weight, function in (
                ("sigreg", config.sigreg, SIGReg()),
                ("vicreg", config.vicreg, VICReg()),
                ("isotropy", config.isotropy, isotropy_penalty),
                ("decorrelation", config.decorrelation, decorrelation),
            )
            if weight > 0
        },
    )


def _target(encoder: GraphEncoder, config: ObjectiveConfig, total_steps: int) -> Target:
    if config.target == "ema":
        return EMATarget(encoder, CosineSchedule(config.momentum, 1.0, total_steps))
    return SharedTarget(stop_gradient=config.target == "simsiam")


def _predictor(key: str, encoder: GraphEncoder, config: ObjectiveConfig, descriptors: int) -> nn.Module:
    width = encoder.config.width
    if key == "descriptor":
        return DescriptorPredictor(width, descriptors, hidden=2 * encoder.config.hidden)
    out = 2 if config.loss == "hyperbolic" else width
    if config.predictor == "none":
        return IdentityPredictor()
    if key == "graph" or config.predictor == "mlp":
        return MLPPredictor(width, out, depth=config.predictor_depth, width_factor=encoder.config.hidden / width * 2)
    if encoder.config.hidden % encoder.config.heads:
        raise ConfigError("encoder.heads", encoder.config.heads, f"a divisor of hidden = {encoder.config.hidden}")
    if not encoder.position_dim:
        raise ConfigError(
            "objective.predictor", "cross_attention", "an encoding in encoder.position, such as random_walk"
        )
    return CrossAttentionPredictor(
        width,
        encoder.position_dim,
        out,
        hidden=encoder.config.hidden,
        depth=config.predictor_depth,
        heads=encoder.config.heads,
    )


def _loss(encoder: GraphEncoder, config: ObjectiveConfig) -> Loss:
    loss = StandardizedBatch(LOSSES[config.loss]) if config.standardize else LOSSES[config.loss]
    # The hyperbolic target is a function of the mean, which layer normalisation sets to zero.
    if not config.normalize_target or config.loss == "hyperbolic":
        return loss
    return NormalizedTarget(loss, encoder.config.parts)
