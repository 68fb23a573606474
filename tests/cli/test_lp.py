"""``jepakit lp``: what people see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jepakit.cli.main import main

SMALL = """NAME SMALL
ROWS
 N cost
 L most
COLUMNS
 x cost -1 most 1
 y cost -2 most 1
RHS
 most 4
BOUNDS
 UP x 3
 UP y 3
ENDATA
"""


def test_many_are_solved_one_after_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (
        ("a", SMALL),
        ("b", SMALL.replace(" most 4", " most -1")),
        ("c", SMALL.replace(" y cost", " z cost")),
    ):
        (tmp_path / f"{name}.mps").write_text(text)
    (tmp_path / "notes.txt").write_text("not a problem")
    assert main(["lp", "solve", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert "a: optimal, -7, certified to 0.0e+00" in shown.out
    assert "b: infeasible: no point meets all rows and bounds" in shown.out
    assert "c: " in shown.out
    assert "a column that is not in COLUMNS (found 'y')" in shown.out
    assert "problems: problems that cannot be read (found '1 of 3')" in shown.err
    lines = [json.loads(line) for line in (tmp_path / "out" / "solutions.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["optimal", "infeasible"]
    assert (lines[0]["objective"], lines[1]["lower"]) == (-7, None)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a.bas", "a.sol", "solutions.jsonl"]
    start = str(tmp_path / "out" / "a.bas")
    assert main(["lp", "solve", str(tmp_path / "a.mps"), "--start", start]) == 0
    assert "a: optimal, -7, certified to 0.0e+00 (0 pivots" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "problems = None: expected a file in MPS or LP format"),
        (["none.mps"], "none.mps: No such file or directory"),
        (["."], "no problems in this folder"),
        (["a.mps", "--gap", "-1"], "gap = -1.0: expected a number of at least 0"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["lp", "solve", *words]) == 2
    assert message in capsys.readouterr().err
