"""Thousands of scenarios of one matrix: remembered bases, tried and certified on all at once, beside HiGHS.

    python -m benchmarks.lp_batch            # twenty minutes on one core
    python -m benchmarks.lp_batch --quick    # a minute: the smallest network, fewer scenarios

Loads of three networks of PGLib as in PGLearn; of one of them loads of up to 2.2 times, of which two thirds cannot be
met; the loads of a day of unit commitment (RTS-GMLC, copper plate) by up to .3 %, 1 % and 10 %, together, and each by
up to a third of that more; the costs of a set cover of 500 rows and 1,000 columns by up to 1 % and 5 % each. Times are
CPU seconds of one thread, from arrays of what varies to points and bounds. HiGHS gets the model once, and what has
changed before each scenario; its points are not certified. Rivals solve a part of the scenarios, as noted. "Wrong":
scenarios of that part whose objective differs from that of cold HiGHS by more than 1e-6 of its size, or by more than
the gap, or that are infeasible for one of both alone.

Orders of candidates: bases of 20, 100 or 1,000 solved scenarios are tried one after another on 400 unseen ones; the
mean number tried until one is optimal, over those for which one is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import process_time
from typing import Any

import highspy
import numpy as np

from benchmarks.harness import Options, Steps, data_dir, main
from benchmarks.lp_batch_ranking import BOUND, FREQUENCY, JEPA_NETWORK, NEAREST, NETWORK, Known, candidates, optimal
from benchmarks.lp_ways import SEEDS, unit_commitment_days
from jepakit.lp import Basis, BatchSolver, LinearProgram, Scenarios, SolveConfig, to_highs
from jepakit.lp.families.combinatorial import SetCover
from jepakit.lp.families.power_flow import PowerFlow
from jepakit.lp.solving.highs import HighsSolver
from jepakit.lp.stream import Stream
from jepakit.training.result_rows import ResultRow

CASES = {"DC-OPF 118": "case118_ieee", "DC-OPF 300": "case300_ieee", "DC-OPF 1354": "case1354_pegase"}
#: Beyond what the plants and lines can do.
BEYOND = "DC-OPF 118, to 2.2 times"
LOADS = {"unit commitment, .3 %": 0.003, "unit commitment, 1 %": 0.01, "unit commitment, 10 %": 0.1}
COSTS = {"set cover, costs 1 %": 0.01, "set cover, costs 5 %": 0.05}
RATE, BY_BASES, WRONG, UNPROVED = "scenarios a second", "certified without the solver", "wrong", "not certified"
TRIED = "candidates tried, {} labelled"
OURS, AGAIN, GAP = "batch", "batch, bases of a batch before", "batch, gap .01"
COLD, INTERIOR, PERSISTENT, STREAM = (
    "HiGHS cold, dual simplex",
    "HiGHS cold, interior point",
    "HiGHS, basis of the scenario before",
    "one after another, certified",
)
#: Scenarios of a batch; of it, those that take long for all; and those that rivals solve.
_COUNT, _FEWER, _COLD, _WARM = 10_000, 300, 40, 400
_LABELLED, _UNLABELLED, _TEST = (20, 100, 1000), 3000, 400
#: How many times the throughput of persistent HiGHS is aimed at.
_AIMS = {"DC-OPF": 50, "unit": 5}

Facts = dict[str, Any]


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    names = [*CASES, BEYOND, *LOADS, *COSTS]
    names = [names[0], BEYOND, next(iter(LOADS))] if options.quick else names
    table: list[ResultRow] = []
    for name in names:
        found = steps.value((name, options.quick), partial(_measured, name, options.quick))
        aim = next((times for start, times in _AIMS.items() if name.startswith(start)), None)
        for method, facts in found.items():
            fields: Facts = {"ours": method in (OURS, AGAIN, GAP, STREAM), "note": facts["note"]}
            target = aim * found[PERSISTENT]["rate"] if aim and method == OURS else None
            table.append(ResultRow(name, method, RATE, facts["rate"], aim=target, **fields))
            if "by_bases" in facts:
                table.append(ResultRow(name, method, BY_BASES, facts["by_bases"], ours=True))
                for metric in (WRONG, UNPROVED):
                    row = ResultRow(name, method, metric, facts[metric], aim=0.0, ours=True, lower_is_better=True)
                    table.append(row)
    for name in names[:1] if options.quick else CASES:
        table += _ranking(name, options, steps)
    return table


def _ranking(name: str, options: Options, steps: Steps) -> list[ResultRow]:
    table: list[ResultRow] = []
    seeds = SEEDS[:1] if options.quick else SEEDS
    sizes = _LABELLED[:2] if options.quick else _LABELLED
    found = {
        seed: steps.value((name, "order", seed, options.quick), partial(_orders, name, seed, sizes)) for seed in seeds
    }
    for size in map(str, sizes):
        facts = found[seeds[0]][size]
        note = f"{facts['bases']:.0f} bases; one is optimal for {facts['covered']:.0%}"
        nearest = float(np.mean([one[size][NEAREST] for one in found.values()]))
        for method in (FREQUENCY, NEAREST, BOUND, NETWORK, JEPA_NETWORK):
            values = [one[size][method] for one in found.values()]
            row = ResultRow(
                name,
                method,
                TRIED.format(size),
                float(np.mean(values)),
                float(np.std(values, ddof=1)) if len(values) > 1 else None,
                len(values),
                aim=nearest / 2 if method == JEPA_NETWORK else None,
                ours=method in (BOUND, JEPA_NETWORK),
                note=note,
                lower_is_better=True,
            )
            table.append(row)
    return table


def scenarios_of(name: str, count: int, seed: int) -> Scenarios:
    """The scenarios of a data set."""
    draw = np.random.default_rng(seed)
    if name in CASES or name == BEYOND:
        case = CASES[name if name in CASES else next(iter(CASES))]
        made = PowerFlow.read(data_dir() / "lp" / "pglib_opf" / f"pglib_opf_{case}.m")
        network, buses = made.network, len(made.loads)
        total = (0.8, 2.2) if name == BEYOND else made.total
        factor = draw.uniform(*total, (count, 1)) * draw.uniform(1 - made.width, 1 + made.width, (count, buses))
        sides = network.row_lower[:buses] + (factor - 1) * made.loads
        return Scenarios.of(network, b={network.row_name(row): sides[:, row] for row in range(buses)})
    if name in LOADS:
        day, other, _ = unit_commitment_days("copper plate")
        rows = np.flatnonzero((day.row_lower != other.row_lower) | (day.row_upper != other.row_upper))
        together, alone = draw.uniform(-1, 1, (count, 1)), draw.uniform(-1, 1, (count, len(rows)))
        factor = 1 + LOADS[name] * (together + 0.3 * alone)
        given: dict[str, dict[str, np.ndarray]] = {"row_lower": {}, "row_upper": {}}
        for place, row in enumerate(rows.tolist()):
            for side in given:
                if np.isfinite(value := getattr(day, side)[row]):
                    given[side][day.row_name(row)] = value * factor[:, place]
        return Scenarios.of(day, row_lower=given["row_lower"], row_upper=given["row_upper"])
    problem = SetCover(500, 1000, 0.02).problem(0)
    width = COSTS[name]
    return Scenarios.of(problem, costs=problem.costs * draw.uniform(1 - width, 1 + width, (count, problem.columns)))


def _measured(name: str, quick: bool) -> dict[str, Facts]:
    """Rates of all methods, and what is right and certified of ours."""
    slow = name in COSTS or name.endswith("10 %")
    count = _FEWER if slow else 1000 if quick else _COUNT
    cold, warm = (10, 50) if quick or slow else (_COLD, _WARM)
    scenarios, later = scenarios_of(name, count, 0), scenarios_of(name, count, 1)
    facts: dict[str, Facts] = {}
    objectives: list[float] = []
    for method, solver in ((COLD, "simplex"), (INTERIOR, "ipm")):
        seconds, found = _highs(scenarios.part(slice(0, cold)), solver, keeps_basis=False)
        objectives = objectives or found
        facts[method] = {"rate": cold / seconds, "note": f"{cold} of {count} scenarios"}
    seconds, _ = _highs(scenarios.part(slice(0, warm)), "simplex", keeps_basis=True)
    facts[PERSISTENT] = {"rate": warm / seconds, "note": f"{warm} of {count} scenarios"}
    stream, problems = Stream(), [scenarios.problem_of(place) for place in range(cold)]
    seconds = _timed(lambda: [stream.solve(problem) for problem in problems])
    facts[STREAM] = {"rate": cold / seconds, "note": f"{cold} of {count} scenarios"}
    solver = BatchSolver(scenarios.problem)
    ways = [(OURS, solver, scenarios), (AGAIN, solver, later)]
    if name in COSTS:
        ways.append((GAP, BatchSolver(scenarios.problem, SolveConfig(gap=0.01)), scenarios))
    for method, one, given in ways:
        begin = process_time()
        solution = one.solve(given)
        seconds = process_time() - begin
        right = (
            np.array(objectives) if given is scenarios else np.array(_highs(given.part(slice(0, cold)), "simplex")[1])
        )
        allowed, own = (0.01 if method == GAP else 1e-6) * np.abs(right), solution.objective[:cold]
        differs = np.isnan(right) != np.isnan(own)
        facts[method] = {
            "rate": count / seconds,
            "by_bases": 1 - solution.by_solver / count,
            WRONG: int((differs | (np.abs(own - right) > allowed)).sum()),
            UNPROVED: int((~solution.certified).sum()),
            "note": f"{count} scenarios",
        }
    return facts


def _timed(run: Callable[[], object]) -> float:
    begin = process_time()
    run()
    return process_time() - begin


def _highs(scenarios: Scenarios, solver: str, *, keeps_basis: bool = False) -> tuple[float, list[float]]:
    """CPU seconds of HiGHS on all scenarios, and the objectives."""
    problem = scenarios.problem
    highs = highspy.Highs()
    for option, value in (("output_flag", False), ("threads", 1), ("solver", solver)):
        highs.setOptionValue(option, value)
    highs.passModel(to_highs(problem))
    n = problem.columns
    columns, rows = (
        part.astype(np.int32) for part in (scenarios.bounded[scenarios.bounded < n], scenarios.bounded - n)
    )
    rows, objectives = rows[rows >= 0], list[float]()
    priced = scenarios.priced.astype(np.int32)
    if keeps_basis:
        highs.run()
    begin = process_time()
    for place in range(scenarios.count):
        low, high = scenarios.low[:, place].copy(), scenarios.high[:, place].copy()
        if len(rows):
            many: Any = highs
            many.changeRowsBounds(len(rows), rows, low[len(columns) :], high[len(columns) :])
        if len(columns):
            highs.changeColsBounds(len(columns), columns, low[: len(columns)], high[: len(columns)])
        if len(priced):
            highs.changeColsCost(len(priced), priced, scenarios.costs[:, place].copy())
        if not keeps_basis:
            highs.clearSolver()
        highs.run()
        np.array(highs.getSolution().col_value)
        infeasible = highs.getModelStatus() == highspy.HighsModelStatus.kInfeasible
        objectives.append(float("nan") if infeasible else highs.getInfo().objective_function_value)
    return process_time() - begin, objectives


def _orders(name: str, seed: int, sizes: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Candidates tried by each order, by the number of labelled scenarios."""
    scenarios, test = scenarios_of(name, _UNLABELLED, 10 + seed), scenarios_of(name, _TEST, 20 + seed)
    problem = scenarios.problem
    bases = _bases(problem, scenarios, max(sizes))
    found: dict[str, dict[str, float]] = {}
    for size in sizes:
        known = Known.of(problem, scenarios, bases[:size])
        right = optimal(problem, known.bases, test)
        found[str(size)] = {
            **candidates(known, right, test, seed),
            "bases": float(len(known.bases)),
            "covered": float(right.any(0).mean()),
        }
    return found


def _bases(problem: LinearProgram, scenarios: Scenarios, count: int) -> list[Basis]:
    highs, before, bases = HighsSolver(), None, list[Basis]()
    for place in range(count):
        before = highs.solve(scenarios.problem_of(place), before, reduce=False).basis
        if before is not None:
            bases.append(before.fitted(problem))
    return bases


if __name__ == "__main__":
    main("lp_batch", rows)
