"""The features of a text: its tokens, and pairs of neighbouring tokens, as rows of a table of vectors."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from jepakit.errors import MissingExtraError, ModelError, in_one_line

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Tokens of a text that are read, and characters for each of them: a tokeniser takes time for megabytes.
MOST_TOKENS, _CHARACTERS_PER_TOKEN = 256, 64
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class Bags:
    """The features of N texts, one text after the other.

    Args:
        rows: rows of the table, ``[T]`` int64.
        counts: how many of them belong to each text, ``[N]`` int64.
        unknown: share of each text's tokens that have no vector, ``[N]`` float32; 1 for a text without tokens.
    """

    rows: np.ndarray
    counts: np.ndarray
    unknown: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def starts(self) -> np.ndarray:
        """Where the rows of each text begin, ``[N]`` int64."""
        return np.cumsum(self.counts) - self.counts


@dataclass(frozen=True)
class Features:
    """Finds the features of texts.

    Args:
        rules: the tokeniser, as JSON of the library ``tokenizers``.
        tokens: the row of each token of the vocabulary, ``[V]`` int32; -1 for one without a vector.
        pairs: ``first * V + second`` of each pair of tokens that has a vector, ``[B]`` int64, ascending. Their rows
            follow those of the tokens.
    """

    rules: str
    tokens: np.ndarray
    pairs: np.ndarray

    @cached_property
    def singles(self) -> int:
        """The number of tokens that have a vector, which is the row of the first pair."""
        return int(np.count_nonzero(self.tokens >= 0))

    def __len__(self) -> int:
        """The number of rows."""
        return self.singles + len(self.pairs)

    def __call__(self, texts: Sequence[str]) -> Bags:
        """The features of N texts."""
        return self.of(tokenized(self._tokenizer, texts))

    def of(self, numbers: Iterable[np.ndarray]) -> Bags:
        """The features of N texts that are given as the numbers of their tokens."""
        found = [self._rows(some) for some in numbers]
        rows = np.concatenate([np.empty(0, np.int64), *(some for some, _ in found)])
        counts = np.fromiter((len(some) for some, _ in found), np.int64, len(found))
        return Bags(rows, counts, np.fromiter((share for _, share in found), np.float32, len(found)))

    def _rows(self, numbers: np.ndarray) -> tuple[np.ndarray, float]:
        single = self.tokens[numbers]
        known = single >= 0
        share = 1 - np.count_nonzero(known) / len(known) if len(known) else 1.0
        if not len(self.pairs) or len(numbers) < 2:
            return single[known].astype(np.int64), share
        keys = numbers[:-1] * len(self.tokens) + numbers[1:]
        places = np.minimum(np.searchsorted(self.pairs, keys), len(self.pairs) - 1)
        there = places[self.pairs[places] == keys]
        return np.concatenate([single[known], self.singles + there]), share

    def rows_of(self, other: Features) -> np.ndarray:
        """The row here of each row of other features of the same tokeniser, ``[R of the other]`` int64; -1: none."""
        places = np.minimum(np.searchsorted(self.pairs, other.pairs), max(0, len(self.pairs) - 1))
        there = self.pairs[places] == other.pairs if len(self.pairs) else np.zeros(len(other.pairs), np.bool_)
        pairs = np.where(there, self.singles + places, -1)
        return np.concatenate([self.tokens[other.tokens >= 0].astype(np.int64), pairs])

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return tokenizer_of(self.rules)


def tokenizer_of(rules: str) -> Tokenizer:
    """The tokeniser; texts are neither cut nor padded by it.

    Raises:
        ModelError: the rules are those of no tokeniser.
        MissingExtraError: tokenizers is not installed.
    """
    try:
        library: Any = import_module("tokenizers")
    except ModuleNotFoundError as error:
        raise MissingExtraError("tokenizers", "retrieval") from error
    try:
        tokenizer: Tokenizer = library.Tokenizer.from_str(rules)
    except Exception as error:  # The library raises nothing more precise.
        raise ModelError(f"the tokeniser of a static encoder cannot be read ({in_one_line(error)})") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def tokenized(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """The numbers of the tokens of each text, int64, without special tokens; at most the first 256."""
    read = [_readable(text[: MOST_TOKENS * _CHARACTERS_PER_TOKEN]) for text in texts]
    # A single text is not worth the threads of a batch.
    if len(read) == 1:
        found = [tokenizer.encode(read[0], add_special_tokens=False)]
    else:
        found = tokenizer.encode_batch_fast(read, add_special_tokens=False)
    return [np.array(encoding.ids[:MOST_TOKENS], np.int64) for encoding in found]


def count_features(
    rules: str,
    numbers: Sequence[np.ndarray],
    *,
    most: int,
    pairs: bool,
    fewest: int,
    also: np.ndarray | None = None,
) -> tuple[Features, np.ndarray]:
    """The features of some texts that get a vector, the most frequent ones.

    Args:
        rules: the tokeniser.
        numbers: the tokens of each text.
        most: rows of the table; tokens come first, pairs fill what is left.
        pairs: whether pairs get vectors.
        fewest: texts from which a pair gets one.
        also: tokens that get a vector where no text has them, ``[V]`` bool.

    Returns:
        The features, and in how many texts each row occurs, ``[R]`` int64.
    """
    size = tokenizer_of(rules).get_vocab_size()
    counts = np.zeros(size, np.int64)
    together: Counter[int] = Counter()
    for some in numbers:
        counts[np.unique(some)] += 1
        if pairs:
            together.update(np.unique(some[:-1] * size + some[1:]).tolist())
    # Of equal counts the lower number comes first, so that a table is the same in every run.
    order = np.argsort(-counts, kind="stable")[:most]
    kept = np.sort(order[(counts > 0 if also is None else (counts > 0) | also)[order]])
    tokens = np.full(size, -1, np.int32)
    tokens[kept] = np.arange(len(kept))
    often = sorted(((count, -key) for key, count in together.items() if count >= fewest), reverse=True)
    chosen = sorted((-key, count) for count, key in often[: max(0, most - len(kept))])
    keys = np.array([key for key, _ in chosen], np.int64)
    occurrences = np.array([count for _, count in chosen], np.int64)
    return Features(rules, tokens, keys), np.concatenate([counts[kept], occurrences])


def without_settings(rules: str) -> str:
    """The rules of a tokeniser without its settings for batches, which depend on earlier calls."""
    content = json.loads(rules)
    return json.dumps({**content, "truncation": None, "padding": None}, ensure_ascii=False)


def _readable(text: str) -> str:
    """Pairs of surrogates become the character that they encode, lone surrogates become U+FFFD."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
