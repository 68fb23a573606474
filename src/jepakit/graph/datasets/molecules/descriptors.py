"""RDKit's descriptors of molecules: a baseline to compare encoders with, and targets for them to predict."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from jepakit.datasets.cache import Stored, cached_tensors
from jepakit.graph.datasets.molecules.features import MAX_ATOMS, parse_all, require_rdkit
from jepakit.graph.probe.selection import in_parallel

_BATCH_MOLECULES = 500


def molecular_descriptors(smiles: Sequence[str], *, jobs: int = -1) -> np.ndarray:
    """All two-dimensional descriptors of RDKit (``rdkit.Chem.Descriptors.descList``), one row per molecule: masses,
    partial charges, surface areas, connectivity indices, drug-likeness, counts of rings and functional groups.

    ``[G, D]`` float64, NaN where RDKit gives no finite number (partial charges of metals, mostly), and for molecules of
    more than 500 atoms, which would take minutes each. Others take about ten milliseconds per molecule in each of
    ``jobs`` processes (-1: every core). They are cached in the user's cache folder.

    Raises:
        DataError: a SMILES cannot be read.
        MissingExtraError: RDKit is not installed.
    """
    require_rdkit()
    from rdkit import __version__ as rdkit_version

    text = "\n".join((rdkit_version, *smiles))
    key = f"descriptors-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
    return cached_tensors(key, lambda: _build(smiles, jobs))[0]["values"].numpy()


def descriptor_names() -> list[str]:
    """RDKit's names of the columns of `molecular_descriptors`.

    Raises:
        MissingExtraError: RDKit is not installed.
    """
    require_rdkit()
    from rdkit.Chem.Descriptors import descList

    return [name for name, _ in descList]


def _build(smiles: Sequence[str], jobs: int) -> Stored:
    starts = range(0, len(smiles), _BATCH_MOLECULES)
    batches = [(smiles[start : start + _BATCH_MOLECULES], start) for start in starts]
    # Starting a process takes longer than one batch.
    parts = in_parallel(_describe, batches, jobs if len(batches) > 1 else 1, name="descriptors", unit="batches")
    names = descriptor_names()
    values = np.concatenate([np.zeros((0, len(names))), *parts])
    return {"values": torch.from_numpy(np.where(np.isfinite(values), values, np.nan))}, {"names": names}


def _describe(smiles: Sequence[str], start: int) -> np.ndarray:
    from rdkit.Chem.Descriptors import descList

    unknown = [np.nan] * len(descList)
    rows = [
        unknown if mol.GetNumAtoms() > MAX_ATOMS else [function(mol) for _, function in descList]
        for mol in parse_all(smiles, start)
    ]
    return np.array(rows, dtype=np.float64)
