"""``jepakit graph finetune | predict``, and files of embeddings that say where each row comes from."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from toy_runs import Toy

from jepakit.cli.main import main
from jepakit.graph import load_dataset
from jepakit.training import RunFolder

QUICKLY = ["--training.epochs", "2"]
FRAGMENTS = ["CCO", "c1ccccc1", "CC(=O)O", "C1CCCCC1", "c1ccncc1", "CCN", "CCCl", "C#N", "CC(C)C", "CSC"]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run(toy: Toy, tmp_path: Path) -> Path:
    shutil.copytree(toy.run, tmp_path / "run")
    return tmp_path / "run"


def test_an_encoder_is_fine_tuned_and_predicts(
    run: Path, toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["graph", "predict", str(run)]) == 2
    assert f"there is no fine-tuned encoder here; jepakit graph finetune {run} makes one" in capsys.readouterr().err
    assert main(["graph", "finetune", str(run), *QUICKLY]) == 0
    said = capsys.readouterr().out
    assert "20 graphs to train, 4 to test; graph classification: 0, 1" in said
    assert "the most frequent class" in said
    tuned = RunFolder(run / "predictor")
    losses = [float(row["train/total"]) for row in tuned.read_metrics()]
    page = tuned.report.read_text("utf-8")
    assert f"Total loss at {len(losses)} epochs" in page
    assert "is not in the run folder" not in page
    out = tmp_path / "p.csv"
    assert main(["graph", "predict", str(run), "--dataset", str(toy.unlabelled), "--out", str(out)]) == 0
    rows = rows_of(out)
    assert [row["row"] for row in rows] == [str(row) for row in range(1, 25)]
    assert {row["file"] for row in rows} == {str(toy.unlabelled)}
    assert {row["prediction"] for row in rows} <= {"0", "1"}
    assert all(0.5 <= float(row["probability"]) <= 1 for row in rows)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fraction", "0.5"], "10 graphs to train, 4 to test"),
        (["--test_share", "0"], "24 graphs to train, 0 to test"),
        (["--fraction", "0"], "fraction = 0.0: expected a number in (0, 1]"),
        (["--test-share", "1"], "test-share = 1.0: expected"),
    ],
)
def test_how_many_graphs_are_used(
    options: list[str], said: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tuned"
    done = main(["graph", "finetune", str(run), *QUICKLY, *options, "--out", str(out)]) == 0
    written = capsys.readouterr()
    assert said in (written.out if done else written.err)
    assert done == out.exists()


@pytest.mark.parametrize("suffix", ["csv", "npz", "parquet"])
def test_embeddings_in_every_format_are_the_same(suffix: str, run: Path, toy: Toy, tmp_path: Path) -> None:
    files = [tmp_path / "e.parquet", tmp_path / f"f.{suffix}"]
    for file in files:
        assert main(["graph", "embed", str(run), "--out", str(file)]) == 0
    expected = pq.read_table(files[0])
    vectors = np.array(expected["embedding"].to_pylist(), dtype=np.float32)
    graphs = load_dataset(toy.data).graphs
    assert graphs.y is not None
    assert expected["label"].to_pylist() == graphs.y.tolist()
    if suffix == "npz":
        with np.load(files[1], allow_pickle=False) as found:
            assert np.array_equal(found["embedding"], vectors)
            assert found["row"].tolist() == expected["row"].to_pylist()
            assert set(found["file"].tolist()) == {str(toy.data)}
    elif suffix == "csv":
        rows = rows_of(files[1])
        found = [[float(row[f"e{column}"]) for column in range(vectors.shape[1])] for row in rows]
        assert np.array_equal(np.array(found, dtype=np.float32), vectors)
        assert [int(row["label"]) for row in rows] == graphs.y.tolist()


def test_a_table_with_a_bad_row_and_labels_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a new user would: a small table, mixed case in the first line, one row that is no molecule."""
    pytest.importorskip("rdkit")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    heads = zip("CNOS" * 8, FRAGMENTS * 4, strict=False)
    molecules = [f"{head}{fragment}" for head, fragment in heads]
    lines = [f"{smiles},{i % 7}.5,{'high' if i % 2 else 'low'}" for i, smiles in enumerate(molecules)]
    lines[12] = "C1CC(not one,1.0,low"
    Path("mine.csv").write_text("\n".join(["Smiles,LogS,Activity", *lines]))
    Path("new.csv").write_text("smiles\nCCO\n(((\nc1ccccc1\n")
    words = ["--preset", "molecules", "--epochs", "1", "--probe", "false", "--encoder.hidden", "8"]
    assert main(["graph", "pretrain", "--dataset", "mine.csv", "--run", "run", *words]) == 0
    assert "columns that look like labels, for --label-columns: LogS, Activity" in capsys.readouterr().out
    assert main(["graph", "finetune", "run", *QUICKLY]) == 2
    assert "the graphs have no labels (found 'none'); expected label_columns: one of LogS, Activity" in (
        capsys.readouterr().err
    )
    assert main(["graph", "embed", "run", "--out", "e.parquet", "--label-columns", "logS"]) == 0
    assert "31 embeddings of 40 dimensions in e.parquet; 1 of 32 rows could not be read" in capsys.readouterr().out
    table = pq.read_table("e.parquet").to_pylist()
    assert [row["row"] for row in table] == list(range(1, 33))
    assert [row["smiles"] for row in table] == [line.split(",")[0] for line in lines]
    assert [row["graph"] for row in table] == [*range(12), None, *range(12, 31)]
    assert [row["label LogS"] for row in table] == [None if i == 12 else i % 7 + 0.5 for i in range(32)]
    assert table[12]["embedding"] is None
    assert table[12]["problem"] == "RDKit cannot read the SMILES"
    for column, name in (("logS", "prediction LogS"), ("activity", "prediction")):
        assert main(["graph", "finetune", "run", "--label-columns", column, *QUICKLY]) == 0
        assert main(["graph", "predict", "run", "--dataset", "new.csv", "--out", "p.csv"]) == 0
        rows = rows_of(Path("p.csv"))
        assert [row["smiles"] for row in rows] == ["CCO", "(((", "c1ccccc1"]
        assert [bool(row[name]) for row in rows] == [True, False, True]
    assert {rows[0]["prediction"], rows[2]["prediction"]} <= {"high", "low"}


def test_nodes_carry_their_ids(tmp_path: Path) -> None:
    (tmp_path / "g.json").write_text(
        '[{"nodes": [{"id": "ann", "k": 1}, {"id": "bob", "k": 2}], "edges": [{"source": "ann", "target": "bob"}]},'
        ' {"nodes": [{"id": 7, "k": 3}], "edges": []}]'
    )
    data, run, out = str(tmp_path / "g.json"), str(tmp_path / "run"), tmp_path / "n.csv"
    words = ["--epochs", "1", "--probe", "false", "--encoder.hidden", "4"]
    assert main(["graph", "pretrain", "--dataset", data, "--run", run, *words]) == 0
    assert main(["graph", "embed", run, "--out", str(out), "--level", "node"]) == 0
    assert [(row["graph"], row["node"], row["node_id"]) for row in rows_of(out)] == [
        ("0", "0", "ann"),
        ("0", "1", "bob"),
        ("1", "0", "7"),
    ]
    assert main(["graph", "embed", run, "--out", str(out)]) == 0
    assert [(row["file"], row["row"]) for row in rows_of(out)] == [(data, "1"), (data, "2")]
    assert main(["graph", "embed", run, "--out", str(tmp_path / "n.txt")]) == 2
