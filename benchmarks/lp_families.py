"""The raw guess: four families of the literature, graph network and perceptron, with labels and without, with JEPA and
without.

    python -m benchmarks.lp_families            # an hour on two cores
    python -m benchmarks.lp_families --quick    # two minutes: smaller problems, fewer epochs, one seed

Relaxations of the sizes of Qian et al. 2024 (IPM-MPNN): set cover 700 x 700, independent set of 550 nodes, auctions of
500 items and 600 bids, facility location with 25 and 35 places. 50 problems to train on, 20 unseen ones. Measured is x
as it is predicted, before any solver: the error of its objective and its mean violation of a row. A network alone sees
the problem; one with iterations starts from what 128 first-order iterations come to, which stand beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.harness import Options, Steps, main, mean_row
from benchmarks.lp_ways import SEEDS, by_metric, labels_folder
from jepakit.lp import LinearProgram, ObjectiveConfig, PretrainConfig, label, pretrain
from jepakit.lp.data import Array
from jepakit.lp.encoder import EncoderConfig
from jepakit.lp.families.combinatorial import CombinatorialAuction, FacilityLocation, IndependentSet, SetCover
from jepakit.lp.families.named import LPFamily
from jepakit.lp.solving.basis import Optimum
from jepakit.lp.solving.iterates import primal_dual
from jepakit.lp.solving.scaling import equilibrated
from jepakit.training.result_rows import ResultRow

FAMILIES: dict[str, tuple[LPFamily, LPFamily]] = {
    "set cover": (SetCover(), SetCover(70, 70, 0.1)),
    "independent set": (IndependentSet(), IndependentSet(55)),
    "auctions": (CombinatorialAuction(), CombinatorialAuction(50, 60)),
    "facility location": (FacilityLocation(25, 35, 5), FacilityLocation(5, 7, 5)),
}
"""Of each family the problems, and small ones."""
JEPA = {"": None, ", JEPA ema": "ema", ", JEPA simsiam": "simsiam", ", JEPA lejepa": "lejepa"}
_FEW_JEPA = ("", ", JEPA ema")
GAP, VIOLATION = "error of the objective, %", "mean violation of a row"
_ITERATIONS = 128
_TRAINING, _TEST, _FEWER, _UNSEEN = 50, 20, (10, 25), 10**6
_AIM_WITH, _AIM_WITHOUT = 1.0, 3.0

#: With labels x and y are regressed, and the KKT loss weighs little; without, products weigh more than violations.
_WITH = PretrainConfig(
    epochs=10,
    batch_size=4,
    learning_rate=2e-3,
    progress=False,
    primal_weight=0.1,
    dual_weight=0.1,
    stationarity_weight=0.1,
    complementary_slackness_weight=0.1,
    values_weight=10.0,
)
_WITHOUT = replace(
    _WITH,
    primal_weight=1.0,
    dual_weight=1.0,
    stationarity_weight=1.0,
    complementary_slackness_weight=10.0,
    values_weight=0.0,
)
_STARTED = "graph network with iterations"
#: Kind of network: what it changes, with labels and without.
_KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    _STARTED: (
        {"encoder": EncoderConfig(dim=32, depth=3, iterations=_ITERATIONS)},
        {"encoder": EncoderConfig(dim=32, depth=3, iterations=_ITERATIONS), "learning_rate": 5e-4},
    ),
    "graph network alone": (
        {"encoder": EncoderConfig(dim=32, depth=4, iterations=0)},
        {"encoder": EncoderConfig(dim=32, depth=4, iterations=0), "learning_rate": 5e-3, "gap_weight": 0.1},
    ),
    "perceptron alone": (
        {"use_bipartite_graphs": False, "encoder": EncoderConfig(dim=16, depth=2, iterations=0)},
        {"use_bipartite_graphs": False, "encoder": EncoderConfig(dim=16, depth=2, iterations=0), "gap_weight": 0.1},
    ),
}
#: Of hundreds of thousands of inputs, a perceptron's step takes a second: it gets fewer.
_PERCEPTRON = {"epochs": 5, "batch_size": 10, "learning_rate": 1e-3}


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    seeds = SEEDS[:1] if options.quick else SEEDS
    table: list[ResultRow] = []
    for family in FAMILIES:
        floor = steps.value((family, "iterations", options.quick), partial(_floor, family, options.quick))
        method = f"{_ITERATIONS} first-order iterations, nothing learned"
        table += [ResultRow(family, method, metric, floor[metric], lower_is_better=True) for metric in (GAP, VIOLATION)]
        for kind in _KINDS:
            for labels in (_TRAINING, 0):
                for jepa in _FEW_JEPA if kind == _STARTED else JEPA:
                    key = (family, kind, jepa, labels, options.quick)
                    found = [steps.value((*key, seed), partial(_measured, *key, seed)) for seed in seeds]
                    table += _method_rows(family, kind, jepa, labels, found)
    return [*by_metric(table), *_curve(options, steps, seeds)]


def _curve(options: Options, steps: Steps, seeds: Sequence[int]) -> list[ResultRow]:
    """The error by the number of labelled problems, of the graph network alone."""
    kind, table = "graph network alone", []
    for family in FAMILIES:
        for count in (*_FEWER, _TRAINING):
            for jepa in _FEW_JEPA:
                key = (family, kind, jepa, count, options.quick)
                found = [steps.value((*key, seed), partial(_measured, *key, seed)) for seed in seeds]
                metric = f"error of the objective, %, by labelled problems: {kind}"
                gaps = [one[GAP] for one in found]
                where, method = f"{family}, {count}", f"jepakit: {kind}{jepa}"
                table.append(mean_row(where, method, metric, gaps, ours=True, lower_is_better=True))
    return table


def _method_rows(family: str, kind: str, jepa: str, labels: int, found: Sequence[dict[str, float]]) -> list[ResultRow]:
    method = f"jepakit: {kind}, {'labels' if labels else 'no labels'}{jepa}"
    aim = _AIM_WITH if labels else _AIM_WITHOUT
    return [
        mean_row(family, method, metric, [one[metric] for one in found], aim=wanted, ours=True, lower_is_better=True)
        for metric, wanted in ((GAP, aim), (VIOLATION, None))
    ]


def _measured(family: str, kind: str, jepa: str, labels: int, quick: bool, seed: int) -> dict[str, float]:
    """Trains a model and measures its guesses."""
    problems, optima = _problems(family, quick, training=True)
    with_labels, without = _KINDS[kind]
    config = replace(_WITH, **with_labels) if labels else replace(_WITHOUT, **without)
    if not config.use_bipartite_graphs:
        config = replace(config, **_PERCEPTRON)
    if mode := JEPA[jepa]:
        config = replace(config, use_jepa=True, objective=ObjectiveConfig(target=mode))
    config = replace(config, seed=seed, held_out=0, epochs=2 if quick else config.epochs)
    if labels:
        problems, optima = problems[:labels], optima[:labels]
    model = pretrain(problems, config, optima=optima if labels else None).encoder
    unseen, best = _problems(family, quick, training=False)
    return _errors(unseen, best, [start.x for start in model.starts(unseen) if start.x is not None])


def _floor(family: str, quick: bool) -> dict[str, float]:
    unseen, best = _problems(family, quick, training=False)
    guesses: list[Array] = []
    for problem in unseen:
        scaled, scaling = equilibrated(problem)
        guesses.append(scaling.x * primal_dual(scaled, _ITERATIONS)[0])
    return _errors(unseen, best, guesses)


def _errors(problems: Sequence[LinearProgram], optima: Sequence[Optimum], guesses: Sequence[Array]) -> dict[str, float]:
    """Means over problems."""
    gaps: list[float] = []
    violations: list[float] = []
    for problem, optimum, x in zip(problems, optima, guesses, strict=True):
        best, activity = problem.objective(optimum.x), problem.matrix @ x
        outside = np.maximum(problem.row_lower - activity, 0) + np.maximum(activity - problem.row_upper, 0)
        gaps.append(100 * abs(problem.objective(x) - best) / abs(best))
        violations.append(float(outside.mean()))
    return {GAP: float(np.mean(gaps)), VIOLATION: float(np.mean(violations))}


@cache
def _problems(family: str, quick: bool, *, training: bool) -> tuple[list[LinearProgram], list[Optimum]]:
    """Problems of one size, which a perceptron needs: the shorter ones get rows that ask for nothing."""
    made = FAMILIES[family][quick]
    sets = [
        [made.problem(number) for number in range(_TRAINING)],
        [made.problem(_UNSEEN + number) for number in range(_TEST)],
    ]
    most = max(problem.rows for problems in sets for problem in problems)
    problems = [_padded(problem, most) for problem in sets[0 if training else 1]]
    return problems, label(problems, cache=labels_folder(), workers=2)


def _padded(problem: LinearProgram, rows: int) -> LinearProgram:
    more = rows - problem.rows
    empty = sp.csc_array((more, problem.columns))
    return replace(
        problem,
        matrix=sp.csc_array(sp.vstack([problem.matrix, empty])),
        row_lower=np.append(problem.row_lower, np.full(more, -np.inf)),
        row_upper=np.append(problem.row_upper, np.full(more, np.inf)),
        row_names=(),
    )


if __name__ == "__main__":
    main("lp_families", rows)
