"""Runs of words that two texts have in common, in time that grows linearly with both."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jepakit.guard.traces.records import Span

WORDS = 4
"""Words of the shortest run."""
#: The longest runs that are looked at.
_RUNS = 32
_ODD = np.uint64(0x9E3779B97F4A7C15)


class Words:
    """The words of a folded text as numbers.

    Args:
        text: from `jepakit.guard.traces.folding.fold`, so that one space is between two words.
        vocabulary: word -> number; new words are added.
    """

    def __init__(self, text: str, vocabulary: dict[str, int]) -> None:
        words = text.split(" ") if text else []
        numbers = (vocabulary.setdefault(word, len(vocabulary)) for word in words)
        self.ids = np.fromiter(numbers, np.int64, len(words))
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        self.ends = (lengths + 1).cumsum() - 1
        self.starts = self.ends - lengths

    def span(self, start: int, stop: int) -> Span:
        """The characters of the words ``start`` to ``stop - 1``."""
        return int(self.starts[start]), int(self.ends[stop - 1])

    @cached_property
    def keys(self) -> NDArray[np.uint64]:
        """A number for each run of `WORDS` words; different runs hardly ever have the same."""
        count = max(len(self.ids) - WORDS + 1, 0)
        total = np.zeros(count, np.uint64)
        for place in range(WORDS):
            total = (total + self.ids[place : place + count].astype(np.uint64)) * _ODD
            total ^= total >> np.uint64(29)
        return total

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        order = np.argsort(self.keys, kind="stable")
        return self.keys[order], order

    def first_places(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Where each run first stands here; -1 where it does not."""
        known, order = self._sorted
        if not len(known):
            return np.full(len(keys), -1)
        at = np.searchsorted(known, keys).clip(max=len(known) - 1)
        return np.where(known[at] == keys, order[at], -1)


def common_runs(own: Words, other: Words) -> list[tuple[int, int, int]]:
    """Start in ``own``, start in ``other`` and length (words) of long runs in both, longest first, apart in ``own``."""
    places = other.first_places(own.keys)
    hits = np.flatnonzero(places >= 0)
    if not len(hits):
        return []
    shift = places[hits] - hits
    begins = np.flatnonzero(np.append(True, (np.diff(hits) != 1) | (np.diff(shift) != 0)))
    lengths = np.diff(np.append(begins, len(hits)))
    chosen = begins[np.argsort(-lengths, kind="stable")[:_RUNS]]
    runs = {_extended(own.ids, other.ids, int(hits[one]), int(places[hits[one]])) for one in chosen}
    kept: list[tuple[int, int, int]] = []
    for start, place, length in sorted(runs, key=lambda run: (-run[2], run)):
        apart = all(start + length <= one or start >= one + size for one, _, size in kept)
        if length >= WORDS and apart:
            kept.append((start, place, length))
    return kept


def _extended(own: NDArray[np.int64], other: NDArray[np.int64], start: int, place: int) -> tuple[int, int, int]:
    """The whole run around a word of both texts."""
    before = _agreeing(own[:start][::-1], other[:place][::-1])
    return start - before, place - before, before + _agreeing(own[start:], other[place:])


def _agreeing(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    """How many values are equal from the first on."""
    count = min(len(one), len(other))
    different = one[:count] != other[:count]
    return int(different.argmax()) if different.any() else count
