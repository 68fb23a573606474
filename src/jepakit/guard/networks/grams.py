"""Texts as words and their parts, and as the values that they name, whatever way these are written."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepakit.core.packed import offsets

KINDS = ("word", "beginning of a word", "characters of a word", "value", "pair of words")
SHAPES = ("up to 3 letters", "4 or 5 letters", "6 letters or more", "capital", "up to 2 digits", "more digits")
"""Of the words that a gram is made of: common words are short, names have a capital."""
FEATURES = len(KINDS) * len(SHAPES)

#: Characters of a text that count.
_LONGEST = 8000
#: Longer texts are not remembered.
_REMEMBERED = 512
_CHARACTERS, _BEGINNING = (3, 4, 5), 4
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
# fmt: off
_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11,
    "dec": 12,
}
_NUMBERS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12,
}
# fmt: on
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_VALUES = (
    ("date", re.compile(r"\b\d{4}-(?P<month>\d\d)-(?P<day>\d\d)t?")),
    ("date", re.compile(rf"\b(?P<month>{_MONTH})\.?\s+(?P<day>{_DAY})\b")),
    ("date", re.compile(rf"\b(?P<day>{_DAY})\s+(?:of\s+)?(?P<month>{_MONTH})\b")),
    ("time", re.compile(r"\b(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?\s*(?P<half>[ap])\.?m\b")),
    ("time", re.compile(r"\b(?P<hour>\d{1,2}):(?P<minute>\d\d)\b")),
    ("number", re.compile(r"(?<![\w.])\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?<!\w)\d{1,15}(?:\.\d{1,15})?")),
    ("number", re.compile(rf"\b(?:{'|'.join(_NUMBERS)})\b")),
)


@dataclass(frozen=True)
class Grams:
    """The distinct grams of texts, packed; T texts, K grams.

    Args:
        codes: hash values below 2^32, ``[K]`` int64.
        feature: kind and shape, ``kind * len(SHAPES) + shape``, ``[K]`` int64.
        ptr: ``[T + 1]`` int64, see `jepakit.core.packed`.
    """

    codes: Tensor
    feature: Tensor
    ptr: Tensor


Arrays = tuple[NDArray[np.int64], NDArray[np.int64]]


def packed_grams(texts: Sequence[str]) -> Grams:
    """The grams of each text."""
    return packed([grams(text) for text in texts])


def packed(parts: Sequence[Arrays]) -> Grams:
    """Grams that `grams` gave, as one."""
    empty = (np.empty(0, np.int64), np.empty(0, np.int64))
    codes, features = (torch.from_numpy(np.concatenate(arrays)) for arrays in zip(empty, *parts, strict=True))
    lengths = torch.tensor([len(part) for part, _ in parts], dtype=torch.long)
    return Grams(codes, features, offsets(lengths))


def grams(text: str) -> Arrays:
    """Codes and features of a text's distinct grams, ``[K]`` int64 each.

    A name with underscores or capitals inside is its parts; what is written with a capital has the same code as
    without. Dates without their years, times of day and numbers are values too: "May 5th" and "2026-05-05" have one in
    common.
    """
    return _remembered(text) if len(text) <= _REMEMBERED else _grams(text)


def named_values(text: str) -> Iterator[str]:
    """The dates, times and numbers of a text in one spelling."""
    left = text.lower()
    for kind, pattern in _VALUES:
        found = list(pattern.finditer(left))
        for match in found:
            yield from _spelled(kind, match)
        # A part of a date is no number.
        for match in reversed(found):
            left = f"{left[: match.start()]} ; {left[match.end() :]}"


def _spelled(kind: str, match: re.Match[str]) -> Iterator[str]:
    if kind == "date":
        month = match["month"]
        yield f"day {month if month.isdigit() else _MONTHS[month[:3]]:0>2}-{re.sub(r'[a-z]', '', match['day']):0>2}"
    elif kind == "time":
        parts = match.groupdict()
        half = parts.get("half")
        hour = int(parts["hour"]) if half is None else int(parts["hour"]) % 12 + 12 * (half == "p")
        yield f"time {hour}:{parts['minute'] or '00'}"
    else:
        word = match[0]
        number = float(_NUMBERS[word]) if word in _NUMBERS else float(word.replace(",", ""))
        yield f"number {number:g}"
        if number != round(number):
            yield f"number {round(number):g}"


def _grams(text: str) -> Arrays:
    text = text[:_LONGEST]
    found: dict[tuple[int, str], int] = {}
    for kind, gram, shape in _listed(text):
        found[kind, gram] = min(shape, found.get((kind, gram), shape))
    codes = [zlib.crc32(f"{kind}{gram}".encode("utf-8", "surrogatepass")) for kind, gram in found]
    features = [kind * len(SHAPES) + shape for (kind, _), shape in found.items()]
    return np.array(codes, np.int64), np.array(features, np.int64)


_remembered = lru_cache(maxsize=1 << 14)(_grams)


def _listed(text: str) -> Iterator[tuple[int, str, int]]:
    """Kind, gram and shape."""
    words = [(word.lower(), _shape(word)) for word in _WORD.findall(text)]
    for word, shape in words:
        yield 0, word, shape
        if len(word) > _BEGINNING and not word[0].isdigit():
            yield 1, word[:_BEGINNING], shape
        marked = f"<{word}>"
        for length in _CHARACTERS:
            if length < len(marked):
                for start in range(len(marked) - length + 1):
                    yield 2, marked[start : start + length], shape
    for value in named_values(text):
        few = value.startswith("number") and len(value) < len("number 100")
        yield 3, value, 4 if few else 5
    for (word, shape), (following, other) in pairwise(words):
        yield 4, f"{word} {following}", max(shape, other)


def _shape(word: str) -> int:
    if word[0].isdigit():
        return 4 if len(word) < 3 else 5
    if word[0].isupper():
        return 3
    return 0 if len(word) < 4 else 1 if len(word) < 6 else 2
