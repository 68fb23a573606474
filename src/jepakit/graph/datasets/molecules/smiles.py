"""Reading SMILES with RDKit."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from jepakit.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from rdkit.Chem import Mol


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


def require_rdkit() -> None:
    """Raises MissingExtraError where RDKit is not installed."""
    if importlib.util.find_spec("rdkit") is None:
        raise MissingExtraError("rdkit", "chem")
