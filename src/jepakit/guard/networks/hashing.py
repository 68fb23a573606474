"""Texts as bags of hashed n-grams: no vocabulary, no model to load, the same numbers on every machine."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jepakit.core.packed import offsets
from jepakit.guard.traces.folding import fold

BUCKETS = 8192
"""Hash values of n-grams."""
WORD_BUCKETS = 1 << 15
"""Hash values of words and pairs of words, see `word_grams`."""

#: Lengths of the n-grams of characters.
_CHARACTERS = (3, 4)
#: Characters of a text that count; longer ones are split before, see `jepakit.guard.networks.documents`.
_LONGEST = 2000
_WORD = re.compile(r"\w+|[^\w\s]")
#: Letters, or digits: a name with an underscore is its parts.
_PLAIN = re.compile(r"[^\W\d_]+|\d+|\x1a")
#: Begin and end of a text; they stand in none that JSON may hold as they are.
_BEGIN, _END = "\x02", "\x03"


@dataclass(frozen=True)
class Texts:
    """The n-grams of texts, packed.

    Args:
        ids: n-grams as numbers below `BUCKETS`, ``[K]`` int64.
        ptr: ``[T + 1]`` int64, see `jepakit.core.packed`.
    """

    ids: Tensor
    ptr: Tensor

    def __len__(self) -> int:
        return len(self.ptr) - 1


def hashed(texts: Sequence[str]) -> Texts:
    """The n-grams of each text: words and pairs of words in folded form, and characters as they are.

    So texts that look alike share most of their n-grams, and texts that differ in anything differ in some.
    """
    parts = [_ngrams(text) for text in texts]
    lengths = torch.tensor([len(part) for part in parts], dtype=torch.long)
    ids = np.concatenate(parts) if parts else np.empty(0, np.int64)
    return Texts(torch.from_numpy(ids), offsets(lengths))


def word_grams(text: str) -> NDArray[np.int64]:
    """The distinct words and pairs of words of a text, as numbers below `WORD_BUCKETS`; all numbers are one word."""
    words = [
        zlib.crc32(b"0" if word.isdigit() else word.encode("utf-8", "surrogatepass")) for word in _PLAIN.findall(text)
    ]
    single = np.array(words, np.uint64)
    pairs = _mixed(_combined(single, 2) + np.uint64(1 << 40))
    return np.unique(np.concatenate([_mixed(single), pairs]) % np.uint64(WORD_BUCKETS)).astype(np.int64)


class TextEmbedding(nn.Module):
    """The mean of the vectors of a text's n-grams; a zero for the empty text.

    Args:
        dim: width of the vectors.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.vectors = nn.EmbeddingBag(BUCKETS, dim, mode="sum")

    def forward(self, texts: Texts) -> Tensor:
        """``T`` texts -> ``[T, dim]``."""
        # n-grams are many and their vectors independent at first: the root keeps the length of sums.
        count = texts.ptr.diff().clamp(min=1)
        return self.vectors(texts.ids, texts.ptr[:-1]) / count[:, None].sqrt()


@lru_cache(maxsize=1 << 16)
def _ngrams(text: str) -> NDArray[np.int64]:
    if not text:
        return np.empty(0, np.int64)
    text = text[:_LONGEST]
    words = np.array([zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in _WORD.findall(fold(text).text)])
    words = words.astype(np.uint64)
    marked = f"{_BEGIN}{text}{_END}"
    codes = np.frombuffer(marked.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    grams = [words, _combined(words, 2)]
    grams += [_combined(codes, length) for length in _CHARACTERS if len(codes) >= length]
    salted = [_mixed(part + np.uint64(number << 40)) for number, part in enumerate(grams)]
    return (np.concatenate(salted) % np.uint64(BUCKETS)).astype(np.int64)


def _combined(values: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    """A number for each run of ``length`` values."""
    count = max(len(values) - length + 1, 0)
    total = np.zeros(count, np.uint64)
    for place in range(length):
        total = _mixed(total * np.uint64(31) + values[place : place + count])
    return total


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014): every bit depends on every bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
