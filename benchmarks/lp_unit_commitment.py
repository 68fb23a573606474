"""A day of unit commitment, when two others have been solved.

    python -m benchmarks.lp_unit_commitment            # half an hour on two cores
    python -m benchmarks.lp_unit_commitment --quick    # two minutes: one network, one seed, fewer problems

The relaxations of RTS-GMLC with three models of the network; matrix and costs are the same on all days. Trained on two
days and on hundreds made of them, others for each seed; tested on the third, solved after the second: the basis of the
problem before is the second day's, kept in HiGHS with its factors and weights. Each day is solved five times, for the
time. The rivals get the problems as HiGHS does, and the same hundreds to choose the nearest from. Bases of solved
problems are tried with Devex edge weights too, for these matter as much as the start.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from benchmarks.harness import Options, Steps, main
from benchmarks.lp_ways import (
    NETWORKS,
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
    unit_commitment_days,
)
from jepakit.lp import LinearProgram, Solution, Start, pretrain, with_optimum
from jepakit.lp.encoder import EncoderConfig
from jepakit.lp.evaluate import BEST, FAMILY, INTERIOR, NEAREST, ROLLING, Way, ways
from jepakit.lp.families.perturbed import Perturbed
from jepakit.lp.starts.timing import measured_family
from jepakit.training.result_rows import ResultRow

#: Problems made of two days, and in short; of these the network is trained on, and starts are timed on the last.
_MADE, _FEW, _TRAINING, _HELD_OUT = 400, 60, 32, 8
#: Times that each day is solved.
_TIMES = 5
_FEWER_PIVOTS = 2


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    names = list(NETWORKS)[1:2] if options.quick else list(NETWORKS)
    seeds = SEEDS[:1] if options.quick else SEEDS
    table: list[ResultRow] = []
    for name in names:
        by_seed = [
            steps.value((name, seed, options.quick), partial(_measured, name, seed, options.quick)) for seed in seeds
        ]
        rivals = [name for name, way in by_seed[0].items() if not way["ours"]]
        # Pivots after an interior point method are no measure of what it takes.
        compared = {PIVOTS: [name for name in rivals if name != INTERIOR], TIME: rivals}
        best = {metric: min(median(by_seed, way, metric) for way in names) for metric, names in compared.items()}
        table += rows_of(name, by_seed, {PIVOTS: best[PIVOTS] / _FEWER_PIVOTS, TIME: best[TIME]}, FAMILY)
    return by_metric(table)


def _measured(name: str, seed: int, quick: bool) -> Facts:
    """The third day in every way."""
    first, second, third = unit_commitment_days(name)
    made = Perturbed((first, second))
    count = _FEW if quick else _MADE
    problems = [first, second, *(made.problem(count * seed + number) for number in range(count))]
    problems, optima, _ = with_optimum(problems, cache=labels_folder(), workers=2)
    encoder = EncoderConfig(dim=24, depth=3, iterations=256)
    config = taught_by_bases(seed=seed, epochs=1 if quick else 5, batch_size=2, encoder=encoder, held_out=0)
    # A network is trained on some, for it takes minutes; to remember a problem takes nothing.
    model = pretrain(problems[:_TRAINING], config, optima=optima[:_TRAINING]).encoder
    family = measured_family(problems, model, optima, len(problems) - _HELD_OUT)
    by = ways(family, [second, third])
    by |= {
        f"{name}, Devex": replace(by[name], starts=partial(_with_devex, by[name])) for name in (NEAREST, BEST, ROLLING)
    }
    repeated = facts([second, third] * _TIMES, by)
    return {name: {**way, "solved": way["solved"][1::2]} for name, way in repeated.items()}


def _with_devex(way: Way, problem: LinearProgram, before: Solution | None) -> list[Start]:
    return [replace(start, edge_weights="devex") for start in way.starts(problem, before)]


if __name__ == "__main__":
    main("lp_unit_commitment", rows)
