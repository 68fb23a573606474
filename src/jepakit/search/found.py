"""A document in the result of a search."""

from __future__ import annotations

from dataclasses import dataclass

from jepakit.search.documents import Metadata


@dataclass(frozen=True)
class Found:
    """A document in the result of a search; scores are comparable only within the result of one query."""

    id: str
    score: float
    title: str
    text: str
    metadata: Metadata
