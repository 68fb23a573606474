"""What a model does on runs whose tasks it has not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from jepakit.core.distributed import alone
from jepakit.guard.datasets.labelled import LabelledRuns
from jepakit.guard.model import GuardModel
from jepakit.guard.objective import ObjectiveConfig, build_jepa
from jepakit.guard.training_views import RunViews, ViewConfig
from jepakit.guard.views import governance, plans

#: Runs that are embedded together.
_BATCH = 64


@dataclass(frozen=True)
class Validation:
    """Numbers on held-out tasks.

    Args:
        loss: the objective.
        positive_similarity: mean cosine of the prediction and the benign calls of its own context.
        negative_similarity: mean cosine of the prediction and benign calls of other contexts. Beside it alone the
            positive one says something: a collapsed encoder has both at 1.
        nearest_neighbour: share of contexts whose nearest plan of the gallery is one of their own; a plan is the mean
            of its calls.
        gallery: plans that were compared.
        energy_auroc: that malicious calls have a higher energy than benign ones.
        head_auroc: the same of the head.
        low: the head's score that 1 % of benign runs exceed.
        high: the median over attacked runs of the head's score.
    """

    loss: float
    positive_similarity: float
    negative_similarity: float
    nearest_neighbour: float
    gallery: int
    energy_auroc: float
    head_auroc: float
    low: float
    high: float


@torch.no_grad()
def validate(model: GuardModel, runs: LabelledRuns, config: ObjectiveConfig) -> Validation:
    """The numbers of a model on runs."""
    views, jepa = RunViews(runs, ViewConfig(), train=False), build_jepa(model, config).eval()
    with alone():
        losses = [
            float(jepa(views(places, torch.Generator())).total) for places in torch.arange(len(runs)).split(_BATCH)
        ]
    predicted, owner = predictions(model, runs)
    calls = embedded_calls(model, runs)
    energy, logits = model.judge(predicted[owner[runs.run]], calls)
    benign = np.flatnonzero(~runs.malicious)
    similarity = F.normalize(predicted, dim=1) @ F.normalize(calls[torch.from_numpy(benign)], dim=1).T
    own = torch.from_numpy(owner[runs.run[benign]])[None, :] == torch.arange(len(predicted))[:, None]
    hits, gallery = _nearest(predicted, calls, runs, owner)
    of_runs = runs.highest(logits.numpy())
    return Validation(
        loss=float(np.mean(losses)),
        positive_similarity=float(similarity[own].mean()),
        negative_similarity=float(similarity[~own].mean()),
        nearest_neighbour=hits,
        gallery=gallery,
        energy_auroc=auroc(energy.numpy(), runs.malicious),
        head_auroc=auroc(logits.numpy(), runs.malicious),
        low=_quantile(of_runs[runs.benign], 0.99),
        high=_quantile(of_runs[runs.attacked], 0.5),
    )


def predictions(model: GuardModel, runs: LabelledRuns) -> tuple[Tensor, NDArray[np.int64]]:
    """Predictions of the distinct contexts, ``[N, D]``, and the context of each run, ``[R]``."""
    place: dict[str, int] = {}
    owner = [place.setdefault(trace.context.model_dump_json(), len(place)) for trace in runs.traces]
    first = [owner.index(number) for number in range(len(place))]
    parts = [
        model.predictor(model.governance(governance([runs.traces[run].context for run in some])))
        for some in (first[start : start + 8] for start in range(0, len(first), 8))
    ]
    return torch.cat(parts), np.array(owner)


def embedded_calls(model: GuardModel, runs: LabelledRuns) -> Tensor:
    """Embeddings of all calls of runs, ``[C, D]``."""
    parts = [
        model.execution(plans(runs.traces[start : start + _BATCH], runs.flows[start : start + _BATCH]))
        for start in range(0, len(runs), _BATCH)
    ]
    return torch.cat(parts)


def auroc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Probability that a positive has a higher score than a negative, ties half; nan without one of both kinds."""
    if positive.all() or not positive.any():
        return float("nan")
    order = np.unique(scores, return_inverse=True)[1]
    counts = np.bincount(order)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[order]
    count = int(positive.sum())
    area = ranks[positive].sum() - count * (count + 1) / 2
    return float(area / (count * (len(scores) - count)))


def _nearest(predicted: Tensor, calls: Tensor, runs: LabelledRuns, owner: NDArray[np.int64]) -> tuple[float, int]:
    """Share of contexts whose nearest benign plan is their own, and the number of plans."""
    benign = np.flatnonzero(runs.benign)
    if not len(benign):
        return float("nan"), 0
    sums = torch.zeros(len(runs), calls.shape[1]).index_add(0, torch.from_numpy(runs.run), F.normalize(calls, dim=1))
    nearest = (F.normalize(predicted, dim=1) @ F.normalize(sums[benign], dim=1).T).argmax(1).numpy()
    with_plan = np.unique(owner[benign])
    return float((owner[benign][nearest[with_plan]] == with_plan).mean()), len(benign)


def _quantile(values: NDArray[np.floating], share: float) -> float:
    return float(np.quantile(values, share, method="higher")) if len(values) else 0.0
