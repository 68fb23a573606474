"""``jepakit lp solve | batch``: PyTorch is imported where a network is used; a solve takes less time than that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from jepakit.cli.lp_batch import COMMANDS as BATCH_COMMANDS
from jepakit.cli.messages import say
from jepakit.cli.outcome import Outcome
from jepakit.cli.reading import Command
from jepakit.errors import ConfigError, DataError
from jepakit.lp.formats.files import problem_files
from jepakit.lp.sequence import Solved, solve_files
from jepakit.lp.solving.solver import Solution, SolveConfig


@dataclass
class SolveOptions(SolveConfig):
    """Solving problems one after another.

    Args:
        problems: a file (MPS or LP, gzipped or not), or a folder of them.
        relax: solve the relaxation of problems with integer columns.
        start: a basis file (.bas) to start each from.
        run: a finished run that learned the family: each problem starts in the way that was fastest on held-out
            problems.
        rolling: start from the answer before, where the matrix is the same; with a run, where that was measured to
            be the fastest.
        out: folder for NAME.sol, NAME.bas and solutions.jsonl; by default nothing is written.
        report: a folder for ``report.html`` with pivots and milliseconds of each problem; by default none is written.
    """

    problems: Path | None = None
    relax: bool = False
    start: Path | None = None
    run: Path | None = None
    rolling: bool = True
    out: Path | None = None
    report: Path | None = None


def _solve(options: SolveOptions, out: Console) -> Outcome:
    files = files_of(options.problems)
    family = None
    if options.run is not None:
        from jepakit.lp.starts.family import LearnedFamily

        family = LearnedFamily.open(options.run)
        say(out, f"family: {family.choice.in_words(len(files))}")
    unread, facts = 0, list[dict[str, Any]]()
    how = {name: getattr(options, name) for name in ("start", "rolling", "relax", "out")}
    for solved in solve_files(files, options, family=family, **how):
        if solved.note:
            say(out, f"{solved.name}: {solved.note}")
        if solved.solution is not None:
            say(out, f"{solved.name}: {_sentence(solved, solved.solution)}")
            facts.append(solved.as_json(solved.solution))
            continue
        if solved.error is not None and len(files) == 1:
            raise solved.error
        unread += 1
        facts.append({"problem": solved.name, "error": str(solved.error)})
        say(out, f"{solved.name}: {solved.error}")
    if options.out is not None:
        say(out, f"written to {options.out}")
    if options.report is not None:
        # It imports torch, which a command without a report need not wait for.
        from jepakit.cli.runs import write_results
        from jepakit.lp.reporting import solved_evaluation
        from jepakit.training import RunFolder

        write_results(RunFolder(options.report), solved_evaluation(facts), out)
    error = None
    if unread:
        error = DataError("problems that cannot be read", field="problems", value=f"{unread} of {len(files)}")
    return Outcome({"problems": facts}, error)


def _sentence(solved: Solved, solution: Solution) -> str:
    """The outcome in a line, and where the time went."""
    parts = {"read": solved.reading, "starts": solved.guessing, "solve": solution.seconds}
    times = ", ".join(f"{name} {1000 * seconds:.3g} ms" for name, seconds in parts.items())
    work = f"{solution.pivots} pivots from the {solution.source}; {times}"
    work += " after a start that did not hold" if solution.fell_back else ""
    if solution.status != "optimal":
        return f"{solution.status}: {solution.message} ({work})"
    proof = f"certified to {solution.gap:.1e}" if solution.certified else f"not certified: {solution.message}"
    return f"optimal, {solution.objective:.10g}, {proof} ({work})"


def files_of(problems: Path | None) -> list[Path]:
    """The problem files of a file or folder."""
    if problems is None:
        raise ConfigError("problems", None, "a file in MPS or LP format, or a folder of them")
    return problem_files(problems)


COMMANDS = {
    "solve": Command(SolveOptions, _solve, ("problems",), aliases={"family": "run"}, json=True),
    **BATCH_COMMANDS,
}
