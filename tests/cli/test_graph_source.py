"""``jepakit graph``: an encoder is that of a run, of a folder, one that comes with the package, or one of a hub."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from toy_runs import Toy

from jepakit.cli.graph_source import source_of
from jepakit.cli.main import main
from jepakit.errors import JepakitError
from jepakit.graph import load_dataset
from jepakit.graph.shipped import shipped_encoder

MOLECULES = [f"{head}{tail}" for head in ("C", "N", "O", "S") for tail in ("CCO", "c1ccccc1", "CC(=O)O", "CCN", "CCCl")]
MOLECULES *= 2


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new user's molecules, 40, in a folder with nothing else."""
    pytest.importorskip("rdkit")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.chdir(folder)
    lines = [f"{smiles},{len(smiles)}.5" for smiles in MOLECULES]
    Path("mine.csv").write_text("\n".join(["smiles,logS", *lines]))
    return folder / "mine.csv"


def rows_of(folder: Path) -> dict[str, Any]:
    return {row["method"]: row for row in json.loads((folder / "results.json").read_text())["rows"]}


def test_an_encoder_alone_has_the_rows_of_its_run(toy: Toy, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy.run, run)
    words = ["--dataset", str(toy.data), "--classifier", "logistic", "--folds", "2", "--seeds", "[0]"]
    words += ["--floors", "[no network,random]"]
    assert main(["graph", "evaluate", str(run), *words]) == 0
    assert main(["graph", "evaluate", str(run / "encoder"), *words, "--out", str(tmp_path / "out")]) == 0
    theirs, found = rows_of(run), rows_of(tmp_path / "out")
    assert found.keys() == theirs.keys()
    same = [method for method in theirs if "random" not in method]
    assert {method: found[method] for method in same} == {method: theirs[method] for method in same}
    assert (tmp_path / "out/report.html").exists()
    assert sorted(path.name for path in (run / "encoder").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]


def test_a_folder_of_the_name_of_a_shipped_encoder_is_it_where_it_holds_one(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert source_of("molecules").shipped
    (tmp_path / "molecules").mkdir()
    (tmp_path / "molecules/mine.csv").write_text("smiles\nCCO\n")
    assert source_of("molecules").shipped
    shutil.rmtree("molecules")
    for folder, of_a_run in ((toy.run, True), (toy.run / "encoder", False)):
        shutil.copytree(folder, "molecules")
        found = source_of("molecules")
        assert not found.shipped
        assert (found.run is not None) == of_a_run
        assert found.encoder().config.hidden == 16
        shutil.rmtree("molecules")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("embed moleculs --dataset mine.csv", r"a shipped encoder \(molecules\), .* \(did you mean 'molecules'\?\)"),
        ("embed --dataset mine.csv", r"run = None: expected the folder of a finished run or of an encoder, a shipped"),
        ("evaluate molecules", r"dataset = None: expected a name or a path: the shipped encoder molecules has no data"),
        ("predict molecules --dataset mine.csv", r"is not fine-tuned; jepakit graph finetune molecules does that"),
        ("embed ./molecules --dataset mine.csv", r"molecules does not exist"),
        ("embed . --dataset mine.csv", r"not a run folder"),
    ],
)
def test_what_is_no_encoder_is_refused_with_the_way_out(
    words: str, said: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["graph", *words.split()]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert re.search(said, errors), errors
    assert [path.name for path in table.parent.iterdir()] == ["mine.csv"]


def test_an_id_of_a_hub_is_looked_up_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def download(repo: str, *, revision: str | None, **options: object) -> Path:
        asked.append(f"{repo} {revision}")
        raise JepakitError("nothing is fetched in this test")

    monkeypatch.setattr("jepakit.training.storage.encoder_folder.download", download)
    for given in ("ada/molecules", "ada/molecules@v2"):
        with pytest.raises(JepakitError, match="nothing is fetched"):
            source_of(given).encoder()
    assert asked == ["ada/molecules None", "ada/molecules v2"]


def test_a_new_user_embeds_probes_and_fine_tunes_without_pre_training(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--dataset", "mine.csv"]
    assert main(["graph", "embed", "molecules", *data, "--out", "x.parquet"]) == 0
    expected = shipped_encoder().embed(load_dataset(table).graphs)
    assert torch.equal(torch.tensor(pq.read_table("x.parquet")["embedding"].to_pylist()), expected)
    assert main(["graph", "evaluate", "molecules", *data, "--seeds", "[0]", "--floors", "random"]) == 0
    said = capsys.readouterr().out
    assert "the same encoder, random" in said
    assert "of training against" not in said
    assert main(["graph", "finetune", "molecules", *data, "--training.epochs", "1"]) == 0
    assert "jepakit graph predict runs/predictor-mine DATA" in capsys.readouterr().out
    assert "the shipped encoder molecules" in Path("runs/predictor-mine/README.md").read_text()
    for words in (["runs/predictor-mine"], ["molecules", "--predictor", "runs/predictor-mine"]):
        assert main(["graph", "predict", *words, *data, "--out", "p.csv"]) == 0
        with Path("p.csv").open(newline="", encoding="utf-8") as file:
            assert len([float(row["prediction logS"]) for row in csv.DictReader(file)]) == len(MOLECULES)
    assert sorted(path.name for path in table.parent.iterdir()) == ["mine.csv", "p.csv", "runs", "x.parquet"]
