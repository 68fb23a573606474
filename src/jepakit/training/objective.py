"""The objective as options, the same in every system. Each name is a key of a table in `jepakit.core`.

A system's own ``ObjectiveConfig`` extends these and adds what only it has; its ``build_jepa`` puts the parts together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from jepakit.core import LOSSES, PREDICTION_WIDTHS, PREDICTORS, REGULARIZERS, TARGETS, CosineSchedule, Target
from jepakit.errors import ConfigError, require_at_least, require_choice, require_within


@dataclass
class TargetConfig:
    """The target of a prediction and the loss between the two.

    Args:
        target: a name in `jepakit.core.TARGETS`: ``ema``, a slow copy of the encoder; ``simsiam``, the encoder itself
            without gradient; ``lejepa``, the encoder itself with gradient, which needs a regulariser.
        momentum: of the ``ema`` copy, at the first step where it follows a schedule.
        loss: a name in `jepakit.core.LOSSES`.
    """

    target: str = "ema"
    momentum: float = 0.996
    loss: str = "smooth_l1"

    def __post_init__(self) -> None:
        require_choice("target", self.target, TARGETS)
        require_choice("loss", self.loss, LOSSES)
        require_within(self, "[0, 1]", "momentum")


@dataclass
class PredictorConfig:
    """The predictor.

    Args:
        predictor: a name in `jepakit.core.PREDICTORS`: ``mlp`` on a row of the context; ``cross_attention`` from a
            position to the context; ``none``, where the context's own embedding is the prediction.
        predictor_depth: layers or blocks.
    """

    predictor: str = "mlp"
    predictor_depth: int = 2

    def __post_init__(self) -> None:
        require_choice("predictor", self.predictor, PREDICTORS)
        require_at_least(self, predictor_depth=1)


@dataclass
class RegularizerConfig:
    """Weights of the regularisers against collapse: a field for each name in `jepakit.core.REGULARIZERS`.

    Args:
        sigreg: weight of SIGReg.
        vicreg: weight of VICReg's variance and covariance.
        isotropy: weight of ‖cov − I‖.
        decorrelation: weight of ‖corr − I‖² / D.
        variance: weight of VICReg's variance alone.
    """

    sigreg: float = 0.0
    vicreg: float = 0.0
    isotropy: float = 0.0
    decorrelation: float = 0.0
    variance: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(self, **dict.fromkeys(REGULARIZERS, 0))

    @property
    def weights(self) -> dict[str, float]:
        """Name of a regulariser -> its weight, where that is above 0."""
        return {name: getattr(self, name) for name in REGULARIZERS if getattr(self, name)}


@dataclass
class ObjectiveConfig(RegularizerConfig, PredictorConfig, TargetConfig):
    """All of them, for a system that predicts parts of its input."""

    def __post_init__(self) -> None:
        for part in (TargetConfig, PredictorConfig, RegularizerConfig):
            part.__post_init__(self)
        if self.loss in PREDICTION_WIDTHS and self.predictor == "none":
            raise ConfigError("loss", self.loss, "another loss where predictor = none")
        if self.target == "lejepa" and not self.weights:
            raise ConfigError("sigreg", self.sigreg, "above 0, or another regulariser, with target = lejepa")


def build_target(config: TargetConfig, encoder: nn.Module, *, total_steps: int | None = None) -> Target:
    """The target of ``encoder``.

    Args:
        config: which.
        encoder: the context encoder.
        total_steps: the momentum rises to 1 along a cosine of so many optimiser steps; None: it is constant.
    """
    schedule = None if total_steps is None else CosineSchedule(config.momentum, 1.0, total_steps)
    return TARGETS[config.target](encoder, schedule or config.momentum)


def build_predictor(
    config: ObjectiveConfig,
    dim: int,
    *,
    hidden: int,
    width_factor: float = 2.0,
    position_dim: int = 0,
    heads: int = 4,
) -> nn.Module:
    """The predictor: ``[N, dim] -> [M, D]``, D as the loss wants it; for the sizes see `jepakit.core.PREDICTORS`."""
    sizes = {"hidden": hidden, "width_factor": width_factor, "position_dim": position_dim, "heads": heads}
    width = PREDICTION_WIDTHS.get(config.loss, dim)
    return PREDICTORS[config.predictor](dim, width, depth=config.predictor_depth, **sizes)


def build_regularizers(
    config: RegularizerConfig, around: Callable[[Callable[[Tensor], Tensor]], Callable[[Tensor], Tensor]] | None = None
) -> dict[str, tuple[float, Callable[[Tensor], Tensor]]]:
    """Name -> (weight, regulariser), as `jepakit.core.JEPA` wants them.

    Args:
        config: the weights.
        around: wraps each, such as `jepakit.core.UnitRows`.
    """
    terms = {name: (weight, REGULARIZERS[name]()) for name, weight in config.weights.items()}
    return {name: (weight, around(term)) for name, (weight, term) in terms.items()} if around else terms
