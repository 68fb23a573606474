"""Whether a secret stands in texts: as it is, encoded, or in pieces.

The texts are written in several ways, and a secret is looked for in each as it would stand there, forwards and
backwards:

- folded (`jepakit.guard.traces.folding`), after percent-encoding is undone, letters and digits alone;
- of these every second, third or fourth one: other letters stand between those of the secret;
- the letters of words of one letter, and of words of at most two, alone: other words stand between the pieces;
- the hexadecimal digits alone: the secret's UTF-8 in hexadecimal, also in capitals and in small letters;
- letters, digits, ``+`` and ``/`` alone, also written ``-`` and ``_``: the secret's UTF-8 in base64, at each of the
  three places that it can have in a group of three bytes.

A secret is found where runs of six characters that both have cover at least `COVERED` of it, wherever they stand, so
that one in pieces over several arguments is found too. Pieces of three to five characters are found where they are
words of their own, in their order, with any words between them; where they are whole arguments, in any order. The
time grows linearly with the texts, whatever the secrets.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from jepakit.guard.traces.folding import fold

COVERED = 0.8
"""Of the characters of a secret, in runs that the texts have too."""

#: Characters of a run.
_RUN_LENGTH = 6
#: Of a secret of at most so many characters, all ways of writing it are searched for; of a longer one, one way.
_SCANNED = 256
#: Characters of a longer secret that count.
_MOST_CHARACTERS = 4096
_SHORT_PIECES = range(3, _RUN_LENGTH)
#: Arguments that are pieces in any order: among many more every short piece is found.
_MOST_WHOLE = 64
#: Places of a word that are looked at: a text that repeats one takes no longer.
_MOST_PLACES = 32
_STEPS = (2, 3, 4)
_SHORT_WORDS = (1, 2)

Way = Literal["folded", "hexadecimal", "base64"]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Disguise:
    """A secret as it stands in texts that are written in a way."""

    way: Way
    text: str

    @cached_property
    def runs(self) -> NDArray[np.uint64]:
        """The number of each of its runs."""
        return _runs(self.text)

    @cached_property
    def pieces(self) -> frozenset[str]:
        """Its short pieces."""
        return frozenset(
            self.text[place : place + size]
            for size in _SHORT_PIECES
            for place in range(min(len(self.text), _SCANNED) - size + 1)
        )


@dataclass(frozen=True)
class Disguises:
    """A secret, and what it is looked for as."""

    original: str
    listed: tuple[Disguise, ...]

    @classmethod
    def of(cls, secret: str) -> Disguises:
        """The disguises of a secret; of a long one fewer, and its beginning."""
        plain = letters(secret)[:_MOST_CHARACTERS]
        given = secret.strip()
        written = [given, given.upper(), given.lower()] if len(given) <= _SCANNED else [given]
        listed = [Disguise("folded", one) for one in (plain, plain[::-1])]
        for text in dict.fromkeys(turned for one in written for turned in (one, one[::-1])):
            raw = text.encode("utf-8", "replace")[:_MOST_CHARACTERS]
            listed += [Disguise("hexadecimal", raw.hex()), *(Disguise("base64", one) for one in _base64(raw))]
        return cls(secret, tuple(dict.fromkeys(listed)))


def masks_in(texts: Sequence[str], secrets: Sequence[Disguises]) -> Mapping[Disguise, Mask]:
    """Of each disguise of which something stands in texts, which of its characters do."""
    plain = [_without_percent(text) for text in texts]
    joined = "\n".join(plain)
    folded = fold(joined).text
    tokens = _Tokens(folded, plain)
    masks: dict[Disguise, Mask] = {}
    for way, written in (
        ("folded", [*_folded_ways(_only_letters(folded)), *tokens.short_words()]),
        ("hexadecimal", [_hexadecimal(joined)]),
        ("base64", [_characters_of_base64(joined)]),
    ):
        disguises = [one for secret in secrets for one in secret.listed if one.way == way and len(one.runs)]
        for disguise, present in _present(disguises, written):
            masks[disguise] = _covered(present, len(disguise.text))
    for disguise in (one for secret in secrets for one in secret.listed if one.way == "folded"):
        short = tokens.mask_of(disguise)
        if short is not None:
            masks[disguise] = short | masks.get(disguise, np.zeros(len(disguise.text), np.bool_))
    return masks


class _Tokens:
    """The words of folded texts, in their order, as they may be pieces of a secret.

    Args:
        folded: all texts.
        texts: each of them.
    """

    def __init__(self, folded: str, texts: Sequence[str]) -> None:
        self._words = re.findall(r"[^\W_]+", folded)
        by_space = re.sub(r"[^\w ]|_", "", folded).split(" ")
        whole = [letters(text) for text in texts if len(text) <= 4 * _RUN_LENGTH]
        self._orders = [_places(order) for order in (self._words, by_space, whole)]

    def short_words(self) -> list[str]:
        """The letters of short words alone."""
        return ["".join(word for word in self._words if len(word) <= most) for most in _SHORT_WORDS]

    def mask_of(self, disguise: Disguise) -> Mask | None:
        """Which characters of a secret stand in short pieces; None: none do."""
        masks: list[Mask] = []
        for order in self._orders:
            pieces = disguise.pieces & order.keys()
            if pieces and _mask_of_pieces(disguise.text, pieces).mean() >= COVERED:
                inside = "".join(piece for _, piece in sorted((place, one) for one in pieces for place in order[one]))
                masks += [_covered(present, len(disguise.text)) for _, present in _present([disguise], [inside])]
        whole = self._orders[-1]
        pieces = disguise.pieces & whole.keys()
        if pieces and len(whole) <= _MOST_WHOLE:
            masks.append(_mask_of_pieces(disguise.text, pieces))
        return np.logical_or.reduce(masks) if masks else None


def _places(order: Sequence[str]) -> dict[str, list[int]]:
    """The first places of the words that are as long as short pieces."""
    places: dict[str, list[int]] = {}
    for place, word in enumerate(order):
        if len(word) in _SHORT_PIECES:
            of_word = places.setdefault(word, [])
            if len(of_word) < _MOST_PLACES:
                of_word.append(place)
    return places


def letters(text: str) -> str:
    """The letters and digits of a text, folded."""
    return _only_letters(fold(text).text)


def _only_letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text)


def _folded_ways(text: str) -> Iterator[str]:
    """The letters, and every second, third and fourth one."""
    yield text
    for step in _STEPS:
        yield "\n".join(text[start::step] for start in range(step))


def _without_percent(text: str) -> str:
    for _ in range(3):
        if "%" not in text:
            break
        text = unquote(text)
    return text


def _hexadecimal(text: str) -> str:
    return re.sub(r"[^0-9a-f]+", "", re.sub(r"0x|\\x", "", text.lower()))


def _characters_of_base64(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9+/]+", "", text.replace("-", "+").replace("_", "/"))


def _base64(raw: bytes) -> Iterator[str]:
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode("ascii")
        # The first and the last characters hold bits of the neighbours.
        yield encoded[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]


def _runs(text: str) -> NDArray[np.uint64]:
    """A number for each run of `_RUN_LENGTH` characters; of a shorter text none."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    count = max(len(codes) - _RUN_LENGTH + 1, 0)
    total = np.zeros(count, np.uint64)
    for place in range(_RUN_LENGTH):
        total = (total + codes[place : place + count]) * np.uint64(0x9E3779B97F4A7C15)
        total ^= total >> np.uint64(29)
    return total


def _present(disguises: Sequence[Disguise], texts: Iterable[str]) -> Iterator[tuple[Disguise, Mask]]:
    """Of each disguise of which a run stands in one of the texts, which runs do."""
    if not disguises:
        return
    runs = np.concatenate([one.runs for one in disguises])
    # Most runs of a text are of no secret: a table of some of their bits says so, and the rest is few.
    table, low = np.zeros(1 << 20, np.bool_), np.uint64((1 << 20) - 1)
    table[runs & low] = True
    found = np.zeros(len(runs), np.bool_)
    for text in texts:
        given = _runs(text)
        found |= np.isin(runs, given[table[given & low]])
    ends = np.cumsum([len(one.runs) for one in disguises])
    for disguise, part in zip(disguises, np.split(found, ends[:-1]), strict=True):
        if part.any():
            yield disguise, part


def _covered(present: Mask, length: int) -> Mask:
    """Which of ``length`` characters runs that are present cover."""
    change = np.zeros(length + 1, np.int64)
    starts = np.flatnonzero(present)
    np.add.at(change, starts, 1)
    np.add.at(change, starts + _RUN_LENGTH, -1)
    return np.cumsum(change[:-1]) > 0


def _mask_of_pieces(text: str, pieces: Iterable[str]) -> Mask:
    mask = np.zeros(len(text), np.bool_)
    for piece in pieces:
        place = text.find(piece)
        while place >= 0:
            mask[place : place + len(piece)] = True
            place = text.find(piece, place + 1)
    return mask
