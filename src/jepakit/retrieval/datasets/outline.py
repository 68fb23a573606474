"""Markdown, HTML and plain text as sections: paragraphs under the path of their headings."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jepakit.errors import MissingExtraError
from jepakit.retrieval.datasets.chunks import Block

if TYPE_CHECKING:
    from bs4 import BeautifulSoup


_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*")
_NO_HEADING = re.compile(r"\s*([-*+>|]|\d+[.)])\s")
_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n)?(?:---|\.\.\.)[ \t]*(?:\n|$)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*(.+?)[ \t]*$", re.MULTILINE)

_HEADING = re.compile("h([1-6])")
_DROPPED = re.compile("nav|noscript|script|style|svg|template|title")
_BLOCKS = re.compile(
    "address|article|aside|blockquote|body|caption|dd|details|div|dl|dt|fieldset|figcaption|figure|footer|form|header|hr|"
    "html|li|main|ol|option|p|section|summary|table|tbody|tfoot|thead|tr|ul"
)


@dataclass(frozen=True)
class Section:
    """The text from one heading to the next.

    Args:
        headings: from the outermost to its own; without the heading that is the document's title.
        blocks: its paragraphs.
    """

    headings: tuple[str, ...]
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Outline:
    """The parts of a document.

    Args:
        title: its only heading of level 1, else the title in its head, else ``""``.
        sections: those with text.
    """

    title: str
    sections: tuple[Section, ...]


def plain_outline(text: str) -> Outline:
    """One section, with paragraphs between blank lines."""
    draft = _Draft()
    for paragraph in re.split(r"\n\s*\n", re.sub(r"\r\n?", "\n", text)):
        draft.add(paragraph)
    return draft.outline("")


def markdown_outline(text: str) -> Outline:
    """Sections by headings, with ``#`` or underlined; front matter and comments are left out."""
    text = re.sub(r"\r\n?", "\n", text)
    front = _FRONT_MATTER.match(text)
    named = _FRONT_TITLE.search(front[1] or "") if front else None
    draft, lines = _Draft(), list[str]()
    for kind, line in _markdown_events(text[front.end() if front else 0 :]):
        if kind == "code":
            draft.add(_taken(lines))
            draft.add(line, code=True)
        elif heading := _ATX.fullmatch(line):
            draft.add(_taken(lines))
            draft.heading(len(heading[1]), _without_markup(heading[2] or ""))
        elif len(lines) == 1 and (under := _UNDERLINE.fullmatch(line)) and not _NO_HEADING.match(lines[0]):
            draft.heading(1 if under[1][0] == "=" else 2, _without_markup(_taken(lines)))
        elif line.strip():
            lines.append(line)
        else:
            draft.add(_taken(lines))
    draft.add(_taken(lines))
    return draft.outline(named[1].strip("\"'") if named else "")


def html_outline(text: str) -> Outline:
    """Sections by headings; scripts, styles and navigation are left out, entities decoded, white space is collapsed.

    Raises:
        MissingExtraError: beautifulsoup4 is not installed.
    """
    try:
        from bs4 import BeautifulSoup
    except ModuleNotFoundError as error:
        raise MissingExtraError("beautifulsoup4", "retrieval") from error
    with warnings.catch_warnings():
        # Beautiful Soup warns of XHTML, and of a text of one line, which might be a file name.
        warnings.simplefilter("ignore")
        soup = BeautifulSoup(text, "html.parser")
    draft, words = _Draft(), list[str]()
    for kind, content in _html_events(soup):
        if kind == "words":
            words.append(content)
            continue
        draft.add(re.sub(r" *\n *| +", lambda gap: "\n" if "\n" in gap[0] else " ", _taken(words, "")))
        if kind == "code":
            draft.add(content.strip("\n"), code=True)
        elif heading := _HEADING.fullmatch(kind):
            draft.heading(int(heading[1]), " ".join(content.split()).rstrip("¶ "))
    return draft.outline("" if soup.title is None else " ".join(soup.title.get_text().split()))


def _html_events(soup: BeautifulSoup) -> Iterator[tuple[str, str]]:
    """The parts of a page in order: ``words``, ``code``, headings by the name of their tag, and ``end`` of a block."""
    from bs4.element import NavigableString, PreformattedString, Tag

    # No recursion, since a page may be nested deeply.
    pending: list[object] = [None, soup]
    while pending:
        node = pending.pop()
        if node is None:
            yield "end", ""
        elif isinstance(node, NavigableString):
            if not isinstance(node, PreformattedString):
                yield "words", re.sub(r"\s+", " ", node)
        elif not isinstance(node, Tag) or _DROPPED.fullmatch(node.name):
            continue
        elif node.name == "pre" or _HEADING.fullmatch(node.name):
            yield "code" if node.name == "pre" else node.name, node.get_text()
        elif node.name == "br":
            yield "words", "\n"
        else:
            if _BLOCKS.fullmatch(node.name):
                yield "end", ""
                pending.append(None)
            pending.extend(reversed(node.contents))
            yield "words", " " if node.name in ("td", "th") else ""


def _markdown_events(text: str) -> Iterator[tuple[str, str]]:
    """The parts of a text in order: a ``line``, or fenced ``code`` in one piece; comments are left out."""
    code, fence, comment = list[str](), "", False
    for line in text.split("\n"):
        mark = _FENCE.fullmatch(line)
        if fence:
            code.append(line)
            if mark and mark[1].startswith(fence) and not mark[2].strip():
                fence = ""
                yield "code", _taken(code)
        elif comment or line.lstrip().startswith("<!--"):
            _, end, rest = line.partition("-->")
            comment = not end
            if rest.strip():
                yield "line", rest
        elif mark and not (mark[1][0] == "`" and "`" in mark[2]):
            fence = mark[1]
            code.append(line)
        else:
            yield "line", line
    if code:
        yield "code", _taken(code)


class _Draft:
    """An outline that grows as the document is read."""

    def __init__(self) -> None:
        self._path: tuple[tuple[int, str], ...] = ()
        self._sections: list[tuple[tuple[tuple[int, str], ...], list[Block]]] = [((), [])]
        self._top_headings: list[str] = []

    def add(self, text: str, *, code: bool = False) -> None:
        """Adds a paragraph or a block of code, unless it is blank."""
        if text.strip():
            self._sections[-1][1].append(Block(text if code else text.strip(), code))

    def heading(self, level: int, text: str) -> None:
        """Starts a section under this heading."""
        self._path = tuple(outer for outer in self._path if outer[0] < level)
        if text:
            self._path += ((level, text),)
        if level == 1:
            self._top_headings.append(text)
        self._sections.append((self._path, []))

    def outline(self, title: str) -> Outline:
        """The outline; ``title`` is used unless there is exactly one heading of level 1."""
        only = self._top_headings[0] if len(self._top_headings) == 1 else None
        lowest = 1 if only is None else 2
        sections: list[Section] = []
        for path, blocks in self._sections:
            headings = tuple(text for level, text in path if level >= lowest)
            # Text before the title, such as badges, belongs to the text under the title.
            if sections and not headings and not sections[-1].headings:
                sections[-1] = Section((), (*sections[-1].blocks, *blocks))
            elif blocks:
                sections.append(Section(headings, tuple(blocks)))
        return Outline(only or title, tuple(sections))


def _taken(lines: list[str], joint: str = "\n") -> str:
    """Joins the lines and empties the list."""
    text = joint.join(lines)
    lines.clear()
    return text


def _without_markup(heading: str) -> str:
    """Links as their text, without emphasis, code marks and an explicit anchor (``{#name}``)."""
    heading = re.sub(r"\s*\{#[^}]*\}\s*$", "", heading)
    heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"`|\*\*?|(?<!\w)__?|__?(?!\w)", "", heading).strip()
