"""What values are by their looks: addresses, accounts, paths, dates."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jepakit.guard.traces.strict_json import is_number

#: The first that matches.
_SHAPES = {
    "email": re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+"),
    "account": re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{10,30}"),
    "url": re.compile(r"(https?://)?(www\.)?[\w-]+(\.[\w-]+)+(/\S*)?"),
    "path": re.compile(r"[\w.-]+(/[\w.-]+)*\.[a-z]{2,4}"),
    "date": re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2})?)?"),
    "identifier": re.compile(r"[A-Z]?\d{1,8}"),
}
_WORD = re.compile(r"""[^\s"'`<>(),;\[\]{}]{1,200}""")


def shape_of(value: object) -> str | None:
    """What a text is by its looks: email, account, url, path, date or identifier; None: none of these."""
    if not isinstance(value, str):
        return None
    return next((shape for shape, pattern in _SHAPES.items() if pattern.fullmatch(value)), None)


def kind_of(value: object) -> str | None:
    """`shape_of`, and ``number`` for a number."""
    return "number" if is_number(value) else shape_of(value)


def shaped_words(text: str) -> Iterator[tuple[str, str]]:
    """The words of a text that have a shape: shape and word."""
    for match in _WORD.finditer(text):
        word = match[0].strip(".:!?*")
        if (shape := shape_of(word)) is not None:
            yield shape, word
