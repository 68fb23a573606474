"""``jepakit lp solve``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from jepakit.cli.command import Command
from jepakit.cli.runs import say
from jepakit.errors import ConfigError, DataError, JepakitError
from jepakit.lp import (
    LinearProgram,
    Solution,
    SolveConfig,
    Solver,
    Start,
    read_basis,
    read_problem,
    write_basis,
    write_solution,
)
from jepakit.training import write_text_atomically

__all__ = ["COMMANDS"]

_ENDINGS = (".mps", ".lp")


@dataclass
class SolveOptions(SolveConfig):
    """Solving problems one after another.

    Args:
        problems: a file (MPS or LP, gzipped or not), or a folder of them.
        relax: solve the relaxation of problems with integer columns.
        start: a basis file (.bas) to start each from.
        out: folder for NAME.sol, NAME.bas and solutions.jsonl; by default nothing is written.
    """

    problems: Path | None = None
    relax: bool = False
    start: Path | None = None
    out: Path | None = None


def _solve(options: SolveOptions, out: Console) -> None:
    files = _problem_files(options.problems)
    solver = Solver(options)
    lines: list[str] = []
    unread = 0
    for file in files:
        try:
            problem = read_problem(file, relax=options.relax)
            starts = [] if options.start is None else [Start("basis file", basis=read_basis(problem, options.start))]
        except JepakitError as error:
            # One bad file does not keep the others from being solved.
            if len(files) == 1:
                raise
            unread += 1
            say(out, f"{_name(file)}: {error}")
            continue
        solution = solver.solve(problem, starts)
        say(out, f"{_name(file)}: {_sentence(solution)}")
        if options.out is not None:
            _write(options.out, _name(file), problem, solution)
            lines.append(_line(_name(file), solution))
    if options.out is not None:
        write_text_atomically(options.out / "solutions.jsonl", "".join(lines))
        say(out, f"written to {options.out}")
    if unread:
        raise DataError("problems that cannot be read", field="problems", value=f"{unread} of {len(files)}")


def _problem_files(path: Path | None) -> list[Path]:
    if path is None:
        raise ConfigError("problems", None, "a file in MPS or LP format, or a folder of them")
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.name.lower().removesuffix(".gz").endswith(_ENDINGS))
    if not files:
        raise DataError(
            "no problems in this folder", file=path, expected="files that end in .mps, .lp, .mps.gz or .lp.gz"
        )
    return files


def _name(file: Path) -> str:
    name = file.name.removesuffix(".gz")
    return name[: name.rindex(".")] if "." in name else name


def _sentence(solution: Solution) -> str:
    """What was found, in a line."""
    work = f"{solution.pivots} pivots, {solution.seconds:.3g} s, from the {solution.source}"
    work += " after a start that did not hold" if solution.fell_back else ""
    if solution.status != "optimal":
        return f"{solution.status}: {solution.message} ({work})"
    return f"optimal, {solution.objective:.10g}, certified to {solution.gap:.1e} ({work})"


def _write(folder: Path, name: str, problem: LinearProgram, solution: Solution) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if solution.status == "optimal":
        write_solution(solution, problem, folder / f"{name}.sol")
        if solution.basis is not None:
            write_basis(solution.basis, problem, folder / f"{name}.bas")


def _line(name: str, solution: Solution) -> str:
    """The facts as a line of JSON."""
    facts = {
        "problem": name,
        "status": solution.status,
        "message": solution.message,
        "objective": solution.objective,
        "lower": solution.lower,
        "upper": solution.upper,
        "source": solution.source,
        "pivots": solution.pivots,
        "seconds": solution.seconds,
        "fell_back": solution.fell_back,
    }
    finite = {
        key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in facts.items()
    }
    return json.dumps(finite) + "\n"


COMMANDS = {
    "solve": Command("find the certified optimum of a problem, or of many", SolveOptions, _solve, ("problems",)),
}
