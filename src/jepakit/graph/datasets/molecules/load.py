"""Molecules from SMILES tables (MoleculeNet's or the user's own), with the scaffold split and the fingerprints that
every study of them compares against.

Reference: Wu et al. 2018, "MoleculeNet: a benchmark for molecular machine learning", Chemical Science 9.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from jepakit.errors import ConfigError, DataError
from jepakit.graph.data import GraphDataset, Graphs
from jepakit.graph.datasets.cache import Stored, cached_tensors, dataset_from_tensors, dataset_to_tensors
from jepakit.graph.datasets.molecules.descriptors import molecular_descriptors
from jepakit.graph.datasets.molecules.features import MoleculeRows
from jepakit.graph.datasets.molecules.smiles import parse, parse_all, quiet_rdkit, require_rdkit
from jepakit.graph.datasets.molecules.table import SmilesTable, read_csv_bytes, read_smiles_table

if TYPE_CHECKING:
    from rdkit.Chem import Mol

__all__ = ["Molecules", "load_molecules", "morgan_fingerprints", "scaffold_split"]

_CACHE_VERSION = 1
_MOST_BAD = 0.1
_LINES_NAMED = 20

_MOLECULENET_LABELS = {
    "HIV": ("HIV_active",),
    "clintox": ("FDA_APPROVED", "CT_TOX"),
    "delaney-processed": ("measured log solubility in mols per litre",),
    "tox21": (
        *("NR-AR", "NR-AR-LBD", "NR-AhR", "NR-Aromatase", "NR-ER", "NR-ER-LBD", "NR-PPAR-gamma"),
        *("SR-ARE", "SR-ATAD5", "SR-HSE", "SR-MMP", "SR-p53"),
    ),
    "sider": (
        "Hepatobiliary disorders",
        "Metabolism and nutrition disorders",
        "Product issues",
        "Eye disorders",
        "Investigations",
        "Musculoskeletal and connective tissue disorders",
        "Gastrointestinal disorders",
        "Social circumstances",
        "Immune system disorders",
        "Reproductive system and breast disorders",
        "Neoplasms benign, malignant and unspecified (incl cysts and polyps)",
        "General disorders and administration site conditions",
        "Endocrine disorders",
        "Surgical and medical procedures",
        "Vascular disorders",
        "Blood and lymphatic system disorders",
        "Skin and subcutaneous tissue disorders",
        "Congenital, familial and genetic disorders",
        "Infections and infestations",
        "Respiratory, thoracic and mediastinal disorders",
        "Psychiatric disorders",
        "Renal and urinary disorders",
        "Pregnancy, puerperium and perinatal conditions",
        "Ear and labyrinth disorders",
        "Cardiac disorders",
        "Nervous system disorders",
        "Injury, poisoning and procedural complications",
    ),
}
"""Label columns of the MoleculeNet files, by the file's name without its suffixes."""


@dataclass(frozen=True, eq=False)
class Molecules:
    """Molecules as graphs and, row by row beside them, as text.

    Args:
        dataset: one graph a molecule; `jepakit.graph.datasets.molecules.features` names the columns of ``x`` and
            ``edge_attr``. ``splits`` holds the scaffold split, where it leaves none of its three parts empty.
        smiles: ``smiles[g]`` is what the file says of graph ``g``.
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

    Labels that are all 0, 1 or missing make a multilabel task, ``y`` ``[G, T]`` float with NaN where missing; any other
    numbers a regression task of the same shape. A missing label is an empty cell or ``nan``. Rows whose SMILES RDKit
    cannot read (valences it rejects, mostly) are left out, and ``dataset.source`` says how many and on which lines.
    The result is kept in the user's cache folder.

    Args:
        path: the file; its first line names the columns.
        smiles_column: the column with the SMILES; by default the one called "smiles" in upper or lower case.
        label_columns: the columns to predict; by default those of the MoleculeNet file of the same name (HIV, tox21,
            sider, clintox, delaney-processed) and none for any other file.
        descriptors: put RDKit's into ``dataset.graphs.descriptors``: some ten milliseconds a molecule, the first time.

    Raises:
        DataError: the file cannot be read, a column is missing or named twice, a label is not a number, or more than a
            tenth of the SMILES cannot be read.
        MissingExtraError: RDKit is not installed.
    """
    require_rdkit()
    from rdkit import __version__ as rdkit_version

    path = Path(path)
    name = path.name.removesuffix(".gz").removesuffix(".csv")
    content = read_csv_bytes(path)
    labels = tuple(_MOLECULENET_LABELS.get(name, ()) if label_columns is None else label_columns)
    table = read_smiles_table(path, content, smiles_column, labels)
    identity = repr((_CACHE_VERSION, rdkit_version, path.name, smiles_column, labels)).encode()
    key = f"molecules-{hashlib.sha256(identity + hashlib.sha256(content).digest()).hexdigest()[:32]}"
    tensors, header = cached_tensors(key, lambda: _build(path, name, table, labels))
    dataset = dataset_from_tensors(tensors, header)
    smiles = [table.smiles[row] for row in tensors["rows"].tolist()]
    if descriptors:
        values = torch.from_numpy(molecular_descriptors(smiles))
        dataset = replace(dataset, graphs=replace(dataset.graphs, descriptors=values))
    return Molecules(dataset, smiles)


def scaffold_split(smiles: Sequence[str], fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)) -> dict[str, Tensor]:
    """Splits molecules so that no two parts share a Bemis-Murcko scaffold: a test on chemistry not seen in training.

    The deterministic split of MoleculeNet and of Hu et al. 2020 ("Strategies for pre-training graph neural networks"):
    sets of molecules with one scaffold, the biggest first (of equals, the one whose first molecule comes last), each
    go into ``train`` where they fit, else into ``val`` where train and val together have room, else into ``test``.
    Stereochemistry is no part of a scaffold; all molecules without a ring share the empty one.

    Args:
        smiles: G molecules.
        fractions: of train, val and test; they add up to 1.

    Returns:
        ``train``, ``val`` and ``test``: sorted int64 row ids, each row in one of them. A part can be empty when few
        scaffolds hold most molecules.

    Raises:
        ConfigError: the fractions are negative or do not add up to 1.
        DataError: a SMILES cannot be read.
        MissingExtraError: RDKit is not installed.
    """
    if len(fractions) != 3 or min(fractions) < 0 or not math.isclose(sum(fractions), 1, abs_tol=1e-6):
        raise ConfigError("fractions", fractions, "three shares, none below 0, that add up to 1")
    require_rdkit()
    return _split_by_scaffold([_scaffold(mol) for mol in parse_all(smiles)], fractions)


def morgan_fingerprints(smiles: Sequence[str], radius: int = 2, bits: int = 2048) -> np.ndarray:
    """Extended-connectivity fingerprints (Rogers and Hahn 2010, ECFP4 at radius 2), the unlearned rival of a GNN.

    Args:
        smiles: G molecules.
        radius: of the atom neighbourhoods, in bonds.
        bits: length to which their identifiers are folded.

    Returns:
        ``[G, bits]`` uint8 of zeros and ones.

    Raises:
        ConfigError: a radius below 0 or no bits.
        DataError: a SMILES cannot be read.
        MissingExtraError: RDKit is not installed.
    """
    if radius < 0:
        raise ConfigError("radius", radius, "0 or more bonds")
    if bits < 1:
        raise ConfigError("bits", bits, "at least 1")
    require_rdkit()
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=bits)
    out = np.zeros((len(smiles), bits), dtype=np.uint8)
    for row, mol in enumerate(parse_all(smiles)):
        out[row] = generator.GetFingerprintAsNumPy(mol)
    return out


def _build(path: Path, name: str, table: SmilesTable, label_names: tuple[str, ...]) -> Stored:
    features, scaffolds, rows, bad = MoleculeRows(), [], [], []
    with quiet_rdkit():
        for row, smiles in enumerate(table.smiles):
            mol = parse(smiles)
            if mol is None:
                bad.append(row)
                continue
            features.add(mol)
            scaffolds.append(_scaffold(mol))
            rows.append(row)
    _check_bad(path, table, bad)
    x, edge_index, edge_attr, sizes = features.tensors()
    y = torch.from_numpy(table.labels[rows]).float() if label_names else None
    splits = _split_by_scaffold(scaffolds, (0.8, 0.1, 0.1))
    complete = all(ids.numel() for ids in splits.values())
    binary = bool((np.isin(table.labels, (0, 1)) | np.isnan(table.labels)).all())
    dataset = GraphDataset(
        name=name,
        graphs=Graphs.pack(x, edge_index, sizes, edge_attr=edge_attr, y=y, field_name=path.name),
        task="none" if y is None else "graph multilabel" if binary else "graph regression",
        label_names=label_names,
        splits=splits if complete else {},
        source=_describe(path, table, bad, complete),
    )
    tensors, header = dataset_to_tensors(dataset)
    return {**tensors, "rows": torch.tensor(rows, dtype=torch.long)}, header


def _check_bad(path: Path, table: SmilesTable, bad: list[int]) -> None:
    if len(bad) <= _MOST_BAD * len(table.smiles):
        return
    raise DataError(
        f"{len(bad)} of {len(table.smiles)} SMILES cannot be read, this one first",
        file=path,
        line=table.lines[bad[0]],
        value=table.smiles[bad[0]],
        expected="a column of SMILES (smiles_column names another)",
    )


def _describe(path: Path, table: SmilesTable, bad: list[int], complete: bool) -> str:
    text = f"{path.name}, {len(table.smiles)} rows"
    if bad:
        lines = ", ".join(str(table.lines[row]) for row in bad[:_LINES_NAMED])
        more = f" and {len(bad) - _LINES_NAMED} more" if len(bad) > _LINES_NAMED else ""
        text += f"; {len(bad)} left out because RDKit cannot read their SMILES (line {lines}{more})"
    return text if complete else f"{text}; no scaffold split, because it would leave a part empty"


def _split_by_scaffold(scaffolds: Sequence[str], fractions: tuple[float, float, float]) -> dict[str, Tensor]:
    members: dict[str, list[int]] = {}
    for row, scaffold in enumerate(scaffolds):
        members.setdefault(scaffold, []).append(row)
    train: list[int] = []
    val: list[int] = []
    test: list[int] = []
    train_end, val_end = fractions[0] * len(scaffolds), (fractions[0] + fractions[1]) * len(scaffolds)
    for rows in sorted(members.values(), key=lambda rows: (len(rows), rows[0]), reverse=True):
        if len(train) + len(rows) <= train_end:
            train += rows
        elif len(train) + len(val) + len(rows) <= val_end:
            val += rows
        else:
            test += rows
    parts = {"train": train, "val": val, "test": test}
    return {name: torch.tensor(sorted(rows), dtype=torch.long) for name, rows in parts.items()}


def _scaffold(mol: Mol) -> str:
    from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

    return MurckoScaffoldSmiles(mol=mol, includeChirality=False)
