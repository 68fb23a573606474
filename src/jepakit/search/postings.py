"""An inverted index in arrays: the documents of each word with counts; documents can be added and deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path

import numpy as np

from jepakit.errors import ModelError
from jepakit.files.arrays import map_array, write_array


@dataclass(frozen=True)
class Postings:
    """An inverted index. Word ``w`` is in the documents ``rows[starts[w]:starts[w + 1]]``, which ascend.

    Args:
        starts: ``[V + 1]`` int64.
        rows: ``[P]`` int32.
        counts: occurrences of the word in the document, ``[P]`` int32.
        lengths: words of each document, ``[N]`` int32; 0 for those deleted.
        alive: ``[N]`` bool, False for documents that are deleted.
    """

    starts: np.ndarray
    rows: np.ndarray
    counts: np.ndarray
    lengths: np.ndarray
    alive: np.ndarray

    @classmethod
    def of(cls, documents: Sequence[Sequence[int]], words: int) -> Postings:
        """Of documents that are given as the numbers of their words, out of ``words`` different ones."""
        lengths = np.fromiter(map(len, documents), np.int32, len(documents))
        total = int(lengths.sum())
        word = np.fromiter(chain.from_iterable(documents), np.int64, total)
        # One sort of one number for each word and document does all the counting.
        size = max(len(documents), 1)
        key, counts = np.unique(word * size + np.repeat(np.arange(len(documents)), lengths), return_counts=True)
        starts = np.searchsorted(key, np.arange(words + 1) * size)
        rows = (key % size).astype(np.int32)
        return cls(starts, rows, counts.astype(np.int32), lengths, np.ones(len(documents), bool))

    def joined(self, more: Postings) -> Postings:
        """The postings with the documents of ``more`` appended; ``more`` has at least as many words."""
        own = np.concatenate([self.starts, np.full(len(more.starts) - len(self.starts), self.starts[-1])])
        # Of each word first the old documents, then the new ones.
        old_place = np.arange(len(self.rows)) + np.repeat(more.starts[:-1], np.diff(own))
        new_place = np.arange(len(more.rows)) + np.repeat(own[1:], np.diff(more.starts))
        rows = np.empty(len(self.rows) + len(more.rows), np.int32)
        counts = np.empty_like(rows)
        rows[old_place], rows[new_place] = self.rows, more.rows + np.int32(len(self.alive))
        counts[old_place], counts[new_place] = self.counts, more.counts
        lengths = np.concatenate([self.lengths, more.lengths])
        return Postings(own + more.starts, rows, counts, lengths, np.concatenate([self.alive, more.alive]))

    def without(self, deleted: np.ndarray) -> Postings:
        """The postings without these documents (int64 rows), which keep their row numbers."""
        alive = self.alive.copy()
        alive[deleted] = False
        kept = alive[self.rows]
        before = np.concatenate([[0], np.cumsum(kept)])
        lengths = np.where(alive, self.lengths, 0).astype(np.int32)
        return Postings(before[self.starts], self.rows[kept], self.counts[kept], lengths, alive)

    def compacted(self) -> Postings:
        """The postings of the documents that are not deleted, renumbered from 0."""
        number = (np.cumsum(self.alive) - 1).astype(np.int32)
        lengths = self.lengths[self.alive]
        return Postings(self.starts, number[self.rows], self.counts, lengths, np.ones(len(lengths), bool))

    def weights(self, k1: float, b: float) -> np.ndarray:
        """BM25 of each word in each of its documents, ``[P]`` float32.

        As Lucene computes it (Kamphuis et al. 2020, "Which BM25 do you mean?"): with n documents, of which d hold the
        word, ``ln(1 + (n - d + 0.5) / (d + 0.5)) * count / (count + k1 * (1 - b + b * length / mean length))``.
        """
        documents = np.diff(self.starts)
        living = int(np.count_nonzero(self.alive))
        rarity = np.log1p((living - documents + 0.5) / (documents + 0.5)).astype(np.float32)
        mean = self.lengths.sum() / max(living, 1) or 1.0
        slack = (k1 * (1 - b + b * self.lengths / mean)).astype(np.float32)
        counts = self.counts.astype(np.float32)
        return np.repeat(rarity, documents) * (counts / (counts + slack[self.rows]))

    def save(self, folder: Path) -> None:
        """Writes one file for each array."""
        for field in fields(self):
            write_array(folder / f"{field.name}.npy", getattr(self, field.name))

    @classmethod
    def load(cls, folder: Path) -> Postings:
        """Maps what `save` wrote.

        Raises:
            ModelError: a file is damaged, or they do not belong together.
        """
        types = {"starts": np.int64, "rows": np.int32, "counts": np.int32, "lengths": np.int32, "alive": np.bool_}
        found = cls(**{name: map_array(folder / f"{name}.npy", dtype) for name, dtype in types.items()})
        sizes = {int(found.starts[-1]) if len(found.starts) else -1, len(found.rows), len(found.counts)}
        if len(sizes) > 1 or len(found.lengths) != len(found.alive):
            raise ModelError(f"{folder}: damaged (its arrays differ in length)")
        return found
