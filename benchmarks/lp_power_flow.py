"""The cheapest generation when loads change: DC optimal power flow on three networks of PGLib.

    python -m benchmarks.lp_power_flow            # fifteen minutes on two cores
    python -m benchmarks.lp_power_flow --quick    # a minute: the smallest network, one seed

Loads as in PGLearn: one factor of .6 to 1 for all, one of .85 to 1.15 for each bus. A hundred problems to train on,
thirty unseen ones. The way "as chosen" is the one that took the least time on the last eight of the hundred.
"Without any pivot": the start was optimal, and proved so.
"""

from __future__ import annotations

from functools import partial

from benchmarks.harness import Options, Steps, data_dir, main
from benchmarks.lp_ways import SEEDS, TIME, Facts, by_metric, facts, labels_folder, median, rows_of, taught_by_bases
from jepakit.lp import label, pretrain
from jepakit.lp.encoder import EncoderConfig
from jepakit.lp.evaluate import FAMILY, ways
from jepakit.lp.families.power_flow import PowerFlow
from jepakit.training.result_rows import ResultRow

CASES = {"118 buses": "case118_ieee", "300 buses": "case300_ieee", "1354 buses": "case1354_pegase"}
_TRAINING, _TEST, _UNSEEN = 100, 30, 10**6


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    names, seeds = (list(CASES)[:1], SEEDS[:1]) if options.quick else (list(CASES), SEEDS)
    table: list[ResultRow] = []
    for name in names:
        by_seed = [
            steps.value((name, seed, options.quick), partial(_measured, name, seed, options.quick)) for seed in seeds
        ]
        rivals = [name for name, way in by_seed[0].items() if not way["ours"]]
        table += rows_of(name, by_seed, {TIME: min(median(by_seed, way, TIME) for way in rivals)}, FAMILY)
    return by_metric(table)


def _measured(name: str, seed: int, quick: bool) -> Facts:
    made = PowerFlow.read(data_dir() / "lp" / "pglib_opf" / f"pglib_opf_{CASES[name]}.m")
    problems = [made.problem(number) for number in range(_TRAINING)]
    optima = label(problems, cache=labels_folder(), workers=2)
    encoder = EncoderConfig(dim=32, depth=3, iterations=128)
    config = taught_by_bases(seed=seed, epochs=2 if quick else 10, batch_size=4, encoder=encoder)
    family = pretrain(problems, config, optima=optima).family
    unseen = [made.problem(_UNSEEN + number) for number in range(_TEST)]
    return facts(unseen, ways(family, unseen))


if __name__ == "__main__":
    main("lp_power_flow", rows)
