"""Documents by number, their vectors, and an index of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from jepakit.search.documents import Documents
from jepakit.search.index import Index
from jepakit.search.sentences import Sentences
from jepakit.search.vectors import IndexConfig

Kind = Literal["exact", "hnsw"]
DIM = 16


def documents_of(numbers: Sequence[int], version: str = "first") -> Documents:
    """Document i is called ``di`` and says ``word<i> version``."""
    return Documents(
        ids=tuple(f"d{number}" for number in numbers),
        texts=tuple(f"word{number} {version}" for number in numbers),
        titles=tuple(f"Title {number}" for number in numbers),
        metadata=tuple({"number": number, "version": version} for number in numbers),
    )


def vectors_of(numbers: Sequence[int], version: str = "first") -> Tensor:
    """A document's vector depends on its number and version alone."""
    seeds = [2 * number + (version != "first") for number in numbers]
    made = [torch.randn(DIM, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.nn.functional.normalize(torch.stack(made), dim=-1) if made else torch.zeros(0, DIM)


def build(folder: Path, count: int = 20, kind: Kind = "exact", sentences: Sentences | None = None) -> Index:
    """An index of the first documents."""
    numbers = range(count)
    return Index.build(
        folder,
        documents_of(numbers),
        vectors_of(numbers),
        base="toy",
        fingerprint="f1",
        sentences=sentences,
        config=IndexConfig(kind, links=8, ef_construction=40, ef_search=64),
    )
