"""Words and sentences, and long texts cut into pieces that a sentence encoder reads whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from jepakit.errors import ConfigError

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
# Chinese and Japanese have no spaces: a character counts as a word. A longer run than any word is a number, a table of
# bytes or a script without spaces, and is cut.
_WORD = re.compile(rf"[{_CJK}]|[^\s{_CJK}]{{1,40}}")
_NOT_BLANK = re.compile(r"\S(.*\S)?", re.DOTALL)
_LINE = re.compile(r".*\S.*")
_END = re.compile(
    r"""
    \n\s*\n\s*                                  # a blank line
  | (?P<wide>[。！？｡]+[」』）】〉》”’"']*\s*)   # Chinese, Japanese: no space follows
  | (?P<stop>[.!?…؟۔।]+["'”’»)\]]*\s+)
  | \n[ \t]*(?=(?:[-*+•|]|\d{1,3}[.)])\s)       # an item of a list, a row of a table
    """,
    re.VERBOSE,
)
_ABBREVIATION = re.compile(
    r"[(\[\"']*(?i:al|approx|cf|ch|dr|e\.g|eqs?|figs?|i\.e|mr|mrs|ms|prof|sec|st|vol|vs)\.|([A-Z]\.)+"
)


@dataclass(frozen=True)
class Block:
    """A paragraph, or a block of code whose lines are not cut."""

    text: str
    code: bool = False


def word_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each word, by white space; a Chinese or Japanese character is a word."""
    return [match.span() for match in _WORD.finditer(text)]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence, without the white space around it.

    A sentence ends at a full stop, question or exclamation mark before white space and anything but a small letter
    (unless the stop stands alone), at any Chinese or Japanese one, at a blank line, and before an item of a list.
    Common abbreviations and initials do not end one. The rules are made for European languages, Chinese and Japanese.
    """
    ends = [match.end() for match in _END.finditer(text) if _ends_sentence(text, match)]
    stripped = (_NOT_BLANK.search(text, start, end) for start, end in pairwise([0, *ends, len(text)]))
    return [match.span() for match in stripped if match]


def chunk(blocks: Sequence[Block], *, words: int = 180, overlap: int = 30) -> list[str]:
    """Joins blocks into pieces of at most ``words`` words.

    A block is cut only if it is too long for a piece, between sentences; a sentence only if it is too long. Every piece
    is a slice of the blocks joined by blank lines. It repeats whole sentences from the end of the previous piece, as
    many as fit into ``overlap`` words and its own length.

    Raises:
        ConfigError: ``words`` is less than 1, or ``overlap`` not in ``[0, words)``.
    """
    if words < 1:
        raise ConfigError("words", words, "at least 1")
    if not 0 <= overlap < words:
        raise ConfigError("overlap", overlap, f"0 to {words - 1}, less than words")
    text = "\n\n".join(block.text for block in blocks)
    pieces: list[list[_Atom]] = []
    repeated: list[_Atom] = []
    own: list[_Atom] = []
    for unit in _units(blocks, words, overlap):
        size = _size(unit)
        if own and _size(repeated) + _size(own) + size > words:
            pieces.append(repeated + own)
            repeated, own = _tail(repeated + own, overlap), []
        while not own and repeated and _size(repeated) + size > words:
            repeated = repeated[1:]
        own = own + unit
    if own:
        pieces.append(repeated + own)
    return [text[piece[0].start : piece[-1].end] for piece in pieces]


@dataclass(frozen=True, slots=True)
class _Atom:
    """A span that is not cut: a sentence, a line of code, or a run of words of one that is too long."""

    start: int
    end: int
    words: int


def _units(blocks: Sequence[Block], most: int, overlap: int) -> Iterator[list[_Atom]]:
    """Lists of atoms that stay together, in order."""
    start = 0
    for block in blocks:
        atoms = list(_atoms(start, block, most, overlap))
        yield from [atoms] if _size(atoms) <= most else ([atom] for atom in atoms)
        start += len(block.text) + 2


def _atoms(offset: int, block: Block, most: int, overlap: int) -> Iterator[_Atom]:
    lines = [match.span() for match in _LINE.finditer(block.text)]
    for start, end in lines if block.code else sentence_spans(block.text):
        words = word_spans(block.text[start:end])
        # Runs as long as the overlap, so that a piece can repeat one.
        step = len(words) if len(words) <= most else overlap or most
        for first in range(0, len(words), max(step, 1)):
            run = words[first : first + step]
            yield _Atom(offset + start + run[0][0], offset + start + run[-1][1], len(run))


def _size(atoms: Sequence[_Atom]) -> int:
    return sum(atom.words for atom in atoms)


def _tail(atoms: list[_Atom], most: int) -> list[_Atom]:
    """The last atoms that have at most ``most`` words together."""
    first = len(atoms)
    while first and _size(atoms[first - 1 :]) <= most:
        first -= 1
    return atoms[first:]


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    if match["stop"] is None or match["stop"].count("\n") > 1:
        return True
    before = text[max(0, match.start() - 12) : match.start() + 1].split()
    word = before[-1] if before else ""
    if word == ".":
        return True
    return not text[match.end() : match.end() + 1].islower() and not _ABBREVIATION.fullmatch(word)
