"""Texts as values are looked for in them, each prepared once, however many runs have read it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cached_property
from itertools import islice

from jepakit.guard.traces.folding import Folded, fold
from jepakit.guard.traces.records import Span, records
from jepakit.guard.traces.runs import WORDS, Words, common_runs

#: Places of a value in one text.
_PLACES = 8
#: Values whose places in a text are remembered, and the characters of the longest of them.
_MOST_VALUES, _LONGEST_VALUE = 1024, 1024
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d{1,40})(?:\.\d{1,40})?(?!\w)", re.ASCII)

Found = tuple[tuple[Span, float], ...]
"""Places in a folded text, each with the share of the value's characters that stand there."""


class Texts:
    """Texts that have been read, with what was found in them.

    Args:
        characters: of the texts that are kept for the next run; those used longest ago make room.
    """

    def __init__(self, characters: int = 0) -> None:
        self.vocabulary: dict[str, int] = {}
        self._most, self._size = characters, 0
        self._held: OrderedDict[tuple[str, bool], SearchedText] = OrderedDict()

    def get(self, text: str, *, has_records: bool) -> SearchedText:
        """A text; ``has_records``: it is an output."""
        key = (text, has_records)
        searched = self._held.pop(key, None)
        if searched is None:
            searched = SearchedText(fold(text), records(text) if has_records else [], self.vocabulary)
            self._size += len(text)
        self._held[key] = searched
        while self._size > self._most:
            (oldest, _), _ = self._held.popitem(last=False)
            self._size -= len(oldest)
        return searched


class SearchedText:
    """A text with what is needed to find values in it.

    Args:
        folded: the text.
        listed: its records.
        vocabulary: word -> number, of all texts that are compared with each other.
    """

    def __init__(self, folded: Folded, listed: list[Span], vocabulary: dict[str, int]) -> None:
        self._folded, self._records, self._vocabulary = folded, listed, vocabulary
        self._found: dict[tuple[Decimal | None, str], Found] = {}

    def found(self, number: Decimal | None, sought: str, words: Callable[[], Words]) -> Found:
        """The places of a value as a whole, of its number and of its folded text; else of its long runs of words.

        Args:
            number: without trailing zeros.
            sought: the folded text; empty for what is no text.
            words: gives its words.
        """
        key = (number, sought)
        known = self._found.get(key)
        if known is None:
            places = [] if number is None else self._numbers.get(number, [])[:_PLACES]
            if sought:
                places = list(dict.fromkeys([*places, *self.places(sought)]))[:_PLACES]
            known = tuple((place, 1.0) for place in places) or (() if number is not None else self._parts(words()))
            if len(sought) <= _LONGEST_VALUE and len(self._found) < _MOST_VALUES:
                self._found[key] = known
        return known

    def places(self, sought: str) -> list[Span]:
        """Places of a folded text."""
        return list(islice(self._of_text(sought), _PLACES))

    def original(self, place: Span) -> tuple[int, int, int | None]:
        """A part of the folded text as a part of the text itself, and the number of the record that it begins in."""
        start, end = self._folded.span(*place)
        number = bisect_right(self._records, (start, 1 << 62)) - 1
        return start, end, number if number >= 0 and start < self._records[number][1] else None

    @cached_property
    def _numbers(self) -> dict[Decimal, list[Span]]:
        numbers: dict[Decimal, list[Span]] = {}
        for match in _NUMBER.finditer(self._folded.text):
            numbers.setdefault(Decimal(match[0].replace(",", "")).normalize(), []).append(match.span())
        return numbers

    @cached_property
    def _words(self) -> Words:
        return Words(self._folded.text, self._vocabulary)

    def _of_text(self, sought: str) -> Iterator[Span]:
        """Places of a folded text that are not inside a longer word."""
        text, start = self._folded.text, -1
        while (start := text.find(sought, start + 1)) >= 0:
            if not _inside_word(text, start) and not _inside_word(text, start + len(sought)):
                yield start, start + len(sought)

    def _parts(self, sought: Words) -> Found:
        """The longest runs of words that both texts have, each with its share of the characters of ``sought``."""
        if len(sought.ids) < WORDS:
            return ()
        runs = common_runs(sought, self._words)[:_PLACES]
        spans = [
            (self._words.span(place, place + size), sought.span(start, start + size)) for start, place, size in runs
        ]
        return tuple((place, (end - start) / int(sought.ends[-1])) for place, (start, end) in spans)


def _inside_word(text: str, place: int) -> bool:
    """Whether letters or digits of ASCII stand on both sides: other scripts do without spaces."""
    beside = text[max(place - 1, 0) : place + 1]
    return 0 < place < len(text) and beside.isascii() and beside.isalnum()
