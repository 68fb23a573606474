"""Solving problems one after another; each may start from the answer before and from a learned family."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from jepakit.errors import JepakitError
from jepakit.files import write_text
from jepakit.lp.formats.files import read_basis, read_problem, write_basis, write_solution
from jepakit.lp.solving.solver import Solution, SolveConfig, Start
from jepakit.lp.stream import Stream

if TYPE_CHECKING:
    from jepakit.lp.starts.family import LearnedFamily


@dataclass(frozen=True)
class Solved:
    """One file of a sequence.

    Args:
        name: of the file, without its endings.
        solution: of its problem; None where it could not be read.
        error: why it could not.
        note: what the user has to know of the start; mostly empty.
        reading: seconds that reading took.
        guessing: seconds that the starts took; those of the solve are in ``solution``.
    """

    name: str
    solution: Solution | None = None
    error: JepakitError | None = None
    note: str = ""
    reading: float = 0.0
    guessing: float = 0.0

    def as_json(self, solution: Solution) -> dict[str, Any]:
        """The facts of its solution; null for an infinite bound."""
        names = ("status", "message", "certified", "objective", "lower", "upper")
        names += ("source", "pivots", "seconds", "fell_back")
        facts: dict[str, Any] = {"problem": self.name, **{name: getattr(solution, name) for name in names}}
        facts |= {"reading": self.reading, "guessing": self.guessing}
        for name in ("objective", "lower", "upper"):
            facts[name] = facts[name] if math.isfinite(facts[name]) else None
        return facts


def solve_files(
    files: Sequence[Path],
    config: SolveConfig | None = None,
    *,
    family: LearnedFamily | None = None,
    start: Path | None = None,
    rolling: bool = True,
    relax: bool = False,
    out: Path | None = None,
) -> Iterator[Solved]:
    """Solves the problems of files in turn. A file that cannot be read does not keep the others from being solved.

    Args:
        files: in MPS or LP format.
        config: how to solve.
        family: gives starts; see `jepakit.lp.stream.Stream`.
        start: a basis file to start each from, instead.
        rolling: start from the answer before, where the matrix is the same; with a family, where that was measured to
            be the fastest.
        relax: solve the relaxation of problems with integer columns.
        out: folder for NAME.sol and NAME.bas of each, and, when the sequence has been used up, solutions.jsonl.

    Raises:
        ModelError: a file cannot be written.
    """
    stream = Stream(config, family=family, rolling=rolling, count=len(files))
    lines: list[str] = []
    for file in files:
        name = Path(file.name.removesuffix(".gz")).stem
        begin = perf_counter()
        try:
            problem = read_problem(file, relax=relax)
            given = [] if start is None else [Start("basis file", basis=read_basis(problem, start))]
            reading = perf_counter() - begin
            step = stream.solve(problem, given)
        except JepakitError as error:
            yield Solved(name, error=error)
            continue
        solution = step.solution
        solved = Solved(name, solution, note=step.note, reading=reading, guessing=step.guessing)
        if out is not None:
            if solution.status == "optimal":
                write_solution(solution, problem, out / f"{name}.sol")
                if solution.basis is not None:
                    write_basis(solution.basis, problem, out / f"{name}.bas")
            lines.append(json.dumps(solved.as_json(solution)) + "\n")
        yield solved
    if out is not None:
        write_text(out / "solutions.jsonl", "".join(lines))
