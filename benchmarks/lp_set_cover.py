"""Set covers of sizes and matrices that no model has seen: a start from what was learned on smaller ones.

    python -m benchmarks.lp_set_cover            # ten minutes on two cores
    python -m benchmarks.lp_set_cover --quick    # a minute: fewer problems, one seed

Trained on relaxations of set covers of 500 rows and 1000 columns, of three densities; tested on 2000 x 2000 and
2000 x 4000, of the density of Qian et al. 2024 (.01) and of Gasse et al. 2019 (.05), every one with a matrix of its
own. Time is wall-clock time of everything: iterations, network, HiGHS, checks. Cold HiGHS presolves.
"""

from __future__ import annotations

from functools import partial

from benchmarks.harness import Options, Steps, main
from benchmarks.lp_ways import (
    PIVOTS,
    SEEDS,
    TIME,
    Facts,
    by_metric,
    facts,
    labels_folder,
    median,
    rows_of,
    taught_by_bases,
)
from jepakit.lp import LinearProgram, label, pretrain
from jepakit.lp.encoder import EncoderConfig
from jepakit.lp.evaluate import COLD, MODEL, PDLP, ways
from jepakit.lp.families.combinatorial import SetCover
from jepakit.training.result_rows import ResultRow

TRAINED = tuple(SetCover(500, 1000, density) for density in (0.02, 0.05, 0.1))
TESTED = {f"{rows} x {columns}, density {density}": SetCover(rows, columns, density)
          for density in (0.01, 0.05) for rows, columns in ((2000, 2000), (2000, 4000))}  # fmt: skip
#: Problems of training, of a test; unseen ones have seeds from here.
_TRAINING, _TEST, _UNSEEN = 100, 10, 10**6
_FEWER_PIVOTS, _LESS_TIME = 10, 3


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    count, seeds = (3, SEEDS[:1]) if options.quick else (_TEST, SEEDS)
    found = [steps.value((count, seed), partial(_measured, seed, count)) for seed in seeds]
    table: list[ResultRow] = []
    for where in TESTED:
        by_seed: list[Facts] = [one[where] for one in found]
        cold = {metric: median(by_seed, COLD, metric) for metric in (PIVOTS, TIME)}
        fewer = min(cold[PIVOTS] / _FEWER_PIVOTS, median(by_seed, PDLP, PIVOTS))
        table += rows_of(where, by_seed, {PIVOTS: fewer, TIME: cold[TIME] / _LESS_TIME}, MODEL)
    return by_metric(table)


def _measured(seed: int, count: int) -> dict[str, Facts]:
    """Trains a model, and solves the problems of all tests."""
    problems = [TRAINED[number % len(TRAINED)].problem(number) for number in range(_TRAINING)]
    encoder = EncoderConfig(dim=32, depth=3, iterations=128)
    config = taught_by_bases(seed=seed, epochs=30, batch_size=4, encoder=encoder, held_out=0)
    optima = label(problems, cache=labels_folder(), workers=2)
    family = pretrain(problems, config, optima=optima).family
    return {where: facts(_unseen(cover, count), ways(family, [])) for where, cover in TESTED.items()}


def _unseen(cover: SetCover, count: int) -> list[LinearProgram]:
    return [cover.problem(_UNSEEN + number) for number in range(count)]


if __name__ == "__main__":
    main("lp_set_cover", rows)
