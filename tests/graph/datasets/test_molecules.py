"""Molecules: features by hand, every fault of a table by file and line, the scaffold split, the MoleculeNet counts."""

import gzip
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from jepakit.errors import DataError, MissingExtraError
from jepakit.graph.data import Graphs
from jepakit.graph.datasets.molecules import descriptors as molecule_descriptors
from jepakit.graph.datasets.molecules.descriptors import molecular_descriptors
from jepakit.graph.datasets.molecules.features import ATOM_FEATURES, BOND_FEATURES
from jepakit.graph.datasets.molecules.load import Molecules, load_molecules, morgan_fingerprints
from jepakit.graph.datasets.molecules.scaffolds import scaffold_split

Chem = pytest.importorskip("rdkit.Chem")
pytest.importorskip("rdkit.Chem.Descriptors")


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def table(folder: Path, text: str, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def graphs_of(folder: Path, *smiles: str) -> Graphs:
    return load_molecules(table(folder, "\n".join(["smiles", *smiles]))).dataset.graphs


def names(rows: torch.Tensor, columns: tuple[str, ...]) -> list[set[str]]:
    return [{columns[int(i)] for i in row.nonzero()} for row in rows]


def test_ethanol_by_hand(tmp_path: Path) -> None:
    graphs = graphs_of(tmp_path, "CCO")
    carbon = {"element=C", "charge=0", "hybridisation=sp3", "chirality=none"}
    assert names(graphs.x, ATOM_FEATURES) == [
        carbon | {"degree=1", "hydrogens=3"},
        carbon | {"degree=2", "hydrogens=2"},
        {"element=O", "charge=0", "hybridisation=sp3", "chirality=none", "degree=1", "hydrogens=1"},
    ]
    assert graphs.edge_index.tolist() == [[1, 0, 2, 1], [0, 1, 1, 2]]
    assert graphs.edge_attr is not None
    assert names(graphs.edge_attr, BOND_FEATURES) == [{"type=single", "stereo=none"}] * 4
    assert graphs.y is None


def test_benzene_by_hand(tmp_path: Path) -> None:
    graphs = graphs_of(tmp_path, "c1ccccc1")
    atom = {"element=C", "degree=2", "charge=0", "hydrogens=1", "hybridisation=sp2", "chirality=none", "aromatic"}
    assert names(graphs.x, ATOM_FEATURES) == [atom | {"in ring"}] * 6
    bond = {"type=aromatic", "conjugated", "in ring", "stereo=none"}
    assert graphs.edge_attr is not None
    assert names(graphs.edge_attr, BOND_FEATURES) == [bond] * 12
    ring = {(i, (i + 1) % 6) for i in range(6)}
    assert set(map(tuple, graphs.edge_index.T.tolist())) == ring | {(b, a) for a, b in ring}


def test_what_is_rare_has_its_place(tmp_path: Path) -> None:
    """A metal, clamped charges, a lone ion, a triple bond, and both ends of a double one."""
    graphs = graphs_of(tmp_path, "[Fe+3].[O-2].C#N", "F/C=C/F", "F/C=C\\F", "N[C@@H](C)C(=O)O", "N[C@H](C)C(=O)O")
    atoms = names(graphs.x, ATOM_FEATURES)
    assert atoms[0] >= {"element=other", "charge=>=2", "degree=0"}
    assert atoms[1] >= {"element=O", "charge=<=-2", "hydrogens=0"}
    assert atoms[2] >= {"element=C", "hybridisation=sp", "hydrogens=1"}
    assert graphs.edge_attr is not None
    bonds = [names(graphs[g].edge_attr, BOND_FEATURES) for g in range(3)]  # type: ignore[arg-type]
    assert bonds[0] == [{"type=triple", "stereo=none"}] * 2
    assert sum({"type=double", "stereo=E"} <= bond for bond in bonds[1]) == 2
    assert sum({"type=double", "stereo=Z"} <= bond for bond in bonds[2]) == 2
    # L-alanine is S, D-alanine R.
    assert "chirality=S" in names(graphs[3].x, ATOM_FEATURES)[1]
    assert "chirality=R" in names(graphs[4].x, ATOM_FEATURES)[1]


def test_features_do_not_depend_on_how_a_molecule_is_written(tmp_path: Path) -> None:
    molecules = ["C[C@H](N)C(=O)O", "CC(=O)Oc1ccccc1C(=O)O", "C/C=C/c1ccncc1", "CN1CCC[C@H]1c1cccnc1"]
    for smiles in molecules:
        written = {Chem.MolToSmiles(Chem.MolFromSmiles(smiles), doRandom=True) for _ in range(10)}
        assert len(written) > 3
        graphs = graphs_of(tmp_path, *sorted(written))
        assert graphs.edge_attr is not None
        source, target = graphs.edge_index
        bonds = torch.cat([graphs.x[source], graphs.edge_attr, graphs.x[target]], dim=1)
        owner = graphs.graph_of_node
        seen = {
            tuple(sorted(Counter(map(tuple, bonds[owner[source] == g].tolist())).items())) for g in range(len(graphs))
        }
        assert len(seen) == 1, smiles


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("id,y\n1,2\n", {}, r"mine.csv:1: no column is named smiles.*'id', 'y'"),
        ("smiles,SMILES\nC,C\n", {}, r"mine.csv:1: several columns are named smiles"),
        ("smiles,y\nC,1\n", {"smiles_column": "mol"}, r"mine.csv:1: mol: no such column; .*'smiles', 'y'"),
        ("smiles,y\nC,1\n", {"label_columns": ["z"]}, r"mine.csv:1: z: no such column; .*'smiles', 'y'"),
        ("smiles,y,y\nC,1,2\n", {"label_columns": ["y"]}, r"mine.csv:1: y: .* more than once"),
        ("smiles,y\nC,1\n\nO,two\n", {"label_columns": ["y"]}, r"mine.csv:4: y: a label is not a number .*'two'"),
        ("smiles,y\nC,inf\n", {"label_columns": ["y"]}, r"mine.csv:2: y: a label is not a number .*'inf'"),
        ("smiles,y\nC,1\nO\n", {}, r"mine.csv:3: a row differs .* number of cells .*found 1\); expected 2"),
        ("smiles\nC\nnot one\n", {}, r"mine.csv:3: 1 of 2 SMILES cannot be read; .*'not one'"),
        ('smiles,y\nC,1\n"",1\n', {}, r"mine.csv:3: 1 of 2 SMILES cannot be read"),
        ("smiles,y\n", {}, r"mine.csv: the file holds no molecules"),
        ("", {}, r"mine.csv:1: no column is named smiles"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, text: str, columns: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_molecules(table(tmp_path, text), **columns)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mine.smi", b"smiles\nC\n", r"mine.smi: the name is not that of a table"),
        ("mine.csv.gz", b"\x1f\x8bsmiles\nC\n", r"mine.csv.gz: damaged"),
        ("cut.csv.gz", gzip.compress(b"smiles\nC\n", mtime=0)[:-9], r"cut.csv.gz: .*cut off"),
        ("mine.csv", b"smiles\nC\n\xff\n", r"mine.csv:3: not UTF-8"),
    ],
)
def test_a_file_that_is_no_table(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_molecules(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_molecules(tmp_path / "none.csv")
    assert caught.value.file == tmp_path / "none.csv"


def test_rows_that_cannot_be_read_are_left_out_and_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    chains = ["C" * n for n in range(1, 20)]
    rows = [f"{smiles},{n}" for n, smiles in enumerate(chains, start=1)]
    rows.insert(4, "C(C)(C)(C)(C)C,99")
    molecules = load_molecules(table(tmp_path, "\n".join(["SMILES,y", *rows])), label_columns=["y"])
    assert molecules.smiles == chains
    assert molecules.dataset.graphs.nodes_per_graph.tolist() == list(range(1, 20))
    assert molecules.dataset.graphs.y is not None
    assert molecules.dataset.graphs.y.squeeze(1).tolist() == list(range(1, 20))
    assert "20 rows; 1 left out because RDKit cannot read their SMILES (line 6)" in molecules.dataset.source
    assert capfd.readouterr().err == ""
    Chem.MolFromSmiles("C(C)(C)(C)(C)C")
    assert "valence" in capfd.readouterr().err, "RDKit stays silent after the call"


def test_labels_say_what_the_task_is(tmp_path: Path) -> None:
    path = table(tmp_path, "smiles,a,b,c\nC,1,0,0.5\nCC,,1,-3\nCCC,nan,0,\n")

    def load(*columns: str) -> Molecules:
        return load_molecules(path, label_columns=columns)

    binary = load("b", "a").dataset
    assert (binary.task, binary.label_names) == ("graph multilabel", ("b", "a"))
    expected = torch.tensor([[0, 1], [1, torch.nan], [0, torch.nan]])
    torch.testing.assert_close(binary.graphs.y, expected, equal_nan=True)
    numbers = load("c").dataset
    assert numbers.task == "graph regression"
    torch.testing.assert_close(numbers.graphs.y, torch.tensor([[0.5], [-3], [torch.nan]]), equal_nan=True)
    assert load().dataset.task == load_molecules(path).dataset.task == "none"


def test_another_smiles_column_and_byte_order_mark(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufeffsmiles,drug\nC,CCO \nC,N\n")
    assert load_molecules(path).smiles == ["C", "C"]
    assert load_molecules(path, smiles_column="drug").smiles == ["CCO", "N"]
    assert load_molecules(path, smiles_column="drug").dataset.graphs.nodes_per_graph.tolist() == [3, 1]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    assert graphs_of(tmp_path, "CCC").num_nodes == 3
    assert graphs_of(tmp_path, "CCN").x[2, ATOM_FEATURES.index("element=N")] == 1


SHELF = [
    *("Cc1ccccc1", "Oc1ccccc1", "Nc1ccccc1", "Clc1ccccc1"),
    *("C1CCCCC1", "CC1CCCCC1", "CCO", "CCC", "c1ccncc1", "c1ccoc1"),
]
"""Scaffolds benzene x4, cyclohexane x2, none x2, pyridine, furan."""


def test_scaffold_split_by_hand() -> None:
    split = scaffold_split(SHELF)
    # Of the single ones furan comes last and is dealt first: it takes the place in val, pyridine that in test.
    assert {name: ids.tolist() for name, ids in split.items()} == {"train": list(range(8)), "val": [9], "test": [8]}


def test_a_set_too_big_for_train_is_never_cut() -> None:
    split = scaffold_split([SHELF[0]] * 6 + [SHELF[6]] * 3 + [SHELF[8]])
    assert {name: ids.tolist() for name, ids in split.items()} == {
        "train": [0, 1, 2, 3, 4, 5, 9],
        "val": [6, 7, 8],
        "test": [],
    }


def test_a_table_without_a_complete_split_has_none_and_says_so(tmp_path: Path) -> None:
    dataset = load_molecules(table(tmp_path, "smiles\nC\nCC\nCCC\n")).dataset
    assert dataset.splits == {}
    assert "no scaffold split" in dataset.source


def test_fingerprints_by_hand() -> None:
    """Methane has one environment; the atoms of ethane share one of radius 0 and one of radius 1, and none beyond."""
    out = morgan_fingerprints(["C", "CC", "OCC", "CCO"])
    assert out.shape == (4, 2048)
    assert out.dtype == np.uint8
    assert out[:2].sum(1).tolist() == [1, 2]
    assert (out[2] == out[3]).all()
    assert (out[1] != out[2]).any()


@pytest.mark.parametrize("function", [scaffold_split, morgan_fingerprints])
def test_an_unreadable_smiles_is_named_by_its_row(function: Callable[[list[str]], object]) -> None:
    with pytest.raises(DataError, match=r"smiles\[1\]: a SMILES cannot be read \(found 'C\('\)"):
        function(["C", "C("])


def test_without_rdkit_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(MissingExtraError, match=r"jepakit\[chem\]"):
        load_molecules(table(tmp_path, "smiles\nC\n"))


COUNTS = {
    "tox21.csv.gz": (8014, 12, "graph multilabel"),
    "sider.csv.gz": (1427, 27, "graph multilabel"),
    "clintox.csv.gz": (1491, 2, "graph multilabel"),
    "delaney-processed.csv": (1128, 1, "graph regression"),
    "HIV.csv": (41913, 1, "graph multilabel"),
}


@pytest.mark.data
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.torture] if name == "HIV.csv" else []) for name in COUNTS]
)
def test_moleculenet(data_dir: Path, name: str) -> None:
    rows, tasks, task = COUNTS[name]
    molecules = load_molecules(data_dir / "moleculenet" / name)
    dataset, graphs = molecules.dataset, molecules.dataset.graphs
    assert dataset.task == task
    assert len(dataset.label_names) == tasks
    assert graphs.y is not None
    assert graphs.y.shape == (len(graphs), tasks)
    assert len(molecules.smiles) == len(graphs)
    assert f"{rows} rows" in dataset.source
    # How many RDKit rejects is up to its version; it has never been one in a hundred.
    assert rows * 0.99 < len(graphs) <= rows
    check_features(graphs)


def check_features(graphs: Graphs) -> None:
    degree = graphs.x[:, [i for i, name in enumerate(ATOM_FEATURES) if name.startswith("degree")]]
    assert torch.equal(degree.argmax(1), graphs.in_degree.clamp(max=6))
    assert graphs.edge_attr is not None
    for values, columns in ((graphs.x, ATOM_FEATURES), (graphs.edge_attr, BOND_FEATURES)):
        assert values.shape[1] == len(columns)
        groups = [name.partition("=")[0] for name in columns]
        for group in {name for name, count in Counter(groups).items() if count > 1}:
            assert (values[:, [i for i, name in enumerate(groups) if name == group]].sum(1) == 1).all(), group


@pytest.mark.data
@pytest.mark.parametrize("name", ["clintox.csv.gz", "delaney-processed.csv"])
def test_no_two_parts_share_a_scaffold(data_dir: Path, name: str) -> None:
    """By another way to a scaffold than the loader's."""
    from rdkit.Chem.Scaffolds.MurckoScaffold import GetScaffoldForMol

    molecules = load_molecules(data_dir / "moleculenet" / name)
    splits, size = molecules.dataset.splits, len(molecules.smiles)
    assert list(splits) == ["train", "val", "test"]
    assert torch.equal(torch.cat(list(splits.values())).sort().values, torch.arange(size))
    assert len(splits["train"]) == pytest.approx(0.8 * size, rel=0.01)
    parts = []
    for ids in splits.values():
        cores = (GetScaffoldForMol(Chem.MolFromSmiles(molecules.smiles[i])) for i in ids.tolist())
        parts.append({Chem.MolToSmiles(core, isomericSmiles=False) for core in cores})
    assert len(parts[0] | parts[1] | parts[2]) == sum(map(len, parts))
    again = scaffold_split(molecules.smiles)
    assert all(torch.equal(again[part], ids) for part, ids in splits.items())


def test_descriptors_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(molecule_descriptors, "_BATCH_MOLECULES", 2)  # several batches
    smiles = ["CCO", "c1ccccc1", "CC(=O)O", "[Na+].[Cl-]", "C"]
    values = molecular_descriptors(smiles, jobs=1)
    columns = [name for name, _ in Chem.Descriptors.descList]
    assert values.shape == (5, len(columns))
    column = {name: values[:, columns.index(name)].tolist() for name in columns}
    assert column["MolWt"] == pytest.approx([46.069, 78.114, 60.052, 58.443, 16.043])
    assert column["TPSA"] == pytest.approx([20.23, 0, 37.3, 0, 0])
    assert (column["RingCount"], column["fr_COO"]) == ([0, 1, 0, 0, 0], [0, 0, 1, 0, 0])
    assert np.isnan(values[3]).any()  # ions have no partial charges
    assert not np.isinf(values).any()


def test_descriptors_of_a_table_are_those_of_its_readable_rows(tmp_path: Path) -> None:
    smiles = ["CCO", *["CC"] * 10, "c1ccccc1"]
    path = table(tmp_path, "\n".join(["smiles", *smiles[:5], "C(", *smiles[5:]]))
    described = load_molecules(path, descriptors=True).dataset.graphs.descriptors
    assert described is not None
    np.testing.assert_array_equal(described.numpy(), molecular_descriptors(smiles))
    assert load_molecules(path).dataset.graphs.descriptors is None


def test_an_unreadable_smiles_is_named_by_its_row_whatever_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(molecule_descriptors, "_BATCH_MOLECULES", 2)
    with pytest.raises(DataError, match=r"smiles\[3\]"):
        molecular_descriptors(["C", "CC", "CCC", "no molecule"], jobs=1)
