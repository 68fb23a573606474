"""The protocol: the adapter beside the base model, BM25, and each of them fused with BM25."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jepakit.errors import ConfigError
from jepakit.retrieval.adapter.inspection import prediction_section, spread_section
from jepakit.retrieval.data import Pairs, RetrievalDataset
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.measuring.comparison import Comparison, compare
from jepakit.retrieval.ranking.sentences import encode_sentences
from jepakit.retrieval.ranking.settings import SearchSettings
from jepakit.retrieval.ranking.vectors import DEPTH, Encoded, familiar, ranked
from jepakit.retrieval.serving.searcher import require_base
from jepakit.search.fusion import weighted
from jepakit.search.words import LexicalIndex
from jepakit.text import TextEncoder
from jepakit.training.report.sections import ReportSection

OURS, BASE, UNTRAINED = "jepakit: adapter", "base model", "the same adapter, untrained"


@dataclass
class EvaluateConfig:
    """What is measured.

    Args:
        split: of the pairs; by default ``test``, or all pairs where they are not divided.
        bm25: BM25 as a floor, and fused with the vectors.
        examples: queries shown that gained, and that lost.
    """

    split: str | None = None
    bm25: bool = True
    examples: int = 5

    def __post_init__(self) -> None:
        if self.examples < 0:
            raise ConfigError("examples", self.examples, "at least 0")


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
    """Measures on a split; None where there is none to measure on and none was named.

    Args:
        dataset: the collection, the adapter's own or another.
        encoder: the base model.
        adapter: trained.
        settings: weights of BM25, of feedback and of sentences.
        config: what is measured.
        floor: what the base model was before it was tuned; None: it was not.
        random_encoder: the adapter before training: a floor. It is left out where it starts as the identity, since it
            then ranks as the base model does.

    Raises:
        DataError: there is no such split.
        ModelError: the adapter was trained on another base.
    """
    require_base(adapter, encoder)
    split = config.split or next((name for name in ("test", "all") if name in dataset.splits), None)
    if split is None:
        return None
    rows = dataset.splits[split].relevant.queries if split in dataset.splits else torch.zeros(0, dtype=torch.long)
    texts = [dataset.queries.texts[row] for row in rows.tolist()]
    queries, documents = _encoded(encoder, texts, dataset)
    sentences = encode_sentences(dataset.documents, encoder).adapted(adapter) if settings.sentences else None
    source = Encoded(adapter.documents(documents), sentences)
    known = familiar(queries, adapter, source)
    sides = {
        BASE: (queries, documents) if floor is None else _encoded(floor, texts, dataset),
        OURS: (adapter.queries(queries, known.query), source.documents),
    }
    ours = {OURS: ranked(queries, adapter, source, DEPTH, settings, known)}
    floors = {BASE: Encoded(sides[BASE][1]).nearest(sides[BASE][0], DEPTH)}
    if random_encoder is not None and not random_encoder.starts_as_base:
        untrained = Encoded(random_encoder.documents(documents))
        floors[UNTRAINED] = untrained.nearest(random_encoder.queries(queries), DEPTH)
    if config.bm25:
        by_words = LexicalIndex.build(dataset.documents.passages).search(texts, DEPTH) if texts else floors[BASE]
        floors["BM25"] = by_words
        if settings.words:
            ours[f"{OURS} + BM25"] = weighted(ours[OURS], by_words, settings.words * known.collection)
            floors[f"{BASE} + BM25"] = weighted(floors[BASE], by_words, settings.words)
    evaluation = compare(dataset, split, ours, floors, examples=config.examples)
    changed = adapter.changes_documents or floor is not None
    sections = _vector_sections(sides, rows, dataset.splits[split].relevant, documents=changed)
    return replace(evaluation, sections=(*evaluation.sections, *sections))


def _encoded(encoder: TextEncoder, texts: list[str], dataset: RetrievalDataset) -> tuple[Tensor, Tensor]:
    return encoder.encode(texts, "query"), encoder.encode(dataset.documents.passages, "document")


def _vector_sections(
    sides: Mapping[str, tuple[Tensor, Tensor]], rows: Tensor, pairs: Pairs, *, documents: bool
) -> tuple[ReportSection, ...]:
    """What a report says of the vectors; of the documents' too where the adapter changes them.

    ``sides``: method -> query vectors of the queries ``rows`` (ascending), document vectors.
    """
    placed = replace(pairs, query=torch.searchsorted(rows, pairs.query))
    kinds = {"queries": {method: queries for method, (queries, _) in sides.items()}}
    if documents:
        kinds["documents"] = {method: vectors for method, (_, vectors) in sides.items()}
    return prediction_section(sides, placed), spread_section(kinds)
