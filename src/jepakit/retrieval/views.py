"""Views: a query is the context, the document that answers it the target, among others it must be told from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from jepakit.core import CandidateSets, Contrast, Where, near_positive
from jepakit.errors import ConfigError, DataError, require_choice
from jepakit.retrieval.data import Pairs
from jepakit.retrieval.encoder import Side
from jepakit.retrieval.measuring.metrics import top_documents
from jepakit.text import Kind

__all__ = ["RetrievalViews", "ViewConfig"]

Direction = Literal["query", "document", "both"]


@dataclass
class ViewConfig:
    """What a prediction is told from.

    Args:
        candidates: ``positives``: every document that answers some training query. ``corpus``: all documents; those
            that nobody has asked for yet are then pushed away from every query, which costs much on documents that
            training does not see. ``batch``: the documents of the same step.
        hard_negatives: for each pair, so many of the documents that the base ranks highest without being right.
        false_negatives: a candidate is not counted where the base holds it nearer to the query than the right one by
            more than this cosine; None: all are counted.
    """

    candidates: Literal["positives", "corpus", "batch"] = "positives"
    hard_negatives: int = 0
    false_negatives: float | None = None

    def __post_init__(self) -> None:
        require_choice("candidates", self.candidates, ("positives", "corpus", "batch"))
        if self.hard_negatives < 0:
            raise ConfigError("hard_negatives", self.hard_negatives, "at least 0")
        if self.hard_negatives and self.candidates == "corpus":
            raise ConfigError("hard_negatives", self.hard_negatives, "0 where every document is a candidate")


class RetrievalViews:
    """Batches of pairs, for `jepakit.training.EpochLoader`: ``(indices [B], generator) -> a Contrast a direction``.

    Args:
        queries: base vectors of all queries, ``[Q, D]``.
        documents: base vectors of all documents, ``[N, D]``.
        pairs: what to learn; only grades of 1 and above are read.
        config: what a prediction is told from.
        direction: which side is predicted from which.
        texts: of all queries and of all documents, where a base that is trained sees these and not its vectors.

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
        forth = _Direction("query", queries, documents, query, document, negatives, config, texts)
        no_negatives = torch.empty(len(query), 0, dtype=torch.long)
        back = _Direction("document", documents, queries, document, query, no_negatives, config, texts)
        self.directions = {"query": [forth], "document": [back], "both": [forth, back]}[direction]

    def __len__(self) -> int:
        return len(self.pairs)

    def __call__(self, indices: Tensor, generator: torch.Generator) -> tuple[Contrast, ...]:
        return tuple(direction(indices) for direction in self.directions)


class _Direction:
    """Pairs as (context row, target row), and the candidates among which the target is to be found."""

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
        # Of documents as targets "corpus" are all; of queries as targets only those of training are anyone's business.
        name = "positives" if config.candidates == "corpus" and kind == "document" else config.candidates
        self.candidates = CandidateSets(context, target, targets=len(targets), fixed=fixed[name], negatives=negatives)
        constant = self.candidates.constant
        self.gathered = None if constant is None else targets[constant]

    def __call__(self, indices: Tensor) -> Contrast:
        context = self.context[indices]
        candidates, positive, excluded = self.candidates(indices)
        vectors = self.gathered if self.gathered is not None else self.targets[candidates]
        if self.margin is not None:
            excluded |= near_positive(self.contexts[context] @ vectors.T, positive, self.margin)
        other: Kind = "document" if self.kind == "query" else "query"
        where = Where(target_rows=positive, backward=self.kind == "document")
        contexts = self.contexts[context] if self.texts is None else _picked(self.texts[self.kind], context)
        seen = vectors if self.texts is None else _picked(self.texts[other], candidates)
        return Contrast(Side(self.kind, contexts), Side(other, seen), where, excluded)


def _picked(texts: Sequence[str], rows: Tensor) -> tuple[str, ...]:
    places: list[int] = rows.tolist()
    return tuple(texts[place] for place in places)


def _hard_negatives(queries: Tensor, documents: Tensor, pairs: Pairs, count: int) -> Tensor:
    """For each pair the ``count`` documents nearest to its query; right answers among them are excluded later."""
    if count == 0:
        return torch.empty(len(pairs), 0, dtype=torch.long)
    asked, place = pairs.query.unique(return_inverse=True)
    return top_documents(queries[asked], documents, count)[1][place]
