"""Reads SMILES with RDKit; atom and bond features of molecules, one-hot columns that are the same for every data set.

They follow common feature sets (Gilmer et al. 2017; Hu et al. 2020; OGB), with one change: chirality is the CIP label
(R, S), because RDKit's clockwise or counter-clockwise tag depends on the order of the neighbours in the SMILES.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from jepakit.errors import DataError, MissingExtraError
from jepakit.graph.vocabulary import Attribute, Vocabulary

if TYPE_CHECKING:
    from rdkit.Chem import Atom, Bond, Mol

MAX_ATOMS = 500
"""Scaffolds and descriptors of larger molecules take minutes: their time grows with the third power of the atoms."""

_ELEMENTS = {
    **{"B": 5, "C": 6, "N": 7, "O": 8, "F": 9, "Na": 11, "Si": 14, "P": 15, "S": 16, "Cl": 17},
    **{"Se": 34, "Br": 35, "I": 53},
}
_HYBRIDISATIONS = ("SP", "SP2", "SP3", "SP3D", "SP3D2")
_CHIRALITIES = ("none", "R", "S", "other")
_BOND_TYPES = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
_BOND_STEREO = ("STEREOE", "STEREOZ")

ATOM_FEATURES: tuple[str, ...] = (
    *(f"element={symbol}" for symbol in (*_ELEMENTS, "other")),
    *(f"degree={n}" for n in ("0", "1", "2", "3", "4", "5", ">=6")),
    *(f"charge={n}" for n in ("<=-2", "-1", "0", "1", ">=2")),
    *(f"hydrogens={n}" for n in ("0", "1", "2", "3", ">=4")),
    *(f"hybridisation={name.lower()}" for name in (*_HYBRIDISATIONS, "other")),
    *(f"chirality={name}" for name in _CHIRALITIES),
    "aromatic",
    "in ring",
)
"""Columns of ``x``. Hydrogens are not nodes: `degree` excludes them, `hydrogens` counts them. `chirality=other` is a
marked centre that has no label R or S, as in a ring."""

BOND_FEATURES: tuple[str, ...] = (
    *(f"type={name}" for name in ("single", "double", "triple", "aromatic", "other")),
    "conjugated",
    "in ring",
    *(f"stereo={name}" for name in ("none", "E", "Z")),
)
"""Columns of ``edge_attr``."""


def _attributes(columns: Sequence[str]) -> tuple[Attribute, ...]:
    """Columns named ``attribute=value`` side by side are one-hot, others numbers."""
    attributes: list[Attribute] = []
    for name, group in groupby(columns, lambda column: column.partition("=")[0]):
        values = tuple(column.partition("=")[2] for column in group)
        is_number = values == ("",)
        attributes.append(Attribute(name, "numbers", 1) if is_number else Attribute(name, "categories", values=values))
    return tuple(attributes)


VOCABULARY = Vocabulary(_attributes(ATOM_FEATURES), _attributes(BOND_FEATURES))
"""The same columns as attributes."""


def parse(smiles: str) -> Mol | None:
    """The molecule, or None where RDKit rejects the SMILES or the molecule has no atom."""
    from rdkit import Chem

    mol = Chem.MolFromSmiles(smiles)
    return mol if mol and mol.GetNumAtoms() else None


def parse_all(smiles: Sequence[str], first_row: int = 0) -> Iterator[Mol]:
    """The molecules, in order.

    Raises:
        DataError: RDKit rejects a SMILES; the row in the message is counted from ``first_row``.
    """
    from rdkit.rdBase import BlockLogs

    # RDKit would write a line to stderr for every SMILES that it rejects.
    with BlockLogs():
        for row, text in enumerate(smiles, first_row):
            mol = parse(text)
            if mol is None:
                raise DataError("a SMILES cannot be read", field=f"smiles[{row}]", value=text, expected="valid SMILES")
            yield mol


def has_isotopes(mol: Mol) -> bool:
    """Whether an atom is written with its mass number."""
    return any(atom.GetIsotope() for atom in mol.GetAtoms())


def without_isotopes(mol: Mol) -> Mol:
    """The molecule of the elements alone, where deuterium is a hydrogen as others are."""
    if not has_isotopes(mol):
        return mol
    from rdkit.Chem import AssignStereochemistry, Mol, RemoveHs

    plain = Mol(mol)
    for atom in plain.GetAtoms():
        atom.SetIsotope(0)
    plain = RemoveHs(plain)
    # A centre of which two neighbours differed in their masses only is none.
    AssignStereochemistry(plain, cleanIt=True, force=True)
    return plain


def require_rdkit() -> None:
    """Raises MissingExtraError where RDKit is not installed."""
    if importlib.util.find_spec("rdkit") is None:
        raise MissingExtraError("rdkit", "chem")


class MoleculeRows:
    """Collects the features of molecules one by one, and converts them to tensors together."""

    def __init__(self) -> None:
        from rdkit import Chem

        self._atoms: list[tuple[int, ...]] = []
        self._bonds: list[tuple[int, ...]] = []
        self._sizes: list[int] = []
        self._hybridisation = {Chem.HybridizationType.names[name]: i for i, name in enumerate(_HYBRIDISATIONS)}
        self._bond_type = {Chem.BondType.names[name]: i for i, name in enumerate(_BOND_TYPES)}
        self._stereo = {Chem.BondStereo.names[name]: i for i, name in enumerate(_BOND_STEREO, start=1)}
        self._unmarked = Chem.ChiralType.CHI_UNSPECIFIED

    def add(self, mol: Mol) -> None:
        """Appends a molecule."""
        first = len(self._atoms)
        self._atoms.extend(map(self._atom_row, mol.GetAtoms()))
        self._bonds.extend(self._bond_row(bond, first) for bond in mol.GetBonds())
        self._sizes.append(mol.GetNumAtoms())

    def _atom_row(self, atom: Atom) -> tuple[int, ...]:
        return (
            atom.GetAtomicNum(),
            atom.GetDegree(),
            atom.GetFormalCharge(),
            atom.GetTotalNumHs(),
            self._hybridisation.get(atom.GetHybridization(), len(_HYBRIDISATIONS)),
            0 if atom.GetChiralTag() == self._unmarked else _chirality(atom),
            atom.GetIsAromatic(),
            atom.IsInRing(),
        )

    def _bond_row(self, bond: Bond, first: int) -> tuple[int, ...]:
        return (
            first + bond.GetBeginAtomIdx(),
            first + bond.GetEndAtomIdx(),
            self._bond_type.get(bond.GetBondType(), len(_BOND_TYPES)),
            bond.GetIsConjugated(),
            bond.IsInRing(),
            self._stereo.get(bond.GetStereo(), 0),
        )

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """``x [N, len(ATOM_FEATURES)]``, ``edge_index [2, 2 * bonds]``, ``edge_attr [2 * bonds, len(BOND_FEATURES)]``
        and ``nodes_per_graph [G]``; each bond is two edges, one in each direction."""
        atoms = np.array(self._atoms, dtype=np.int64).reshape(-1, 8)
        bonds = np.array(self._bonds, dtype=np.int64).reshape(-1, 6)
        element, degree, charge, hydrogens, hybridisation, chirality, aromatic, in_ring = atoms.T
        listed = element[:, None] == np.array(list(_ELEMENTS.values()))
        x = [
            listed,
            ~listed.any(1, keepdims=True),
            _one_hot(degree, 0, 6),
            _one_hot(charge, -2, 2),
            _one_hot(hydrogens, 0, 4),
            _one_hot(hybridisation, 0, len(_HYBRIDISATIONS)),
            _one_hot(chirality, 0, len(_CHIRALITIES) - 1),
            aromatic[:, None],
            in_ring[:, None],
        ]
        begin, end, bond_type, conjugated, in_ring, stereo = bonds.T
        edge_attr = [
            _one_hot(bond_type, 0, len(_BOND_TYPES)),
            conjugated[:, None],
            in_ring[:, None],
            _one_hot(stereo, 0, len(_BOND_STEREO)),
        ]
        edge_index = np.stack([np.concatenate([begin, end]), np.concatenate([end, begin])])
        bond_features = np.concatenate(edge_attr, axis=1, dtype=np.float32)
        return (
            np.concatenate(x, axis=1, dtype=np.float32),
            edge_index,
            np.concatenate([bond_features, bond_features]),
            np.array(self._sizes, dtype=np.int64),
        )


def _chirality(atom: Atom) -> int:
    label = atom.GetProp("_CIPCode") if atom.HasProp("_CIPCode") else "other"
    return _CHIRALITIES.index(label if label in _CHIRALITIES else "other")


def _one_hot(values: np.ndarray, low: int, high: int) -> np.ndarray:
    """``[n] -> [n, high - low + 1]`` bool; values are first clipped to this range."""
    return np.clip(values, low, high)[:, None] == np.arange(low, high + 1)
