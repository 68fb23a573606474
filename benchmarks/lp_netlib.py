"""Is the answer right, whatever the start? All 91 problems of Netlib: cold, from noise, from a model without training.

    python -m benchmarks.lp_netlib            # ten minutes on two cores
    python -m benchmarks.lp_netlib --quick    # a minute: problems of up to 500 rows

"Right" means a status of optimal, and the objective within 1e-6 (relative to 1 + its size) of the published optimum as
HiGHS has verified it; "certified" that the optimum is proved in exact arithmetic. Seconds are those of all problems,
relative to HiGHS alone in the same process. Each problem is also made infeasible, by a row that asks for less than the
least its objective can be, and unbounded, by two columns that cancel in every row and together earn; the answer has to
be that, within a minute a problem (made infeasible, dfl001 takes HiGHS alone more than three). A network with random
weights, and bases and points of noise, stand for the worst that a model can say.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import scipy.sparse as sp
import torch

from benchmarks.harness import Options, Steps, data_dir, main
from jepakit.lp import Basis, LinearProgram, LPModel, SolveConfig, Solver, Start, read_problem
from jepakit.lp.solving.highs import HighsSolver
from jepakit.training.result_rows import ResultRow

COLD, NOISE, UNTRAINED = "jepakit: cold", "jepakit: from noise", "jepakit: from a model with random weights"
_TOLERANCE, _QUICK_ROWS = 1e-6, 500
#: Limit of a problem that was made infeasible or unbounded.
_SECONDS = 60.0
Facts = dict[str, float]


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    folder = data_dir() / "lp" / "netlib"
    published = _published(folder)
    files = [
        file for file in sorted(folder.glob("*.mps.gz")) if not options.quick or _rows(published, file) <= _QUICK_ROWS
    ]
    where = f"Netlib, {len(files)} problems"
    table: list[ResultRow] = []
    for method in (COLD, NOISE, UNTRAINED):
        found = [
            steps.value((method, file.name), partial(_solved, file, method, float(published[_name(file)]["highs_obj"])))
            for file in files
        ]
        table += _method_rows(where, method, found)
    for made, change in (("infeasible", _impossible), ("unbounded", _without_end)):
        found = [steps.value((made, file.name), partial(_changed, file, made, change)) for file in files]
        right, late = (float(sum(one[name] for one in found)) for name in ("right", "late"))
        note = f"{late:.0f} not decided in {_SECONDS:.0f} s" if late else ""
        metric = f"made {made}: said to be so"
        table.append(ResultRow(where, COLD, metric, right, aim=float(len(files)), note=note, ours=True))
    return table


def _published(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "verified.csv").open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def _name(file: Path) -> str:
    return file.name.removesuffix(".mps.gz")


def _rows(published: dict[str, dict[str, str]], file: Path) -> int:
    return int(published[_name(file)]["rows"])


def _solved(file: Path, method: str, optimum: float) -> Facts:
    problem = read_problem(file)
    starts: dict[str, Callable[[LinearProgram], list[Start]]] = {
        COLD: lambda _: [],
        NOISE: lambda problem: [_noise(problem)],
        UNTRAINED: lambda problem: _untrained().starts([problem]),
    }
    begin = perf_counter()
    HighsSolver().solve(problem)
    between = perf_counter()
    solution = Solver().solve(problem, starts[method](problem))
    end = perf_counter()
    off = abs(solution.objective - optimum) / (1 + abs(optimum))
    return {
        "right": float(solution.status == "optimal" and off <= _TOLERANCE),
        "certified": float(solution.certified),
        "falsely": float(solution.certified and not off <= _TOLERANCE),
        "seconds": end - between,
        "highs": between - begin,
        "wrong": float(solution.status == "optimal" and not off <= _TOLERANCE),
        "off": off,
        "fell_back": float(solution.fell_back),
        "pivots": float(solution.pivots),
    }


def _noise(problem: LinearProgram) -> Start:
    draw = np.random.default_rng(0)
    basis = Basis(draw.integers(0, 4, problem.columns), draw.integers(0, 4, problem.rows))
    return Start("noise", draw.normal(size=problem.columns), draw.normal(size=problem.rows), basis)


def _untrained() -> LPModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LPModel(True, 0, 0).eval()


def _changed(file: Path, made: str, change: Callable[[LinearProgram], LinearProgram]) -> Facts:
    status = Solver(SolveConfig(seconds=_SECONDS)).solve(change(read_problem(file))).status
    return {"right": float(status == made), "late": float(status == "time limit")}


def _impossible(problem: LinearProgram) -> LinearProgram:
    """With a row that asks of the objective what no point can give."""
    best = Solver().solve(problem).objective
    return replace(
        problem,
        matrix=sp.csc_array(sp.vstack([problem.matrix, problem.costs[None]])),
        row_lower=np.append(problem.row_lower, -np.inf),
        row_upper=np.append(problem.row_upper, best - problem.offset - 0.1 * (1 + abs(best))),
        row_names=(),
    )


def _without_end(problem: LinearProgram) -> LinearProgram:
    """With the sum of all columns as another column, which rows hold back on one side, and a twin that lets go."""
    total = sp.csc_array(problem.matrix.sum(axis=1)[:, None])
    return replace(
        problem,
        costs=np.append(problem.costs, [-1.0, 0.0]),
        matrix=sp.csc_array(sp.hstack([problem.matrix, total, -total])),
        lower=np.append(problem.lower, [0.0, 0.0]),
        upper=np.append(problem.upper, [np.inf, np.inf]),
        column_names=(),
    )


def _method_rows(where: str, method: str, found: list[Facts]) -> list[ResultRow]:
    count = float(len(found))
    right, wrong = (float(sum(one[name] for one in found)) for name in ("right", "wrong"))
    certified, falsely, seconds, highs = (
        float(sum(one[name] for one in found)) for name in ("certified", "falsely", "seconds", "highs")
    )
    off = max(one["off"] for one in found)
    given_up = int(sum(one["fell_back"] for one in found))
    note = "" if method == COLD else f"{given_up} starts given up"
    errors = (
        ("called optimal, and is not", wrong, 0.0),
        ("objective, worst relative error", off, None),
        ("certified, and not the optimum", falsely, 0.0),
        ("seconds, relative to cold HiGHS", seconds / highs, None),
        ("pivots, median", float(np.median([one["pivots"] for one in found])), None),
    )
    return [
        ResultRow(where, method, "right", right, aim=count, note=note, ours=True),
        ResultRow(where, method, "certified", certified, ours=True),
        *(
            ResultRow(where, method, name, value, aim=aim, ours=True, lower_is_better=True)
            for name, value, aim in errors
        ),
    ]


if __name__ == "__main__":
    main("lp_netlib", rows)
