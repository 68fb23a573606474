"""Search: texts in, documents out, through the base model, the adapter, the index and the words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from jepakit.errors import ConfigError, DataError, ModelError, require_choice
from jepakit.retrieval.data import Metadata
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.feedback import FEEDBACK_DOCUMENTS, with_feedback
from jepakit.retrieval.filters import Filter
from jepakit.retrieval.fusion import weighted
from jepakit.retrieval.hits import Hits
from jepakit.retrieval.index import Index
from jepakit.text import TextEncoder
from jepakit.training import load_encoder, write_text_atomically

__all__ = [
    "CANDIDATES",
    "DEPTH",
    "Found",
    "Mode",
    "SearchSettings",
    "Searcher",
    "document_fingerprint",
    "load_adapter",
    "require_base",
    "require_question",
]

Mode = Literal["fused", "dense", "words"]

#: Documents of the base's own answer by which the adapter tells whether it knows the collection.
CANDIDATES = 5
#: Documents of each of two rankings that are fused, and what Recall@100 needs.
DEPTH = 100


@dataclass(frozen=True)
class SearchSettings:
    """What was chosen for a search besides the adapter.

    Args:
        words: weight of BM25 beside the vectors, from 0 to 1.
        feedback: weight of the first documents beside the query, from 0 to 1; see `jepakit.retrieval.feedback`.
    """

    words: float = 0.0
    feedback: float = 0.0

    def write(self, file: Path) -> None:
        """Writes it as JSON."""
        write_text_atomically(file, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, file: Path) -> SearchSettings:
        """Reads what `write` wrote; the defaults where there is no file.

        Raises:
            DataError: it is damaged.
        """
        if not file.exists():
            return cls()
        try:
            weights = json.loads(file.read_text("utf-8"))
            settings = cls(words=weights["words"], feedback=weights["feedback"])
        except (ValueError, KeyError, TypeError) as error:
            expected = '{"words": a number, "feedback": a number}'
            raise DataError("not the settings of a search", file=file, expected=expected) from error
        for name, weight in asdict(settings).items():
            if not isinstance(weight, int | float) or not 0 <= weight <= 1:
                raise DataError("not a weight", file=file, field=name, value=weight, expected="a number from 0 to 1")
        return settings


@dataclass(frozen=True)
class Found:
    """A document that was found.

    Args:
        id: its id.
        score: the higher the better; comparable within one answer only.
        title: of the document.
        text: of the document.
        metadata: of the document.
    """

    id: str
    score: float
    title: str
    text: str
    metadata: Metadata


class Searcher:
    """Searches an index.

    Args:
        index: the documents.
        encoder: the base model.
        adapter: trained on that base; None searches with the base alone.
        settings: what was chosen besides.

    Raises:
        ModelError: the adapter was trained on another base.
    """

    def __init__(
        self,
        index: Index,
        encoder: TextEncoder,
        adapter: Adapter | None = None,
        settings: SearchSettings | None = None,
    ) -> None:
        if adapter is not None:
            require_base(adapter, encoder)
        self.index, self.encoder, self.adapter = index, encoder, adapter
        self.settings = settings or SearchSettings()

    def search(
        self, queries: Sequence[str], k: int = 10, *, mode: Mode = "fused", where: Filter | None = None
    ) -> list[list[Found]]:
        """The best documents for each query.

        Args:
            queries: texts.
            k: how many at most.
            mode: ``dense`` by vectors, ``words`` by BM25, ``fused`` by both, weighted as the held-out pairs had it.
            where: only documents whose metadata meet this.

        Raises:
            ConfigError: ``k`` is less than 1.
        """
        hits = self.hits(queries, k, mode=mode, where=where)
        rows = hits.rows[hits.found].unique()
        documents = self.index.documents(rows)
        place = {row: number for number, row in enumerate(rows.tolist())}

        def found(row: int, score: float) -> Found:
            at = place[row]
            title, text = documents.titles[at], documents.texts[at]
            return Found(documents.ids[at], score, title, text, documents.metadata[at])

        return [
            [found(row, score) for row, score in zip(some.tolist(), scores.tolist(), strict=True) if row >= 0]
            for some, scores in zip(hits.rows, hits.scores, strict=True)
        ]

    def hits(self, queries: Sequence[str], k: int, *, mode: Mode = "fused", where: Filter | None = None) -> Hits:
        """As `search`, but rows of the index."""
        require_question(k, mode)
        if mode == "words":
            return self.index.search_words(queries, k, where)
        base = self.encoder.encode(queries, "query")
        familiarity = self._familiarity(base)
        vectors = base if self.adapter is None else self.adapter.queries(base, familiarity)
        if self.settings.feedback:
            first = self.index.search_vectors(vectors, FEEDBACK_DOCUMENTS, where)
            weight = self.settings.feedback * familiarity
            vectors = with_feedback(vectors, self._vectors_of(first), first.scores, weight)
        if mode == "dense" or not self.settings.words:
            return self.index.search_vectors(vectors, k, where)
        dense = self.index.search_vectors(vectors, max(k, DEPTH), where)
        words = self.index.search_words(queries, max(k, DEPTH), where)
        return weighted(dense, words, self.settings.words * familiarity).first(k)

    def _familiarity(self, base: Tensor) -> Tensor:
        """How far to trust what was learned, for each query, ``[Q]``."""
        if self.adapter is None:
            return torch.ones(len(base))
        return self.adapter.familiarity(base, self._candidates(base))

    def _candidates(self, base: Tensor) -> Tensor | None:
        """The base's vectors of its own first documents, ``[Q, K, D]``; None where the index does not hold them."""
        assert self.adapter is not None
        if self.adapter.changes_documents or not len(self.adapter.familiar_documents) or not len(self.index):
            return None
        return self._vectors_of(self.index.search_vectors(base, CANDIDATES))

    def _vectors_of(self, hits: Hits) -> Tensor:
        """The vectors of what was found, ``[Q, K, D]``; zeros, which are like no document, where nothing was."""
        some = int(self.index.alive.argmax())
        rows = hits.rows.masked_fill(~hits.found, some)
        return self.index.vectors(rows.flatten()).view(*rows.shape, -1) * hits.found.unsqueeze(-1)


def require_question(k: int, mode: Mode) -> None:
    """Raises ConfigError where nobody can be asked for ``k`` documents, or in this mode."""
    if k < 1:
        raise ConfigError("k", k, "at least 1")
    require_choice("mode", mode, get_args(Mode))


def require_base(adapter: Adapter, encoder: TextEncoder) -> None:
    """Raises ModelError where the adapter was trained on another base model."""
    if adapter.fingerprint != encoder.fingerprint:
        raise ModelError(
            f"the adapter was trained on {adapter.base} with fingerprint {adapter.fingerprint[:8]}, but {encoder.name}"
            f" has {encoder.fingerprint[:8]}: the base model, its tokeniser or its settings changed; train again"
        )


def document_fingerprint(encoder: TextEncoder, adapter: Adapter | None) -> str:
    """What an index depends on: the base, and the adapter where that changes documents."""
    if adapter is None or not adapter.changes_documents:
        return encoder.fingerprint
    digest = hashlib.blake2b(encoder.fingerprint.encode(), digest_size=16)
    for name, value in sorted(adapter.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_adapter(folder: Path) -> Adapter:
    """The adapter in an encoder folder.

    Raises:
        ModelError: it holds something else, or is damaged.
    """
    adapter = load_encoder(folder)
    if not isinstance(adapter, Adapter):
        raise ModelError(f"{folder}: not an adapter of a text encoder but a {type(adapter).__name__}")
    return adapter
