"""``jepakit demo``: the table and the page; what is missing is left out; what is of others is not removed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from jepakit.cli.demo.case import compared
from jepakit.cli.demo.grid import matpower
from jepakit.cli.main import main
from jepakit.lp import Solver
from jepakit.lp.families.power_flow import PowerFlow
from jepakit.training.result_rows import ResultRow


def test_a_part_is_shown_on_a_page_and_one_whose_package_is_missing_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highspy", None)
    monkeypatch.delitem(sys.modules, "jepakit.cli.demo.lp", raising=False)
    folder = tmp_path / "demo"
    assert main(["demo", "guard", "lp", "--run", str(folder), "--progress", "false"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"deny +send_mail .*eve@evil\.example", said)
    assert "carried out: send_mail {'to': ['ada@home.example'], 'body': 'the offer'}" in said
    missing = "lp: left out: highspy is not installed; install it with: pip install 'jepakit[lp]'"
    assert missing in " ".join(said.split())
    assert "guard: Use " in said
    page = (folder / "index.html").read_text()
    (address,) = re.findall(r'<a href="([^"]+)">guard: report', page)
    assert (folder / address).is_file()
    assert main(["demo", "guard", "--run", str(folder)]) == 0, "an earlier demo is replaced"


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["demo", "guard", "--run", str(tmp_path)]) == 2
    assert "expected a folder that is new, or of an earlier demo" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_the_floor_is_the_best_of_the_others_and_ours_is_the_named_one() -> None:
    rows = [
        ResultRow("d", "ours", "ms", 5.0, ours=True, lower_is_better=True),
        ResultRow("d", "ours, lucky", "ms", 1.0, ours=True, lower_is_better=True),
        ResultRow("d", "slow", "ms", 9.0, lower_is_better=True),
        ResultRow("d", "fast", "ms", 4.0, lower_is_better=True),
        ResultRow("other", "fastest", "ms", 2.0, lower_is_better=True),
    ]
    line = compared("task", rows, "ours", dataset="d", metric="ms")
    assert (line.floor, line.ours, line.is_better) == (("fast", 4.0), ("ours", 5.0), False)


def test_the_made_up_grid_can_serve_its_loads(tmp_path: Path) -> None:
    case = tmp_path / "grid.m"
    case.write_text(matpower(30, 8, seed=1))
    assert case.read_text() == matpower(30, 8, seed=1)
    family = PowerFlow.read(case)
    problem = family.problem(0)
    solution = Solver().solve(problem)
    assert solution.certified
    power = solution.x[30:]
    assert np.isclose(power.sum(), problem.row_lower[:30].sum()), "what is generated is what is used"
