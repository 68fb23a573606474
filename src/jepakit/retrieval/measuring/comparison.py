"""Comparison of search methods: NDCG@10, Recall@100 and MRR@10 per query, with paired confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ir_measures
import numpy as np
import torch
from ir_measures import RR, Qrel, R, ScoredDoc, nDCG
from torch import Tensor

from jepakit.errors import DataError
from jepakit.retrieval.data import Pairs, RetrievalDataset
from jepakit.retrieval.datasets.splits import seen_queries, shared_documents
from jepakit.retrieval.measuring.advice import Difference, advice, differences
from jepakit.retrieval.measuring.metrics import one_answer_each
from jepakit.search.documents import Documents
from jepakit.search.hits import Hits
from jepakit.training.result_rows import ResultRow
from jepakit.training.results import Cell, Evaluation, ReportSection

MEASURES = {"NDCG@10": nDCG @ 10, "Recall@100": R @ 100, "MRR@10": RR @ 10}
#: Relevant documents, and characters of a query or document, that a report shows for an example.
_SHOWN_RELEVANT, _SHOWN_CHARACTERS = 3, 120


@dataclass(frozen=True)
class Measured:
    """The scores of a search method.

    Args:
        queries: rows of the queries, ``[Q]``.
        values: measure -> the value of each query, ``[Q]``.
    """

    queries: Tensor
    values: Mapping[str, np.ndarray]

    def mean(self, name: str, among: Tensor | None = None) -> float | None:
        """The mean over the queries, or over those ``among`` (rows of queries); None where there are none."""
        values = self.values[name]
        chosen = values if among is None else values[torch.isin(self.queries, among).numpy()]
        return float(chosen.mean()) if len(chosen) else None


@dataclass(frozen=True, kw_only=True)
class Comparison(Evaluation):
    """Search methods compared on one split.

    Args:
        per_query: for each query its id, text, whether training has its document, and NDCG@10 of each method.
    """

    per_query: tuple[dict[str, Any], ...]


def measure(hits: Hits, queries: Tensor, pairs: Pairs) -> Measured:
    """Measures the hits of ``queries`` (their rows, ``[Q]``) with ir-measures (the definitions of trec_eval).

    Raises:
        DataError: a query has no relevant document.
    """
    without = queries[~torch.isin(queries, pairs.relevant.queries)]
    if len(without):
        problem = "a query without a relevant document cannot be measured"
        raise DataError(problem, field="queries", value=int(without[0]))
    ranked, judged = one_answer_each(hits.rows, queries, pairs[torch.isin(pairs.query, queries)])
    columns = (judged.query.tolist(), judged.document.tolist(), judged.grade.tolist())
    qrels = [Qrel(str(query), str(document), grade) for query, document, grade in zip(*columns, strict=True)]
    mask = hits.found
    owner = queries[:, None].expand_as(hits.rows)
    columns = (owner[mask].tolist(), ranked[mask].tolist(), hits.scores[mask].tolist())
    run = [ScoredDoc(str(query), str(row), score) for query, row, score in zip(*columns, strict=True)]
    place = {str(query): number for number, query in enumerate(queries.tolist())}
    values = {name: np.zeros(len(queries)) for name in MEASURES}
    names = {measure: name for name, measure in MEASURES.items()}
    for metric in ir_measures.iter_calc(list(MEASURES.values()), qrels, run):
        values[names[metric.measure]][place[metric.query_id]] = metric.value
    return Measured(queries, values)


def compare(
    dataset: RetrievalDataset,
    split: str,
    ours: Mapping[str, Hits],
    floors: Mapping[str, Hits],
    *,
    used: str | None = None,
    examples: int = 5,
    seed: int = 0,
) -> Comparison:
    """Measures several search methods on one split, and compares the first of ours with each other one per question.

    The intervals are over different questions: copies of one count once.

    Args:
        dataset: the collection.
        split: name of the split.
        ours: method -> hits of the queries of that split, in the order of ``dataset.splits[split].relevant.queries``.
        floors: the same for floors and rivals.
        used: the one of ours that the run uses; None: the first.
        examples: queries to show that gained most, and as many that lost most.
        seed: seed of the bootstrap.

    Raises:
        DataError: there is no such split, or it has no relevant pair.
    """
    if split not in dataset.splits or not len(dataset.splits[split].relevant):
        measurable = [name for name, pairs in dataset.splits.items() if len(pairs.relevant)]
        raise DataError("no relevant pairs to measure on", field="split", value=split, expected=f"one of {measurable}")
    pairs, train = dataset.splits[split], dataset.training
    queries, seen = pairs.relevant.queries, seen_queries(train, pairs)
    methods = {**ours, **floors}
    measured = {name: measure(hits, queries, pairs) for name, hits in methods.items()}
    main, floor = next(iter(ours)), next(iter(floors))
    ndcg = {name: result.values["NDCG@10"] for name, result in measured.items()}
    copies = dataset.queries.copies(queries.tolist())
    gains = differences(ndcg, copies, main, seed=seed)
    difference = ndcg[main] - ndcg[floor]
    order = np.argsort(difference, kind="stable")
    lost, gained = order[difference[order] < 0], order[difference[order] > 0][::-1]
    found = gains[floor]
    gain = f"{found.mean:+.4f} NDCG@10 against {floor} (95 % interval {found.low:+.4f} to {found.high:+.4f})"
    counts = f"{len(gained)} of {len(queries)} queries gained, {len(lost)} lost"
    leak = shared_documents(train, pairs).sentence
    seen_rows = set(seen.tolist())

    def example(place: int) -> tuple[Cell, ...]:
        query = int(queries[place])
        before, after = (int(methods[name].rows[place, 0]) for name in (floor, main))
        relevant = pairs.relevant.document[pairs.relevant.query == query].tolist()
        more = [f"and {len(relevant) - _SHOWN_RELEVANT} more"] if len(relevant) > _SHOWN_RELEVANT else []
        return (
            _beginning(dataset.queries.texts[query]),
            float(ndcg[floor][place]),
            float(ndcg[main][place]),
            _shown(dataset.documents, before),
            _shown(dataset.documents, after),
            "; ".join([*(_shown(dataset.documents, row) for row in relevant[:_SHOWN_RELEVANT]), *more]),
        )

    columns = ("Query", f"NDCG@10, {floor}", f"NDCG@10, {main}", f"First of {floor}", f"First of {main}", "Relevant")
    return Comparison(
        title=f"Search in {dataset.name}",
        rows=_rows(dataset.name, measured, tuple(ours), queries, seen, _notes(main, gains)),
        summary=(f"{main}: {gain}; {counts}.", leak, *([dataset.origin] if dataset.origin else [])),
        recommendation=advice(ndcg, copies, sorted(ours, key=lambda name: name != used), tuple(floors), seed=seed),
        per_query=tuple(
            {
                "query": dataset.queries.ids[query],
                "text": dataset.queries.texts[query],
                "seen": query in seen_rows,
                **{method: float(values[place]) for method, values in ndcg.items()},
            }
            for place, query in enumerate(queries.tolist())
        ),
        sections=tuple(
            ReportSection(title, columns, tuple(example(place) for place in places[:examples].tolist()))
            for title, places in (("Queries that gained most", gained), ("Queries that lost most", lost))
        ),
    )


def _rows(
    name: str,
    measured: Mapping[str, Measured],
    ours: Sequence[str],
    queries: Tensor,
    seen: Tensor,
    notes: Mapping[str, str],
) -> tuple[ResultRow, ...]:
    groups: dict[str, Tensor | None] = {"": None}
    unseen = queries[~torch.isin(queries, seen)]
    if len(seen) and len(unseen):
        groups |= {", documents seen in training": seen, ", unseen documents": unseen}
    noted = next(iter(MEASURES))
    return tuple(
        ResultRow(
            name,
            method,
            metric + suffix,
            result.mean(metric, among),
            note=notes.get(method, "") if metric + suffix == noted else "",
            ours=method in ours,
        )
        for metric in MEASURES
        for suffix, among in groups.items()
        for method, result in measured.items()
        if not suffix or metric == noted
    )


def _notes(main: str, gains: Mapping[str, Difference]) -> dict[str, str]:
    """Method -> by how much the main search is better, with the interval."""
    return {name: f"{main.removeprefix('jepakit: ')} {gain}" for name, gain in gains.items()}


def _shown(documents: Documents, row: int) -> str:
    """The id and the beginning of a document; ``row``: -1 for none."""
    return f"{documents.ids[row]}: {_beginning(documents.passages[row])}" if row >= 0 else "nothing"


def _beginning(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
