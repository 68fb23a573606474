"""The protocol: the search of a run beside what needs no training: the base model, its steps, BM25."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.core.diagnostics import alignment, diagnose
from jepakit.errors import require_at_least
from jepakit.retrieval.data import Pairs, RetrievalDataset
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.measuring.comparison import Comparison, compare
from jepakit.retrieval.measuring.untrained import Untrained
from jepakit.retrieval.ranking import (
    DEPTH,
    Encoded,
    Familiar,
    SearchSettings,
    encode_sentences,
    familiar,
    fused,
    ranked,
)
from jepakit.retrieval.serving.searcher import document_fingerprint, require_base
from jepakit.search.hits import Hits
from jepakit.search.static.encoder import StaticEncoder
from jepakit.search.words import LexicalIndex
from jepakit.text import TextEncoder
from jepakit.training.report.embeddings import sample_rows
from jepakit.training.report.terms import described
from jepakit.training.results import ReportSection

#: Vectors that the spread is measured on.
_SPREAD_SAMPLE = 2000
OURS, ALONE = "jepakit: full search", "jepakit: adapter alone"
"""What `search` does, and the adapter without sentences, feedback and BM25."""
STATIC = "jepakit: full search, static queries"
"""What `search` does with a static encoder, which leaves unfamiliar queries to the base model."""
BASE, UNTRAINED = "base model", "the same adapter, untrained"
#: In tables of vectors.
ADAPTER = "jepakit: adapter"


@dataclass
class EvaluateConfig:
    """What is measured.

    Args:
        split: split of the pairs; by default ``test``, or all pairs where they are not divided.
        bm25: BM25 as a floor, alone and fused with the base model.
        sentences: the base model with sentences as a floor; it needs the vectors of all sentences.
        examples: queries shown that gained, and that lost.
    """

    split: str | None = None
    bm25: bool = True
    sentences: bool = True
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
    weights: Untrained | None = None,
    floor: TextEncoder | None = None,
    random_encoder: Adapter | None = None,
    static: StaticEncoder | None = None,
) -> Comparison | None:
    """Measures on a split; None if the config names none and the collection has neither ``test`` nor ``all``.

    Args:
        dataset: the collection, the adapter's own or another.
        encoder: the base model.
        adapter: trained on that base.
        settings: weights of BM25, of feedback and of sentences.
        config: what is measured.
        weights: of the floors without training; None: the defaults.
        floor: the base model before it was tuned; None: it was not tuned.
        random_encoder: the adapter before training, as a floor unless it ranks as the base model does.
        static: the encoder that answers familiar queries; left out where it leaves all to the base.

    Raises:
        DataError: there is no such split.
        ModelError: the adapter was trained on another base.
    """
    require_base(adapter, encoder)
    if static is not None and static.gate.closed:
        static = None
    if static is not None:
        static.require_documents(document_fingerprint(encoder, adapter))
    split = config.split or next((name for name in ("test", "all") if name in dataset.splits), None)
    if split is None:
        return None
    pairs = dataset.splits[split].relevant if split in dataset.splits else None
    rows = torch.zeros(0, dtype=torch.long) if pairs is None else pairs.queries
    texts = [dataset.queries.texts[row] for row in rows.tolist()]
    weights = weights or Untrained()

    def encoded(model: TextEncoder, *, sentences: bool) -> tuple[Tensor, Encoded]:
        documents = model.encode(dataset.documents.passages, "document")
        parts = encode_sentences(dataset.documents, model) if sentences else None
        return model.encode(texts, "query"), Encoded(documents, parts)

    of_floors = config.sentences and bool(weights.each.sentences or weights.together.sentences)
    queries, documents = encoded(encoder, sentences=bool(settings.sentences) or (of_floors and floor is None))
    base = (queries, documents) if floor is None else encoded(floor, sentences=of_floors)
    source = documents.adapted(adapter)
    familiarity = familiar(queries, adapter, source)
    by_words = None
    if config.bm25 or settings.use_words:
        by_words = LexicalIndex.build(dataset.documents.passages).search(texts, DEPTH)
    ours = {OURS: searched(queries, adapter, source, settings, familiarity, by_words)}
    if adapter.strength and (settings.names or settings.use_words):
        ours[ALONE] = searched(queries, adapter, source, SearchSettings(), familiarity, None)
    answered: np.ndarray | None = None
    if static is not None and len(texts):
        ours[STATIC], answered = searched_by_static(static, texts, source, settings, by_words, ours[OURS])
    floors = untrained_floors(*base, weights, by_words if config.bm25 else None, sentences=of_floors)
    if random_encoder is not None and not random_encoder.starts_as_base:
        untrained = documents.adapted(random_encoder)
        floors[UNTRAINED] = untrained.nearest(random_encoder.queries(queries), DEPTH)
    used = OURS if answered is None else STATIC
    comparison = compare(dataset, split, ours, floors, used=used, examples=config.examples)
    assert pairs is not None
    sides = {
        BASE: (base[0], base[1].documents),
        ADAPTER: (adapter.queries(queries, familiarity.query), source.documents),
    }
    kinds = {"queries": {method: vectors for method, (vectors, _) in sides.items()}}
    if adapter.changes_documents or floor is not None:
        kinds["documents"] = {method: vectors for method, (_, vectors) in sides.items()}
    # The vectors are those of the queries ``rows``, which are ascending.
    placed = replace(pairs, query=torch.searchsorted(rows, pairs.query))
    if answered is not None:
        share = f"{STATIC}: {1 - answered.mean():.0%} of the queries are unfamiliar, and need the base model."
        advised = comparison.recommendation or ""
        if advised.startswith(f"Use {OURS}:"):
            advised += " This run has static queries: give --query_encoder transformer to search and serve."
        comparison = replace(comparison, summary=(*comparison.summary, share), recommendation=advised)
    sections = (*comparison.sections, prediction_section(sides, placed), spread_section(kinds))
    return replace(comparison, sections=sections)


def searched_by_static(
    static: StaticEncoder,
    texts: Sequence[str],
    source: Encoded,
    settings: SearchSettings,
    words: Hits | None,
    others: Hits,
) -> tuple[Hits, np.ndarray]:
    """What a search with static queries finds, and which of the queries the static encoder answered, ``[Q]`` bool.

    Args:
        static: the encoder.
        texts: Q queries.
        source: the documents, as the adapter has them.
        settings: weights of the steps.
        words: the hits of BM25, or None if it has no weight.
        others: the hits of the search that answers unfamiliar queries.
    """
    bags = static.features(texts)
    answered, vectors = static.familiar(bags), torch.from_numpy(static.encode_bags(bags))
    alone = searched(vectors, None, source, settings, familiar(vectors, None, source), words)
    return _first_where(torch.from_numpy(answered), alone, others), answered


def _first_where(first: Tensor, those: Hits, others: Hits) -> Hits:
    """The hits of the queries that are ``first``, ``[Q]`` bool, from ``those``, and of the rest from ``others``."""
    width = max(those.rows.shape[1], others.rows.shape[1])
    those, others = (Hits.ranked(hits.rows, hits.scores, width) for hits in (those, others))
    chosen = first.unsqueeze(1)
    return Hits(torch.where(chosen, those.rows, others.rows), torch.where(chosen, those.scores, others.scores))


def searched(
    queries: Tensor,
    adapter: Adapter | None,
    source: Encoded,
    settings: SearchSettings,
    familiarity: Familiar,
    words: Hits | None,
) -> Hits:
    """What `jepakit.retrieval.Searcher.search` finds, the first hundred and more.

    ``queries``: base vectors, ``[Q, D]``; ``words``: the hits of BM25, or None if it has no weight.
    """
    return fused(ranked(queries, adapter, source, DEPTH, settings, familiarity), words, settings, familiarity)


def untrained_floors(
    queries: Tensor, source: Encoded, weights: Untrained, words: Hits | None, *, sentences: bool = True
) -> dict[str, Hits]:
    """What needs no training: the base model, with each step alone, with those that help together, and BM25.

    Args:
        queries: base vectors, ``[Q, D]``.
        source: the documents as the base encodes them.
        weights: of the steps.
        words: the hits of BM25; None leaves it out.
        sentences: False leaves sentences out.
    """
    everything = familiar(queries, None, source)

    def search(settings: SearchSettings) -> Hits:
        return searched(queries, None, source, settings, everything, words)

    kept = {"words": words is not None, "sentences": sentences}
    each, together = (
        replace(settings, **{name: 0.0 for name, keep in kept.items() if not keep})
        for settings in (weights.each, weights.together)
    )
    alone = [SearchSettings(**{name: getattr(each, name)}) for name in ("sentences", "feedback", "words")]
    several = [together] if together.names.count("+") else []
    floors = {BASE: search(SearchSettings())}
    floors |= {f"{BASE} + {step.names}": search(step) for step in (*alone, *several) if step.names}
    return floors if words is None else {**floors, "BM25": words}


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
