"""Search by words: BM25 over an index that is added to, deleted from, kept in a folder and mapped from there.

torch is imported where `Hits` are made: `LexicalIndex.best` answers a query without it.
"""

from __future__ import annotations

import importlib
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jepakit.errors import (
    ConfigError,
    MissingExtraError,
    ModelError,
    require_at_least,
    require_choice,
    require_within,
)
from jepakit.files import parse_json, read_json, read_text, reading, write_json, write_text
from jepakit.files.arrays import map_array, write_array
from jepakit.search.postings import Postings

if TYPE_CHECKING:
    from jepakit.search.hits import Hits

_SETTINGS, _WORDS, _WEIGHTS = "lexical.json", "words.json", "weights.npy"
#: The English stop words of Lucene.
_STOP_WORDS = {
    *("a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of"),
    *(
        "on",
        "or",
        "such",
        "that",
        "the",
        "their",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "will",
        "with",
    ),
}
#: Scripts without spaces between words, and Hangul, whose particles cling to their words: a character is a word.
_SINGLE = (
    "\u3041-\u3096\u30a1-\u30fa\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)


@dataclass(frozen=True)
class BM25Config:
    """The two constants of BM25 (Robertson and Zaragoza 2009), and the stemmer.

    Args:
        k1: weight of repeated occurrences of a word; 0: they do not count.
        b: strength of the normalisation by document length, from 0 to 1.
        stemmer: a language of Snowball (Porter 2001), which reduces words to their stems; ``none``: no stemming.

    Raises:
        ConfigError: a value is out of range.
    """

    k1: float = 1.2
    b: float = 0.75
    stemmer: str = "english"

    def __post_init__(self) -> None:
        require_at_least(self, k1=0)
        require_within(self, "[0, 1]", "b")
        require_choice("stemmer", self.stemmer, ("none", *_snowball().algorithms()))


def tokenize(text: str, stemmer: str = "none") -> list[str]:
    """The words of a text, in lower case, without the English stop words of Lucene.

    Letters, digits and underscores make words; compatible forms of a character are one (Unicode's NFKC). A Chinese,
    Japanese or Korean character is a word of its own.

    Args:
        text: any.
        stemmer: see `BM25Config`.
    """
    words = _word().findall(unicodedata.normalize("NFKC", text).lower())
    words = [word for word in words if word not in _STOP_WORDS]
    return words if stemmer == "none" else [_stem(word, stemmer) for word in words]


class LexicalIndex:
    """BM25 as Lucene computes it, with the weight of every word in every document computed beforehand (Lù 2024).

    The counts of the words are kept too: a document is added or deleted without reading the texts of the others, and
    every score is that of an index built anew.

    Args:
        words: the number of each word.
        postings: which document holds which.
        config: the constants.
        weights: BM25 of each word in each of its documents, ``[P]`` float32; None: computed when first needed.
    """

    def __init__(
        self, words: dict[str, int], postings: Postings, config: BM25Config, weights: np.ndarray | None = None
    ) -> None:
        self._words, self._postings, self.config, self._weights = words, postings, config, weights

    @classmethod
    def build(cls, passages: Sequence[str], config: BM25Config | None = None) -> LexicalIndex:
        """An index in memory; a passage without any word is found by nothing."""
        index = cls({}, Postings.of([], 0), config or BM25Config())
        index.add(passages)
        return index

    @property
    def size(self) -> int:
        """How many rows, with those deleted."""
        return len(self._postings.alive)

    @property
    def alive(self) -> np.ndarray:
        """``[N]`` bool: the rows that are not deleted."""
        return self._postings.alive

    def __len__(self) -> int:
        return int(np.count_nonzero(self._postings.alive))

    def add(self, passages: Sequence[str]) -> None:
        """Appends rows."""
        words = dict(self._words)
        numbers = [
            [words.setdefault(word, len(words)) for word in tokenize(passage, self.config.stemmer)]
            for passage in passages
        ]
        self._change(self._postings.joined(Postings.of(numbers, len(words))), words)

    def delete(self, rows: Sequence[int] | np.ndarray) -> None:
        """Rows are not found any more, and count in no statistic.

        Raises:
            DataError: there is no such row, or it is deleted already.
        """
        from jepakit.search.hits import existing_rows

        self._change(self._postings.without(existing_rows(rows, self.alive)), self._words)

    def compacted(self) -> LexicalIndex:
        """An index of the rows that are not deleted, in their order, numbered from 0."""
        return LexicalIndex(self._words, self._postings.compacted(), self.config)

    def search(self, queries: Sequence[str], k: int, allowed: np.ndarray | None = None) -> Hits:
        """The rows with the highest scores; one that has none of the words is no hit.

        Args:
            queries: ``Q`` texts.
            k: how many.
            allowed: ``[N]`` bool, the rows that may be found; None: all.

        Returns:
            `Hits` ``[Q, k]``.

        Raises:
            ConfigError: ``k`` is less than 1.
        """
        import torch

        from jepakit.search.hits import Hits

        if k < 1:
            raise ConfigError("k", k, "at least 1")
        rows, best = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf, np.float32)
        for place, query in enumerate(queries):
            top, scores = self.best(query, k, allowed)
            rows[place, : len(top)], best[place, : len(top)] = top, scores
        return Hits(torch.from_numpy(rows), torch.from_numpy(best))

    def best(self, query: str, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The at most ``k`` best rows for a query and their scores, as `search`, without torch.

        A word that occurs twice in the query counts twice.
        """
        words = [self._words[word] for word in tokenize(query, self.config.stemmer) if word in self._words]
        if not words:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        spans = [slice(*self._postings.starts[word : word + 2]) for word in words]
        rows = np.concatenate([self._postings.rows[span] for span in spans])
        scores = np.zeros(self.size, np.float32)
        np.add.at(scores, rows, np.concatenate([self._all_weights()[span] for span in spans]))
        if allowed is not None:
            rows = rows[allowed[rows]]
        # Only rows with one of the words are looked at, each of them at most once for each word.
        if len(rows) > k * len(words):
            reached = scores[rows]
            rows = rows[reached >= np.partition(reached, -k * len(words))[-k * len(words)]]
        rows = np.unique(rows)
        rows = rows[np.argsort(-scores[rows], kind="stable")][:k]
        return rows, scores[rows]

    def save(self, folder: str | Path) -> None:
        """Writes into a folder."""
        folder = Path(folder)
        self._postings.save(folder)
        write_array(folder / _WEIGHTS, self._all_weights())
        # A vocabulary outgrows the bounds of settings.
        write_text(folder / _WORDS, json.dumps({"words": list(self._words)}))
        write_json(folder / _SETTINGS, asdict(self.config))

    @classmethod
    def load(cls, folder: str | Path) -> LexicalIndex:
        """Reads what `save` wrote; all but the list of words stays on disk and is mapped into memory.

        Raises:
            ModelError: a file is missing or damaged; the message names it.
        """
        folder = Path(folder)
        with reading(folder / _SETTINGS, ModelError):
            config = BM25Config(**read_json(folder / _SETTINGS, ModelError))
        with reading(folder / _WORDS, ModelError):
            listed = parse_json(read_text(folder / _WORDS, ModelError))["words"]
            words = {str(word): number for number, word in enumerate(listed)}
        postings = Postings.load(folder)
        weights = map_array(folder / _WEIGHTS, np.float32)
        if len(weights) != len(postings.rows):
            raise ModelError(f"{folder / _WEIGHTS}: damaged ({len(weights)} weights, {len(postings.rows)} expected)")
        if len(words) + 1 != len(postings.starts):
            raise ModelError(f"{folder / _WORDS}: damaged ({len(words)} words, {len(postings.starts) - 1} expected)")
        return cls(words, postings, config, weights)

    def _change(self, postings: Postings, words: dict[str, int]) -> None:
        self._postings, self._words, self._weights = postings, words, None

    def _all_weights(self) -> np.ndarray:
        if self._weights is None:
            self._weights = self._postings.weights(self.config.k1, self.config.b)
        return self._weights


@lru_cache(maxsize=2**20)
def _stem(word: str, language: str) -> str:
    return _stemmer(language).stemWord(word)


@cache
def _stemmer(language: str) -> Any:
    return _snowball().stemmer(language)


def _snowball() -> Any:
    try:
        return importlib.import_module("snowballstemmer")
    except ModuleNotFoundError as error:
        raise MissingExtraError("snowballstemmer", "retrieval") from error


@cache
def _word() -> re.Pattern[str]:
    # Python's \w has no marks, without which the words of Hindi, Tamil or pointed Hebrew fall apart at their vowels.
    marks = (code for code in range(0x300, 0x20000) if unicodedata.category(chr(code))[0] == "M")
    runs = [[code for _, code in run] for _, run in groupby(enumerate(marks), lambda pair: pair[1] - pair[0])]
    mark = "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in runs)
    letters = rf"[^\W{_SINGLE}]"
    return re.compile(rf"[{_SINGLE}]|{letters}+(?:[{mark}]+{letters}*)*")
