"""Baselines of molecules that need no graph encoder: fingerprints, and descriptors for a random forest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch

from jepakit.graph.data import GraphDataset
from jepakit.graph.descriptors import normal_scores

FINGERPRINTS = "Morgan fingerprints"
DESCRIPTORS = "RDKit's descriptors"
FOREST = "a random forest on RDKit's descriptors"


def smiles_of(dataset: GraphDataset) -> list[str] | None:
    """The SMILES of each graph, or None where the graphs are no molecules."""
    origins = dataset.origins
    if origins is None or "smiles" not in origins.columns:
        return None
    rows = zip(origins.columns["smiles"], origins.graph.tolist(), strict=True)
    return [str(smiles) for smiles, graph in rows if graph >= 0]


def fingerprints(smiles: Sequence[str]) -> np.ndarray:
    """Morgan fingerprints ``[G, 2048]``."""
    from jepakit.graph.datasets.molecules.load import morgan_fingerprints

    return morgan_fingerprints(smiles).astype(np.float64)


def descriptors(smiles: Sequence[str]) -> np.ndarray:
    """RDKit's descriptors as normal scores, which put a missing one in the middle: ``[G, D]``."""
    from jepakit.graph.datasets.molecules.descriptors import molecular_descriptors

    return normal_scores(torch.from_numpy(molecular_descriptors(smiles))).numpy()


def molecule_features(smiles: Sequence[str]) -> dict[str, Callable[[], tuple[np.ndarray, ...]]]:
    """Fingerprints, descriptors and both, by method: the blocks of features that a kernel has."""
    bits, described = cache(lambda: fingerprints(smiles)), cache(lambda: descriptors(smiles))
    return {
        FINGERPRINTS: lambda: (bits(),),
        DESCRIPTORS: lambda: (described(),),
        f"{FINGERPRINTS} and {DESCRIPTORS}": lambda: (bits(), described()),
    }
