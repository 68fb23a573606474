"""Tables of molecules as people have them: labels in words, columns found, rows that cannot be read, odd molecules."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from jepakit.errors import DataError
from jepakit.graph.data import GraphDataset
from jepakit.graph.datasets.molecules.load import load_molecules

Chem = pytest.importorskip("rdkit.Chem")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def read(folder: Path, text: str, *labels: str) -> GraphDataset:
    path = folder / "mine.csv"
    path.write_text(text, encoding="utf-8")
    return load_molecules(path, label_columns=labels or None).dataset


ROWS = ("1,C,0.5,yes,a", "2,CC,1.5,no,b", "3,CCC,,,c", "4,CO,0.25,no,a", "5,CCO,1,yes,b", "6,CN,2,no,c")
TABLE = "\n".join(["Id,SMILES,LogS,Active,Class", *ROWS, ""])


def test_one_column_of_words_is_classes(tmp_path: Path) -> None:
    dataset = read(tmp_path, TABLE, "Class")
    assert (dataset.task, dataset.label_names) == ("graph classification", ("a", "b", "c"))
    assert dataset.graphs.y is not None
    assert dataset.graphs.y.tolist() == [0, 1, 2, 0, 1, 2]
    gaps = read(tmp_path, TABLE, "Active")
    assert gaps.graphs.y is not None
    assert (gaps.label_names, gaps.graphs.y.tolist()) == (("no", "yes"), [1, 0, -1, 0, 1, 0])


def test_several_columns_of_two_words_are_binary_tasks(tmp_path: Path) -> None:
    text = TABLE.replace("LogS", "Soluble").replace("0.5", "1").replace("1.5", "0").replace("0.25", "1")
    dataset = read(tmp_path, text.replace("CN,2", "CN,NA"), "Soluble", "Active")
    assert (dataset.task, dataset.label_names) == ("graph multilabel", ("Soluble", "Active=yes"))
    nan = torch.nan
    expected = torch.tensor([[1, 1], [0, 0], [nan, nan], [1, 0], [1, 1], [nan, 0]])
    torch.testing.assert_close(dataset.graphs.y, expected, equal_nan=True)


@pytest.mark.parametrize("given", ["logS", "LogS", " logs "])
def test_a_column_is_found_in_upper_or_lower_case(given: str, tmp_path: Path) -> None:
    assert read(tmp_path, TABLE, given).label_names == ("LogS",)


def test_one_name_may_list_several_columns(tmp_path: Path) -> None:
    text = TABLE.replace("yes", "3").replace("no", "4")
    assert read(tmp_path, text, "logs,active").label_names == ("LogS", "Active")
    with pytest.raises(DataError, match=r"mine.csv:1: act: no such column; .*'Active'"):
        read(tmp_path, text, "logs,act")


def test_the_only_column_that_looks_like_labels_is_found(tmp_path: Path) -> None:
    found = read(tmp_path, "Name,smiles,LogS,Index,Note\nx,C,0.5,1,\ny,CC,1.5,2,\nz,CO,2,3,\n")
    assert (found.task, found.label_names) == ("graph regression", ("LogS",))
    several = read(tmp_path, TABLE)
    assert (several.task, several.label_candidates) == ("none", ("LogS", "Active"))
    none = read(tmp_path, "mol_id,smiles,made by\n7,C,a firm\n8,CC,another\n9,CCC,third\n")
    assert (none.task, none.label_candidates) == ("none", ())


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("Class", "Active"), r"mine.csv:1: Class: 3 classes in one of several label columns"),
        (("LogS", "Active"), r"mine.csv:1: Active: words beside columns of numbers"),
        (("SMILES",), r"mine.csv:2: SMILES: 6 different words in 6 rows are no classes \(found 'C'\)"),
        (("Logs", "pIC50"), r"mine.csv:1: pIC50: no such column"),
    ],
)
def test_labels_of_no_kind_are_named(labels: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, TABLE, *labels)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_separators(mark: str, tmp_path: Path) -> None:
    assert read(tmp_path, TABLE.replace(",", mark), "LogS").label_names == ("LogS",)


def test_a_row_that_cannot_be_read_keeps_its_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = read(tmp_path, "smiles,y\nC,1\nC1CC(,2\nCC,3\n", "y")
    assert "1 left out because RDKit cannot read their SMILES (line 3)" in caplog.text
    origins = dataset.origins
    assert origins is not None
    assert origins.graph.tolist() == [0, -1, 1]
    assert (list(origins.columns["row"]), list(origins.columns["smiles"])) == ([1, 2, 3], ["C", "C1CC(", "CC"])
    assert list(origins.problem) == ["", "RDKit cannot read the SMILES", ""]
    assert dataset.graphs.y is not None
    assert dataset.graphs.y.tolist() == [[1], [3]]


@pytest.mark.parametrize(
    ("header", "ids"),
    [
        ("Name,smiles,note", ["a", "b", "c"]),
        ("note,smiles,mol_id", ["x", "x", "z"]),
        ("Name,smiles,Index", ["a", "b", "c"]),
        ("tag,smiles,note", None),
    ],
)
def test_rows_keep_the_ids_that_a_column_gives_them(header: str, ids: list[str] | None, tmp_path: Path) -> None:
    origins = read(tmp_path, f"{header}\na,C,x\nb,CC(,x\nc,CCC,z\n").origins
    assert origins is not None
    unique = ids is not None and len(set(ids)) == 3
    assert origins.columns.get("id") == (ids if unique else None)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        *(("[2H]O[2H]", "O"), ("C([2H])([2H])[2H]", "C"), ("[13CH4]", "C"), ("[2H]c1ccccc1", "c1ccccc1")),
        *(("[2H][C@](C)(O)[H]", "C(C)O"), ("C[C@H]([13CH3])O", "CC(C)O"), ("F[C@]([2H])(Cl)Br", "F[C@]([H])(Cl)Br")),
        *(("[2H+].[18F-]", "[H+].[F-]"), ("[2H][2H]", "[H][H]")),
    ],
)
def test_isotopes_are_their_elements(
    written: str, plain: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    graphs = read(tmp_path, f"smiles\n{written}\n{plain}\n").graphs
    assert "isotopes in 1 molecules are read as their elements" in caplog.text
    assert torch.equal(graphs[[0]].x, graphs[[1]].x)
    assert torch.equal(graphs[[0]].edge_index, graphs[[1]].edge_index)


def test_a_molecule_of_thousands_of_atoms_takes_seconds_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its scaffold would take a minute and a half, and its descriptors hours."""
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["smiles", *("C" * n for n in range(1, 12)), "NC(Cc1ccccc1)C(=O)" * 300 + "O"]))
    began = time.monotonic()
    dataset = load_molecules(path, descriptors=True).dataset
    assert time.monotonic() - began < 20
    assert dataset.graphs.nodes_per_graph.tolist() == [*range(1, 12), 3301]
    assert "1 of more than 500 atoms are split by formula, not by scaffold, and not described" in caplog.text
    assert dataset.graphs.descriptors is not None
    assert dataset.graphs.descriptors.isnan().all(1).tolist() == [False] * 11 + [True]
