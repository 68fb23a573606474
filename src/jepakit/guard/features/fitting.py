"""Fits a judge of features, with its scale from groups of runs that were held out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from jepakit.errors import ConfigError, DataError, require_at_least, require_within
from jepakit.guard.datasets.held_out import balanced_weights, folds, mean_recall, strata
from jepakit.guard.datasets.labelled import LabelledRuns
from jepakit.guard.features.judge import FeatureJudge
from jepakit.progress import tracked

#: Logits between the risks of asking and of denying at least: held-out benign runs may hardly differ.
_LEAST = 1.0
#: Features of two calls are equal up to this.
_ROUNDED = 4


@dataclass
class JudgeConfig:
    """How a judge of features is fitted.

    Args:
        hidden: width of the network.
        penalties: candidates for the weight of ‖w‖² / 2 beside the mean loss; held-out groups choose.
        ask_rate: share of the benign runs of held-out groups that get the risk of asking, in the mean over groups.
        deny_rate: the same of denying. A judge that has learned from more groups flags fewer.
        steps: of Adam, each with all calls.
        learning_rate: at first; it falls to 0 in a line.
        seed: of the first weights.
    """

    hidden: int = 32
    penalties: list[float] = field(default_factory=lambda: [0.01, 0.03])
    ask_rate: float = 0.03
    deny_rate: float = 0.01
    steps: int = 300
    learning_rate: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least(self, hidden=1, steps=1)
        require_within(self, "(0, 1)", "ask_rate", "deny_rate")
        if self.deny_rate > self.ask_rate:
            raise ConfigError("deny_rate", self.deny_rate, f"at most ask_rate ({self.ask_rate:g})")


@dataclass(frozen=True)
class FittedJudge:
    """A judge and what chose it.

    Args:
        judge: fitted to all runs; None where attacks do not score above benign runs of groups that were held out.
        penalty: the chosen weight of ‖w‖².
        recall: of each candidate: the mean over families of the share of held-out attacked runs above the logit that
            `JudgeConfig.deny_rate` of held-out benign runs exceed.
    """

    judge: FeatureJudge | None
    penalty: float
    recall: dict[float, float]


def fit_judge(runs: LabelledRuns, features: Tensor, config: JudgeConfig) -> FittedJudge:
    """Fits a judge to runs; each group of them is held out once to choose the penalty and the scale.

    Args:
        runs: with labels.
        features: of their calls, ``[C, features]``, see `jepakit.guard.features.extract.features_of`.
        config: how.

    Raises:
        DataError: the runs have no attack, or no benign run.
    """
    if not runs.attacked.any() or not runs.benign.any():
        raise DataError("attacked or benign runs are missing", field="label", expected="some of both kinds")
    groups = folds(runs)
    penalties = tracked(config.penalties, "fitting the judge of features", unit="penalties")
    held = {penalty: _held_out(runs, features, groups, penalty, config) for penalty in penalties}
    recall = {penalty: mean_recall(runs, logits, config.deny_rate) for penalty, logits in held.items()}
    penalty = max(recall, key=lambda one: recall[one])
    highest = runs.highest(held[penalty])
    ask, deny = (_exceeded(runs, highest, groups, rate) for rate in (config.ask_rate, config.deny_rate))
    if not (highest[runs.attacked] > ask).mean() > config.ask_rate:
        return FittedJudge(None, penalty, recall)
    judge = _fit(runs, features, np.ones(len(runs), bool), penalty, config)
    judge.ask.fill_(ask)
    judge.deny.fill_(max(deny, ask + _LEAST))
    return FittedJudge(judge, penalty, recall)


def _held_out(
    runs: LabelledRuns, features: Tensor, groups: NDArray[np.str_], penalty: float, config: JudgeConfig
) -> NDArray[np.float64]:
    """The logits of all calls ``[C]``, each by a judge that did not see its group; -inf for one that is not judged."""
    logits = torch.full((len(features),), -torch.inf)
    for group in tracked(np.unique(groups), "leaving a group out", unit="groups"):
        judge = _fit(runs, features, groups != group, penalty, config)
        calls = torch.from_numpy((groups == group)[runs.run])
        with torch.no_grad():
            logits[calls] = judge.logits(features[calls]).nan_to_num(nan=-torch.inf)
    return logits.double().numpy()


def _fit(
    runs: LabelledRuns, features: Tensor, chosen: NDArray[np.bool_], penalty: float, config: JudgeConfig
) -> FeatureJudge:
    """A judge of the malicious calls of the chosen runs against the benign ones, without a scale."""
    rows = np.flatnonzero(chosen[runs.run] & (~runs.malicious | runs.attacked[runs.run]))
    rows = rows[~features[rows].isnan().any(1).numpy()]
    malicious, seen = runs.malicious[rows], features[rows]
    content = np.unique(seen.numpy().round(_ROUNDED), axis=0, return_inverse=True)[1].reshape(-1)
    everything = np.ones(len(rows), bool)
    weight = balanced_weights(malicious, strata(runs, runs.run[rows], malicious), content, everything)
    kept = np.flatnonzero(weight)
    seen, malicious = seen[kept], torch.from_numpy(malicious[kept])
    weight = torch.from_numpy(weight[kept]).float()
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(config.seed)
        judge = FeatureJudge(config.hidden)
    _standardise(judge, seen, weight, ~malicious)
    _minimise(judge, seen, malicious.float(), weight, penalty, config)
    return judge.eval()


def _standardise(judge: FeatureJudge, features: Tensor, weight: Tensor, benign: Tensor) -> None:
    if not len(features):
        return
    judge.center.copy_(weight @ features / weight.sum())
    judge.spread.copy_((weight @ (features - judge.center).square() / weight.sum()).sqrt() + 1e-6)
    of_benign = weight * benign
    judge.usual.copy_(of_benign @ features / of_benign.sum().clamp(min=1e-12))


def _minimise(
    judge: FeatureJudge, features: Tensor, target: Tensor, weight: Tensor, penalty: float, config: JudgeConfig
) -> None:
    """Minimises Σ weight · cross-entropy + penalty ‖w‖² / 2."""
    weights = [judge.inner.weight, judge.outer.weight]
    optimizer = torch.optim.Adam(judge.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, config.steps)
    for _ in range(config.steps):
        optimizer.zero_grad()
        error = F.binary_cross_entropy_with_logits(judge.logits(features), target, weight, reduction="sum")
        (error + penalty / 2 * sum(one.square().sum() for one in weights)).backward()
        optimizer.step()
        schedule.step()


def _exceeded(runs: LabelledRuns, highest: NDArray[np.float64], groups: NDArray[np.str_], rate: float) -> float:
    """The score that a share of benign runs exceeds, each group of them counting the same."""
    benign = np.flatnonzero(runs.benign)
    number = np.unique(groups[benign], return_inverse=True)[1]
    weight = 1 / np.bincount(number)[number]
    order = np.argsort(highest[benign])
    share = np.cumsum(weight[order]) / weight.sum()
    return float(highest[benign][order][min(np.searchsorted(share, 1 - rate), len(order) - 1)])
