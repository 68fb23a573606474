"""Where adapters are trained: collections, with or without the questions that share a document with the test."""

from __future__ import annotations

from dataclasses import replace

from jepakit.retrieval import RetrievalDataset, without_shared
from jepakit.retrieval.splits import ensure_splits

__all__ = ["HOMES", "home_dataset"]

HOMES = {
    "SciFact, disjoint": ("scifact", True, 0.68),
    "SciFact, official": ("scifact", False, None),
    "StackFAQ": ("stackfaq", True, 0.794),
    "MedQuAD, disjoint": ("medquad", True, 0.83),
}
"""Home -> (collection, whether training questions that share a document with the test are left out, aim at home)."""


def home_dataset(dataset: RetrievalDataset, disjoint: bool) -> RetrievalDataset:
    """A collection as it is trained on."""
    if disjoint:
        parts = {
            name: without_shared(pairs, dataset.splits["test"], dataset.documents) if name != "test" else pairs
            for name, pairs in dataset.splits.items()
        }
        dataset = replace(dataset, splits=parts)
    return ensure_splits(dataset)
