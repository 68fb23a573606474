"""The vectors of the sentences of documents, and the best of them for a query."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from jepakit.core.packed import gather_ranges, offsets, owners, segment_max
from jepakit.errors import DataError, ModelError
from jepakit.files.arrays import map_array, write_array

#: Vectors compared at once.
_BLOCK = 2**17
_VECTORS, _FIRST = "vectors.npy", "first.npy"


class DocumentAdapter(Protocol):
    """Changes the vectors of documents, or leaves them as they are."""

    @property
    def changes_documents(self) -> bool:
        """False: `documents` returns what it is given."""
        ...

    def documents(self, vectors: Tensor) -> Tensor:
        """Vectors of the base model, ``[N, D]``, as the adapter has them."""
        ...


@dataclass(frozen=True)
class Sentences:
    """The vectors of the sentences of N documents; row i of ``first`` says where those of document i begin.

    Args:
        vectors: ``[S, D]`` float16, rows of length 1, or of zeros where a sentence is blank.
        first: ``[N + 1]`` int64.
    """

    vectors: np.ndarray
    first: np.ndarray

    def __len__(self) -> int:
        return len(self.first) - 1

    def best(self, queries: Tensor, rows: Tensor) -> Tensor:
        """The highest cosine of a query to a sentence of a document: ``[Q, D], rows [Q, K] -> [Q, K]``.

        -inf for a document without sentences, and for a row of -1.
        """
        per_query = max(1, int(np.diff(self.first).max(initial=1)) * rows.shape[1])
        size = max(1, _BLOCK // per_query)
        blocks = zip(queries.split(size), rows.split(size), strict=True)
        found = [self._best(some, those) for some, those in blocks]
        return torch.cat(found) if found else torch.empty(rows.shape)

    def _best(self, queries: Tensor, rows: Tensor) -> Tensor:
        documents = rows.clamp(min=0).flatten().numpy()
        starts, ends = torch.from_numpy(self.first[documents]), torch.from_numpy(self.first[documents + 1])
        counts = (ends - starts) * (rows.flatten() >= 0)
        places, back = gather_ranges(starts, counts).unique(return_inverse=True)
        # Queries share documents: each sentence is read once, and compared with all queries of the block.
        cosines = queries @ torch.from_numpy(self.vectors[places.numpy()].astype(np.float32)).T
        asked = owners(counts) // rows.shape[1]
        return segment_max(cosines[asked, back], offsets(counts), empty=-torch.inf).view(rows.shape)

    def adapted(self, adapter: DocumentAdapter) -> Sentences:
        """As an adapter has them; the same where it leaves documents as they are."""
        if not adapter.changes_documents:
            return self
        return Sentences(adapter.documents(torch.from_numpy(self.vectors).float()).half().numpy(), self.first)

    def taken(self, rows: np.ndarray) -> Sentences:
        """Those of some documents, in that order."""
        counts = torch.from_numpy(np.diff(self.first)[rows])
        places = gather_ranges(torch.from_numpy(self.first[rows]), counts)
        return Sentences(self.vectors[places.numpy()], offsets(counts).numpy())

    def joined(self, others: Sentences) -> Sentences:
        """Those of these documents, then of the others.

        Raises:
            DataError: the others are of another width.
        """
        if len(self.vectors) and len(others.vectors) and self.vectors.shape[1] != others.vectors.shape[1]:
            raise DataError(
                "vectors of another width",
                field="sentences",
                value=others.vectors.shape,
                expected=f"[S, {self.vectors.shape[1]}]",
            )
        return Sentences(
            np.concatenate([self.vectors, others.vectors]),
            np.concatenate([self.first, others.first[1:] + self.first[-1]]),
        )

    def save(self, folder: str | Path) -> None:
        """Writes it into a folder."""
        folder = Path(folder)
        write_array(folder / _VECTORS, self.vectors)
        write_array(folder / _FIRST, self.first)

    @classmethod
    def load(cls, folder: str | Path) -> Sentences:
        """Maps what `save` wrote into memory.

        Raises:
            ModelError: a file is missing or damaged.
        """
        folder = Path(folder)
        vectors, first = map_array(folder / _VECTORS, np.float16, 2), map_array(folder / _FIRST, np.int64)
        if not len(first) or first[0] != 0 or (np.diff(first) < 0).any() or first[-1] != len(vectors):
            raise ModelError(f"{folder}: damaged (the sentences are not those of these documents)")
        return cls(vectors, first)
