"""Example queries that one search answers better, or worse, than another, with their first and relevant documents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from jepakit.retrieval.data import RetrievalDataset
from jepakit.search.documents import Documents
from jepakit.search.hits import Hits
from jepakit.training.report.sections import ReportSection

#: Relevant documents that a report shows for an example.
_SHOWN_RELEVANT = 3
#: Characters of a query or document that a report shows.
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True)
class Example:
    """A query whose result changed.

    Args:
        query: text of the query.
        before: NDCG@10 of the floor.
        after: NDCG@10 of our search.
        first_before: id of the first hit of the floor; empty without hits.
        first_after: id of the first hit of our search.
        relevant: ids of the relevant documents.
    """

    query: str
    before: float
    after: float
    first_before: str
    first_after: str
    relevant: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """The hits of a search and their scores.

    Args:
        hits: hits of each query, ``[Q, k]``.
        ndcg: NDCG@10 of each query, ``[Q]``.
    """

    hits: Hits
    ndcg: np.ndarray


def examples_of_change(
    dataset: RetrievalDataset, split: str, queries: Tensor, before: Scored, after: Scored, count: int
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The queries that gained most and the queries that lost most, the largest change first.

    Args:
        dataset: the collection.
        split: the split with the judgements.
        queries: rows of the queries, ``[Q]``.
        before: the floor.
        after: our search.
        count: the most examples of each.
    """
    relevant, ids = dataset.splits[split].relevant, dataset.documents.ids

    def example(place: int) -> Example:
        query = int(queries[place])
        return Example(
            query=dataset.queries.texts[query],
            before=float(before.ndcg[place]),
            after=float(after.ndcg[place]),
            first_before=_first(ids, before.hits, place),
            first_after=_first(ids, after.hits, place),
            relevant=tuple(ids[row] for row in relevant.document[relevant.query == query].tolist()),
        )

    change = after.ndcg - before.ndcg
    order = np.argsort(change, kind="stable")
    lost, gained = order[change[order] < 0], order[change[order] > 0][::-1]
    return tuple(map(example, gained[:count].tolist())), tuple(map(example, lost[:count].tolist()))


def example_section(
    title: str, examples: tuple[Example, ...], documents: Documents, *, ours: str, floor: str
) -> ReportSection:
    """A report section of examples, with the beginning of each document.

    Args:
        title: heading of the section.
        examples: the rows.
        documents: the collection.
        ours: name of our search.
        floor: name of the search it is compared with.
    """

    def shown(name: str) -> str:
        return f"{name}: {_beginning(documents.passages[documents.row[name]])}" if name else "nothing"

    def relevant(names: tuple[str, ...]) -> str:
        more = [f"and {len(names) - _SHOWN_RELEVANT} more"] if len(names) > _SHOWN_RELEVANT else []
        return "; ".join([*map(shown, names[:_SHOWN_RELEVANT]), *more])

    return ReportSection(
        title=title,
        columns=("Query", f"NDCG@10, {floor}", f"NDCG@10, {ours}", f"First of {floor}", f"First of {ours}", "Relevant"),
        rows=tuple(
            (
                _beginning(example.query),
                example.before,
                example.after,
                shown(example.first_before),
                shown(example.first_after),
                relevant(example.relevant),
            )
            for example in examples
        ),
    )


def _first(ids: tuple[str, ...], hits: Hits, place: int) -> str:
    row = int(hits.rows[place, 0])
    return ids[row] if row >= 0 else ""


def _beginning(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
