"""How wide a text is: at most, in the fonts that browsers take for the page."""

from __future__ import annotations

import unicodedata

#: Parts of the size of the letters; DejaVu Sans is among the widest fonts.
_NARROW, _COMMON, _WIDE, _FULL = 0.42, 0.64, 0.84, 1.02
_NARROW_LETTERS, _FULL_LETTERS = frozenset(" !'(),-./:;I[\\]`fijlrt|"), frozenset("%@MWm…—→")


def text_width(text: str, size: float) -> float:
    """An upper bound of the width of a text of such letters, in pixels; of scripts other than Latin an estimate."""
    return size * sum(map(_width, text))


def is_known(text: str) -> bool:
    """Whether the bound of `text_width` holds: for Latin letters."""
    return all(letter < "\u0180" or letter in _FULL_LETTERS for letter in text)


def fitting(text: str, *, size: float, width: float) -> str:
    """The text in one line, or its beginning and an ellipsis where it is wider than ``width``."""
    line = " ".join(text.split())
    if text_width(line, size) <= width:
        return line
    left, end = width / size - _FULL, 0
    while end < len(line) and (left := left - _width(line[end])) >= 0:
        end += 1
    return f"{line[:end]}…"


def _width(letter: str) -> float:
    if letter in _NARROW_LETTERS:
        return _NARROW
    if letter in _FULL_LETTERS:
        return _FULL
    if letter.isascii():
        return _COMMON if letter.islower() or letter.isdigit() else _WIDE
    if unicodedata.combining(letter):
        return 0.0
    return _FULL
