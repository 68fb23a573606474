"""Documents: what can be found, in columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from jepakit.errors import DataError

Metadata = Mapping[str, str | int | float | bool]
"""The fields of a document that filters compare."""


@dataclass(frozen=True)
class Documents:
    """The corpus: what can be found.

    Args:
        ids: one for each document, no two the same.
        texts: their bodies.
        titles: their titles, ``""`` where there is none.
        metadata: what filters look at.
        source: the file (or other whole) each document is a part of: documents of one source never fall into two
            splits. Empty: each stands alone.

    Raises:
        DataError: the columns differ in length, or an id occurs twice.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    titles: tuple[str, ...]
    metadata: tuple[Metadata, ...]
    source: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_columns(self.ids, texts=self.texts, titles=self.titles, metadata=self.metadata)
        if self.source:
            check_columns(self.ids, source=self.source)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def row(self) -> dict[str, int]:
        """The row of each id."""
        return {name: row for row, name in enumerate(self.ids)}

    @cached_property
    def passages(self) -> tuple[str, ...]:
        """What is encoded and searched: title and text, as in BEIR (Thakur et al. 2021)."""
        return tuple(f"{title} {text}".strip() for title, text in zip(self.titles, self.texts, strict=True))


def check_columns(ids: Sequence[str], **columns: Sequence[object]) -> None:
    """Raises DataError where a column is not as long as the ids, or an id occurs twice."""
    for name, column in columns.items():
        if len(column) != len(ids):
            raise DataError("not one for each id", field=name, value=len(column), expected=str(len(ids)))
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = next(name for name in ids if name in seen or seen.add(name))
        raise DataError("an id occurs twice", field="ids", value=twice, expected="ids that are all different")


def metadata_json(metadata: Metadata, name: str) -> str:
    """The metadata of the document with the id ``name`` as JSON; raises DataError where JSON has no such value."""
    try:
        return json.dumps(dict(metadata), allow_nan=False)
    except (TypeError, ValueError) as error:
        problem = f"the metadata of the document {name!r} cannot be stored ({error})"
        raise DataError(problem, field="metadata", expected="texts, finite numbers, true and false") from error
