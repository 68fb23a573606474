"""The records of a tool's output: the mails of a list of mails, the rows of a table."""

from __future__ import annotations

import re

Span = tuple[int, int]
_ITEM = re.compile(r"^- ?", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n[ \t\r]*\n\s*")
_STRUCTURE = re.compile(r"""[\[\](){},]|"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'""", re.DOTALL)
_OPEN, _CLOSE = "[({", "])}"


def records(text: str) -> list[Span]:
    """Start and end of the records of a text, in order and without overlap; what is between them belongs to none.

    Records are the elements of a list in the notation of JSON or Python, the items of a YAML list, or else paragraphs.
    """
    listed = _elements(text)
    if not listed:
        starts = [match.start() for match in _ITEM.finditer(text)]
        if len(starts) > 1 or (starts and not text[: starts[0]].strip()):
            listed = list(zip(starts, [*starts[1:], len(text)], strict=True))
    if not listed:
        breaks = [match.span() for match in _BLANK_LINES.finditer(text)]
        listed = list(zip([0, *(end for _, end in breaks)], [*(start for start, _ in breaks), len(text)], strict=True))
    return [span for span in (_stripped(text, *span) for span in listed) if span[0] < span[1]]


def _elements(text: str) -> list[Span]:
    """The elements of a text that is one list in brackets as a whole."""
    start, end = _stripped(text, 0, len(text))
    if end - start < 2 or text[start] != "[" or text[end - 1] != "]":
        return []
    depth, first, found = 0, start + 1, list[Span]()
    for match in _STRUCTURE.finditer(text, start, end):
        mark = text[match.start()]
        if mark in _OPEN:
            depth += 1
        elif mark in _CLOSE:
            depth -= 1
            if depth == 0 and match.end() < end:
                return []
        elif mark == "," and depth == 1:
            found.append((first, match.start()))
            first = match.end()
    return [*found, (first, end - 1)] if depth == 0 else []


def _stripped(text: str, start: int, end: int) -> Span:
    part = text[start:end]
    start += len(part) - len(part.lstrip())
    return start, max(start, end - (len(part) - len(part.rstrip())))
