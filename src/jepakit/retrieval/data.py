"""The data of a search: documents, queries, and pairs that say which document answers which query."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from jepakit.search.documents import Documents, check_columns


@dataclass(frozen=True)
class Queries:
    """Queries of a collection: their ids, all different, and texts.

    Raises:
        DataError: the columns differ in length, or an id occurs twice.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        check_columns(self.ids, texts=self.texts)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def row(self) -> dict[str, int]:
        """The row of each id."""
        return {name: row for row, name in enumerate(self.ids)}

    def copies(self, rows: Sequence[int]) -> np.ndarray:
        """A number for each query of ``rows``, ``[Q]`` int64: equal for copies of one question, see `same_query`."""
        number: dict[str, int] = {}
        return np.array([number.setdefault(same_query(self.texts[row]), len(number)) for row in rows], np.int64)


def same_query(text: str) -> str:
    """What two spellings of one query have in common: the text in NFC, its runs of white space as single blanks."""
    return " ".join(unicodedata.normalize("NFC", text).split())


@dataclass(frozen=True)
class Pairs:
    """Relevance judgements: row i says that ``document[i]`` answers ``query[i]``.

    Args:
        query: rows of the queries, ``[P]`` int64.
        document: rows of the documents, ``[P]`` int64.
        grade: relevance, ``[P]`` int64: 1 and above is relevant, 0 is judged not relevant.
        page: ``[P]`` int64: pairs of one query and one page are a single answer, and each of their documents is all of
            it; -1: a document that is an answer of its own. None: all are.
    """

    query: Tensor
    document: Tensor
    grade: Tensor
    page: Tensor | None = None

    def __len__(self) -> int:
        return int(self.query.numel())

    def __getitem__(self, index: Tensor) -> Pairs:
        """The pairs at ``index``, int64 or bool."""
        page = None if self.page is None else self.page[index]
        return Pairs(self.query[index], self.document[index], self.grade[index], page)

    @property
    def pages(self) -> Tensor:
        """``page``, with -1 for all where it is None."""
        return torch.full_like(self.query, -1) if self.page is None else self.page

    @property
    def relevant(self) -> Pairs:
        """The pairs of grade 1 and above."""
        return self[self.grade > 0]

    @property
    def queries(self) -> Tensor:
        """Rows of the queries that occur, ascending."""
        return self.query.unique()

    @property
    def documents(self) -> Tensor:
        """Rows of the documents that occur, ascending."""
        return self.document.unique()

    @classmethod
    def of(cls, query: Sequence[int], document: Sequence[int], grade: Sequence[int] | None = None) -> Pairs:
        """Pairs from plain numbers; without grades, each has grade 1."""
        grades = torch.ones(len(query), dtype=torch.long) if grade is None else torch.tensor(grade, dtype=torch.long)
        return cls(torch.tensor(query, dtype=torch.long), torch.tensor(document, dtype=torch.long), grades)


@dataclass(frozen=True)
class RetrievalDataset:
    """A collection with its queries and relevance judgements.

    Args:
        name: its name in tables.
        documents: the corpus.
        queries: all queries of all splits.
        splits: ``train``, ``dev``, ``test`` (any of them) -> pairs.
        origin: source of the data, and how jepakit made its pairs or splits, if it did.
        labelled: True for human judgements, False for pairs made from the corpus itself.
        own_dev: False where jepakit made the split ``dev``.
    """

    name: str
    documents: Documents
    queries: Queries
    splits: Mapping[str, Pairs] = field(default_factory=dict)
    origin: str = ""
    labelled: bool = True
    own_dev: bool = True

    @property
    def training(self) -> Pairs:
        """The train and dev pairs together, from which an adapter may learn."""
        parts = [Pairs.of([], []), *(self.splits[name] for name in ("train", "dev") if name in self.splits)]
        columns = zip(*((part.query, part.document, part.grade, part.pages) for part in parts), strict=True)
        return Pairs(*map(torch.cat, columns))
