"""Files: what is written is read again, by us and by HiGHS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import highspy
import numpy as np
import pytest

from jepakit.errors import DataError
from jepakit.lp import (
    Basis,
    Solver,
    from_highs,
    read_basis,
    read_problem,
    to_highs,
    write_basis,
    write_problem,
    write_solution,
)
from jepakit.lp.solving.highs import HighsSolver
from lp.problems import by_hand, random_problem


def quiet_highs() -> highspy.Highs:
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    return highs


@pytest.mark.parametrize("ending", ["mps", "mps.gz", "lp"])
def test_what_highs_writes_is_the_same_problem(tmp_path: Path, ending: str) -> None:
    for seed in range(5):
        problem, highs = random_problem(seed), quiet_highs()
        highs.passModel(to_highs(problem))
        file = tmp_path / f"problem.{ending}"
        highs.writeModel(str(file))
        again = read_problem(file)
        assert Solver().solve(again).objective == pytest.approx(Solver().solve(problem).objective, abs=1e-7)


def test_an_lp_file_with_a_fault_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bad.lp"
    file.write_text("max\n obj: x + 2y +\nst\n c1: x + y <= 4\n c2: x + +\nend")
    with pytest.raises(DataError, match=r"bad\.lp: not an LP file"):
        read_problem(file)
    file.write_text("max\n obj: x + 2y\nst\n c1: x + y <= 4\nend")
    assert Solver().solve(read_problem(file)).objective == 8
    file.write_text("max\n obj: x + 2y\nst\n c1: x + y <= 4\ngeneral\n x\nend")
    with pytest.raises(DataError, match=r"bad\.lp: .*1 columns have to be integer"):
        read_problem(file)
    with pytest.raises(DataError, match=r"none\.lp"):
        read_problem(tmp_path / "none.lp")
    with pytest.raises(DataError, match="neither MPS nor LP"):
        read_problem(tmp_path / "problem.csv")
    with pytest.raises(DataError, match="scenarios of one problem are for `jepakit lp batch`"):
        read_problem(tmp_path / "scenarios.parquet")


WHOLE = """\\ a comment
Minimize
 obj: x + 2 y
Subject To
 c1: x + y >= 1
Bounds
 x <= 4
 2 <= y <= 3
Semi-continuous
 y
End
"""


def test_an_lp_file_that_is_cut_off_after_any_line_is_refused(tmp_path: Path) -> None:
    lines = WHOLE.splitlines(keepends=True)
    file = tmp_path / "cut.lp"
    for number in range(1, len(lines)):
        file.write_text("".join(lines[:number]))
        with pytest.raises(DataError, match="ends too early") as caught:
            read_problem(file, relax=True)
        assert caught.value.line == (number if number > 1 else 1)
    file.write_text(WHOLE + "\\ nothing more\n\n")
    with pytest.raises(DataError, match="1 columns have to be 0 or above their lower bound"):
        read_problem(file)
    # y may be 0: a relaxation that starts at 2 would cut this off.
    problem = read_problem(file, relax=True)
    assert dict(zip(problem.column_names, problem.lower.tolist(), strict=True)) == {"x": 0, "y": 0}
    assert dict(zip(problem.column_names, problem.upper.tolist(), strict=True)) == {"x": 4, "y": 3}


def test_a_model_of_highs_comes_and_goes() -> None:
    problem = replace(by_hand(), maximize=False)
    highs = quiet_highs()
    highs.passModel(to_highs(problem))
    highs.changeObjectiveSense(highspy.ObjSense.kMaximize)
    most = from_highs(highs)
    assert most.maximize
    assert most.costs.tolist() == [3, 5]
    assert most.objective(np.array([1.0, 1.0])) == problem.objective(np.array([1.0, 1.0])) == 2


@pytest.mark.parametrize(("ending", "packed"), [("mps", False), ("mps.gz", True), ("lp", False), ("lp.gz", True)])
def test_a_written_problem_is_packed_as_its_name_says_and_read_again(tmp_path: Path, ending: str, packed: bool) -> None:
    problem, file = by_hand(), tmp_path / f"problem.{ending}"
    write_problem(problem, file)
    assert file.read_bytes().startswith(b"\x1f\x8b") == packed
    again = read_problem(file)
    assert (again.column_names, again.row_names) == (problem.column_names, problem.row_names)
    assert again.matrix.toarray().tolist() == problem.matrix.toarray().tolist()
    assert (again.upper.tolist(), again.offset) == (problem.upper.tolist(), 10)
    highs = quiet_highs()
    assert highs.readModel(str(file)) == highspy.HighsStatus.kOk


@pytest.mark.parametrize("seed", range(10))
def test_a_basis_is_what_it_was(tmp_path: Path, seed: int) -> None:
    problem = random_problem(seed)
    basis = Solver().solve(problem).basis
    assert basis is not None
    write_basis(basis, problem, tmp_path / "a.bas")
    again = read_basis(problem, tmp_path / "a.bas")
    assert np.array_equal(again.columns, basis.columns)
    assert np.array_equal(again.rows, basis.rows)
    assert HighsSolver().solve(problem, again).pivots == 0


def test_what_is_no_basis_is_refused(tmp_path: Path) -> None:
    problem, file = by_hand(), tmp_path / "a.bas"
    with pytest.raises(DataError) as caught:
        write_basis(Basis(np.zeros(2), np.zeros(3)), problem, file)
    assert (caught.value.field, caught.value.value) == ("basic", 0)
    for text, field, value in (
        ("NAME\n XU x plant9\nENDATA", "row", "plant9"),
        ("NAME\n UL w\nENDATA", "column", "w"),
        ("NAME\n XU x\nENDATA", None, "XU x"),
        ("NAME\n UP x\nENDATA", None, "UP x"),
        ("NAME\n XU x plant1\n", None, None),
    ):
        file.write_text(text)
        with pytest.raises(DataError) as caught:
            read_basis(problem, file)
        fault = caught.value
        assert (fault.file, fault.line, fault.field, fault.value) == (file, 2, field, value)


def test_a_solution_is_read_by_highs(tmp_path: Path) -> None:
    problem, file = by_hand(), tmp_path / "wyndor.sol"
    solution = Solver().solve(problem)
    write_solution(solution, problem, file)
    lines = file.read_text().splitlines()
    assert lines[1] == "Optimal"
    assert "Objective -26.0" in lines
    assert lines[lines.index("# Rows 3") + 1 :][:3] == ["plant1 2.0", "plant2 12.0", "plant3 18.0"]
    highs = quiet_highs()
    model = to_highs(problem)
    model.col_names_, model.row_names_ = list(problem.column_names), list(problem.row_names)
    highs.passModel(model)
    assert highs.readSolution(str(file), 0) == highspy.HighsStatus.kOk
    assert highs.getSolution().col_value == pytest.approx([2, 6])
    failed = Solver().solve(replace(problem, row_upper=np.full(3, -1.0)))
    with pytest.raises(DataError) as caught:
        write_solution(failed, problem, file)
    assert (caught.value.field, caught.value.value) == ("x", "infeasible")
