"""Files solved one after another: what is written, what each starts from, and what a bad file does to the others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jepakit.errors import DataError
from jepakit.lp import (
    LearnedFamily,
    LPModel,
    SolveConfig,
    Solver,
    label,
    read_basis,
    read_problem,
    write_basis,
    write_problem,
)
from jepakit.lp.families.perturbed import Perturbed, RandomFeasible
from jepakit.lp.sequence import solve_files
from jepakit.lp.starts.choice import Choice, Way
from jepakit.lp.starts.kind import Kind
from jepakit.lp.starts.neighbours import Neighbours
from lp.problems import by_hand

FAMILY = Perturbed((RandomFeasible(rows=20, columns=30).problem(0),), sides=0.005)
PROBLEMS = [FAMILY.problem(seed) for seed in range(4)]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Four problems of one matrix."""
    paths = [tmp_path / "days" / f"day.{number}.mps.gz" for number in range(len(PROBLEMS))]
    for problem, path in zip(PROBLEMS, paths, strict=True):
        write_problem(problem, path)
    return paths


@pytest.mark.parametrize("rolling", [True, False])
def test_each_starts_from_the_answer_before_unless_rolling_is_off(files: list[Path], rolling: bool) -> None:
    cold = [Solver().solve(problem) for problem in PROBLEMS]
    solved = list(solve_files(files, rolling=rolling))
    assert [result.name for result in solved] == ["day.0", "day.1", "day.2", "day.3"]
    solutions = [result.solution for result in solved if result.solution is not None]
    assert [one.objective for one in solutions] == pytest.approx([other.objective for other in cold])
    later = "problem before" if rolling else "solver"
    assert [solution.source for solution in solutions] == ["solver", later, later, later]
    if rolling:
        assert sum(one.pivots for one in solutions[1:]) < sum(other.pivots for other in cold[1:])


def test_a_problem_of_another_matrix_is_solved_cold_and_ends_the_chain(files: list[Path], tmp_path: Path) -> None:
    write_problem(by_hand(), tmp_path / "other.mps")
    results = solve_files([files[0], tmp_path / "other.mps", files[1]])
    assert [result.solution.source for result in results if result.solution] == ["solver"] * 3


def test_solutions_bases_and_facts_are_written(files: list[Path], tmp_path: Path) -> None:
    write_problem(replace(by_hand(), row_upper=np.full(3, -1.0)), tmp_path / "none.mps")
    out = tmp_path / "new" / "out"
    solved = list(solve_files([files[0], tmp_path / "none.mps"], out=out))
    assert sorted(path.name for path in out.iterdir()) == ["day.0.bas", "day.0.sol", "solutions.jsonl"]
    first, second = [json.loads(line) for line in (out / "solutions.jsonl").read_text("utf-8").splitlines()]
    solution = solved[0].solution
    assert solution is not None
    assert solution.basis is not None
    assert (first["problem"], first["status"], first["objective"]) == ("day.0", "optimal", solution.objective)
    assert (first["pivots"], first["source"], first["fell_back"]) == (solution.pivots, "solver", False)
    assert (second["status"], second["objective"], second["lower"], second["upper"]) == ("infeasible", None, None, None)
    basis = read_basis(PROBLEMS[0], out / "day.0.bas")
    assert np.array_equal(basis.rows, solution.basis.rows)


def test_a_file_that_cannot_be_read_is_reported_and_the_others_are_solved(files: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.mps"
    bad.write_text("NAME\nROWS\n X cost\n")
    results = list(solve_files([files[0], bad, tmp_path / "missing.mps", files[1]], out=tmp_path / "out"))
    assert [result.solution is not None for result in results] == [True, False, False, True]
    fault, missing = results[1].error, results[2].error
    assert isinstance(fault, DataError)
    assert (fault.file, fault.line) == (bad, 3)
    assert isinstance(missing, DataError)
    assert missing.file == tmp_path / "missing.mps"
    # The chain goes on past them, and they have no line.
    assert results[3].solution is not None
    assert results[3].solution.source == "problem before"
    assert len((tmp_path / "out" / "solutions.jsonl").read_text("utf-8").splitlines()) == 2


def test_each_starts_from_the_basis_file_instead_of_the_answer_before(files: list[Path], tmp_path: Path) -> None:
    basis = Solver().solve(PROBLEMS[0]).basis
    assert basis is not None
    write_basis(basis, PROBLEMS[0], tmp_path / "start.bas")
    results = list(solve_files(files, start=tmp_path / "start.bas"))
    assert [result.solution.source for result in results if result.solution] == ["basis file"] * 4
    assert results[0].solution is not None
    assert results[0].solution.pivots == 0


def test_a_basis_of_other_names_is_an_error_of_each_file(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "start.bas").write_text("NAME\n UL nothing\nENDATA\n")
    (result,) = solve_files(files[:1], start=tmp_path / "start.bas")
    assert isinstance(result.error, DataError)
    assert (result.error.line, result.error.value) == (2, "nothing")


def test_a_family_gives_starts_and_a_problem_of_another_kind_is_noted(files: list[Path], tmp_path: Path) -> None:
    model = LPModel(True, 0, 0, {"dim": 4, "depth": 1, "iterations": 0}).eval()
    # As they are read: a file has fewer digits.
    problems = [read_problem(file) for file in files]
    choice = Choice(Kind.of(problems), (Way("nearest", milliseconds=(1.0,)), Way("cold", milliseconds=(2.0,))))
    family = LearnedFamily.of(choice, model, Neighbours.of(problems, label(problems)))
    write_problem(by_hand(), tmp_path / "other.mps")
    known, other = solve_files([files[1], tmp_path / "other.mps"], family=family)
    assert known.solution is not None
    assert (known.solution.source, known.solution.pivots, known.note) == ("neighbour", 0, "")
    assert other.solution is not None
    assert (other.solution.status, other.solution.source) == ("optimal", "solver")
    assert other.note.startswith("of another kind than the family's (rows 3, in training 20)")


def test_integer_columns_need_relax_and_limits_are_those_of_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "a.lp"
    file.write_text("max\n obj: x + 2y\nst\n c1: x + y <= 4.5\ngeneral\n x\n y\nend")
    (refused,) = solve_files([file])
    (relaxed,) = solve_files([file], SolveConfig(presolve=False), relax=True)
    assert isinstance(refused.error, DataError)
    assert relaxed.solution is not None
    assert relaxed.solution.objective == 9
