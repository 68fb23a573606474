"""Queries that one search answers better, or worse, than another: what was found, and what was wanted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from jepakit.retrieval.data import Documents, RetrievalDataset
from jepakit.search.hits import Hits
from jepakit.training.report.sections import ReportSection

__all__ = ["Example", "Scored", "example_section", "examples_of_change"]

#: Relevant documents of an example that a report names.
_MOST_WANTED = 3
#: Of a query or document that a report shows.
_MOST_CHARACTERS = 120


@dataclass(frozen=True)
class Example:
    """A query whose result changed.

    Args:
        query: its text.
        before: NDCG@10 of the floor.
        after: of ours.
        found_before: id of the floor's first document; empty where it found none.
        found_after: of ours.
        wanted: ids of the relevant ones.
    """

    query: str
    before: float
    after: float
    found_before: str
    found_after: str
    wanted: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """A search and how well it did.

    Args:
        hits: of each query, ``[Q, k]``.
        ndcg: NDCG@10 of each, ``[Q]``.
    """

    hits: Hits
    ndcg: np.ndarray


def examples_of_change(
    dataset: RetrievalDataset, split: str, queries: Tensor, before: Scored, after: Scored, count: int
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The queries that gained most, and those that lost most, the largest change first; at most ``count`` of each.

    Args:
        dataset: the collection.
        split: the split with the judgements.
        queries: rows of the queries, ``[Q]``.
        before: the floor.
        after: ours.
        count: how many.
    """
    relevant, ids = dataset.splits[split].relevant, dataset.documents.ids

    def example(place: int) -> Example:
        query = int(queries[place])
        return Example(
            query=dataset.queries.texts[query],
            before=float(before.ndcg[place]),
            after=float(after.ndcg[place]),
            found_before=_first(ids, before.hits, place),
            found_after=_first(ids, after.hits, place),
            wanted=tuple(ids[row] for row in relevant.document[relevant.query == query].tolist()),
        )

    change = after.ndcg - before.ndcg
    order = np.argsort(change, kind="stable")
    lost, gained = order[change[order] < 0], order[change[order] > 0][::-1]
    return tuple(map(example, gained[:count].tolist())), tuple(map(example, lost[:count].tolist()))


def example_section(
    title: str, examples: tuple[Example, ...], documents: Documents, *, ours: str, floor: str
) -> ReportSection:
    """Examples for a report, with the beginning of each document.

    Args:
        title: the heading.
        examples: one a row.
        documents: the collection.
        ours: what the search that is judged is called.
        floor: what the one is called that it is judged against.
    """

    def shown(name: str) -> str:
        return f"{name}: {_beginning(documents.passages[documents.row[name]])}" if name else "nothing"

    def wanted(names: tuple[str, ...]) -> str:
        more = [f"and {len(names) - _MOST_WANTED} more"] if len(names) > _MOST_WANTED else []
        return "; ".join([*map(shown, names[:_MOST_WANTED]), *more])

    return ReportSection(
        title=title,
        columns=("Query", f"NDCG@10, {floor}", f"NDCG@10, {ours}", f"First of {floor}", f"First of {ours}", "Wanted"),
        rows=tuple(
            (
                _beginning(one.query),
                one.before,
                one.after,
                shown(one.found_before),
                shown(one.found_after),
                wanted(one.wanted),
            )
            for one in examples
        ),
    )


def _first(ids: tuple[str, ...], hits: Hits, place: int) -> str:
    row = int(hits.rows[place, 0])
    return ids[row] if row >= 0 else ""


def _beginning(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"
