"""Views: a query is the context, a document that answers it the target; both are contrasted with other candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from jepakit.core import CandidateSets, Contrast, Where, near_positive
from jepakit.core.distributed import own_rows
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
        direction: the side that predicts.
        texts: of all queries and documents, if the base model is trained too; None: views hold base vectors.

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
        vectors: dict[Kind, Tensor] = {"query": queries, "document": documents}
        kinds: tuple[Kind, ...] = ("query", "document") if direction == "both" else (direction,)
        self.directions = [_Direction(kind, vectors, self.pairs, config, texts) for kind in kinds]

    def __len__(self) -> int:
        return len(self.pairs)

    def __call__(self, indices: Tensor, generator: torch.Generator) -> tuple[Contrast, ...]:
        return tuple(direction(indices) for direction in self.directions)


class _Direction:
    """Pairs as (context row, target row), and the candidates that contain the target."""

    def __init__(
        self,
        kind: Kind,
        vectors: Mapping[Kind, Tensor],
        pairs: Pairs,
        config: ViewConfig,
        texts: Mapping[Kind, Sequence[str]] | None,
    ) -> None:
        self.kind: Kind = kind
        self.other: Kind = "document" if kind == "query" else "query"
        self.contexts, self.targets = vectors[kind], vectors[self.other]
        self.texts, self.margin = texts, config.false_negatives
        self.context, target = pairs.query, pairs.document
        negatives = torch.empty(len(pairs), 0, dtype=torch.long)
        if kind == "document":
            self.context, target = target, self.context
        elif config.hard_negatives:
            # The documents nearest to each query; `CandidateSets` excludes the relevant ones later.
            unique, inverse = self.context.unique(return_inverse=True)
            negatives = top_documents(self.contexts[unique], self.targets, config.hard_negatives)[1][inverse]
        fixed = {"positives": target.unique(), "corpus": torch.arange(len(self.targets)), "batch": None}
        # "corpus" means all documents. Where queries are the targets, only training queries are candidates.
        name = "positives" if config.candidates == "corpus" and kind == "document" else config.candidates
        self.candidates = CandidateSets(
            self.context, target, targets=len(self.targets), fixed=fixed[name], negatives=negatives
        )
        constant = self.candidates.constant
        self.constant_vectors = None if constant is None else self.targets[constant]

    def __call__(self, indices: Tensor) -> Contrast:
        # The candidates are those of the whole batch, on every process.
        share = own_rows(len(indices))
        context = self.context[indices[share]]
        candidates, positive, excluded = self.candidates(indices)
        positive, excluded = positive[share], excluded[share]
        vectors = self.constant_vectors if self.constant_vectors is not None else self.targets[candidates]
        if self.margin is not None:
            excluded |= near_positive(self.contexts[context] @ vectors.T, positive, self.margin)
        where = Where(target_rows=positive, backward=self.kind == "document")
        contexts = self.contexts[context] if self.texts is None else _texts_of(self.texts[self.kind], context)
        targets = vectors if self.texts is None else _texts_of(self.texts[self.other], candidates)
        return Contrast(Side(self.kind, contexts), Side(self.other, targets), where, excluded)


def _texts_of(texts: Sequence[str], rows: Tensor) -> tuple[str, ...]:
    return tuple(texts[int(row)] for row in rows.tolist())
