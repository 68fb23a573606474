"""Loads molecules from SMILES tables, and Morgan fingerprints as a baseline."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from jepakit.datasets.cache import Stored, cached_tensors
from jepakit.errors import DataError
from jepakit.files import read_bytes
from jepakit.graph.data import GraphDataset, Graphs, Origins
from jepakit.graph.datasets.molecules.descriptors import molecular_descriptors
from jepakit.graph.datasets.molecules.features import (
    MAX_ATOMS,
    VOCABULARY,
    MoleculeRows,
    has_isotopes,
    parse,
    parse_all,
    require_rdkit,
    without_isotopes,
)
from jepakit.graph.datasets.molecules.scaffolds import scaffold, split_by_scaffold
from jepakit.graph.datasets.molecules.table import SmilesTable, read_table
from jepakit.graph.datasets.tensors import dataset_from_tensors, dataset_to_tensors

_LOG = logging.getLogger(__name__)

_CACHE_VERSION = 3
_MAX_UNREADABLE_SHARE = 0.5
"""Of more rows the column holds no SMILES."""
_MAX_LINES_LISTED = 20
_MORGAN_BITS = 2048

UNREADABLE = "RDKit cannot read the SMILES"

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

    - Labels that are numbers: ``y`` is ``[G, T]`` float, NaN where the cell is empty, ``nan`` or ``NA``. The task is
      multilabel if all labels are 0 or 1, otherwise regression.
    - Labels that are words: one column is a classification, ``y`` ``[G]`` int64 with -1 where the cell is empty;
      several columns of two words each are multilabel.
    - Rows whose SMILES RDKit rejects (mostly for their valences) make no graph. A warning and ``dataset.source`` state
      their number and lines, and ``dataset.origins`` keeps their places.
    - Isotopes are read as their elements: ``[2H]`` is a hydrogen, ``[13C]`` a carbon.

    The result is cached in the user's cache folder.

    Args:
        path: the file; its first line names the columns, which commas separate, or else semicolons or tabs.
        smiles_column: the column with the SMILES; by default the column named "smiles", in upper or lower case.
        label_columns: the columns to predict, in upper or lower case; by default those of the MoleculeNet file of the
            same name (HIV, tox21, sider, clintox, delaney-processed), or else the only column that looks like labels.
            If several do, there are no labels, and ``dataset.label_candidates`` lists them.
        descriptors: fill ``dataset.graphs.descriptors`` by `molecular_descriptors`.

    Raises:
        DataError: the file is unreadable, a column is missing or named twice, labels are neither numbers nor words that
            several rows share, or RDKit rejects more than half of the SMILES.
        MissingExtraError: RDKit is not installed.
    """
    require_rdkit()
    from rdkit import __version__ as rdkit_version

    path = Path(path)
    name = path.name.removesuffix(".gz").removesuffix(".csv")
    if not path.name.endswith((".csv", ".csv.gz")):
        raise DataError("the name is not that of a table", file=path, expected="a .csv or .csv.gz file")
    content = read_bytes(path)
    known = _MOLECULENET_LABELS.get(name) if label_columns is None else label_columns
    table = read_table(path, content, smiles_column, known)
    identity = repr((_CACHE_VERSION, rdkit_version, path.name, smiles_column, table.labels.columns)).encode()
    key = f"molecules-{hashlib.sha256(identity + hashlib.sha256(content).digest()).hexdigest()[:32]}"
    tensors, header = cached_tensors(key, lambda: _build(path, name, table))
    dataset = dataset_from_tensors(tensors, header)
    for sentence in header["warnings"]:
        _LOG.warning("%s: %s", path, sentence)
    dataset = replace(dataset, origins=_origins(path, table, tensors["rows"]), label_candidates=table.candidates)
    smiles = [table.smiles[row] for row in tensors["rows"].tolist()]
    if descriptors:
        values = torch.from_numpy(molecular_descriptors(smiles))
        dataset = replace(dataset, graphs=replace(dataset.graphs, descriptors=values))
    return Molecules(dataset, smiles)


def graphs_from_smiles(smiles: Sequence[str]) -> Graphs:
    """The molecules as graphs, in order, without labels; see `jepakit.graph.Graphs.from_smiles`."""
    require_rdkit()
    features = MoleculeRows()
    for mol in parse_all(smiles):
        features.add(without_isotopes(mol))
    x, edge_index, edge_attr, sizes = features.arrays()
    return Graphs.pack(x, edge_index, sizes, edge_attr=edge_attr, vocabulary=VOCABULARY, field_name="smiles")


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


def _build(path: Path, name: str, table: SmilesTable) -> Stored:
    from rdkit.rdBase import BlockLogs

    features, scaffolds, rows, unreadable, isotopic = MoleculeRows(), [], [], [], 0
    with BlockLogs():
        for row, smiles in enumerate(table.smiles):
            mol = parse(smiles)
            if mol is None:
                unreadable.append(row)
                continue
            isotopic += has_isotopes(mol)
            features.add(without_isotopes(mol))
            scaffolds.append(scaffold(mol))
            rows.append(row)
    if len(unreadable) >= _MAX_UNREADABLE_SHARE * len(table.smiles):
        problem = f"{len(unreadable)} of {len(table.smiles)} SMILES cannot be read; this is the first"
        line, text = table.lines[unreadable[0]], table.smiles[unreadable[0]]
        expected = "a column of SMILES (smiles_column selects another)"
        raise DataError(problem, file=path, line=line, value=text, expected=expected)
    x, edge_index, edge_attr, sizes = features.arrays()
    labels = table.labels
    y = labels.values[rows] if labels.columns else None
    splits = split_by_scaffold(scaffolds)
    complete = all(ids.numel() for ids in splits.values())
    warnings = _warnings(table, unreadable, isotopic, int((sizes > MAX_ATOMS).sum()))
    notes = [] if complete else ["no scaffold split, because it would leave a part empty"]
    dataset = GraphDataset(
        name=name,
        graphs=Graphs.pack(
            x,
            edge_index,
            sizes,
            edge_attr=edge_attr,
            y=y if y is None or y.ndim == 1 else y.astype(np.float32),
            vocabulary=VOCABULARY,
            field_name=path.name,
        ),
        task=labels.task,
        label_names=labels.names,
        splits=splits if complete else {},
        source="; ".join([f"{path.name}, {len(table.smiles)} rows", *warnings, *notes]),
    )
    tensors, header = dataset_to_tensors(dataset)
    return {**tensors, "rows": torch.tensor(rows, dtype=torch.long)}, {**header, "warnings": warnings}


def _warnings(table: SmilesTable, unreadable: list[int], isotopic: int, huge: int) -> list[str]:
    """What is not as the file says, each in a few words."""
    notes = []
    if unreadable:
        lines = ", ".join(str(table.lines[row]) for row in unreadable[:_MAX_LINES_LISTED])
        more = f" and {len(unreadable) - _MAX_LINES_LISTED} more" if len(unreadable) > _MAX_LINES_LISTED else ""
        notes.append(f"{len(unreadable)} left out because RDKit cannot read their SMILES (line {lines}{more})")
    if isotopic:
        notes.append(f"isotopes in {isotopic} molecules are read as their elements")
    if huge:
        notes.append(f"{huge} of more than {MAX_ATOMS} atoms are split by formula, not by scaffold, and not described")
    return notes


def _origins(path: Path, table: SmilesTable, rows: torch.Tensor) -> Origins:
    count = len(table.smiles)
    ids: dict[str, Sequence[str]] = {} if table.ids is None else {"id": table.ids}
    graph = torch.full((count,), -1)
    graph[rows] = torch.arange(len(rows))
    return Origins(
        columns={"file": [str(path)] * count, "row": list(range(1, count + 1)), **ids, "smiles": table.smiles},
        graph=graph,
        problem=["" if there else UNREADABLE for there in (graph >= 0).tolist()],
    )
