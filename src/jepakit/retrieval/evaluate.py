"""The protocol: the adapter beside the base model, BM25, and each of them fused with BM25."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.core.diagnostics import alignment, diagnose
from jepakit.errors import require_at_least
from jepakit.retrieval.data import Pairs, RetrievalDataset
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.measuring.comparison import Comparison, compare
from jepakit.retrieval.ranking import DEPTH, Encoded, SearchSettings, encode_sentences, familiar, nearest, ranked
from jepakit.retrieval.serving.searcher import require_base
from jepakit.search.fusion import weighted
from jepakit.search.words import LexicalIndex
from jepakit.text import TextEncoder
from jepakit.training.report.embeddings import sample_rows
from jepakit.training.report.write import described
from jepakit.training.results import ReportSection

#: Vectors that the spread is measured on.
_SPREAD_SAMPLE = 2000
OURS, BASE, UNTRAINED = "jepakit: adapter", "base model", "the same adapter, untrained"


@dataclass
class EvaluateConfig:
    """What is measured.

    Args:
        split: split of the pairs; by default ``test``, or all pairs where they are not divided.
        bm25: BM25 as a floor, and fused with the vectors.
        examples: queries shown that gained, and that lost.
    """

    split: str | None = None
    bm25: bool = True
    examples: int = 5

    def __post_init__(self) -> None:
        require_at_least(self, examples=0)


def evaluate(
    dataset: RetrievalDataset,
    encoder: TextEncoder,
    adapter: Adapter,
    settings: SearchSettings,
    config: EvaluateConfig,
    *,
    floor: TextEncoder | None = None,
    random_encoder: Adapter | None = None,
) -> Comparison | None:
    """Measures on a split; None if the config names none and the collection has neither ``test`` nor ``all``.

    Args:
        dataset: the collection, the adapter's own or another.
        encoder: the base model.
        adapter: trained on that base.
        settings: weights of BM25, of feedback and of sentences.
        config: what is measured.
        floor: the base model before it was tuned; None: it was not tuned.
        random_encoder: the adapter before training, as a floor unless it ranks as the base model does.

    Raises:
        DataError: there is no such split.
        ModelError: the adapter was trained on another base.
    """
    require_base(adapter, encoder)
    split = config.split or next((name for name in ("test", "all") if name in dataset.splits), None)
    if split is None:
        return None
    pairs = dataset.splits[split].relevant if split in dataset.splits else None
    rows = torch.zeros(0, dtype=torch.long) if pairs is None else pairs.queries
    texts = [dataset.queries.texts[row] for row in rows.tolist()]

    def encoded(model: TextEncoder) -> tuple[Tensor, Tensor]:
        return model.encode(texts, "query"), model.encode(dataset.documents.passages, "document")

    queries, documents = encoded(encoder)
    sentences = encode_sentences(dataset.documents, encoder, adapter) if settings.sentences else None
    source = Encoded(adapter.documents(documents), sentences)
    familiarity = familiar(queries, adapter, source)
    sides = {
        BASE: (queries, documents) if floor is None else encoded(floor),
        OURS: (adapter.queries(queries, familiarity.query), source.documents),
    }
    ours = {OURS: ranked(queries, adapter, source, DEPTH, settings, familiarity)}
    floors = {BASE: nearest(*sides[BASE], DEPTH)}
    if random_encoder is not None and not random_encoder.starts_as_base:
        floors[UNTRAINED] = nearest(random_encoder.queries(queries), random_encoder.documents(documents), DEPTH)
    if config.bm25:
        by_words = LexicalIndex.build(dataset.documents.passages).search(texts, DEPTH) if texts else floors[BASE]
        floors["BM25"] = by_words
        if settings.words:
            ours[f"{OURS} + BM25"] = weighted(ours[OURS], by_words, settings.words * familiarity.collection)
            floors[f"{BASE} + BM25"] = weighted(floors[BASE], by_words, settings.words)
    comparison = compare(dataset, split, ours, floors, examples=config.examples)
    assert pairs is not None
    kinds = {"queries": {method: vectors for method, (vectors, _) in sides.items()}}
    if adapter.changes_documents or floor is not None:
        kinds["documents"] = {method: vectors for method, (_, vectors) in sides.items()}
    # The vectors are those of the queries ``rows``, which are ascending.
    placed = replace(pairs, query=torch.searchsorted(rows, pairs.query))
    sections = (*comparison.sections, prediction_section(sides, placed), spread_section(kinds))
    return replace(comparison, sections=sections)


def prediction_error(queries: Tensor, documents: Tensor, pairs: Pairs) -> tuple[float, float | None]:
    """Mean squared distance ``‖ẑ − d‖²`` of search vectors ``[Q, D]`` and index vectors ``[N, D]``, from 0 to 4.

    Returns:
        The distance between a query and its relevant documents (grade 1 and above); and that to the documents of other
        queries, as a floor, or None if every document is relevant to every query.
    """
    pairs = pairs.relevant
    answers = alignment(queries[pairs.query], documents[pairs.document])
    predictions = F.normalize(queries[pairs.queries].double(), dim=1)
    targets = F.normalize(documents[pairs.documents].double(), dim=1)
    # The sum over every prediction with every target, without forming all of these pairs.
    squares = len(targets) * predictions.square().sum() + len(predictions) * targets.square().sum()
    total = float(squares - 2 * predictions.sum(0) @ targets.sum(0))
    others = len(predictions) * len(targets) - len(pairs)
    return answers, (total - len(pairs) * answers) / others if others > 0 else None


def mean_cosine(vectors: Tensor) -> float:
    """The mean cosine of two different rows of ``[N, D]``, N at least 2: 1 where all are equal.

    Source: Ethayarajh 2019, as a measure of anisotropy.
    """
    unit = F.normalize(vectors.double(), dim=1)
    return float((unit.sum(0).square().sum() - unit.square().sum()) / (len(unit) * (len(unit) - 1)))


def prediction_section(sides: Mapping[str, tuple[Tensor, Tensor]], pairs: Pairs) -> ReportSection:
    """`prediction_error` of several methods, for a report; ``sides``: method -> search vectors, index vectors."""
    errors = {method: prediction_error(queries, documents, pairs) for method, (queries, documents) in sides.items()}
    return ReportSection(
        title="Is the answer predicted?",
        text=(
            "Mean squared distance ‖ẑ − d‖² of unit vectors on the pairs measured above: from the search vector of a"
            " query to the documents that answer it and, as a floor, to documents that answer other queries. The lower"
            " the ratio, the better the prediction. An adapter with a predictive weight of 0 is trained to rank answers"
            " first, not to predict their vectors."
        ),
        columns=("Method", "To its answers", "To shuffled answers", "Ratio"),
        rows=tuple(
            (method, answers, shuffled, answers / shuffled if shuffled else None)
            for method, (answers, shuffled) in errors.items()
        ),
    )


def spread_section(kinds: Mapping[str, Mapping[str, Tensor]]) -> ReportSection:
    """How the vectors of several methods are spread, for a report.

    Args:
        kinds: ``queries`` or ``documents`` -> method -> vectors, ``[N, D]``, with the same methods for each kind. Of
            more than 2000 vectors a sample is measured; a kind with fewer than 3 is left out.
    """
    measured = {
        kind: {method: _spread(vectors) for method, vectors in methods.items()}
        for kind, methods in kinds.items()
        if all(len(vectors) >= 3 for vectors in methods.values())
    }
    methods = list(dict.fromkeys(method for spreads in measured.values() for method in spreads))
    return ReportSection(
        title="Embeddings before and after",
        text="How the vectors of the base model and of the adapter are spread.",
        columns=("Diagnostic", "Vectors of", *methods, "How to read it"),
        rows=tuple(
            (title, kind, *(spread[name] for spread in spreads.values()), hint)
            for kind, spreads in measured.items()
            for name in next(iter(spreads.values()))
            for title, hint in [described(name)]
        ),
    )


def _spread(vectors: Tensor) -> dict[str, float]:
    sample = vectors[sample_rows(len(vectors), _SPREAD_SAMPLE)]
    return {**diagnose(sample).values, "mean_cosine": mean_cosine(sample)}
