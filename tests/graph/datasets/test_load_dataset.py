"""From a name or a path to the loader: where names are looked up, what is fetched, what is refused."""

import json
import sys
from pathlib import Path

import pytest
import torch

from jepakit.errors import ConfigError, DataError, MissingExtraError
from jepakit.graph.datasets import load_dataset


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A cache of the test's own, and no JEPAKIT_DATA, which tests with real data pass on as ``data_dir``."""
    if "data_dir" in request.fixturenames:
        request.getfixturevalue("data_dir")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JEPAKIT_DATA", raising=False)
    return tmp_path / "cache" / "jepakit"


def write_tu(raw: Path, name: str, num_graphs: int = 2) -> Path:
    raw.mkdir(parents=True)
    (raw / f"{name}_A.txt").write_text("1, 2\n")
    (raw / f"{name}_graph_indicator.txt").write_text("".join(f"{g + 1}\n" * 2 for g in range(num_graphs)))
    return raw


def test_names_come_from_data_dir_then_the_environment_then_the_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tu(cache / "tu/TOY/raw", "TOY", 2)
    assert len(load_dataset("TOY").graphs) == 2
    write_tu(tmp_path / "shared/tu/TOY/raw", "TOY", 3)
    monkeypatch.setenv("JEPAKIT_DATA", str(tmp_path / "shared"))
    assert len(load_dataset("TOY").graphs) == 3
    write_tu(tmp_path / "mine/tu/TOY/raw", "TOY", 4)
    assert len(load_dataset("TOY", data_dir=tmp_path / "mine").graphs) == 4
    (tmp_path / "empty").mkdir()
    assert len(load_dataset("TOY", data_dir=tmp_path / "empty").graphs) == 2


def test_a_name_goes_before_a_folder_of_that_name(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tu(cache / "tu/MUTAG/raw", "MUTAG", 2)
    write_tu(tmp_path / "MUTAG/raw", "MUTAG", 5)
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("MUTAG").graphs) == 2
    assert len(load_dataset("./MUTAG").graphs) == 5
    assert len(load_dataset(Path("MUTAG")).graphs) == 5


def test_paths_of_every_kind(tmp_path: Path) -> None:
    raw = write_tu(tmp_path / "TOY/raw", "TOY")
    graph = {"nodes": [{"id": 0}], "edges": []}
    (tmp_path / "one.json").write_text(json.dumps(graph))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a.json").write_text(json.dumps([graph, graph]))
    (tmp_path / "g.graphml").write_text('<graphml><graph><node id="a"/><node id="b"/></graph></graphml>')
    (tmp_path / "mols.csv").write_text("smiles\nCCO\n")
    found = {
        path.name: load_dataset(str(path)).graphs.num_nodes
        for path in (raw, raw.parent, tmp_path / "one.json", tmp_path / "folder", tmp_path / "g.graphml")
    }
    assert found == {"raw": 4, "TOY": 4, "one.json": 1, "folder": 2, "g.graphml": 2}
    pytest.importorskip("rdkit")
    assert load_dataset(tmp_path / "mols.csv").graphs.num_nodes == 3


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mutag", "did you mean 'MUTAG'"),
        ("REDIT-BINARY", "did you mean 'REDDIT-BINARY'"),
        ("corra", "'Cora'"),
        ("", "LOCAL"),
    ],
)
def test_unknown_names_get_near_ones(name: str, hint: str, tmp_path: Path, cache: Path) -> None:
    write_tu(tmp_path / "data/tu/LOCAL/raw", "LOCAL")
    with pytest.raises(ConfigError) as caught:
        load_dataset(name, data_dir=tmp_path / "data")
    for part in (f"dataset = '{name}'", hint, "LOCAL", str(tmp_path / "data"), str(cache)):
        assert part in str(caught.value)


def test_what_cannot_be_located(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere/x\.csv: no such file or folder"):
        load_dataset(tmp_path / "nowhere/x.csv")
    with pytest.raises(DataError, match=r"no graphs that can be read; expected a \.csv"):
        load_dataset(tmp_path)
    with pytest.raises(ConfigError, match=r"data_dir = '.*nowhere': expected an existing folder"):
        load_dataset("MUTAG", data_dir=tmp_path / "nowhere")


def test_columns_are_for_smiles_tables_only(tmp_path: Path) -> None:
    raw = write_tu(tmp_path / "TOY/raw", "TOY")
    with pytest.raises(ConfigError, match=r"smiles_column = 'smiles': expected nothing"):
        load_dataset(raw, smiles_column="smiles")
    with pytest.raises(ConfigError, match=r"label_columns = \['y'\]: expected nothing"):
        load_dataset(raw, label_columns=["y"])


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = write_tu(tmp_path / "TOY/raw", "TOY")
    for module in ("pyarrow", "pyarrow.csv"):
        monkeypatch.setitem(sys.modules, module, None)
    for module in ("tu", "tables"):
        monkeypatch.delitem(sys.modules, f"jepakit.graph.datasets.{module}", raising=False)
    with pytest.raises(MissingExtraError, match=r"pyarrow is not installed; .*'jepakit\[graph\]'"):
        load_dataset(raw)


@pytest.mark.data
def test_real_names_leave_the_data_folder_alone(data_dir: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in data_dir.glob("[tpm]*/**/*")}
    found = {name: load_dataset(name, data_dir=data_dir) for name in ("MUTAG", "Cora")}
    assert [len(dataset.graphs) for dataset in found.values()] == [188, 1]
    assert {path: path.stat().st_mtime_ns for path in data_dir.glob("[tpm]*/**/*")} == before


@pytest.mark.data
def test_a_moleculenet_table_by_name(data_dir: Path) -> None:
    pytest.importorskip("rdkit")
    dataset = load_dataset("delaney-processed", data_dir=data_dir)
    assert (len(dataset.graphs), dataset.task) == (1128, "graph regression")


def test_python_needs_no_files() -> None:
    dataset = load_dataset("python")
    assert dataset.name == "python"
    assert dataset.graphs.y is not None
    assert torch.bincount(dataset.graphs.y).min() > 0
