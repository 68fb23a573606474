"""Words of a text in normal form, and names found by such words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

#: Scripts without spaces between words: a character is a word.
_SINGLE = "\u3041-\u3096\u30a1-\u30fa\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
#: Accents that stand as characters of their own, and the vowel signs of Indic scripts, Hebrew and Arabic.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0903\u093a-\u094f\u0981-\u0983\u09bc-\u09cd"
_WORD = re.compile(rf"[{_SINGLE}]|(?:[^\W_{_SINGLE}]|[{_MARKS}])+|&")
ARTICLES = frozenset({"the", "a", "an"})
_TRAILING_ARTICLE = re.compile(r"^(.*\S), (the|an?)$", re.IGNORECASE)
#: Function words, and the words that questions are made of. A name of these alone is hardly ever meant.
# fmt: off
COMMON_WORDS = frozenset(
    {
        "a", "about", "above", "after", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "because",
        "been", "before", "being", "between", "both", "but", "by", "can", "could", "did", "do", "does", "doing",
        "for", "from", "had", "has", "have", "he", "her", "here", "him", "his", "how", "i", "if", "in", "into",
        "is", "it", "its", "just", "like", "many", "me", "more", "most", "much", "my", "no", "not", "of", "off",
        "on", "one", "only", "or", "other", "our", "out", "over", "she", "should", "so", "some", "such", "than",
        "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "through", "to", "too",
        "under", "up", "us", "very", "was", "we", "were", "what", "when", "where", "which", "while", "who", "whom",
        "whose", "why", "will", "with", "would", "you", "your", "give", "list", "name", "named", "tell", "show",
        "find"
    }
)
# fmt: on


@dataclass(frozen=True)
class Words:
    """The words of a text in normal form, with their places.

    Args:
        texts: the words: no accents, no capitals, compatible characters are one.
        starts: the first character of each.
        ends: the character after the last of each.
    """

    texts: list[str]
    starts: list[int]
    ends: list[int]

    @classmethod
    def of(cls, text: str) -> Words:
        """The words of a text; punctuation and underscores separate words."""
        places = [match.span() for match in _WORD.finditer(text)]
        texts = [_normal(text[start:end]) for start, end in places]
        return cls(texts, [start for start, _ in places], [end for _, end in places])

    def key(self, start: int, stop: int) -> str:
        """The words ``start`` to ``stop - 1`` as one text."""
        return " ".join(self.texts[start:stop])


def name_key(name: str) -> str:
    """The normal form of a name: its words without the article, which may stand first or, after a comma, last."""
    turned = _TRAILING_ARTICLE.match(name)
    words = Words.of(turned[1] if turned else name).texts
    return " ".join(words[1:] if len(words) > 1 and words[0] in ARTICLES else words)


class NameIndex:
    """Finds the names whose normal form stands in a text.

    Args:
        names: of each entity.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.rows: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            self.rows.setdefault(name_key(name), []).append(row)
        self.rows.pop("", None)
        # The most words of a name that begins with a word: longer parts of a text need not be looked up.
        self._longest: dict[str, int] = {}
        for key in self.rows:
            first, _, rest = key.partition(" ")
            count = 1 + (rest.count(" ") + 1 if rest else 0)
            self._longest[first] = max(count, self._longest.get(first, 0))

    def spans(self, words: Words) -> list[tuple[int, int]]:
        """The parts ``start, stop`` (words) that are names, none in or across another: the longest are kept."""
        texts, named = words.texts, []
        for start, word in enumerate(texts):
            for stop in range(start + 1, min(len(texts), start + self._longest.get(word, 0)) + 1):
                if words.key(start, stop) in self.rows:
                    named.append((start, stop))
        return without_overlap(sorted(named, key=lambda span: (span[0] - span[1], span[0])))


def without_overlap(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in their order, each dropped that overlaps one kept before."""
    kept: list[tuple[int, int]] = []
    for start, stop in spans:
        if all(stop <= other_start or start >= other_stop for other_start, other_stop in kept):
            kept.append((start, stop))
    return kept


def _normal(word: str) -> str:
    if word.isascii():
        return "and" if word == "&" else word.lower()
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))
