"""``jepakit lp``: what people see."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepakit.cli.command import parse
from jepakit.cli.lp import COMMANDS
from jepakit.cli.main import main
from jepakit.lp.evaluate import BALANCED, BEST, COLD, FAMILY, INTERIOR, ITERATED, MODEL, PDLP, ROLLING, UNTRAINED
from jepakit.lp.objective import ObjectiveConfig
from jepakit.lp.pretrain import PretrainConfig
from jepakit.training.results import read_evaluation

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
    assert main(["lp", "solve", str(tmp_path), "--json"]) == 2
    printed = json.loads(capsys.readouterr().out)["problems"]
    assert [one.get("status") for one in printed] == ["optimal", "infeasible", None]
    assert "'y'" in printed[2]["error"]
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
        (["none.mps"], "none.mps: no such file"),
        (["."], "no problems in this folder"),
        (["a.mps", "--gap", "-1"], "gap = -1.0: expected at least 0"),
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


def test_from_problems_to_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--size", '{"rows": 20, "columns": 24, "density": 0.15}']
    train, test, run = (str(tmp_path / name) for name in ("train", "test", "run"))
    assert main(["lp", "generate", "set-cover", *size, "--count", "8", "--out", train]) == 0
    assert main(["lp", "generate", "set-cover", *size, "--count", "3", "--seed", "100", "--out", test]) == 0
    assert main(["lp", "label", train]) == 0
    assert "optima of 8 problems" in capsys.readouterr().out
    quick = ["--epochs", "2", "--progress", "false", "--encoder.dim", "8", "--encoder.depth", "1"]
    jepa = ["--use-jepa", "--jepa-mode", "simsiam", "--jepa-pretrain-epochs", "1", "--primal-weight", "2"]
    assert main(["lp", "train", train, "--run", run, *quick, *jepa]) == 0
    said = read_evaluation(tmp_path / "run" / "results.json").recommendation
    assert said is not None
    assert said in capsys.readouterr().out
    assert said in html.unescape((tmp_path / "run" / "report.html").read_text())
    assert main(["lp", "solve", test, "--family", run, "--report", str(tmp_path / "solved")]) == 0
    shown = capsys.readouterr().out
    solved = read_evaluation(tmp_path / "solved" / "results.json")
    assert [curve.y_label for curve in solved.curves] == ["pivots", "milliseconds"]
    assert solved.curves[0].names == tuple(row[0] for row in solved.sections[0].rows)
    assert solved.curves[0].lines[0][1] == tuple(row[4] for row in solved.sections[0].rows)
    assert "Time of each problem" in (tmp_path / "solved" / "report.html").read_text()
    assert shown.count(": optimal, ") == 3
    assert re.search(r"^family: .* ms a problem.*, measured on 1 held-out problem of training$", shown, re.MULTILINE)
    assert main(["lp", "evaluate", run, "--problems", test]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    # Set covers differ in their matrix: there is no nearest one, and none before.
    methods = {COLD, INTERIOR, PDLP, ITERATED, BALANCED, FAMILY, MODEL}
    assert {row["method"] for row in results["rows"]} == methods | {UNTRAINED}
    assert {name for name, _ in results["curves"][0]["lines"]} == methods | {UNTRAINED}
    worst = {row["method"]: row["value"] for row in results["rows"] if row["metric"] == "pivots, worst"}
    assert {name: max(pivots) for name, pivots in results["curves"][0]["lines"]} == worst
    assert not any(row["ours"] for row in results["rows"] if row["method"] == UNTRAINED)
    # Runs of earlier versions have no untrained model.
    shutil.rmtree(tmp_path / "run" / "random_encoder")
    assert main(["lp", "evaluate", run, "--problems", test]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {row["method"] for row in results["rows"]} == methods
    assert main(["lp", "solve", test, "--family", str(tmp_path)]) == 2
    assert "error: " in capsys.readouterr().err


def test_problems_without_an_optimum_are_left_out_of_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    days, run = tmp_path / "days", str(tmp_path / "run")
    days.mkdir()
    larger = SMALL.replace("COLUMNS\n", "COLUMNS\n x least 1\n").replace("ROWS\n", "ROWS\n G least\n")
    for name, most in (("one", 4), ("two", 5), ("three", -1)):
        text = larger.replace("NAME SMALL", f"NAME {name}").replace(" most 4", f" most {most}")
        (days / f"{name}.mps").write_text(text)
    quick = ["--epochs", "1", "--progress", "false", "--encoder.dim", "8", "--encoder.depth", "1"]
    assert main(["lp", "train", str(days), "--run", run, *quick]) == 0
    shown = capsys.readouterr().out
    assert "left out: three: no point meets all rows and bounds" in shown
    assert "trained on 2 problems" in shown
    assert "No problem was held out: the ways to start were not measured" in shown
    assert len(list((days / "labels").iterdir())) == 2


def test_a_folder_of_one_matrix_is_solved_from_answer_to_answer(tmp_path: Path) -> None:
    first, like = str(tmp_path / "first"), str(tmp_path / "like")
    main(["lp", "generate", "random", "--count", "1", "--out", first])
    main(["lp", "generate", "perturbed", "--like", first, "--count", "8", "--size", '{"sides": 0.01}', "--out", like])
    pivots: dict[str, list[int]] = {}
    for rolling in ("true", "false"):
        out = tmp_path / rolling
        assert main(["lp", "solve", like, "--rolling", rolling, "--out", str(out)]) == 0
        lines = [json.loads(line) for line in (out / "solutions.jsonl").read_text().splitlines()]
        assert {line["status"] for line in lines} == {"optimal"}
        pivots[rolling] = [line["pivots"] for line in lines]
        sources = {line["source"] for line in lines[1:]}
        assert sources == ({"problem before"} if rolling == "true" else {"solver"})
    assert sum(pivots["true"][1:]) < 0.3 * sum(pivots["false"][1:])


def test_a_neighbour_is_a_rival_where_there_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, like, test, run = (str(tmp_path / name) for name in ("first", "like", "test", "run"))
    main(["lp", "generate", "random", "--count", "1", "--out", first])
    main(["lp", "generate", "perturbed", "--like", first, "--count", "6", "--size", '{"sides": 0.01}', "--out", like])
    main(["lp", "generate", "perturbed", "--like", first, "--seed", "9", "--count", "2", "--out", test])
    quick = ["--epochs", "1", "--progress", "false", "--encoder.dim", "8", "--encoder.depth", "1"]
    assert main(["lp", "train", like, "--run", run, *quick]) == 0
    assert main(["lp", "evaluate", run, "--problems", test]) == 0
    shown = capsys.readouterr().out
    assert BEST in shown
    assert ROLLING in shown
    perceptron = ["--use-bipartite-graphs", "false", "--run", str(tmp_path / "perceptron")]
    assert main(["lp", "train", like, *perceptron, *quick]) == 0
    (tmp_path / "a.mps").write_text(SMALL)
    capsys.readouterr()
    assert main(["lp", "solve", str(tmp_path / "a.mps"), "--family", str(tmp_path / "perceptron")]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"a: of another kind than the family's \(rows 1, in training \d+\): solved without the fam", shown)
    assert "a: optimal, -7" in shown


def test_a_family_whose_choice_is_no_network_does_without_pytorch(tmp_path: Path) -> None:
    first, like, run = (str(tmp_path / name) for name in ("first", "like", "run"))
    main(["lp", "generate", "random", "--count", "1", "--out", first])
    main(["lp", "generate", "perturbed", "--like", first, "--count", "6", "--size", '{"sides": 0.01}', "--out", like])
    quick = ["--epochs", "1", "--progress", "false", "--encoder.dim", "8", "--encoder.depth", "1"]
    assert main(["lp", "train", like, "--run", run, *quick]) == 0
    code = f"""
import sys
from jepakit.cli.main import main
status = main(["lp", "solve", {like!r}, "--family", {run!r}])
print("torch" in sys.modules, "scipy.stats" in sys.modules)
sys.exit(status)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count(": optimal, ") == 6
    assert done.stdout.splitlines()[-1] == "False False"


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("best", PretrainConfig()),
        (
            "mlp-joint",
            PretrainConfig(
                epochs=30,
                batch_size=8,
                use_bipartite_graphs=False,
                use_jepa=True,
                objective=ObjectiveConfig(target="ema"),
            ),
        ),
        (
            "gnn-simsiam",
            PretrainConfig(
                batch_size=4, use_jepa=True, jepa_pretrain_epochs=3, objective=ObjectiveConfig(target="simsiam")
            ),
        ),
    ],
)
def test_presets_are_the_example_runs_of_the_original(preset: str, expected: PretrainConfig) -> None:
    options = parse(COMMANDS["train"], "jepakit lp train", ["--preset", preset])
    assert {name: getattr(options, name) for name in vars(expected)} == vars(expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["generate", "set-cover"], "out = None: expected a folder for the problems"),
        (["generate", "set-covers", "--out", "x"], "did you mean 'set-cover'?"),
        (["generate", "set-cover", "--out", "x", "--size", '{"row": 3}'], "did you mean 'rows'?"),
        (["generate", "perturbed", "--out", "x"], "like = None: expected problems for the family perturbed"),
        (["generate", "power-flow", "--out", "x"], "case = None: expected a MATPOWER file"),
        (["generate", "set-cover", "--out", "x", "--count", "0"], "count = 0: expected at least 1"),
        (["solve", "a.mps", "--method", "primal"], "method = 'primal': expected"),
        (["train"], "problems = None: expected a file in MPS or LP format"),
        (["evaluate"], "run = None: expected the folder of a finished run"),
    ],
)
def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(["lp", *words]) == 2
    assert message in capsys.readouterr().err


def test_scenarios_of_one_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mps").write_text(SMALL)
    names = [f"hour {hour}" for hour in range(24)]
    pq.write_table(pa.table({"id": names, "most": [hour / 4 for hour in range(24)]}), tmp_path / "hours.parquet")
    words = ["lp", "batch", str(tmp_path / "hours.parquet"), "--problem", str(tmp_path / "a.mps")]
    assert main([*words, "--out", str(tmp_path / "out.parquet"), "--report", str(tmp_path / "report")]) == 0
    shown = capsys.readouterr().out
    how, ended = read_evaluation(tmp_path / "report" / "results.json").sections
    assert ended.rows == (("optimal", 24.0, 1.0),)
    assert sum(row[1] for row in how.rows if isinstance(row[1], float)) == 24
    assert "Scenarios of" in (tmp_path / "report" / "report.html").read_text()
    assert "24 scenarios: 24 optimal; all certified" in shown
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["id"].to_pylist() == names
    # y is worth 2 up to 3, then x is worth 1.
    expected = [-2 * min(hour / 4, 3) - max(0.0, hour / 4 - 3) for hour in range(24)]
    assert table["objective"].to_pylist() == pytest.approx(expected)
    assert main(words[:3]) == 2
    assert "problem = None: expected the problem in MPS or LP format" in capsys.readouterr().err
