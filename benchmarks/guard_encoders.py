"""What the encoders of a guard tell of attacks, with each part of their training and without it.

    python -m benchmarks.guard_encoders            # two hours on two cores; goes on where it was interrupted
    python -m benchmarks.guard_encoders --quick    # minutes: one epoch of few runs

Runs, splits and metrics are those of `guard_detect`. "Detector or head" is the larger of two scores, the second above
what .8 % of useful benign runs of the other suites exceed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.guard_detect import DETECTOR, of_detector
from benchmarks.guard_tables import ASKED, SUITES, joined, labelled, method_rows, useful
from benchmarks.harness import Options, Steps, main, side_by_side, workers
from jepakit.guard.datasets.labelled import LabelledRuns
from jepakit.guard.pretrain import PretrainConfig, train_encoders
from jepakit.guard.risk import LOWEST, score_of
from jepakit.guard.validation import embedded_calls, predictions
from jepakit.training.presets import configured
from jepakit.training.result_rows import ResultRow

ENERGY, HEAD, BOTH = "JEPA energy", "head", "detector or head"
ABLATIONS: dict[str, dict[str, Any]] = {
    "": {},
    ", without JEPA": {"objective.predictive": 0.0, "objective.contrastive": 0.0, "objective.margin": 0.0},
    ", without hard negatives": {"objective.hard_negatives": False, "views.corrupted": 0.0},
    ", without margin": {"objective.margin": 0.0},
}
#: Of useful benign runs of the other suites that the head may flag beside the detector.
_SHARE = 0.008


def of_encoders(suite: str, changes: dict[str, Any], seed: int, quick: bool) -> dict[str, list[float]]:
    """Energy and head's logit of each call of a suite."""
    epochs, few = (1, 1) if quick else (3, 2)
    base = PretrainConfig(
        epochs=epochs, per_stratum=few, learning_rate=1e-3, warmup_epochs=0.3, progress=False, seed=seed
    )
    config = configured(base, {"variant": changes}, "variant")
    runs = labelled(quick)
    model, _ = train_encoders(runs.select(runs.group != suite), config)
    tested = runs.select(runs.group == suite)
    with torch.no_grad():
        predicted, owner = predictions(model, tested)
        energy, logits = model.judge(predicted[owner[tested.run]], embedded_calls(model, tested))
    return {ENERGY: energy.numpy().round(5).tolist(), HEAD: logits.numpy().round(5).tolist()}


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """The table."""
    quick = options.quick
    seeds = range(1 if quick else 2)
    jobs: dict[tuple[Any, ...], Callable[[], Any]] = {
        (DETECTOR, suite, quick): partial(of_detector, suite, False, None, quick) for suite in SUITES
    }
    for name, changes in ABLATIONS.items():
        for seed in seeds if not name else seeds[:1]:
            for suite in SUITES:
                jobs[name, suite, seed, quick] = partial(of_encoders, suite, changes, seed, quick)
    with workers() as pool:
        measured = side_by_side(pool, steps, jobs)
    runs, table = labelled(quick), list[ResultRow]()

    def scores(name: str, seed: int, part: str) -> NDArray[np.float64]:
        return joined(runs, {suite: measured[name, suite, seed, quick][part] for suite in SUITES})

    for name in ABLATIONS:
        for part in (ENERGY, HEAD):
            first, *more = (scores(name, seed, part) for seed in (seeds if not name else seeds[:1]))
            table += method_rows(runs, first, f"{part}{name}", ours=True, more=more)
    detector = joined(runs, {suite: measured[DETECTOR, suite, quick] for suite in SUITES})
    both = np.maximum(detector - score_of(ASKED), _above_others(runs, scores("", 0, HEAD)))
    return table + method_rows(runs, both, BOTH, ours=True)


def _above_others(runs: LabelledRuns, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores above what `_SHARE` of the useful benign runs of the other suites exceed, which were held out too."""
    highest, benign, above = runs.highest(scores, LOWEST), useful(runs), np.full(len(scores), LOWEST)
    for suite in SUITES:
        others = highest[benign & (runs.group != suite)]
        calls = (runs.group == suite)[runs.run]
        above[calls] = scores[calls] - np.quantile(others, 1 - _SHARE, method="higher")
    # Beside the detector's scores, which are of the size of 1.
    return np.clip(above / max(float(scores.std()), 1e-9), LOWEST, None)


if __name__ == "__main__":
    main("guard_encoders", rows, depends_on="guard/**/*.py")
