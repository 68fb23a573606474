"""Loads molecules from SMILES tables, with the scaffold split of MoleculeNet and Morgan fingerprints as a baseline.

Reference: Wu et al. 2018, "MoleculeNet: a benchmark for molecular machine learning", Chemical Science 9.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from jepakit.datasets.cache import Stored, cached_tensors
from jepakit.errors import DataError
from jepakit.files import read_bytes, reading
from jepakit.graph.data import GraphDataset, Graphs
from jepakit.graph.datasets.molecules.descriptors import molecular_descriptors
from jepakit.graph.datasets.molecules.features import VOCABULARY, MoleculeRows, parse, parse_all, require_rdkit
from jepakit.graph.datasets.tables import MAX_FLOAT
from jepakit.graph.datasets.tensors import dataset_from_tensors, dataset_to_tensors

if TYPE_CHECKING:
    from rdkit.Chem import Mol


_CACHE_VERSION = 2
_MAX_UNREADABLE_SHARE = 0.1
_MAX_LINES_LISTED = 20
_MORGAN_BITS = 2048

_SIDER_LABELS = """
Hepatobiliary disorders; Metabolism and nutrition disorders; Product issues; Eye disorders; Investigations;
Musculoskeletal and connective tissue disorders; Gastrointestinal disorders; Social circumstances; Immune system
disorders; Reproductive system and breast disorders; Neoplasms benign, malignant and unspecified (incl cysts and
polyps); General disorders and administration site conditions; Endocrine disorders; Surgical and medical procedures;
Vascular disorders; Blood and lymphatic system disorders; Skin and subcutaneous tissue disorders; Congenital, familial
and genetic disorders; Infections and infestations; Respiratory, thoracic and mediastinal disorders; Psychiatric
disorders; Renal and urinary disorders; Pregnancy, puerperium and perinatal conditions; Ear and labyrinth disorders;
Cardiac disorders; Nervous system disorders; Injury, poisoning and procedural complications
"""
_MOLECULENET_LABELS = {
    "HIV": ("HIV_active",),
    "clintox": ("FDA_APPROVED", "CT_TOX"),
    "delaney-processed": ("measured log solubility in mols per litre",),
    "tox21": (
        *("NR-AR", "NR-AR-LBD", "NR-AhR", "NR-Aromatase", "NR-ER", "NR-ER-LBD", "NR-PPAR-gamma"),
        *("SR-ARE", "SR-ATAD5", "SR-HSE", "SR-MMP", "SR-p53"),
    ),
    "sider": tuple(_SIDER_LABELS.replace("\n", " ").strip().split("; ")),
}
"""Label columns of the MoleculeNet files, by the file's name without its suffixes."""


@dataclass(frozen=True, eq=False)
class Molecules:
    """Molecules as graphs, with the scaffold split (none if a part would be empty), and as SMILES as in the file.

    `jepakit.graph.datasets.molecules.features` names the columns of ``x`` and ``edge_attr``.
    """

    dataset: GraphDataset
    smiles: list[str]


def load_molecules(
    path: str | Path,
    *,
    smiles_column: str | None = None,
    label_columns: Sequence[str] | None = None,
    descriptors: bool = False,
) -> Molecules:
    """Reads a ``.csv`` or ``.csv.gz`` file with a SMILES column into graphs of atoms and bonds.

    ``y`` is ``[G, T]`` float, NaN where the cell is empty or ``nan``. The task is multilabel if all labels are 0 or 1,
    otherwise regression. Rows whose SMILES RDKit rejects (mostly for their valences) are skipped;
    ``dataset.source`` states their number and lines. The result is cached in the user's cache folder.

    Args:
        path: the file; its first line names the columns.
        smiles_column: the column with the SMILES; by default the column named "smiles", in upper or lower case.
        label_columns: the columns to predict; by default those of the MoleculeNet file of the same name (HIV, tox21,
            sider, clintox, delaney-processed), none for any other file.
        descriptors: fill ``dataset.graphs.descriptors`` by `molecular_descriptors`.

    Raises:
        DataError: the file is unreadable, a column is missing or named twice, a label is not a number, or RDKit rejects
            more than a tenth of the SMILES.
        MissingExtraError: RDKit is not installed.
    """
    require_rdkit()
    from rdkit import __version__ as rdkit_version

    path = Path(path)
    name = path.name.removesuffix(".gz").removesuffix(".csv")
    if not path.name.endswith((".csv", ".csv.gz")):
        raise DataError("the name is not that of a table", file=path, expected="a .csv or .csv.gz file")
    content = read_bytes(path)
    labels = tuple(_MOLECULENET_LABELS.get(name, ()) if label_columns is None else label_columns)
    table = _read_table(path, content, smiles_column, labels)
    identity = repr((_CACHE_VERSION, rdkit_version, path.name, smiles_column, labels)).encode()
    key = f"molecules-{hashlib.sha256(identity + hashlib.sha256(content).digest()).hexdigest()[:32]}"
    tensors, header = cached_tensors(key, lambda: _build(path, name, table, labels))
    dataset = dataset_from_tensors(tensors, header)
    smiles = [table.smiles[row] for row in tensors["rows"].tolist()]
    if descriptors:
        values = torch.from_numpy(molecular_descriptors(smiles))
        dataset = replace(dataset, graphs=replace(dataset.graphs, descriptors=values))
    return Molecules(dataset, smiles)


def scaffold_split(smiles: Sequence[str]) -> dict[str, Tensor]:
    """Splits molecules 80 : 10 : 10 so that no two parts share a Bemis-Murcko scaffold; a part can be empty.

    This is the deterministic split of MoleculeNet and of Hu et al. 2020 ("Strategies for pre-training graph neural
    networks"). Groups of molecules with the same scaffold are assigned in descending order of size; of equal sizes, the
    group whose first row is last comes first. Each group goes to ``train`` if it fits, else to ``val`` if train and val
    together have room, else to ``test``. Scaffolds ignore stereochemistry; molecules without a ring share a scaffold.

    Raises:
        DataError: RDKit rejects a SMILES.
        MissingExtraError: RDKit is not installed.
    """
    require_rdkit()
    return _split_by_scaffold([_scaffold(mol) for mol in parse_all(smiles)])


def morgan_fingerprints(smiles: Sequence[str]) -> np.ndarray:
    """Extended-connectivity fingerprints (ECFP4, Rogers and Hahn 2010), a baseline: ``[G, 2048]`` uint8, 0 or 1.

    Raises:
        DataError: RDKit rejects a SMILES.
        MissingExtraError: RDKit is not installed.
    """
    require_rdkit()
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=_MORGAN_BITS)
    rows = [generator.GetFingerprintAsNumPy(mol) for mol in parse_all(smiles)]
    return np.array(rows, dtype=np.uint8).reshape(-1, _MORGAN_BITS)


def _build(path: Path, name: str, table: _SmilesTable, label_names: tuple[str, ...]) -> Stored:
    from rdkit.rdBase import BlockLogs

    features, scaffolds, rows, unreadable = MoleculeRows(), [], [], []
    with BlockLogs():
        for row, smiles in enumerate(table.smiles):
            mol = parse(smiles)
            if mol is None:
                unreadable.append(row)
                continue
            features.add(mol)
            scaffolds.append(_scaffold(mol))
            rows.append(row)
    if len(unreadable) > _MAX_UNREADABLE_SHARE * len(table.smiles):
        problem = f"{len(unreadable)} of {len(table.smiles)} SMILES cannot be read; this is the first"
        line, text = table.lines[unreadable[0]], table.smiles[unreadable[0]]
        expected = "a column of SMILES (smiles_column selects another)"
        raise DataError(problem, file=path, line=line, value=text, expected=expected)
    x, edge_index, edge_attr, sizes = features.arrays()
    y = table.labels[rows].astype(np.float32) if label_names else None
    splits = _split_by_scaffold(scaffolds)
    complete = all(ids.numel() for ids in splits.values())
    binary = bool((np.isin(table.labels, (0, 1)) | np.isnan(table.labels)).all())
    dataset = GraphDataset(
        name=name,
        graphs=Graphs.pack(x, edge_index, sizes, edge_attr=edge_attr, y=y, vocabulary=VOCABULARY, field_name=path.name),
        task="none" if y is None else "graph multilabel" if binary else "graph regression",
        label_names=label_names,
        splits=splits if complete else {},
        source=_describe(path, table, unreadable, complete),
    )
    tensors, header = dataset_to_tensors(dataset)
    return {**tensors, "rows": torch.tensor(rows, dtype=torch.long)}, header


def _describe(path: Path, table: _SmilesTable, unreadable: list[int], complete: bool) -> str:
    text = f"{path.name}, {len(table.smiles)} rows"
    if unreadable:
        lines = ", ".join(str(table.lines[row]) for row in unreadable[:_MAX_LINES_LISTED])
        more = f" and {len(unreadable) - _MAX_LINES_LISTED} more" if len(unreadable) > _MAX_LINES_LISTED else ""
        text += f"; {len(unreadable)} left out because RDKit cannot read their SMILES (line {lines}{more})"
    return text if complete else f"{text}; no scaffold split, because it would leave a part empty"


def _split_by_scaffold(scaffolds: Sequence[str]) -> dict[str, Tensor]:
    members: dict[str, list[int]] = {}
    for row, scaffold in enumerate(scaffolds):
        members.setdefault(scaffold, []).append(row)
    parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    train, val, test = parts.values()
    train_end, val_end = 0.8 * len(scaffolds), 0.9 * len(scaffolds)
    for rows in sorted(members.values(), key=lambda rows: (len(rows), rows[0]), reverse=True):
        in_train, in_val = len(train) + len(rows) <= train_end, len(train) + len(val) + len(rows) <= val_end
        (train if in_train else val if in_val else test).extend(rows)
    return {name: torch.tensor(sorted(rows), dtype=torch.long) for name, rows in parts.items()}


def _scaffold(mol: Mol) -> str:
    from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

    return MurckoScaffoldSmiles(mol=mol, includeChirality=False)


@dataclass(frozen=True, eq=False)
class _SmilesTable:
    """The SMILES of each row, its line in the file, from 1, and its labels ``[G, T]`` float, NaN where missing."""

    smiles: list[str]
    lines: list[int]
    labels: np.ndarray


def _read_table(path: Path, content: bytes, smiles_column: str | None, label_columns: Sequence[str]) -> _SmilesTable:
    """Parses ``content``, the unpacked bytes of the file; an empty cell or ``nan`` is a missing label."""
    with reading(path, expected="a file saved as UTF-8"):
        text = content.decode("utf-8-sig")
    reader = csv.reader(io.StringIO(text, newline=""))
    smiles, lines, labels = [], [], []
    try:
        header = next(reader, [])
        smiles_index = _smiles_column(path, header, smiles_column)
        label_indices = [_column(path, header, name) for name in label_columns]
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                problem, expected = "a row differs from the first line in its number of cells", str(len(header))
                raise DataError(problem, file=path, line=reader.line_num, value=len(cells), expected=expected)
            smiles.append(cells[smiles_index].strip())
            lines.append(reader.line_num)
            labels.append([_label(path, reader.line_num, header[index], cells[index]) for index in label_indices])
    except csv.Error as error:
        raise DataError(f"the row is not valid CSV: {error}", file=path, line=reader.line_num) from error
    if not smiles:
        raise DataError("the file holds no molecules", file=path, expected="rows below the first line")
    return _SmilesTable(smiles, lines, np.array(labels, dtype=np.float64).reshape(len(smiles), len(label_columns)))


def _smiles_column(path: Path, header: list[str], name: str | None) -> int:
    if name is not None:
        return _column(path, header, name)
    matches = [index for index, column in enumerate(header) if column.strip().lower() == "smiles"]
    if len(matches) == 1:
        return matches[0]
    problem = f"{'several columns are' if matches else 'no column is'} named smiles"
    raise DataError(problem, file=path, line=1, expected=f"smiles_column to name one of {', '.join(map(repr, header))}")


def _column(path: Path, header: list[str], name: str) -> int:
    if header.count(name) == 1:
        return header.index(name)
    problem = "the first line names this column more than once" if name in header else "no such column"
    raise DataError(problem, file=path, line=1, field=name, expected=f"one of {', '.join(map(repr, header))}")


def _label(path: Path, line: int, column: str, cell: str) -> float:
    try:
        value = float(cell) if cell.strip() else math.nan
    except ValueError:
        value = math.inf
    if abs(value) > MAX_FLOAT:
        expected = "a number, or an empty cell"
        raise DataError("a label is not a number", file=path, line=line, field=column, value=cell, expected=expected)
    return value
