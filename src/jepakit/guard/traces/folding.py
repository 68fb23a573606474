"""One spelling for texts that look alike, with the way back to the characters they came from.

Folding is for finding a value in a text, and makes more texts alike, never fewer: capitals, accents, compatible and
confusable characters, invisible characters and runs of space. What folds alike may still differ, so nothing is allowed
because of it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: Letters of other scripts that look like Latin ones (a part of Unicode's confusables.txt, UTS #39), in lower case.
# fmt: off
_CONFUSABLE = str.maketrans({
    # Cyrillic
    "а": "a", "е": "e", "о": "o", "р": "p", "с": "c", "у": "y", "х": "x", "і": "i", "ј": "j", "ѕ": "s", "ԁ": "d",
    "ԛ": "q", "ԝ": "w", "һ": "h", "ӏ": "l", "в": "b", "к": "k", "м": "m", "н": "h", "т": "t",
    # Greek
    "α": "a", "ε": "e", "ι": "i", "κ": "k", "ν": "v", "ο": "o", "ρ": "p", "τ": "t", "υ": "u", "χ": "x", "γ": "y",
    "ω": "w",
    # Latin and Armenian
    "ɡ": "g", "ɑ": "a", "ı": "i", "ո": "n", "օ": "o", "ս": "u",
})
# fmt: on


@dataclass(frozen=True)
class Folded:
    """A folded text.

    Args:
        text: as it is compared.
        places: the place in the original of each of its characters, and the original's length, ``[len(text) + 1]``.
    """

    text: str
    places: NDArray[np.int64]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The part of the original that ``text[start:end]``, which is not empty, comes from."""
        return int(self.places[start]), int(self.places[end - 1]) + 1


def fold(text: str) -> Folded:
    """The folded text; a run of spaces is one space, and none stands at either end."""
    places = np.arange(len(text) + 1)
    if text.isascii() and text.isprintable() and "  " not in text and text == text.strip():
        # Most values: the steps below would change nothing but capitals.
        return Folded(text.lower(), places)
    places = places[:-1]
    if text.isascii():
        codes = _codes(text.lower())
    else:
        codes, places = _folded_codes(text)
    space = (codes == 32) | ((codes >= 9) & (codes <= 13))
    seen = space | ((codes > 32) & (codes != 127))
    codes, places, space = np.where(space, 32, codes)[seen].astype(np.uint32), places[seen], space[seen]
    kept = ~space
    # Of a run of spaces the first is kept, but at the beginning and at the end.
    kept[1:] |= ~space[:-1]
    kept[np.flatnonzero(~space).max(initial=-1) + 1 :] = False
    return Folded(codes[kept].tobytes().decode("utf-32-le", "surrogatepass"), np.append(places[kept], len(text)))


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _folded_codes(text: str) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The folded characters of a text, and the place of the one that each comes from."""
    # Each different character is folded once, however long the text is.
    different, which = np.unique(_codes(text), return_inverse=True)
    parts = [_folded_character(chr(code)) for code in different.tolist()]
    lengths = np.fromiter(map(len, parts), np.int64, len(parts))
    starts = np.cumsum(lengths) - lengths
    of_each = lengths[which]
    places = np.repeat(np.arange(len(text)), of_each)
    inside = np.arange(len(places)) - np.repeat(np.cumsum(of_each) - of_each, of_each)
    return _codes("".join(parts))[starts[which][places] + inside], places


@lru_cache(maxsize=1 << 16)
def _folded_character(character: str) -> str:
    """Compatible form, no marks, lower case, confusable letters as Latin ones; empty for what cannot be seen."""
    if character.isspace():
        return " "
    previous, folded = "", character
    # The lower case of a compatible form may have a compatible form of its own.
    while folded != previous:
        previous = folded
        decomposed = unicodedata.normalize("NFKD", folded).casefold().translate(_CONFUSABLE)
        # Without marks, format characters (zero width, directions, tags) and controls.
        folded = "".join(one for one in decomposed if unicodedata.category(one) not in ("Mn", "Me", "Cf", "Cc"))
    return folded
