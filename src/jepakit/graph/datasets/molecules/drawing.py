"""Molecules as small drawings of a report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jepakit.graph.datasets.molecules.features import parse

#: Coordinates of a bond's length; beside the line of a bond the second one of a double bond stands so far away.
_BOND, _APART = 20, 3.6


def molecule_drawings(smiles: Sequence[str]) -> tuple[str, ...]:
    """The drawing of each molecule, see `jepakit.training.results.PointFacts`; empty where it cannot be read."""
    from rdkit.rdBase import BlockLogs

    with BlockLogs():
        return tuple(map(_drawing, smiles))


def _drawing(smiles: str) -> str:
    """Bonds as lines, aromatic ones alternating; carbon atoms are corners, others have their symbols."""
    from rdkit.Chem import Kekulize, rdDepictor

    mol = parse(smiles)
    if mol is None:
        return ""
    Kekulize(mol, clearAromaticFlags=True)
    rdDepictor.Compute2DCoords(mol)
    # RDKit's bonds are 1.5 long, and its second axis points up.
    places = mol.GetConformer().GetPositions()[:, :2] * [_BOND / 1.5, -_BOND / 1.5]
    lines: list[str] = []
    for bond in mol.GetBonds():
        ends = places[[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()]]
        across = np.array([[0, -1], [1, 0]]) @ (ends[1] - ends[0])
        across *= _APART / (np.linalg.norm(across) or 1)
        shifts = {2.0: (-0.5, 0.5), 3.0: (-1.0, 0.0, 1.0)}.get(bond.GetBondTypeAsDouble(), (0.0,))
        for shift in shifts:
            (a, b), (c, d) = np.rint(ends + shift * across).astype(int).tolist()
            lines.append(f"M{a} {b}L{c} {d}")
    texts: list[str] = []
    for atom, (x, y) in zip(mol.GetAtoms(), np.rint(places).astype(int).tolist(), strict=True):
        if atom.GetSymbol() != "C" or atom.GetFormalCharge() or atom.GetDegree() == 0:
            texts.append(f"|{_label(atom)} {x} {y}")
    return "".join([*lines, *texts])


def _label(atom: object) -> str:
    """The symbol with its hydrogens and its charge, such as ``NH2`` and ``O-``."""
    from rdkit.Chem import Atom

    assert isinstance(atom, Atom)
    hydrogens, charge = atom.GetTotalNumHs(), atom.GetFormalCharge()
    bound = "" if not hydrogens else "H" if hydrogens == 1 else f"H{hydrogens}"
    signs = "" if not charge else ("+" if charge > 0 else "−") * abs(charge)
    return f"{atom.GetSymbol()}{bound}{signs}"
