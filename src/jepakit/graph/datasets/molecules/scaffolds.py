"""The scaffold split of MoleculeNet.

Reference: Wu et al. 2018, "MoleculeNet: a benchmark for molecular machine learning", Chemical Science 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jepakit.graph.datasets.molecules.features import MAX_ATOMS, parse_all, require_rdkit, without_isotopes

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def scaffold_split(smiles: Sequence[str]) -> dict[str, Tensor]:
    """Splits molecules 80 : 10 : 10 so that no two parts share a Bemis-Murcko scaffold; a part can be empty.

    This is the deterministic split of MoleculeNet and of Hu et al. 2020 ("Strategies for pre-training graph neural
    networks"). Groups of molecules with the same scaffold are assigned in descending order of size; of equal sizes, the
    group whose first row is last comes first. Each group goes to ``train`` if it fits, else to ``val`` if train and val
    together have room, else to ``test``. Scaffolds ignore stereochemistry; molecules without a ring share a scaffold.

    A molecule of more than 500 atoms has its formula in place of its scaffold, which would take minutes.

    Raises:
        DataError: RDKit rejects a SMILES.
        MissingExtraError: RDKit is not installed.
    """
    require_rdkit()
    return split_by_scaffold([scaffold(mol) for mol in parse_all(smiles)])


def scaffold(mol: Mol) -> str:
    """The Bemis-Murcko scaffold as SMILES, or the formula of a molecule of more than `MAX_ATOMS` atoms."""
    from rdkit.Chem.rdMolDescriptors import CalcMolFormula
    from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

    if mol.GetNumAtoms() > MAX_ATOMS:
        return CalcMolFormula(mol)
    return MurckoScaffoldSmiles(mol=without_isotopes(mol), includeChirality=False)


def split_by_scaffold(scaffolds: Sequence[str]) -> dict[str, Tensor]:
    """`scaffold_split` of molecules whose scaffolds are known."""
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
