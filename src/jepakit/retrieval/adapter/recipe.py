"""One training of one adapter."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from jepakit.retrieval.data import Pairs
from jepakit.retrieval.encoder import Adapter, AdapterConfig
from jepakit.retrieval.objective import ObjectiveConfig, build_jepa
from jepakit.retrieval.views import RetrievalViews, ViewConfig
from jepakit.training import EpochLoader, FitConfig, FitResult, RunFolder, fit


@dataclass(frozen=True)
class Recipe:
    """The settings of one training: network, objective, views and optimisation."""

    adapter: AdapterConfig
    objective: ObjectiveConfig
    views: ViewConfig
    fit: FitConfig


def fit_adapter(
    adapter: Adapter,
    queries: Tensor,
    documents: Tensor,
    pairs: Pairs,
    recipe: Recipe,
    *,
    run: RunFolder | None = None,
    resume: bool = False,
) -> FitResult:
    """Trains an adapter in place, on base vectors ``[Q, D]`` and ``[N, D]``."""
    views = RetrievalViews(queries, documents, pairs, recipe.views, recipe.adapter.direction)
    loader = EpochLoader(len(views), recipe.fit.batch_size, views, seed=recipe.fit.seed)
    total_steps = recipe.fit.epochs * len(loader)
    jepa = build_jepa(adapter.towers, adapter.predictor, recipe.objective, total_steps=total_steps)
    sample = queries[pairs.queries[:2000]]
    result = fit(jepa, loader, recipe.fit, run=run, resume=resume, embed=lambda: (adapter.eval()(sample), None))
    adapter.cpu().eval()
    return result
