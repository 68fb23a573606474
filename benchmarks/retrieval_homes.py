"""What the retrieval benchmarks share: homes of adapters, what these are measured on, the floors beside them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import data_dir
from jepakit.retrieval import (
    Adapter,
    Hits,
    LexicalIndex,
    Pairs,
    RetrievalDataset,
    SearchSettings,
    SelectionConfig,
    Sentences,
    encode_sentences,
    load_dataset,
    paired_interval,
    without_shared,
)
from jepakit.retrieval.adapter.familiarity import Familiarity
from jepakit.retrieval.datasets.splits import ensure_splits
from jepakit.retrieval.evaluate import searched
from jepakit.retrieval.measuring.metrics import ndcg
from jepakit.retrieval.measuring.untrained import Untrained
from jepakit.retrieval.ranking import DEPTH, Encoded, familiar, nearest
from jepakit.text import CachedEncoder, EmbeddingCache, TextConfig, TextEncoder, load_text_encoder

__all__ = [
    "ALONE",
    "ALONE_SELECTION",
    "BASE",
    "BM25",
    "DENSE",
    "FLOORS",
    "HOMES",
    "HYBRID",
    "LINEAR",
    "OURS",
    "Collection",
    "against",
    "against_floors",
    "as_trained",
    "base_encoder",
    "encoded",
    "home_dataset",
    "linear_maps",
    "load_collection",
]

HOMES = {
    "SciFact, disjoint": ("scifact", True, 0.68),
    "SciFact, official": ("scifact", False, None),
    "StackFAQ": ("stackfaq", True, 0.794),
    "MedQuAD, disjoint": ("medquad", True, 0.83),
}
"""Home -> (collection, whether training questions that share a document with the test are left out, aim at home)."""

BASE, BM25 = "base model", "BM25"
LINEAR = "linear adapter, in-batch negatives"
OURS, DENSE, ALONE = "jepakit: full search", "jepakit: full search without BM25", "jepakit: adapter alone"
"""What `search` does; the same without BM25; and without feedback and sentences too."""
SENTENCES, FEEDBACK, HYBRID = f"{BASE} + sentences", f"{BASE} + feedback", f"{BASE} + BM25"
TOGETHER = f"{BASE} + all that helps it"
FLOORS = (BASE, SENTENCES, FEEDBACK, HYBRID, TOGETHER, BM25)
"""Without training: the weights alone are chosen on the home's training questions, as those of our search are."""
ALONE_SELECTION = SelectionConfig(feedback=[], sentences=[], words=[])


def home_dataset(dataset: RetrievalDataset, disjoint: bool) -> RetrievalDataset:
    """A collection as it is trained on."""
    if disjoint:
        parts = {
            name: without_shared(pairs, dataset.splits["test"], dataset.documents) if name != "test" else pairs
            for name, pairs in dataset.splits.items()
        }
        dataset = replace(dataset, splits=parts)
    return ensure_splits(dataset)


@dataclass(frozen=True)
class Collection:
    """A collection and the base's vectors of it."""

    dataset: RetrievalDataset
    encoder: TextEncoder
    queries: Tensor
    documents: Tensor
    words: LexicalIndex

    @property
    def test(self) -> Pairs:
        return self.dataset.splits["test"]

    @cached_property
    def sentences(self) -> Sentences:
        """Of all documents; encoded when a search first asks for them."""
        return encode_sentences(self.dataset.documents, self.encoder)

    def values(self, hits: Hits) -> list[float]:
        """NDCG@10 of each test question."""
        return ndcg(hits.rows, self.test.relevant.queries, self.test).tolist()

    def by_words(self, rows: Tensor) -> Hits:
        """What BM25 finds for some questions, as all searches below."""
        return self.words.search([self.dataset.queries.texts[row] for row in rows.tolist()], 100)

    def by_base(self, rows: Tensor, feedback: float = 0.0) -> Hits:
        """By the base model, with feedback at a fixed weight."""
        return nearest(self.queries[rows], self.documents, DEPTH, feedback)

    def by_map(self, rows: Tensor, weight: Tensor) -> Hits:
        """By the base model's questions after a linear map."""
        return nearest(F.normalize(self.queries[rows] @ weight, dim=-1), self.documents, DEPTH)

    def by_adapter(
        self, rows: Tensor, adapter: Adapter | None, settings: SearchSettings, *, words: bool = False
    ) -> Hits:
        """By an adapter or the base model, as `jepakit.retrieval.evaluate` does; with BM25 only where ``words``."""
        source = Encoded(self.documents, self.sentences if settings.sentences else None)
        source = source if adapter is None else source.adapted(adapter)
        known = familiar(self.queries[rows], adapter, source)
        by_words = self.by_words(rows) if words and settings.use_words else None
        return searched(self.queries[rows], adapter, source, settings, known, by_words)

    def by_floor(self, rows: Tensor, floor: str, weights: Untrained) -> Hits:
        """By one of `FLOORS`."""
        if floor == BM25:
            return self.by_words(rows)
        each = weights.each
        settings = {
            BASE: SearchSettings(),
            SENTENCES: SearchSettings(sentences=each.sentences),
            FEEDBACK: SearchSettings(feedback=each.feedback),
            HYBRID: SearchSettings(words=each.words),
            TOGETHER: weights.together,
        }
        return self.by_adapter(rows, None, settings[floor], words=True)


def base_encoder() -> TextEncoder:
    """The base of all benchmarks: the default model in bfloat16, which encodes several times faster where a processor
    computes in it (mean cosine to float32 above .9999)."""
    return CachedEncoder(load_text_encoder(TextConfig(precision="bfloat16")), EmbeddingCache())


def load_collection(name: str, encoder: TextEncoder) -> Collection:
    """A collection of JEPAKIT_DATA, encoded."""
    return encoded(load_dataset(name, data_dir=data_dir()), encoder)


def encoded(dataset: RetrievalDataset, encoder: TextEncoder) -> Collection:
    """A collection with the base's vectors of it."""
    documents = encoder.encode(dataset.documents.passages, "document")
    queries = encoder.encode(dataset.queries.texts, "query")
    return Collection(dataset, encoder, queries, documents, LexicalIndex.build(dataset.documents.passages))


def linear_maps(queries: Tensor, documents: Tensor, pairs: Pairs, *, epochs: int, seed: int) -> Iterator[Tensor]:
    """A linear map of the query, from the identity, trained with in-batch negatives: its weight after each epoch.

    What LlamaIndex' and Chroma's adapters do, with their scale of 20 and batches that are large enough to learn from.
    """
    pairs = pairs.relevant
    generator = torch.Generator().manual_seed(seed)
    weight = torch.eye(queries.shape[1]).requires_grad_()
    optimizer = torch.optim.AdamW([weight], lr=1e-3, weight_decay=0.01)
    for _ in range(epochs):
        for batch in torch.randperm(len(pairs), generator=generator).split(128):
            predicted = F.normalize(queries[pairs.query[batch]] @ weight, dim=-1)
            scores = 20 * predicted @ documents[pairs.document[batch]].T
            optimizer.zero_grad()
            F.cross_entropy(scores, torch.arange(len(batch))).backward()
            optimizer.step()
        yield weight.detach().clone()


def as_trained(adapter: Adapter) -> Adapter:
    """A copy that is followed all the way, everywhere: what training made, whatever held-out pairs said of it."""
    copied = copy.deepcopy(adapter)
    copied.strength.fill_(1.0)
    copied.familiar_queries, copied.familiar_documents = Familiarity(adapter.dim), Familiarity(adapter.dim)
    return copied


def against(difference: np.ndarray, floor: str = BASE) -> str:
    """The note that says by how much a method differs from a floor: its mean, and the paired interval.

    Args:
        difference: of each test question, the mean over seeds, ``[Q]``.
        floor: the floor.
    """
    low, high = paired_interval(difference)
    return f"against the {floor} {difference.mean():+.4f} ({low:+.4f} to {high:+.4f})".replace("the BM25", BM25)


def against_floors(values: np.ndarray, floors: Mapping[str, np.ndarray]) -> str:
    """`against` each of several floors; all ``[Q]``."""
    return "; ".join(against(values - floor, name) for name, floor in floors.items())
