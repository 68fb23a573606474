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
from jepakit.retrieval.adapter.selection import paired_interval
from jepakit.retrieval.data import Pairs, RetrievalDataset
from jepakit.retrieval.datasets.splits import Leak, seen_queries, shared_documents
from jepakit.retrieval.measuring.examples import Example, Scored, example_section, examples_of_change
from jepakit.search.hits import Hits
from jepakit.training.result_rows import ResultRow
from jepakit.training.results import Evaluation

MEASURES = {"NDCG@10": nDCG @ 10, "Recall@100": R @ 100, "MRR@10": RR @ 10}


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
        leak: the relevant documents that training and this split share.
        per_query: for each query its id, text, whether training has its document, and NDCG@10 of each method.
        better: the queries that gained most.
        worse: the queries that lost most.
    """

    leak: Leak
    per_query: tuple[dict[str, Any], ...]
    better: tuple[Example, ...]
    worse: tuple[Example, ...]


def measure(hits: Hits, queries: Tensor, pairs: Pairs) -> Measured:
    """Measures a search with ir-measures (the definitions of trec_eval).

    Args:
        hits: the hits of each query.
        queries: rows of the queries, ``[Q]``.
        pairs: the judgements.

    Raises:
        DataError: a query has no relevant document.
    """
    without = queries[~torch.isin(queries, pairs.relevant.queries)]
    if len(without):
        raise DataError(
            "a query without a relevant document cannot be measured", field="queries", value=int(without[0])
        )
    judged = pairs[torch.isin(pairs.query, queries)]
    columns = (judged.query.tolist(), judged.document.tolist(), judged.grade.tolist())
    qrels = [Qrel(str(query), str(document), grade) for query, document, grade in zip(*columns, strict=True)]
    mask = hits.found
    owner = queries[:, None].expand_as(hits.rows)
    columns = (owner[mask].tolist(), hits.rows[mask].tolist(), hits.scores[mask].tolist())
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
    examples: int = 5,
    seed: int = 0,
) -> Comparison:
    """Measures several search methods on one split, and compares the first of ours with the first floor per query.

    Args:
        dataset: the collection.
        split: name of the split.
        ours: method -> hits of the queries of that split, in the order of ``dataset.splits[split].relevant.queries``.
        floors: the same for floors and rivals.
        examples: queries to show that gained most, and as many that lost most.
        seed: seed of the bootstrap.

    Raises:
        DataError: there is no such split, or it has no relevant pair.
    """
    if split not in dataset.splits or not len(dataset.splits[split].relevant):
        known = [name for name, pairs in dataset.splits.items() if len(pairs.relevant)]
        raise DataError("there is nothing to measure on", field="split", value=split, expected=f"one of {known}")
    pairs = dataset.splits[split]
    queries = pairs.relevant.queries
    methods = {**ours, **floors}
    measured = {name: measure(hits, queries, pairs) for name, hits in methods.items()}
    main, floor = next(iter(ours)), next(iter(floors))
    train = dataset.training
    leak = shared_documents(train, pairs)
    seen = seen_queries(train, pairs)
    rows = _rows(dataset.name, measured, tuple(ours), queries, seen)
    difference = measured[main].values["NDCG@10"] - measured[floor].values["NDCG@10"]
    low, high = paired_interval(difference, seed=seed)
    better, worse = examples_of_change(
        dataset, split, queries, _scored(floor, methods, measured), _scored(main, methods, measured), examples
    )
    gain = f"{difference.mean():+.4f} NDCG@10 against {floor} (95 % interval {low:+.4f} to {high:+.4f})"
    counts = f"{(difference > 0).sum()} of {len(queries)} queries gained, {(difference < 0).sum()} lost"
    return Comparison(
        title=f"Search in {dataset.name}",
        rows=rows,
        leak=leak,
        summary=(f"{main}: {gain}; {counts}.", leak.sentence, *([dataset.origin] if dataset.origin else [])),
        recommendation=_recommendation(main, floor, low, high),
        per_query=_per_query(dataset, queries, seen, measured),
        better=better,
        worse=worse,
        sections=(
            example_section("Queries that gained most", better, dataset.documents, ours=main, floor=floor),
            example_section("Queries that lost most", worse, dataset.documents, ours=main, floor=floor),
        ),
    )


def _scored(name: str, methods: Mapping[str, Hits], measured: Mapping[str, Measured]) -> Scored:
    return Scored(methods[name], measured[name].values["NDCG@10"])


def _rows(
    name: str, measured: Mapping[str, Measured], ours: Sequence[str], queries: Tensor, seen: Tensor
) -> tuple[ResultRow, ...]:
    groups: dict[str, Tensor | None] = {"": None}
    unseen = queries[~torch.isin(queries, seen)]
    if len(seen) and len(unseen):
        groups |= {", documents seen in training": seen, ", unseen documents": unseen}
    return tuple(
        ResultRow(name, method, metric + suffix, result.mean(metric, among), ours=method in ours)
        for metric in MEASURES
        for suffix, among in groups.items()
        for method, result in measured.items()
        if not suffix or metric == "NDCG@10"
    )


def _per_query(
    dataset: RetrievalDataset, queries: Tensor, seen: Tensor, measured: Mapping[str, Measured]
) -> tuple[dict[str, Any], ...]:
    seen_rows = set(seen.tolist())
    return tuple(
        {
            "query": dataset.queries.ids[query],
            "text": dataset.queries.texts[query],
            "seen": query in seen_rows,
            **{method: float(result.values["NDCG@10"][place]) for method, result in measured.items()},
        }
        for place, query in enumerate(queries.tolist())
    )


def _recommendation(ours: str, floor: str, low: float, high: float) -> str:
    if low > 0:
        return f"Use {ours}: it is significantly better than {floor}."
    if high < 0:
        return f"Use {floor}: {ours} is significantly worse."
    return f"{ours} and {floor} do not differ significantly on these queries; more queries would show a difference."
