"""Views: a query is the context, a document that answers it the target; both are contrasted with other candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from jepakit.core import CandidateSets, Contrast, Where, near_positive
from jepakit.errors import ConfigError, DataError, require_at_least, require_choice
from jepakit.retrieval.data import Pairs
from jepakit.retrieval.encoder import Side
from jepakit.retrieval.measuring.metrics import top_documents
from jepakit.text import Kind

Direction = Literal["query", "document", "both"]


@dataclass
class ViewConfig:
    """The candidates that a prediction is contrasted with.

    Args:
        candidates: ``positives``: every document that answers some training query. ``corpus``: all documents; this
            pushes documents that answer no training query away from every query, and hurts search for documents
            unseen in training. ``batch``: the documents of the same step.
        hard_negatives: irrelevant documents added for each pair: those that the base model ranks highest.
        false_negatives: drop a candidate whose cosine to the query, by the base model, exceeds that of the relevant
            document by more than this margin; None keeps all candidates.
    """

    candidates: Literal["positives", "corpus", "batch"] = "positives"
    hard_negatives: int = 0
    false_negatives: float | None = None

    def __post_init__(self) -> None:
        require_choice("candidates", self.candidates, ("positives", "corpus", "batch"))
        require_at_least(self, hard_negatives=0)
        if self.hard_negatives and self.candidates == "corpus":
            raise ConfigError("hard_negatives", self.hard_negatives, "0 where every document is a candidate")


class RetrievalViews:
    """Batches of pairs, for `jepakit.training.EpochLoader`: ``(indices [B], generator) -> a Contrast a direction``.

    Args:
        queries: base vectors of all queries, ``[Q, D]``.
        documents: base vectors of all documents, ``[N, D]``.
        pairs: the training pairs; only grades of 1 and above are used.
        config: the candidates.
        direction: the side that predicts: queries, documents, or both.
        texts: the texts of all queries and all documents, when the base model itself is trained; None: views hold base
            vectors.

    Raises:
        DataError: no pair is relevant.
    """

    def __init__(
        self,
        queries: Tensor,
        documents: Tensor,
        pairs: Pairs,
        config: ViewConfig,
        direction: Direction = "query",
        texts: Mapping[Kind, Sequence[str]] | None = None,
    ) -> None:
        self.pairs = pairs.relevant
        if not len(self.pairs):
            raise DataError("no pair is relevant", field="pairs", expected="at least one pair of grade 1 or above")
        query, document = self.pairs.query, self.pairs.document
        negatives = _hard_negatives(queries, documents, self.pairs, config.hard_negatives)
        forward = _Direction("query", queries, documents, query, document, negatives, config, texts)
        no_negatives = torch.empty(len(query), 0, dtype=torch.long)
        backward = _Direction("document", documents, queries, document, query, no_negatives, config, texts)
        self.directions = {"query": [forward], "document": [backward], "both": [forward, backward]}[direction]

    def __len__(self) -> int:
        return len(self.pairs)

    def __call__(self, indices: Tensor, generator: torch.Generator) -> tuple[Contrast, ...]:
        return tuple(direction(indices) for direction in self.directions)


class _Direction:
    """Pairs as (context row, target row), and the candidates that contain the target."""

    def __init__(
        self,
        kind: Kind,
        contexts: Tensor,
        targets: Tensor,
        context: Tensor,
        target: Tensor,
        negatives: Tensor,
        config: ViewConfig,
        texts: Mapping[Kind, Sequence[str]] | None,
    ) -> None:
        self.kind: Kind = kind
        self.texts = texts
        self.contexts, self.targets, self.context = contexts, targets, context
        self.margin = config.false_negatives
        fixed = {"positives": target.unique(), "corpus": torch.arange(len(targets)), "batch": None}
        # "corpus" means all documents. Where queries are the targets, only training queries are candidates.
        name = "positives" if config.candidates == "corpus" and kind == "document" else config.candidates
        self.candidates = CandidateSets(context, target, targets=len(targets), fixed=fixed[name], negatives=negatives)
        constant = self.candidates.constant
        self.constant_vectors = None if constant is None else targets[constant]

    def __call__(self, indices: Tensor) -> Contrast:
        context = self.context[indices]
        candidates, positive, excluded = self.candidates(indices)
        vectors = self.constant_vectors if self.constant_vectors is not None else self.targets[candidates]
        if self.margin is not None:
            excluded |= near_positive(self.contexts[context] @ vectors.T, positive, self.margin)
        other: Kind = "document" if self.kind == "query" else "query"
        where = Where(target_rows=positive, backward=self.kind == "document")
        contexts = self.contexts[context] if self.texts is None else _texts_of(self.texts[self.kind], context)
        targets = vectors if self.texts is None else _texts_of(self.texts[other], candidates)
        return Contrast(Side(self.kind, contexts), Side(other, targets), where, excluded)


def _texts_of(texts: Sequence[str], rows: Tensor) -> tuple[str, ...]:
    places: list[int] = rows.tolist()
    return tuple(texts[row] for row in places)


def _hard_negatives(queries: Tensor, documents: Tensor, pairs: Pairs, count: int) -> Tensor:
    """For each pair the ``count`` documents nearest to its query; `CandidateSets` excludes the relevant ones later."""
    if count == 0:
        return torch.empty(len(pairs), 0, dtype=torch.long)
    unique, inverse = pairs.query.unique(return_inverse=True)
    return top_documents(queries[unique], documents, count)[1][inverse]
