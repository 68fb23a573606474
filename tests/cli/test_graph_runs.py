"""``jepakit graph``: a run repeats from its own configuration, and what evaluate and embed make of it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file
from toy_runs import EPOCHS, Toy, rows_but_seconds

from jepakit import load_encoder
from jepakit.cli.main import main
from jepakit.files.locking import LOCK_NAME
from jepakit.graph import GraphEncoder, load_dataset

QUICKLY = ["--classifier", "logistic", "--folds", "2", "--seeds", "[0]", "--floors", "[random]"]


def same_weights(a: Path, b: Path) -> bool:
    ours, theirs = load_file(a / "encoder/model.safetensors"), load_file(b / "encoder/model.safetensors")
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_has_all_its_parts_and_no_pickle(toy: Toy) -> None:
    parts = {path.name for path in toy.run.iterdir()}
    assert parts >= {"config.yaml", "metrics.csv", "checkpoints", "encoder", "results.json", "report.html"}
    files = [path for path in toy.run.rglob("*") if path.is_file() and path.name != LOCK_NAME]
    assert {path.suffix for path in files} <= {".yaml", ".csv", ".safetensors", ".json", ".html", ".md"}
    for path in files:
        # Tensors or text: nothing that has to be unpickled.
        if path.suffix == ".safetensors":
            assert load_file(path)
        else:
            assert path.read_text("utf-8")
    rows = rows_but_seconds(toy.run)
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(EPOCHS)]
    assert all(row["train/total"] and row["train/sigreg"] for row in rows)
    looked = [int(row["epoch"]) for row in rows if row["diagnostics/effective_rank"]]
    assert looked == [0, 5, 10, EPOCHS - 1]


def test_its_own_configuration_repeats_it(toy: Toy, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert main(["graph", "pretrain", "--config", str(toy.run / "config.yaml"), "--run", str(other)]) == 0
    assert rows_but_seconds(other) == rows_but_seconds(toy.run)
    assert same_weights(other, toy.run)
    assert untimed(other) == untimed(toy.run)
    assert (other / "config.yaml").read_text() == (toy.run / "config.yaml").read_text()


def test_the_printed_configuration_repeats_it(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "pretrain", *toy.options, "--print_config"]) == 0
    config = tmp_path / "c.yaml"
    config.write_text(capsys.readouterr().out)
    words = ["--config", str(config), "--run", str(tmp_path / "other"), "--probe", "false"]
    assert main(["graph", "pretrain", *words]) == 0
    assert rows_but_seconds(tmp_path / "other") == rows_but_seconds(toy.run)


@pytest.mark.parametrize("preset", ["original", "graph-jepa"])
def test_presets_run(preset: str, toy: Toy, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["--dataset", str(toy.data), "--preset", preset, "--epochs", "2", "--probe", "false", "--run", str(run)]
    assert main(["graph", "pretrain", *words]) == 0
    assert yaml.safe_load((run / "config.yaml").read_text())["views"]["context"] == "drop"
    assert len(rows_but_seconds(run)) == 2


def test_a_command_that_was_refused_leaves_its_folder_to_the_corrected_one(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["graph", "pretrain", *toy.options, "--probe", "false", "--epochs", "1", "--run", str(tmp_path / "run")]
    refused = {
        "--freeze=[decoder]": "freeze = 'decoder': expected the beginning of a parameter's name",
        "--jepa-pretrain-epochs=1": "jepa-pretrain-epochs = 1: expected 0",
        "--learning-rate=1e30": "epoch 0: the loss or a weight is no longer a finite number",
    }
    for option, message in refused.items():
        assert main([*words, option, "--clip-norm=0"]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "run").exists()
    assert main(words) == 0


def test_checkpoints_that_cannot_be_used_are_refused(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy.run, run)
    words = ["graph", "pretrain", "--config", str(run / "config.yaml"), "--run", str(run), "--resume"]
    checkpoint = run / "checkpoints/last.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {checkpoint}: damaged")
    assert "delete it" in said
    assert checkpoint.stat().st_size == 5000
    # One of another architecture, with the configuration that is asked for: somebody copied it here.
    wider = tmp_path / "wider"
    options = ["--config", str(run / "config.yaml"), "--encoder.hidden", "24", "--epochs", "1", "--probe", "false"]
    assert main(["graph", "pretrain", *options, "--run", str(wider)]) == 0
    shutil.copy(wider / "checkpoints/last.safetensors", checkpoint)
    capsys.readouterr()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {checkpoint}: ")
    assert re.search(r"jepa\.context_encoder\S+ \(.*24.*\) where \(.*16.*\) belongs", said)
    assert (run / "encoder/model.safetensors").read_bytes() == (toy.run / "encoder/model.safetensors").read_bytes()


@pytest.mark.parametrize("level", ["graph", "node"])
def test_embeddings_are_the_encoders(level: str, toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "x.parquet"
    assert main(["graph", "embed", str(toy.run), "--out", str(out), "--level", level]) == 0
    encoder = load_encoder(toy.run / "encoder")
    assert isinstance(encoder, GraphEncoder)
    graphs = load_dataset(toy.data).graphs
    expected = encoder.embed(graphs, key=level)  # type: ignore[arg-type]
    assert f"{len(expected)} embeddings of {expected.shape[1]} dimensions in {out}" in capsys.readouterr().out
    table = pq.read_table(out)
    assert torch.equal(torch.tensor(table["embedding"].to_pylist()), expected)
    if level == "graph":
        assert table["graph"].to_pylist() == list(range(len(graphs)))
        assert graphs.y is not None
        assert table["label"].to_pylist() == graphs.y.tolist()
    else:
        assert table["graph"].to_pylist() == graphs.graph_of_node.tolist()
        sizes = graphs.nodes_per_graph.tolist()
        assert table["node"].to_pylist() == [node for size in sizes for node in range(size)]
    assert [path.name for path in out.parent.iterdir()] == ["x.parquet"]


def test_a_store_is_a_data_set_for_every_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = np.arange(60)
    pq.write_table(pa.table({"source": ring, "target": (ring + 1) % 60}), tmp_path / "edges.parquet")
    pq.write_table(pa.table({"node": ring, "a": ring / 60, "label": ring // 20}), tmp_path / "nodes.parquet")
    store, run, out = (str(tmp_path / name) for name in ("store", "run", "out.parquet"))
    assert main(["graph", "store", str(tmp_path), "--out", store]) == 0
    assert "60 nodes with 1 features, 120 edges in" in capsys.readouterr().out
    monkeypatch.setattr("jepakit.graph.large.sampling.FULL_NODES", 50)
    options = "--preset nodes --epochs 1 --encoder.hidden 8 --probe false --sampling.batch_nodes 16"
    assert main(["graph", "pretrain", *options.split(), "--run", run, store]) == 0
    assert "method: auto" in (tmp_path / "run/config.yaml").read_text("utf-8")
    assert main(["graph", "embed", run, "--out", out]) == 2
    assert "expected node for a graph of so many nodes" in capsys.readouterr().err
    assert main(["graph", "embed", run, "--out", str(tmp_path / "out.csv"), "--level", "node"]) == 2
    monkeypatch.setattr("jepakit.graph.rows._NODES_AT_ONCE", 25)
    assert main(["graph", "embed", run, "--out", out, "--level", "node"]) == 0
    table = pq.read_table(out)
    encoder = load_encoder(tmp_path / "run/encoder")
    assert isinstance(encoder, GraphEncoder)
    expected = encoder.embed(load_dataset(Path(store)).graphs, key="node")
    torch.testing.assert_close(torch.tensor(table["embedding"].to_pylist()), expected)
    assert table["node"].to_pylist() == ring.tolist()
    assert table["label"].to_pylist() == (ring // 20).tolist()
    assert main(["graph", "store", str(tmp_path), "--out", store]) == 2
    assert "is there already" in capsys.readouterr().err


def test_data_of_other_features_are_refused(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.parquet"
    other = ["--dataset", str(toy.other_features)]
    assert main(["graph", "embed", str(toy.run), "--out", str(out), *other]) == 2
    said = capsys.readouterr().err
    assert f"error: {toy.other_features}/" in said
    assert "_node_labels.txt:" in said
    assert "a value that the encoder was not trained on (found '3'); expected one of 0, 1, 2;" in said
    assert not out.exists()
    assert main(["graph", "embed", str(toy.run), "--out", str(tmp_path / "x.txt")]) == 2
    assert "expected a file name that ends in .parquet" in capsys.readouterr().err


def test_evaluating_again_gives_the_same_numbers(toy: Toy, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy.run, run)
    (run / "results.json").unlink()
    words = ["--classifier", "logistic", "--folds", "2", "--seeds", "[0,1]"]
    assert main(["graph", "evaluate", str(run), *words]) == 0
    assert untimed(run) == untimed(toy.run)


def untimed(run: Path) -> str:
    """``results.json`` without how long things took."""
    found = json.loads((run / "results.json").read_text())
    del found["sha256"]
    for section in found["sections"]:
        section["rows"] = [row[:-1] for row in section["rows"]]
    return re.sub(r"[\d.]+ s\b", "_ s", json.dumps(found))


def test_several_runs_are_evaluated_together(toy: Toy, tmp_path: Path) -> None:
    runs = [tmp_path / "run", tmp_path / "again"]
    for run in runs:
        shutil.copytree(toy.run, run)
    assert main(["graph", "evaluate", str(runs[0]), "--repeats", str(runs[1]), *QUICKLY]) == 0
    found = json.loads((runs[0] / "results.json").read_text())
    assert "the seed of 2 pre-trainings" in found["sections"][0]["text"]
    assert "s of training against" in found["recommendation"]
    assert main(["graph", "evaluate", str(runs[0]), "--repeats", str(tmp_path), *QUICKLY]) == 2


def test_data_without_labels_are_embedded_and_not_probed(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "x.parquet"
    shutil.copytree(toy.run, run)
    unlabelled = ["--dataset", str(toy.unlabelled)]
    assert main(["graph", "evaluate", str(run), *unlabelled, *QUICKLY]) == 0
    assert "The data have no labels: there is nothing to probe." in capsys.readouterr().out
    assert json.loads((run / "results.json").read_text())["rows"] == []
    assert main(["graph", "embed", str(run), *unlabelled, "--out", str(out)]) == 0
    assert "label" not in pq.read_table(out).column_names


@pytest.mark.parametrize(
    ("missing", "messages"),
    [
        (
            "config.yaml",
            {"evaluate": "not a run folder (no config.yaml)", "embed": "not a run folder (no config.yaml)"},
        ),
        ("encoder", {"evaluate": "the run did not finish: encoder/ is missing", "embed": "encoder/ is missing"}),
        ("encoder/config.json", {"evaluate": "the run did not finish", "embed": "the run did not finish"}),
        ("encoder/model.safetensors", {"evaluate": "model.safetensors is missing", "embed": "model.safetensors is m"}),
        ("random_encoder", {"evaluate": "random_encoder does not exist"}),
    ],
)
def test_what_a_run_folder_lacks_is_said(
    missing: str, messages: dict[str, str], toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy.run, run)
    gone = run / missing
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    for verb, message in messages.items():
        words = QUICKLY if verb == "evaluate" else ["--out", str(tmp_path / "x.parquet")]
        assert main(["graph", verb, str(run), *words]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("config.yaml", "dataset: [", "config.yaml:1: not YAML: .*expected the node content"),
        ("config.yaml", "epochs: 3\n", "config.yaml: dataset: "),
        ("encoder/config.json", "{", "config.json:1: not JSON: .*column 2"),
        # Fewer bytes than the length of a header.
        ("encoder/model.safetensors", "half", "model.safetensors: not the weights of this config.json"),
    ],
)
def test_damaged_files_of_a_run_are_named(
    file: str, text: str, message: str, toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy.run, run)
    (run / file).write_text(text)
    assert main(["graph", "embed", str(run), "--out", str(tmp_path / "x.parquet")]) == 2
    said = capsys.readouterr().err
    assert re.match(rf"error: {run}/.*{message}", said)
    assert said.count("\n") == 1
    assert not (tmp_path / "x.parquet").exists()


def test_paths_are_printed_as_they_are(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / ("a long name " * 8).strip() / "[red]run[/]"
    words = ["--dataset", str(toy.data), "--epochs", "1", "--probe", "false", "--run", str(run)]
    assert main(["graph", "pretrain", *words]) == 0
    assert f"edges; run in {run}\n" in capsys.readouterr().out
    assert main(["graph", "pretrain", *words]) == 2


def test_molecules_are_pretrained_on_their_descriptors_and_embedded_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rdkit")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    mine, others, run, out = (tmp_path / name for name in ("mine.csv", "others.csv", "run", "x.parquet"))
    mine.write_text("\n".join(["smiles", "CCO", "c1ccccc1", "CC(=O)O", "CCCCCC", "c1ccncc1", "CCN"]))
    others.write_text("smiles\nCCCl\nC1CCCCC1\n")
    words = ["--preset", "molecules", "--dataset", str(mine), "--run", str(run), "--epochs", "2", "--probe", "false"]
    assert main(["graph", "pretrain", *words, "--batch_size", "3"]) == 0
    assert all(row["train/predict/node"] and row["train/predict/descriptor"] for row in rows_but_seconds(run))
    described = list((tmp_path / "cache/jepakit").glob("descriptors-*"))
    assert main(["graph", "embed", str(run), "--dataset", str(others), "--out", str(out)]) == 0
    assert pq.read_table(out).num_rows == 2
    assert list((tmp_path / "cache/jepakit").glob("descriptors-*")) == described  # those of mine, and no more
