"""Builds the JEPA of the graph system from its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from torch import nn

from jepakit import training
from jepakit.core import (
    JEPA,
    LOSSES,
    PREDICTION_WIDTHS,
    Loss,
    NormalizedTarget,
    PredictorPerKey,
    StandardizedBatch,
    smooth_l1,
)
from jepakit.errors import ConfigError, require_choice
from jepakit.graph.descriptors import DescribedTarget, DescriptorPredictor
from jepakit.graph.encoder import NodeEncoder
from jepakit.training.objective import build_predictor, build_regularizers, build_target

Key = Literal["node", "graph", "descriptor"]


@dataclass
class ObjectiveConfig(training.ObjectiveConfig):
    """Predicted embeddings, predictor, loss and regularisers.

    The node predictor is ``mlp``, on the context's row of the masked node, or ``cross_attention``, with the position of
    the node as query. The momentum of an EMA target rises to 1.

    Args:
        predict: any of ``node`` (the masked nodes), ``graph`` (the embedding of the target view) and ``descriptor``
            (`Graphs.descriptors`, by smooth-L1 on normal scores).
        normalize_target: layer-normalise targets, separately for each layer of the encoder.
        standardize: standardise predictions and targets over the batch, as CCA-SSG does.
    """

    predict: list[Key] = field(default_factory=lambda: ["node"])
    normalize_target: bool = True
    standardize: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in self.predict:
            require_choice("predict", key, get_args(Key))
        if not {"node", "graph"} & {*self.predict}:
            raise ConfigError("predict", self.predict, "node, graph, or both, with or without descriptor")
        if self.loss in PREDICTION_WIDTHS and self.standardize:
            raise ConfigError("loss", self.loss, "another loss where standardize = true")


def build_jepa(encoder: NodeEncoder, config: ObjectiveConfig, *, total_steps: int, descriptors: int = 0) -> JEPA:
    """The objective for the context encoder.

    ``total_steps`` of the optimiser are for the momentum's schedule; ``descriptors`` is the number of columns of
    ``graphs.descriptors``, if they are predicted.

    Raises:
        ConfigError: descriptors are predicted and there are none, or cross-attention has no structural encoding or a
            number of heads that does not divide its width.
    """
    if "descriptor" in config.predict and not descriptors:
        raise ConfigError("objective.predict", "descriptor", "graphs with descriptors, such as a table of molecules")
    predictors = {key: _predictor(key, encoder, config, descriptors) for key in config.predict}
    loss = _loss(encoder, config)
    target = build_target(config, encoder, total_steps=total_steps)
    return JEPA(
        encoder,
        DescribedTarget(target) if "descriptor" in predictors else target,
        PredictorPerKey(predictors, {"descriptor": "graph"}),
        {key: smooth_l1 if key == "descriptor" else loss for key in predictors},
        build_regularizers(config),
    )


def _predictor(key: str, encoder: NodeEncoder, config: ObjectiveConfig, descriptors: int) -> nn.Module:
    width, hidden, heads = encoder.config.width, encoder.config.hidden, encoder.config.heads
    if key == "descriptor":
        return DescriptorPredictor(width, descriptors, hidden=2 * hidden)
    attends = config.predictor == "cross_attention"
    if key == "graph" and attends:
        # A graph has no position to attend from: its prediction is made from its own embedding.
        return build_predictor(replace(config, predictor="mlp"), width, hidden=hidden)
    if attends and hidden % heads:
        raise ConfigError("encoder.heads", heads, f"a divisor of hidden = {hidden}")
    if attends and not encoder.position_dim:
        expected = "an encoding in encoder.position, such as random_walk"
        raise ConfigError("objective.predictor", "cross_attention", expected)
    return build_predictor(config, width, hidden=hidden, position_dim=encoder.position_dim, heads=heads)


def _loss(encoder: NodeEncoder, config: ObjectiveConfig) -> Loss:
    loss = StandardizedBatch(LOSSES[config.loss]) if config.standardize else LOSSES[config.loss]
    # These losses compute coordinates from the mean of a target, which layer normalisation would set to zero.
    if not config.normalize_target or config.loss in PREDICTION_WIDTHS:
        return loss
    return NormalizedTarget(loss, encoder.config.parts)
