"""``jepakit lp batch``: many scenarios of one problem."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from jepakit.cli.messages import say
from jepakit.cli.outcome import Outcome
from jepakit.cli.reading import Command
from jepakit.errors import ConfigError, DataError
from jepakit.lp.formats.files import read_problem
from jepakit.lp.solving.solver import SolveConfig


@dataclass
class BatchOptions(SolveConfig):
    """Solving scenarios of one problem.

    Args:
        scenarios: a Parquet or npz file with a row for each; columns have the names of rows (their right-hand sides),
            of columns (their costs), or b:NAME, row_lower:NAME, row_upper:NAME, costs:NAME, lower:NAME, upper:NAME.
        problem: a file (MPS or LP, gzipped or not) with everything that does not vary.
        relax: solve the relaxation of a problem with integer columns.
        run: a finished run that learned the family of the problem: the bases of its training problems are tried first.
        out: a Parquet file for the solutions; by default nothing is written.
        points: write x and y, too.
        report: a folder for ``report.html``; by default none is written.
    """

    scenarios: Path | None = None
    problem: Path | None = None
    relax: bool = False
    run: Path | None = None
    out: Path | None = None
    points: bool = True
    report: Path | None = None


def _batch(options: BatchOptions, out: Console) -> Outcome:
    from jepakit.lp.batch.files import solve_scenarios
    from jepakit.lp.batch.results import Tally
    from jepakit.lp.batch.solver import BatchSolver

    if options.scenarios is None:
        raise ConfigError("scenarios", None, "a Parquet or npz file with a row for each scenario")
    if options.problem is None:
        raise ConfigError("problem", None, "the problem in MPS or LP format that the scenarios are of")
    problem = read_problem(options.problem, relax=options.relax)
    bases = []
    if options.run is not None:
        from jepakit.lp.starts.family import LearnedFamily

        neighbours = LearnedFamily.open(options.run).neighbours
        if neighbours is None or not (bases := neighbours.bases(problem)):
            expected = "a run trained with labels on problems of this matrix"
            raise DataError("no bases for this problem", file=options.run, field="run", expected=expected)
    tally = Tally()
    for solution in solve_scenarios(
        options.scenarios, BatchSolver(problem, options, bases), options.out, points=options.points
    ):
        tally.add(solution)
    say(out, tally.in_words())
    if options.out is not None:
        say(out, f"written to {options.out}")
    if options.report is not None:
        # It imports torch, which a command without a report need not wait for.
        from jepakit.cli.runs import write_results
        from jepakit.lp.reporting import batch_evaluation
        from jepakit.training import RunFolder

        evaluation = batch_evaluation(tally.as_json(), tally.in_words(), problem=problem.name or options.problem.name)
        write_results(RunFolder(options.report), evaluation, out)
    return Outcome({"out": options.out, **tally.as_json()})


COMMANDS = {
    "batch": Command(BatchOptions, _batch, ("scenarios", "problem"), aliases={"family": "run"}, json=True),
}
