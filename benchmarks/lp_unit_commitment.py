"""A day of unit commitment, when two others have been solved.

    python -m benchmarks.lp_unit_commitment            # twenty minutes on two cores
    python -m benchmarks.lp_unit_commitment --quick    # two minutes: one network, one seed, less training

The relaxations of RTS-GMLC with three models of the network; matrix and costs are the same on all days. Trained on two
days and on perturbed mixtures of them; tested on the third, solved after the second: the basis of the problem before is
the second day's, kept in HiGHS with its factors and weights. Each day is solved five times, for the time. Bases of
solved problems are tried with Devex edge weights too, for these matter as much as the start.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

from benchmarks.harness import Options, Steps, data_dir, main
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
from jepakit.errors import DataError
from jepakit.lp import LinearProgram, Solution, Start, label, read_problem, train
from jepakit.lp.batch import Optimum
from jepakit.lp.encoder import EncoderConfig
from jepakit.lp.evaluate import BEST, FAMILY, NEAREST, ROLLING, Way, ways
from jepakit.lp.families.perturbed import Perturbed
from jepakit.training.result_rows import ResultRow

NETWORKS = {"copper plate": "NetCopperPlate", "DC": "NetDC", "PTDF": "NetPTDF"}
_TRAINING, _SIDES, _TIMES = 30, 0.05, 5
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
        rivals = [way for way in by_seed[0] if not way.startswith("jepakit")]
        best = {metric: min(median(by_seed, way, metric) for way in rivals) for metric in (PIVOTS, TIME)}
        table += rows_of(name, by_seed, {PIVOTS: best[PIVOTS] / _FEWER_PIVOTS, TIME: best[TIME]}, FAMILY)
    return by_metric(table)


def _measured(name: str, seed: int, quick: bool) -> Facts:
    """The third day in every way."""
    problems, optima = _training(name)
    encoder = EncoderConfig(dim=24, depth=3, iterations=256)
    config = taught_by_bases(seed=seed, epochs=1 if quick else 5, batch_size=2, encoder=encoder)
    family = train(problems, config, optima=optima).family
    _, second, third = _days(name)
    by = ways(family, [second, third])
    by |= {f"{way}, Devex": partial(_with_devex, by[way]) for way in (NEAREST, BEST, ROLLING)}
    repeated = facts([second, third] * _TIMES, by)
    return {way: ones[1::2] for way, ones in repeated.items()}


def _with_devex(way: Way, problem: LinearProgram, before: Solution | None) -> list[Start]:
    return [replace(start, edge_weights="devex") for start in way(problem, before)]


@cache
def _training(name: str) -> tuple[list[LinearProgram], list[Optimum]]:
    """Two days and mixtures of them that have an optimum."""
    first, second, _ = _days(name)
    family = Perturbed((first, second), sides=_SIDES)
    problems, optima = [first, second], label([first, second], cache=labels_folder())
    seed = 0
    while len(problems) < _TRAINING + 2:
        problem = family.problem(seed)
        seed += 1
        try:
            optima += label([problem], cache=labels_folder())
        except DataError:
            continue  # perturbed loads may be more than can be served
        problems.append(problem)
    return problems, optima


@cache
def _days(name: str) -> list[LinearProgram]:
    folder = data_dir() / "lp" / "unit_commitment"
    return [read_problem(file, relax=True) for file in sorted(folder.glob(f"*_{NETWORKS[name]}_*.mps.gz"))]


if __name__ == "__main__":
    main("lp_unit_commitment", rows)
