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
    with pytest.raises(DataError, match=r"bad\.lp: no LP file"):
        read_problem(file)
    file.write_text("max\n obj: x + 2y\nst\n c1: x + y <= 4\nend")
    assert Solver().solve(read_problem(file)).objective == 8
    file.write_text("max\n obj: x + 2y\nst\n c1: x + y <= 4\ngeneral\n x\nend")
    with pytest.raises(DataError, match=r"bad\.lp: 1 columns have to be integer"):
        read_problem(file)
    with pytest.raises(DataError, match=r"none\.lp"):
        read_problem(tmp_path / "none.lp")
    with pytest.raises(DataError, match="neither MPS nor LP"):
        read_problem(tmp_path / "problem.csv")


def test_a_model_of_highs_comes_and_goes() -> None:
    problem = replace(by_hand(), maximize=False)
    highs = quiet_highs()
    highs.passModel(to_highs(problem))
    highs.changeObjectiveSense(highspy.ObjSense.kMaximize)
    most = from_highs(highs)
    assert most.maximize
    assert most.costs.tolist() == [3, 5]
    assert most.objective(np.array([1.0, 1.0])) == problem.objective(np.array([1.0, 1.0])) == 2


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
    with pytest.raises(DataError, match=r"no basis of as many as rows \(found 0\); expected 3"):
        write_basis(Basis(np.zeros(2), np.zeros(3)), problem, file)
    for text, message in (
        ("NAME\n XU x plant9\nENDATA", r"a\.bas:2: a row that the problem has not got \(found 'plant9'\)"),
        ("NAME\n UL w\nENDATA", r"a\.bas:2: a column that the problem has not got"),
        ("NAME\n XU x\nENDATA", r"a\.bas:2: no line of a basis"),
        ("NAME\n UP x\nENDATA", r"a\.bas:2: no line of a basis"),
        ("NAME\n XU x plant1\n", r"a\.bas:2: ends too early"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=message):
            read_basis(problem, file)


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
    with pytest.raises(DataError, match="there is no solution to write"):
        write_solution(failed, problem, file)
