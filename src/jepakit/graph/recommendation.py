"""What to use, from every row of the table: the intervals of what the encoder gains over each, and a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jepakit.graph.probe.comparison import Interval, Variance, interval
from jepakit.graph.probe.result import ProbeResult
from jepakit.training.results import ReportSection

RANDOM = "the same encoder, random"
# One time in twenty a difference of nothing lies below the interval, and as often above.
LEVEL = 0.9


@dataclass(frozen=True)
class Measured:
    """A row of the table, and what it cost.

    Args:
        result: a score for each pre-training or initialisation, or for each shuffle of the folds.
        seconds: of embedding and probing.
        models: different encoders among the scores, in turns; 1: they are all of one, or of none.
    """

    result: ProbeResult
    seconds: float
    models: int = 1

    @property
    def by_model(self) -> np.ndarray:
        """The mean score of each encoder, ``[models]``."""
        scores = np.asarray(self.result.seed_scores)
        return np.array([scores[model :: self.models].mean() for model in range(self.models)])


def gains(ours: Measured, others: Mapping[str, Measured]) -> dict[str, Interval | None]:
    """What the encoder gains over each other row, in points (of an error: in its units), with 90 % intervals.

    Three sources of chance are counted. Test rows and training labels: by the folds, corrected for what these share, or
    by the resamples of a given split. The seed of pre-training: by the pre-trainings, paired with their own random
    encoders; where there is one, by random encoders of several seeds, as if a trained one varied as much. Without a
    random row that source is left out.

    Returns:
        Interval by row; None where a given split has too few labels to be resampled.

    Source: Nadeau and Bengio, "Inference for the generalization error", 2003, for the folds.
    """
    return {method: _gain(ours, other, method, others.get(RANDOM)) for method, other in others.items()}


def _gain(ours: Measured, other: Measured, method: str, random: Measured | None) -> Interval | None:
    chance = _sampling(ours.result, other.result)
    if chance is None:
        return None
    sources = [chance]
    if ours.models > 1:
        differences = ours.by_model - (other.by_model if other.models == ours.models else 0)
        sources.append(Variance(float(differences.var(ddof=1)) / ours.models, ours.models - 1))
    elif random is not None and random.models > 1:
        # Random encoders take the shuffles of ours in turns, which are subtracted; a given split has a single score.
        ours_again = np.resize(ours.result.seed_scores, random.models)
        varied = float((np.asarray(random.result.seed_scores) - ours_again).var(ddof=1))
        sources.append(Variance(varied * (1 + 1 / random.models if method == RANDOM else 1), random.models - 1))
    found = interval(ours.result.mean - other.result.mean, sources, LEVEL)
    return found.scaled(-1 if ours.result.lower_is_better else 100)


def _sampling(ours: ProbeResult, other: ProbeResult) -> Variance | None:
    """The variance of the difference that test rows and training labels cause."""
    # The parts of other metrics are targets where there are resamples, else folds.
    if (ours.metric == "accuracy" or not ours.replicates) and len(ours.part_scores[0]) > 1:
        units = min(len(ours.part_scores), len(other.part_scores))
        differences = np.subtract(ours.part_scores[:units], other.part_scores[:units])
        # A fold without both classes of a target has no score.
        scored = differences[~np.isnan(differences)]
        if len(scored) < 2:
            return None
        folds, parts = differences.shape[1], len(scored)
        return Variance(float(scored.var(ddof=1)) * (1 / parts + 1 / (folds - 1)), parts - 1)
    if not ours.replicates or not other.replicates:
        return None
    differences = np.subtract(ours.replicates, other.replicates)
    return Variance(float(differences.var(ddof=1)), len(differences) - 1)


def recommendation(
    ours: Measured, others: Mapping[str, Measured], found: Mapping[str, Interval | None], training_seconds: float | None
) -> str | None:
    """One sentence: use the encoder where it is surely better than every other row, or else the best of these.

    "Surely" is that all of each interval is above 0, so that a pre-training that changes nothing is recommended in at
    most one table of twenty. None where there is no other row.
    """
    if not others:
        return None
    sign = -1 if ours.result.lower_is_better else 1
    best = max(others, key=lambda method: sign * others[method].result.mean)
    known = {method: gain for method, gain in found.items() if gain is not None}
    gain = known.get(best)
    if gain is None or (gain.low > 0 and len(known) < len(others)):
        return f"The labels are too few, to train or to test with, to recommend anything; the best other row is {best}."
    # Another row may be within reach though its mean is lower, where it varies more.
    close = min(known, key=lambda method: known[method].low)
    if gain.low > 0 and known[close].low <= 0:
        best, gain = close, known[close]
    error = ours.result.lower_is_better
    bounds = f"90 % interval of its gain {_number(gain.low, error, '+')} to {_number(gain.high, error, '+')}"
    size = f"{_number(abs(gain.mean), error)} {ours.result.metric if error else 'points'}"
    cost = _cost(ours, others[best], training_seconds)
    if gain.low > 0:
        return f"Use the pre-trained encoder: it is {size} better than the best other row, {best} ({bounds}; {cost})."
    where = f"{best} (of a run: random_encoder/ in its folder)" if best == RANDOM else best
    if gain.high < 0:
        return f"Use {where}: the pre-trained encoder is {size} worse ({bounds}; {cost})."
    side = "better" if gain.mean >= 0 else "worse"
    return f"Use {where}: the pre-trained encoder is not surely better, {size} {side} here ({bounds}; {cost})."


def gain_section(
    others: Mapping[str, Measured], found: Mapping[str, Interval | None], *, models: int
) -> ReportSection | None:
    """A table of the gains over each row."""
    known = {method: gain for method, gain in found.items() if gain is not None}
    if not known:
        return None
    trained = "one pre-training" if models == 1 else f"{models} pre-trainings"
    varied = " and, in its place, of random encoders" if models == 1 and RANDOM in others else ""
    return ReportSection(
        title="What the pre-trained encoder gains over each row",
        columns=("row", "gain", "from", "to", "seconds of the row"),
        rows=tuple((method, gain.mean, gain.low, gain.high, others[method].seconds) for method, gain in known.items()),
        text=(
            "Positive is better; 90 % intervals of a single comparison. They count test rows, training labels and the"
            f" seed of {trained}{varied}."
        ),
    )


def _cost(ours: Measured, other: Measured, training_seconds: float | None) -> str:
    trained = "" if training_seconds is None else f" after {_seconds(training_seconds)} of training"
    return f"{_seconds(ours.seconds)}{trained} against {_seconds(other.seconds)}"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def _number(value: float, error: bool, sign: str = "") -> str:
    """Points to a tenth; errors, whose units may be any, to three digits."""
    return f"{value:{sign}{'.3g' if error else '.1f'}}".replace("-", "−")
