"""A power grid under thousands of loads: one matrix, solved again and again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import highspy
import numpy as np
from rich.console import Console

from jepakit.cli.demo.case import Compared, Shown, compared
from jepakit.cli.demo.grid import matpower
from jepakit.cli.lp import TrainOptions
from jepakit.cli.messages import say
from jepakit.cli.runs import training_run
from jepakit.files import write_text
from jepakit.lp.batch.results import Tally
from jepakit.lp.batch.scenarios import Scenarios
from jepakit.lp.batch.solver import BatchSolver
from jepakit.lp.evaluate import FAMILY, EvaluateConfig, evaluate
from jepakit.lp.families.power_flow import PowerFlow
from jepakit.lp.formats.files import write_problem
from jepakit.lp.pretrain import pretrain
from jepakit.lp.solving.highs import to_highs
from jepakit.lp.starts.labels import label
from jepakit.progress import tracked
from jepakit.training import RunFolder
from jepakit.training.result_rows import ResultRow

_BUSES, _GENERATORS = 200, 30
#: Problems that are learned from, the last ones of them to choose the way to start, and others that are measured on.
_TRAINING, _MEASURED = 24, 16
#: Scenarios of the batch, and of them those that HiGHS solves for comparison.
_SCENARIOS, _BY_HIGHS = 10_000, 300
_RATE, _TIME = "solved in a second", "time in ms, guess included, mean"
_BATCH, _BEFORE = "jepakit: batch, certified", "HiGHS, basis of the scenario before, not certified"
_COLD = "HiGHS, cold, not certified"


def run(folder: Path, out: Console) -> Shown:
    """Times every way to start on loads that were not learned from, and solves a batch of scenarios."""
    case, problems = folder.parent / "lp-grid.m", folder.parent / "lp-problems"
    write_text(case, matpower(_BUSES, _GENERATORS, seed=0))
    family = PowerFlow.read(case)
    made = [family.problem(seed) for seed in range(_TRAINING + _MEASURED)]
    for problem in tracked(made, "writing", unit="problems"):
        write_problem(problem, problems / f"{problem.name}.mps.gz")
    options = TrainOptions(run=folder, problems=problems, epochs=3, accelerator="cpu")
    trained = RunFolder(folder)
    with training_run(trained, options, out) as training:
        result = pretrain(made[:_TRAINING], options, optima=label(made[:_TRAINING]), run=trained)
        starts = evaluate(made[_TRAINING:], result.family, EvaluateConfig(), random_model=result.random_encoder)
        batch = _batch(scenarios_of(family, _SCENARIOS, seed=1), out)
        many = compared(f"{_SCENARIOS:,} loads", batch, _BATCH, dataset=batch[0].dataset, metric=_RATE)
        evaluation = training.evaluation = replace(
            starts,
            title=f"A grid of {_BUSES} buses under {_MEASURED} and {_SCENARIOS:,} other loads",
            rows=(*starts.rows, *batch),
            summary=(
                *starts.summary,
                f"Of the {_SCENARIOS:,} scenarios HiGHS solves {_BY_HIGHS} for comparison; CPU seconds.",
                f"One problem after another: {starts.recommendation}",
            ),
            recommendation=_advice(many),
        )
    one = compared("one load", starts.rows, FAMILY, dataset=starts.rows[0].dataset, metric=_TIME)
    return Shown((many, one), evaluation, trained.report)


def scenarios_of(family: PowerFlow, count: int, *, seed: int) -> Scenarios:
    """Loads drawn as those of the family's problems."""
    draw, network, buses = np.random.default_rng(seed), family.network, len(family.loads)
    total = draw.uniform(*family.total, (count, 1))
    factor = total * draw.uniform(1 - family.width, 1 + family.width, (count, buses))
    sides = network.row_lower[:buses] + (factor - 1) * family.loads
    return Scenarios.of(network, b={network.row_name(row): sides[:, row] for row in range(buses)})


def _batch(scenarios: Scenarios, out: Console) -> list[ResultRow]:
    start = process_time()
    solution = BatchSolver(scenarios.problem).solve(scenarios)
    spent = process_time() - start
    tally = Tally()
    tally.add(solution)
    say(out, tally.in_words())
    name, part = f"{scenarios.count:,} scenarios", scenarios.part(slice(0, _BY_HIGHS))
    rates = {_BATCH: scenarios.count / spent}
    wrong = 0
    for method, keeps_basis in ((_BEFORE, True), (_COLD, False)):
        seconds, objectives = _by_highs(part, keeps_basis=keeps_basis)
        rates[method] = part.count / seconds
        wrong += int((np.abs(objectives - solution.objective[: part.count]) > 1e-6 * np.abs(objectives)).sum())
    notes = {_BATCH: f"{int(solution.certified.sum()):,} certified, {wrong} unlike HiGHS"}
    return [
        ResultRow(name, method, _RATE, rate, note=notes.get(method, f"{part.count} of them"), ours=method == _BATCH)
        for method, rate in rates.items()
    ]


def _by_highs(scenarios: Scenarios, *, keeps_basis: bool) -> tuple[float, np.ndarray]:
    """CPU seconds and objectives, ``[S]``, of HiGHS alone, which gets the model once and then what changes."""
    highs: Any = highspy.Highs()
    for option, value in (("output_flag", False), ("threads", 1), ("solver", "simplex")):
        highs.setOptionValue(option, value)
    highs.passModel(to_highs(scenarios.problem))
    highs.run()
    rows = (scenarios.bounded - scenarios.problem.columns).astype(np.int32)
    objectives = np.empty(scenarios.count)
    start = process_time()
    for place in tracked(range(scenarios.count), "HiGHS alone", unit="scenarios"):
        highs.changeRowsBounds(len(rows), rows, scenarios.low[:, place].copy(), scenarios.high[:, place].copy())
        if not keeps_basis:
            highs.clearSolver()
        highs.run()
        optimal = highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
        objectives[place] = highs.getInfo().objective_function_value if optimal else np.nan
    return process_time() - start, objectives


def _advice(many: Compared) -> str:
    times, shown = many.ours[1] / many.floor[1], f"times the throughput of {many.floor[0]}"
    if many.is_better:
        return f"Use `jepakit lp batch` for many scenarios: {times:.1f} {shown}, and every answer is proved."
    return f"Use {many.floor[0]}: the batch has {times:.1f} {shown}, proofs included."
