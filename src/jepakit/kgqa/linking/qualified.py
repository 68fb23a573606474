"""Names of parts joined by dots, as of modules and classes, and shorter forms of them in a text."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: The last part of a shorter form has at least this many characters: "G.B.F." is no such name.
_SHORTEST = 3
_IDENTIFIER = r"[^\W\d]\w*"
_QUALIFIED = re.compile(rf"{_IDENTIFIER}(?:\.{_IDENTIFIER})+")
_TOKEN = re.compile(rf"(?<![\w.]){_IDENTIFIER}(?:\.{_IDENTIFIER})*(?!\w)")
#: A word of one part counts where it is written like an identifier: with a capital after the first letter, an
#: underscore or a digit.
_WRITTEN_AS_IDENTIFIER = re.compile(r".+[A-Z_\d]")


class QualifiedNames:
    """Finds ``json.decoder.JSONDecodeError`` by ``json.JSONDecodeError`` or ``JSONDecodeError``.

    Args:
        names: of each entity; those that are not parts joined by dots are left out.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._rows: dict[str, list[tuple[int, list[str]]]] = {}
        for row, name in enumerate(names):
            if "." in name and _QUALIFIED.fullmatch(name):
                parts = name.casefold().split(".")
                self._rows.setdefault(parts[-1], []).append((row, parts))

    def matches(self, text: str) -> list[tuple[int, int, list[int]]]:
        """Start, end and entities of the parts of a text that are shorter forms.

        A shorter form ends with the last part of the name, and its other parts stand in the name in the same order.
        """
        if not self._rows:
            return []
        matches = []
        for token in _TOKEN.finditer(text):
            parts = token[0].casefold().split(".")
            if len(parts[-1]) < _SHORTEST or (len(parts) == 1 and not _WRITTEN_AS_IDENTIFIER.match(token[0])):
                continue
            rows = [row for row, name in self._rows.get(parts[-1], []) if _in_order(parts, name)]
            if rows:
                matches.append((*token.span(), rows))
        return matches


def _in_order(parts: Sequence[str], name: Sequence[str]) -> bool:
    rest = iter(name)
    return all(part in rest for part in parts)
