"""The objective: predict the document's embedding from the query's, and contrast it with other documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from jepakit.core import LOSSES, PREDICTION_WIDTHS, ContrastiveJEPA, InfoNCE, SIGReg, UnitRows
from jepakit.errors import ConfigError, require_at_least, require_choice
from jepakit.retrieval.data import Pairs
from jepakit.retrieval.encoder import Adapter, Towers
from jepakit.retrieval.views import RetrievalViews
from jepakit.training import EpochLoader, FitResult, RegularizerConfig, RunFolder, TargetConfig, fit
from jepakit.training.objective import build_regularizers, build_target

if TYPE_CHECKING:
    from jepakit.retrieval.pretrain import PretrainConfig


@dataclass
class ObjectiveConfig(RegularizerConfig, TargetConfig):
    """The loss: λ_predictive ‖ẑ − d‖² + λ_contrastive InfoNCE + weighted regularisers.

    The first two terms use unit vectors. Regularisers see the output of the projection, scaled to length √D, and need
    a projection. The contrastive term keeps ``lejepa`` from collapsing.

    Args:
        predictive: weight of the loss between prediction and target.
        contrastive: weight of InfoNCE against the candidates.
        isotropy_term: the regulariser that ``isotropy`` weighs: ``sigreg``, or the ``covariance`` penalty ‖cov − I‖_F.
        temperature: τ of InfoNCE, or its initial value where it is learned.
        learn_temperature: train log τ with the weights.
        stop_gradient: the predictive term sends no gradient into its target.
    """

    target: str = "lejepa"
    loss: str = "cosine"
    predictive: float = 1.0
    contrastive: float = 1.0
    isotropy_term: Literal["sigreg", "covariance"] = "sigreg"
    temperature: float = 0.03
    learn_temperature: bool = False
    stop_gradient: bool = True

    def __post_init__(self) -> None:
        TargetConfig.__post_init__(self)
        RegularizerConfig.__post_init__(self)
        require_choice("isotropy_term", self.isotropy_term, ("sigreg", "covariance"))
        require_at_least(self, predictive=0, contrastive=0)
        if self.predictive == 0 and self.contrastive == 0:
            raise ConfigError("contrastive", 0, "above 0 where predictive is 0, or no term uses the pairs")
        if not self.temperature > 0:
            raise ConfigError("temperature", self.temperature, "a number above 0")
        if self.loss in PREDICTION_WIDTHS:
            raise ConfigError("loss", self.loss, "a loss that compares a prediction of the target's width")


def build_jepa(
    towers: Towers, predictor: nn.Module, config: ObjectiveConfig, *, total_steps: int | None = None
) -> ContrastiveJEPA:
    """The objective of an encoder and a predictor, see `jepakit.retrieval.encoder.build_predictor`.

    ``total_steps``: optimiser steps of the run, for the momentum schedule; None: constant momentum.

    Raises:
        ConfigError: a regulariser has a weight but the adapter has no projection.
    """
    terms = build_regularizers(config, UnitRows)
    if config.isotropy and config.isotropy_term == "sigreg":
        terms["isotropy"] = (config.isotropy, UnitRows(SIGReg()))
    for name, (weight, _) in terms.items():
        if not towers.projections:
            raise ConfigError(name, weight, "0 where projection_depth is 0")
    loss = LOSSES[config.loss]

    def detached_loss(prediction: Tensor, target: Tensor) -> Tensor:
        return loss(prediction, target.detach())

    return ContrastiveJEPA(
        towers,
        build_target(config, towers, total_steps=total_steps),
        predictor,
        detached_loss if config.stop_gradient else loss,
        terms,
        weight=config.predictive,
        contrast=InfoNCE(temperature=config.temperature, learn_temperature=config.learn_temperature),
        contrast_weight=config.contrastive,
    )


def fit_adapter(
    adapter: Adapter,
    queries: Tensor,
    documents: Tensor,
    pairs: Pairs,
    config: PretrainConfig,
    *,
    run: RunFolder | None = None,
    resume: bool = False,
) -> FitResult:
    """Trains an adapter in place, on base vectors of queries ``[Q, D]`` and documents ``[N, D]``."""
    views = RetrievalViews(queries, documents, pairs, config.views, config.adapter.direction)
    loader = EpochLoader(len(views), config.batch_size, views, seed=config.seed, shared="views")
    total_steps = config.epochs * len(loader)
    jepa = build_jepa(adapter.towers, adapter.predictor, config.objective, total_steps=total_steps)
    sample = queries[pairs.queries[:2000]]

    def embed() -> tuple[Tensor, None]:
        # While it trains, the adapter may be on an accelerator.
        return adapter.eval()(sample.to(next(adapter.parameters()).device)), None

    result = fit(jepa, loader, config, run=run, resume=resume, embed=embed)
    adapter.cpu().eval()
    return result
