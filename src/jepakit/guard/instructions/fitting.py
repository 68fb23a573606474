"""Fits a detector, with scales and settings from groups of runs that were held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from jepakit.core.packed import select_groups
from jepakit.errors import DataError, require_at_least, require_within
from jepakit.guard.datasets.held_out import balanced_weights, by_family, folds, mean_recall, strata
from jepakit.guard.datasets.labelled import LabelledRuns
from jepakit.guard.instructions.detector import InstructionDetector, highest, weights
from jepakit.guard.instructions.windows import Windows, windows
from jepakit.guard.risk import LOWEST
from jepakit.progress import tracked

ANY = "any"
"""The family of all attacks together, each with the same weight."""

#: The scores that become 0 and 1 of each family.
_Scales = dict[str, tuple[float, float]]


@dataclass
class DetectorConfig:
    """How a detector is fitted.

    Args:
        penalties: candidates for the weight of ‖w‖² / 2 beside the mean loss; held-out groups choose.
        innocences: candidates for `InstructionDetector.innocence`.
        least_runs: a family with fewer attacked runs has no detector of its own.
        false_alarms: share of the benign runs of a held-out group that score above 0, in the worst group.
        steps: of L-BFGS at most.
    """

    penalties: list[float] = field(default_factory=lambda: [1.0, 3.0])
    innocences: list[float] = field(default_factory=lambda: [0.0, 0.25, 0.5])
    least_runs: int = 10
    false_alarms: float = 0.01
    steps: int = 50

    def __post_init__(self) -> None:
        require_at_least(self, least_runs=1, steps=1)
        require_within(self, "(0, 1)", "false_alarms")


@dataclass(frozen=True)
class FittedDetector:
    """A detector and what chose it.

    Args:
        detector: fitted to all runs; None where attacks do not score above benign runs of groups that were held out.
        penalty: the chosen weight of ‖w‖².
        recall: of each candidate (penalty, innocence): the mean over families of the share of held-out attacked runs
            above the score that `DetectorConfig.false_alarms` of held-out benign runs exceed.
        held_out: of each call the score by detectors that saw no run of its group, ``[C]``.
    """

    detector: InstructionDetector | None
    penalty: float
    recall: dict[tuple[float, float], float]
    held_out: NDArray[np.float64]


def fit_detector(runs: LabelledRuns, config: DetectorConfig) -> FittedDetector:
    """Fits a detector to runs; each group of them is held out once to choose settings and scales.

    Raises:
        DataError: the runs have no attack, or no benign run.
    """
    if not runs.attacked.any() or not runs.benign.any():
        raise DataError("attacked or benign runs are missing", field="label", expected="some of both kinds")
    seen = windows(runs.traces, runs.flows)
    groups = folds(runs)
    recall: dict[tuple[float, float], float] = {}
    held: dict[tuple[float, float], tuple[dict[str, Tensor], _Scales]] = {}
    for penalty in tracked(config.penalties, "fitting the detector of instructions", unit="penalties"):
        logits = _held_out_logits(runs, seen, groups, penalty, config)
        for innocence in config.innocences:
            scores = _held_out(runs, seen, groups, logits, innocence)
            scales = _scales(runs, groups, scores, config)
            held[penalty, innocence] = scores, scales
            recall[penalty, innocence] = mean_recall(runs, _combined(scores, scales), config.false_alarms)
    penalty, innocence = max(recall, key=lambda setting: recall[setting])
    scores, scales = held[penalty, innocence]
    if not scales:
        return FittedDetector(None, penalty, recall, _combined(scores, scales))
    fitted = _fit(runs, seen, np.ones(len(runs), bool), penalty, config)
    return FittedDetector(_scaled(fitted, scales, innocence), penalty, recall, _combined(scores, scales))


def _fit(
    runs: LabelledRuns, seen: Windows, chosen: NDArray[np.bool_], penalty: float, config: DetectorConfig
) -> InstructionDetector:
    """A detector of each family of the chosen runs, and of all families together; without scales.

    Each is a logistic regression of windows: those of malicious calls of the family against those of benign calls.
    """
    families = {
        name: of_family & chosen
        for name, of_family in by_family(runs).items()
        if (of_family & chosen).sum() >= config.least_runs
    }
    families[ANY] = runs.attacked & chosen
    call = seen.call[seen.value].numpy()
    run, malicious = runs.run[call], runs.malicious[call]
    used = np.flatnonzero(chosen[run] & (~malicious | runs.attacked[run]))
    run, malicious, text = run[used], malicious[used], seen.text.numpy()[used]
    stratum = strata(runs, run, malicious)
    weight = [balanced_weights(malicious, stratum, text, ~malicious | attacked[run]) for attacked in families.values()]
    each = [part / len(weight[:-1]) for part in weight[:-1]]
    weight[-1] = np.where(malicious, sum(each), weight[-1]) if each else weight[-1]
    rows = np.flatnonzero(np.any(weight, axis=0))
    target = torch.from_numpy(malicious[rows]).float()
    shares = torch.from_numpy(np.stack(weight, 1)[rows]).float()
    detector = InstructionDetector(list(families))
    _minimise(detector, seen, torch.from_numpy(text[rows]), target, shares, penalty, config.steps)
    return detector.eval()


@torch.no_grad()
def _scaled(fitted: InstructionDetector, scales: _Scales, innocence: float) -> InstructionDetector:
    """The detector of the families that have a scale."""
    detector = InstructionDetector(list(scales), innocence)
    for place, (name, (low, high)) in enumerate(scales.items()):
        column = fitted.families.index(name)
        detector.words.weight[:, place], detector.bias[place] = fitted.words.weight[:, column], fitted.bias[column]
        detector.low[place], detector.high[place] = low, high
    return detector.eval()


def _minimise(
    detector: InstructionDetector,
    seen: Windows,
    text: Tensor,
    target: Tensor,
    weight: Tensor,
    penalty: float,
    steps: int,
) -> None:
    """Words and bias of a detector that minimise Σ weight · cross-entropy + penalty ‖w‖² / 2, also of the bias."""
    used, text = text.unique(return_inverse=True)
    places, ptr = select_groups(seen.grams.ptr, used)
    ids, of_gram = seen.grams.ids[places], weights(seen)[places]
    words, bias = detector.words.weight, detector.bias
    optimizer = torch.optim.LBFGS([words, bias], max_iter=steps, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = F.embedding_bag(ids, words, ptr[:-1], per_sample_weights=of_gram, mode="sum") + bias
        targets = target[:, None].expand_as(weight)
        error = (weight * F.binary_cross_entropy_with_logits(logits[text], targets, reduction="none")).sum()
        total = error + penalty / 2 * (words.square().sum() + bias.square().sum())
        total.backward()
        return total

    optimizer.step(loss)


def _held_out_logits(
    runs: LabelledRuns, seen: Windows, groups: NDArray[np.str_], penalty: float, config: DetectorConfig
) -> dict[str, dict[str, Tensor]]:
    """Of each group and family the logits of all texts ``[T]``, by a detector that did not see the group."""
    logits: dict[str, dict[str, Tensor]] = {}
    for group in tracked(np.unique(groups), "leaving a group out", unit="groups"):
        detector = _fit(runs, seen, groups != group, penalty, config)
        with torch.no_grad():
            logits[group] = dict(zip(detector.families, detector.logits(seen).T, strict=True))
    return logits


def _held_out(
    runs: LabelledRuns,
    seen: Windows,
    groups: NDArray[np.str_],
    logits: Mapping[str, Mapping[str, Tensor]],
    innocence: float,
) -> dict[str, Tensor]:
    """Of each family the scores of all calls ``[C]``, each by the detector that did not see its group."""
    scores: dict[str, Tensor] = {}
    for group, of_families in logits.items():
        calls = torch.from_numpy((groups == group)[runs.run])
        for name, of_texts in of_families.items():
            of_calls = highest(of_texts[:, None], seen, innocence)[:, 0]
            scores.setdefault(name, torch.full((seen.calls,), -torch.inf))[calls] = of_calls[calls]
    return scores


def _scales(
    runs: LabelledRuns, groups: NDArray[np.str_], scores: Mapping[str, Tensor], config: DetectorConfig
) -> _Scales:
    """Of each family the score that few benign runs of any group exceed, and the median of its attacks.

    A family whose attacks do not score above benign runs is left out; one whose attacks are near to them counts no
    more than half as far apart as the family that is told best.
    """
    scales: _Scales = {}
    for name, score in scores.items():
        of_runs = runs.highest(score.numpy())
        attacked = runs.attacked if name == ANY else by_family(runs)[name]
        in_groups = [runs.benign & (groups == group) for group in np.unique(groups)]
        low = max(_quantile(of_runs[benign], 1 - config.false_alarms) for benign in in_groups if benign.any())
        high = float(np.median(of_runs[attacked]))
        if np.isfinite(low) and high > low:
            scales[name] = low, high
    widest = max((high - low for low, high in scales.values()), default=0.0)
    return {name: (low, max(high, low + widest / 2)) for name, (low, high) in scales.items()}


def _quantile(scores: NDArray[np.floating], share: float) -> float:
    return float(np.quantile(scores, share, method="higher"))


def _combined(scores: Mapping[str, Tensor], scales: _Scales) -> NDArray[np.float64]:
    """The highest score of any family on its scale, ``[C]``."""
    lowest = torch.full_like(next(iter(scores.values())), LOWEST)
    scaled = [(scores[name] - low) / (high - low) for name, (low, high) in scales.items()]
    return torch.stack([lowest, *scaled]).amax(0).double().numpy()
