"""The objectives: the KKT loss with labels where there are any, and JEPA beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from jepakit import training
from jepakit.core import JEPA, LOSSES, PredictorPerKey, Subsampled, Views
from jepakit.core.distributed import own_part
from jepakit.errors import ConfigError
from jepakit.lp.encoder import COLUMNS, ROWS, GNNPolicy, Heads, KKTNetMLP
from jepakit.lp.networks.batch import LPBatch
from jepakit.lp.networks.kkt import kkt_terms
from jepakit.training.objective import build_predictor, build_regularizers, build_target


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
        """As in `jepakit.training.RegularizerConfig`; SIGReg's only for ``lejepa``."""
        return {name: weight for name, weight in super().weights.items() if name != "sigreg" or self.target == "lejepa"}


class KKTTask(nn.Module):
    """``Views -> named losses`` of the whole problems; masks are for JEPA alone.

    Args:
        encoder: of problems.
        heads: of its embeddings.
        weights: of the terms of `jepakit.lp.networks.kkt.kkt_terms`, and with labels of ``basis``, the cross-entropy of
            the statuses, and ``values``, the squared distance to x and y of one optimum; 0 leaves a term out.
    """

    def __init__(self, encoder: GNNPolicy | KKTNetMLP, heads: Heads, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.encoder, self.heads, self.weights = encoder, heads, weights

    def forward(self, views: Views) -> dict[str, Tensor]:
        """The weighted terms, each a mean over problems, columns or rows, as `own_part` of that of all processes."""
        problems: LPBatch = views.target
        predicted = self.heads(self.encoder(problems), problems)
        point = problems.at(predicted.x, predicted.y)
        terms = {name: own_part(values.mean(), len(problems)) for name, values in kkt_terms(problems, point).items()}
        if optima := problems.optima:
            columns, rows = len(optima.x), len(optima.y)
            of_columns = own_part(F.cross_entropy(predicted.column_status, optima.column_status), columns)
            terms["basis"] = of_columns + own_part(F.cross_entropy(predicted.row_status, optima.row_status), rows)
            of_columns = own_part(F.mse_loss(predicted.x, optima.x), columns)
            terms["values"] = of_columns + own_part(F.mse_loss(predicted.y, optima.y), rows)
        return {name: self.weights[name] * term for name, term in terms.items() if self.weights[name]}


class Projected(nn.Module):
    """An encoder with a projector for each kind of its embeddings; only JEPA uses the projections."""

    def __init__(self, encoder: GNNPolicy | KKTNetMLP) -> None:
        super().__init__()
        self.encoder = encoder
        self.projectors = nn.ModuleDict({key: _projector(encoder) for key in _keys(encoder)})

    def forward(self, view: object) -> Tensor | dict[str, Tensor]:
        """The projected embeddings, in the shape of the encoder's output."""
        embeddings = self.encoder(view)
        if isinstance(embeddings, Tensor):
            return self.projectors["problem"](embeddings)
        return {key: self.projectors[key](embeddings[key]) for key in embeddings}


def build_jepa(encoder: GNNPolicy | KKTNetMLP, config: ObjectiveConfig) -> JEPA:
    """JEPA of ``encoder``: the embeddings of the whole problems are predicted from the masked ones."""
    projected, keys = Projected(encoder), _keys(encoder)
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
