"""Names that resemble a part of a text: candidates by rare trigrams, then by edits."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jepakit.kgqa.data import Ids, different
from jepakit.kgqa.linking.names import COMMON_WORDS, Words

#: A trigram in more names than this fraction (or number, for small graphs) selects nothing.
_COMMON_FRACTION, _COMMON_COUNT = 1 / 100, 200
#: Names that are compared by edits, and the longest part of a text, in words.
_CANDIDATES, _LONGEST = 64, 8
_SHORTEST = 4
#: Names looked at for a text.
_MOST_NAMES = 10_000
#: Numbers, Roman ones too.
_NUMBERS = re.compile(r"\d+|\b[ivx]+\b")


class FuzzyNames:
    """Names by the trigrams of their normal forms.

    Args:
        keys: the normal forms, all different.
        least: the smallest similarity of a match, from 0 to 1: 1 - insertions and deletions / characters of both.
    """

    def __init__(self, keys: Sequence[str], least: float) -> None:
        self.keys, self.least = keys, least
        grams, owner = _trigrams(keys)
        pairs = np.unique(np.stack([grams, owner], 1), axis=0) if len(grams) else np.empty((0, 2), np.int64)
        self._grams, first, counts = np.unique(pairs[:, 0], return_index=True, return_counts=True)
        self._last = self._grams.max(initial=-1)
        self._names = pairs[:, 1].astype(np.int32)
        self._ptr = np.append(first, len(pairs))
        rare = counts <= max(_COMMON_FRACTION * len(keys), _COMMON_COUNT)
        self._weight = np.where(rare, np.log1p(len(keys) / counts), 0).astype(np.float32)
        # What a text has that holds all rare trigrams of a name.
        self._whole = np.bincount(self._names, np.repeat(self._weight, counts), len(keys)).astype(np.float32)

    def matches(self, words: Words) -> list[tuple[int, float, int, int]]:
        """Number of the key, similarity, start and stop (words) of names that resemble a part without being equal.

        Those with most characters in common come first.
        """
        # Imported here: it is needed for questions without a name in normal form only.
        from rapidfuzz import fuzz, process

        spans = [span for span in _spans(words) if len(words.key(*span)) >= _SHORTEST]
        candidates = self._candidates(words.key(0, len(words.texts)))
        if not spans or not len(candidates):
            return []
        parts = [words.key(*span) for span in spans]
        names = [str(self.keys[int(row)]) for row in candidates]
        similar = process.cdist(parts, names, scorer=fuzz.ratio, score_cutoff=100 * self.least, dtype=np.float32)
        best = similar.argmax(0)
        found = [
            (int(candidates[column]), float(similar[place, column]) / 100, *spans[place])
            for column, place in enumerate(best.tolist())
            # Numbers are not similar: the second part is not the third.
            if 0 < similar[place, column] < 100 and _NUMBERS.findall(parts[place]) == _NUMBERS.findall(names[column])
        ]
        return sorted(found, key=lambda match: (-match[1] * len(words.key(*match[2:])), match[0]))

    def _candidates(self, text: str) -> Ids:
        """The names that share most rare trigrams with the text, for their length."""
        grams = different(_trigrams([text])[0])
        grams = grams[grams <= self._last]
        place = np.searchsorted(self._grams, grams)
        place = place[(self._grams[place] == grams) & (self._weight[place] > 0)]
        if not len(place):
            return np.empty(0, np.int64)
        counts = self._ptr[place + 1] - self._ptr[place]
        # The rarest tell most: others only add names to look at.
        order = np.argsort(counts, kind="stable")
        order = order[: max(1, np.searchsorted(counts[order].cumsum(), _MOST_NAMES))]
        place, counts = place[order], counts[order]
        names = np.concatenate([self._names[self._ptr[one] : self._ptr[one + 1]] for one in place])
        held = np.bincount(names, np.repeat(self._weight[place], counts), len(self.keys))
        reached = np.flatnonzero(held)
        score = held[reached] ** 2 / self._whole[reached]
        if len(reached) > _CANDIDATES:
            best = np.argpartition(-score, _CANDIDATES)[:_CANDIDATES]
            reached, score = reached[best], score[best]
        return reached[np.argsort(-score, kind="stable")]


def _spans(words: Words) -> list[tuple[int, int]]:
    count = len(words.texts)
    common = [word in COMMON_WORDS for word in words.texts]
    return [
        (start, stop)
        for start in range(count)
        for stop in range(start + 1, min(start + _LONGEST, count) + 1)
        if not common[start] and not common[stop - 1]
    ]


def _trigrams(keys: Sequence[str]) -> tuple[NDArray[np.int64], Ids]:
    """The trigrams of each text, with a space around it, as numbers, and which text each is of."""
    lengths = np.fromiter(map(len, keys), np.int64, len(keys)) + 2
    codes = np.frombuffer("".join(f" {key} " for key in keys).encode("utf-32-le", "surrogatepass"), np.uint32)
    codes = codes.astype(np.int64)
    owner = np.repeat(np.arange(len(keys)), lengths)
    inside = owner[2:] == owner[:-2]
    grams = (codes[:-2] << 42) | (codes[1:-1] << 21) | codes[2:]
    return grams[inside], owner[2:][inside]
