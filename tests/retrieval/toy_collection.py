"""A small collection whose queries speak another language than its documents, and an encoder that needs no download.

A document holds four words of a vocabulary, a query two of the same under other names. The base cannot match them; who
learns the dictionary from some pairs finds the documents of the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepakit.retrieval.data import Pairs, Queries, RetrievalDataset
from jepakit.search.documents import Documents
from jepakit.text import Kind

DIM = 48


@dataclass(frozen=True)
class WordEncoder:
    """The normalised sum of a random vector for each word."""

    name: str = "words"
    dim: int = DIM
    fingerprint: str = "words-1"

    def encode(self, texts: Sequence[str], kind: Kind) -> Tensor:
        rows = [sum((vector_of(word, self.dim) for word in text.split()), np.zeros(self.dim)) for text in texts]
        vectors = torch.from_numpy(np.stack(rows) if rows else np.zeros((0, self.dim))).float()
        return torch.nn.functional.normalize(vectors, dim=-1)


def vector_of(word: str, dim: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).standard_normal(dim)


def collection(documents: int = 120, *, words: int = 30, seed: int = 0, foreign: bool = True) -> RetrievalDataset:
    """One query for each document; ``foreign``: in the other language, else in the document's own."""
    draw = np.random.default_rng(seed)
    chosen = [draw.choice(words, 4, replace=False) for _ in range(documents)]
    texts = tuple(" ".join(f"d{word}" for word in some) for some in chosen)
    prefix = "q" if foreign else "d"
    asked = tuple(" ".join(f"{prefix}{word}" for word in some[:3]) for some in chosen)
    ids = tuple(f"D{number}" for number in range(documents))
    return RetrievalDataset(
        name="toy",
        documents=Documents(ids, texts, ("",) * documents, tuple({"part": n % 2} for n in range(documents))),
        queries=Queries(tuple(f"Q{number}" for number in range(documents)), asked),
        splits={"all": Pairs.of(list(range(documents)), list(range(documents)))},
        origin="made up",
    )
