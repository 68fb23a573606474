"""A document in the result of a search."""

from __future__ import annotations

from dataclasses import dataclass

from jepakit.notebook import html_table
from jepakit.search.documents import Metadata

_SHOWN = 200


@dataclass(frozen=True)
class Found:
    """A document in the result of a search; scores are comparable only within the result of one query."""

    id: str
    score: float
    title: str
    text: str
    metadata: Metadata


class FoundDocuments(list[Found]):
    """The documents found for one query, best first."""

    def _repr_html_(self) -> str:
        rows = [(hit.score, hit.title or hit.id, _shortened(hit.text)) for hit in self]
        return html_table(("score", "document", "text"), rows)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
