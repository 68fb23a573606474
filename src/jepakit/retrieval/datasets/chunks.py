"""Words, sentences, and long texts in pieces that a sentence encoder reads whole."""

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
_END = re.compile(
    r"""
    \n\s*\n\s*                                  # a blank line
  | (?P<wide>[。！？｡]+[」』）】〉》”’"']*\s*)   # Chinese, Japanese: no space follows
  | (?P<stop>[.!?…؟۔।]+["'”’»)\]]*\s+)
  | \n[ \t]*(?=(?:[-*+•|]|\d{1,3}[.)])\s)       # an item of a list, a row of a table
    """,
    re.VERBOSE,
)
_ABBREVIATIONS = frozenset(
    (
        *("al.", "approx.", "cf.", "ch.", "dr.", "e.g.", "eq.", "eqs.", "fig.", "figs.", "i.e.", "mr.", "mrs.", "ms."),
        *("prof.", "sec.", "st.", "vol.", "vs."),
    )
)
_INITIALS = re.compile(r"([A-Z]\.)+")


@dataclass(frozen=True)
class ChunkConfig:
    """How long texts are cut.

    Args:
        words: the most words of a piece (a Chinese or Japanese character is one).
        overlap: the most words that a piece repeats from the end of the one before it, in whole sentences.
    """

    words: int = 180
    overlap: int = 30

    def __post_init__(self) -> None:
        if self.words < 1:
            raise ConfigError("words", self.words, "at least 1")
        if not 0 <= self.overlap < self.words:
            raise ConfigError("overlap", self.overlap, f"0 to {self.words - 1}, less than words")


@dataclass(frozen=True)
class Block:
    """A paragraph, or a block of code, whose lines stay whole."""

    text: str
    code: bool = False


def word_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each word: between white space, a character each where Chinese or Japanese is written."""
    return [match.span() for match in _WORD.finditer(text)]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence, without the white space around it.

    A sentence ends at a full stop, question or exclamation mark before white space and anything but a small letter
    (unless the stop stands alone), at a Chinese or Japanese one in any case, at a blank line, and before an
    item of a list. Common abbreviations and initials end none. Good enough for English and its neighbours, no parser.
    """
    ends = [match.end() for match in _END.finditer(text) if _ends_sentence(text, match)]
    spans: list[tuple[int, int]] = []
    for start, end in pairwise([0, *ends, len(text)]):
        sentence = text[start:end]
        if sentence.strip():
            first = start + len(sentence) - len(sentence.lstrip())
            spans.append((first, first + len(sentence.strip())))
    return spans


def chunk(blocks: Sequence[Block], config: ChunkConfig | None = None) -> list[str]:
    """Joins blocks into pieces of at most ``words`` words.

    A block is kept whole unless it alone is too long; then its sentences are, and of a sentence that is too long
    whatever fits. Every piece is a slice of the blocks joined by blank lines; what it repeats of the piece before it
    is as much as ``overlap`` and its own length allow.
    """
    config = config or ChunkConfig()
    text = "\n\n".join(block.text for block in blocks)
    pieces: list[list[_Atom]] = []
    repeated: list[_Atom] = []
    own: list[_Atom] = []
    for unit in _units(blocks, config):
        size = _size(unit)
        if own and _size(repeated) + _size(own) + size > config.words:
            pieces.append(repeated + own)
            repeated, own = _tail(repeated + own, config.overlap), []
        while not own and repeated and _size(repeated) + size > config.words:
            repeated = repeated[1:]
        own = own + unit
    if own:
        pieces.append(repeated + own)
    return [text[piece[0].start : piece[-1].end] for piece in pieces]


@dataclass(frozen=True, slots=True)
class _Atom:
    """What is never cut: a sentence, a line of code, or a run of words of one that is too long."""

    start: int
    end: int
    words: int


def _units(blocks: Sequence[Block], config: ChunkConfig) -> Iterator[list[_Atom]]:
    """The atoms that stay together, in order."""
    start = 0
    for block in blocks:
        atoms = list(_atoms(start, block, config))
        if _size(atoms) <= config.words:
            yield atoms
        else:
            yield from ([atom] for atom in atoms)
        start += len(block.text) + 2


def _atoms(offset: int, block: Block, config: ChunkConfig) -> Iterator[_Atom]:
    spans = _line_spans(block.text) if block.code else sentence_spans(block.text)
    for start, end in spans:
        words = word_spans(block.text[start:end])
        # Runs as long as the overlap, so that there is one where a sentence is cut.
        step = len(words) if len(words) <= config.words else config.overlap or config.words
        for run in range(0, len(words), max(step, 1)):
            some = words[run : run + step]
            yield _Atom(offset + start + some[0][0], offset + start + some[-1][1], len(some))


def _line_spans(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"[^\n]*\S[^\n]*", text)]


def _size(atoms: Sequence[_Atom]) -> int:
    return sum(atom.words for atom in atoms)


def _tail(atoms: list[_Atom], most: int) -> list[_Atom]:
    """The last atoms, as many as have ``most`` words in all."""
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
    following = text[match.end() : match.end() + 1]
    if following.islower():
        return False
    return not (word.lower().lstrip("([\"'") in _ABBREVIATIONS or _INITIALS.fullmatch(word))
