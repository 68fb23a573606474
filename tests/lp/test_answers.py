"""Files that have fooled readers and solvers, with their answers: alone, and whatever was solved before."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from jepakit.lp import Solver, Stream, read_problem

_ROW = "NAME\nROWS\n N OBJ\n G R1\nCOLUMNS\n X OBJ 1.0 R1 1.0\n"
CANCELLING = """NAME cancel
ROWS
 N Obj
 G r0
COLUMNS
 x0 r0 1
 x1 r0 -1
 x2 Obj 1000 r0 1
RHS
 RHS_V r0 RIGHT
BOUNDS
 FX BOUND x0 1000000000
 FX BOUND x1 1000000000
ENDATA
"""
CASES = {
    "byte order mark": ("\ufeff" + _ROW + "RHS\n RHS R1 2\nENDATA\n", 2),
    "bounds before ranges": (_ROW + "RHS\n RHS R1 3\nBOUNDS\n UP BND X 10\nRANGES\n RNG R1 2\nENDATA\n", 3),
    "two right-hand sides": (_ROW + "RHS\n RHS1 R1 3\n RHS2 R1 5\nENDATA\n", 3),
    "trailing comment": (_ROW.replace("R1 1.0\n", "R1 1.0  $ a comment\n") + "RHS\n RHS R1 2\nENDATA\n", 2),
    "constant": (_ROW + "RHS\n RHS R1 2 OBJ 11\nENDATA\n", -9),
    "sense in its line": (
        "NAME most\nOBJSENSE MAX\nROWS\n N COST\nCOLUMNS\n X COST 1\nBOUNDS\n UP BOUND X 4\nENDATA\n",
        4,
    ),
    "no rows": (
        "NAME\nOBJSENSE\n MAX\nROWS\n N OBJ\nCOLUMNS\n x OBJ 1\nRHS\nRANGES\nBOUNDS\n MI b x\n UP b x 1\nENDATA\n",
        1,
    ),
    "small costs": (
        "NAME\nROWS\n N Obj\n L r0\n L r1\n L r2\nCOLUMNS\n x0 Obj -3e-08 r0 1\n x0 r2 3\n x1 Obj -5e-08 r1 2\n"
        " x1 r2 2\nRHS\n RHS r0 400000000 r1 1200000000\n RHS r2 1800000000\nENDATA\n",
        -36,
    ),
    "tiny coefficient": ("NAME t\nROWS\n N o\n L r\nCOLUMNS\n x o -1 r 1e-9\nRHS\n RHS r 1\nENDATA\n", -1e9),
    "cancelling, 0": (CANCELLING.replace("RIGHT", "0"), 0),
    "cancelling, 1": (CANCELLING.replace("RIGHT", "1"), 1000),
}


@pytest.mark.parametrize("name", CASES)
def test_the_answer_is_the_right_one(tmp_path: Path, name: str) -> None:
    text, expected = CASES[name]
    file = tmp_path / "problem.mps"
    file.write_text(text, encoding="utf-8")
    solution = Solver().solve(read_problem(file))
    assert (solution.status, solution.certified) == ("optimal", True)
    assert solution.objective == pytest.approx(expected, rel=1e-12)


def test_answers_do_not_depend_on_what_was_solved_before(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.mps" for number in range(len(CASES))]
    for file, (text, _) in zip(files, CASES.values(), strict=True):
        file.write_text(text, encoding="utf-8")
    right = {file: expected for file, (_, expected) in zip(files, CASES.values(), strict=True)}
    for order in permutations(files, 2):
        stream = Stream()
        for file in order:
            solution = stream.solve(read_problem(file)).solution
            assert solution.certified
            assert solution.objective == pytest.approx(right[file], rel=1e-12)
