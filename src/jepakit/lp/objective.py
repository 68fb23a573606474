"""The objectives: the KKT loss with labels where there are any, and JEPA beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from jepakit import training
from jepakit.core import JEPA, LOSSES, PredictorPerKey, Subsampled, Views
from jepakit.errors import ConfigError
from jepakit.lp.encoder import COLUMNS, ROWS, GNNPolicy, Heads, KKTNetMLP, Prediction
from jepakit.lp.networks.batch import LPBatch
from jepakit.lp.networks.kkt import KKTWeights, kkt_terms
from jepakit.training.objective import build_predictor, build_regularizers, build_target


@dataclass
class TaskConfig:
    """Weights of the task's terms.

    Args:
        kkt: of the KKT loss.
        basis: of the cross-entropy of the statuses of columns and rows, where optima are known.
        values: of the squared distance to optimal x and y, where they are known; of several optima one is as good.
    """

    kkt: KKTWeights = field(default_factory=KKTWeights)
    basis: float = 1.0
    values: float = 0.0

    def __post_init__(self) -> None:
        for name in ("basis", "values"):
            if not getattr(self, name) >= 0:
                raise ConfigError(name, getattr(self, name), "a weight of at least 0")


@dataclass
class ObjectiveConfig(training.ObjectiveConfig):
    """JEPA beside the task. The default loss is 2 - 2 cos; the momentum is constant.

    Args:
        sigreg: weight of SIGReg, for ``lejepa`` alone.
    """

    loss: str = "cosine"
    sigreg: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.predictor == "cross_attention":
            raise ConfigError("predictor", self.predictor, "mlp or none: nodes of a problem have no position")

    @property
    def weights(self) -> dict[str, float]:
        """As in `jepakit.training.RegularizerConfig`, but SIGReg's."""
        return {name: weight for name, weight in super().weights.items() if name != "sigreg" or self.target == "lejepa"}


class KKTTask(nn.Module):
    """``Views -> named losses`` of the whole problems: what is hidden is hidden from JEPA alone.

    Args:
        encoder: of problems.
        heads: of its embeddings.
        config: weights.
    """

    def __init__(self, encoder: GNNPolicy | KKTNetMLP, heads: Heads, config: TaskConfig) -> None:
        super().__init__()
        self.encoder, self.heads, self.config = encoder, heads, config

    def forward(self, views: Views) -> dict[str, Tensor]:
        """The weighted terms, each a mean over the problems."""
        problems: LPBatch = views.target
        found: Prediction = self.heads(self.encoder(problems), problems)
        weights = asdict(self.config.kkt)
        terms = {
            name: weights[name] * value.mean()
            for name, value in kkt_terms(problems, found.x, found.y).items()
            if weights[name]
        }
        if (optima := problems.optima) is None:
            return terms
        if self.config.basis:
            of_columns = F.cross_entropy(found.column_status, optima.column_status)
            terms["basis"] = self.config.basis * (of_columns + F.cross_entropy(found.row_status, optima.row_status))
        if self.config.values:
            distance = F.mse_loss(found.x, optima.x) + F.mse_loss(found.y, optima.y)
            terms["values"] = self.config.values * distance
        return terms


class Projected(nn.Module):
    """An encoder with a projector for each kind of its embeddings, which JEPA compares in and nobody else sees.

    Args:
        encoder: of problems.
    """

    def __init__(self, encoder: GNNPolicy | KKTNetMLP) -> None:
        super().__init__()
        self.encoder = encoder
        self.projectors = nn.ModuleDict({key: _projector(encoder) for key in _keys(encoder)})

    def forward(self, view: object) -> Tensor | dict[str, Tensor]:
        """The projected embeddings, in the shape of the encoder's output."""
        found = self.encoder(view)
        if isinstance(found, Tensor):
            return self.projectors["problem"](found)
        return {key: self.projectors[key](found[key]) for key in found}


def build_jepa(encoder: GNNPolicy | KKTNetMLP, config: ObjectiveConfig) -> JEPA:
    """JEPA on problems: what is predicted from the masked view is compared with the whole one.

    Args:
        encoder: trained with it.
        config: how.
    """
    projected = Projected(encoder)
    keys = _keys(encoder)
    predictors = {key: build_predictor(config, encoder.dim, hidden=encoder.dim, width_factor=1.0) for key in keys}
    predictor = predictors["problem"] if len(keys) == 1 else PredictorPerKey(predictors)
    target = build_target(config, projected)
    # A batch of problems has thousands of columns.
    return JEPA(projected, target, predictor, LOSSES[config.loss], build_regularizers(config, Subsampled))


def _keys(encoder: GNNPolicy | KKTNetMLP) -> tuple[str, ...]:
    return (COLUMNS, ROWS) if isinstance(encoder, GNNPolicy) else ("problem",)


def _projector(encoder: GNNPolicy | KKTNetMLP) -> nn.Sequential:
    between = nn.ReLU() if isinstance(encoder, GNNPolicy) else nn.SELU()
    return nn.Sequential(nn.Linear(encoder.dim, encoder.dim), between, nn.Linear(encoder.dim, encoder.dim))
