"""The search of a run's own index by a static encoder, one query at a time, in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from jepakit.errors import ConfigError, ModelError, require_choice
from jepakit.files.arrays import map_array
from jepakit.search.filters import Filter
from jepakit.search.found import Found, FoundDocuments
from jepakit.search.generations import check_files, read_manifest
from jepakit.search.settings import DEPTH, FEEDBACK_DOCUMENTS, FEEDBACK_TEMPERATURE, SearchSettings
from jepakit.search.static.encoder import STATIC, StaticEncoder
from jepakit.search.store import DocumentStore
from jepakit.search.words import LexicalIndex

Mode = Literal["fused", "dense", "words"]
Ranking = tuple[np.ndarray, np.ndarray]
"""Rows ``[k]`` int64, best first, and their scores ``[k]`` float32."""


@dataclass(frozen=True)
class StaticSearcher:
    """Searches an index of the kind ``exact`` as `jepakit.retrieval.Searcher` does, without torch.

    Args:
        encoder: of the queries.
        settings: weights of the steps.
        vectors: of the documents, ``[N, D]`` float32.
        alive: rows that are not deleted, ``[N]`` bool.
        words: BM25.
        sentences: vectors of sentences, ``[S, D]`` float16, and where those of each document begin, ``[N + 1]``; None:
            the index has none.
        store: the documents.
    """

    encoder: StaticEncoder
    settings: SearchSettings
    vectors: np.ndarray
    alive: np.ndarray
    words: LexicalIndex
    sentences: tuple[np.ndarray, np.ndarray] | None
    store: DocumentStore

    @classmethod
    def open(cls, run: str | Path) -> StaticSearcher:
        """The search of a finished run with a static encoder.

        Raises:
            ModelError: there is no such encoder or index, a file is damaged, they do not belong together, or the index
                is a graph (``hnsw``), which needs `jepakit.retrieval.Searcher`.
        """
        run = Path(run).expanduser()
        encoder = StaticEncoder.load(run / STATIC)
        manifest = read_manifest(run / "index")
        encoder.require_documents(manifest.fingerprint)
        if manifest.kind != "exact":
            way_out = "search it with jepakit.retrieval.Searcher, or build it with vectors.kind exact"
            raise ModelError(f"{run / 'index'}: an index of the kind {manifest.kind}; {way_out}")
        generation = check_files(run / "index", manifest)
        folder = generation / "sentences"
        kept: tuple[np.ndarray, np.ndarray] | None = None
        if folder.is_dir():
            kept = map_array(folder / "vectors.npy", np.float16, 2), map_array(folder / "first.npy", np.int64)
        return cls(
            encoder=encoder,
            settings=SearchSettings.read(run / "search.json"),
            vectors=map_array(generation / "vectors" / "vectors.npy", np.float32, 2),
            alive=map_array(generation / "vectors" / "alive.npy", np.bool_),
            words=LexicalIndex.load(generation / "words"),
            sentences=kept,
            store=DocumentStore(generation / "documents.sqlite"),
        )

    def search(
        self, query: str, k: int = 10, *, mode: Mode = "fused", where: Filter | None = None
    ) -> FoundDocuments | None:
        """The best ``k`` documents; None where the query is unfamiliar, so that the base model has to encode it.

        Args:
            query: a text.
            k: the most documents.
            mode: ``dense`` by vectors, ``words`` by BM25, ``fused`` by both.
            where: filter on the metadata; None: all documents.

        Raises:
            ConfigError: ``k`` is less than 1, or there is no such mode.
        """
        ranking = self.ranking(query, k, mode=mode, where=where)
        if ranking is None:
            return None
        rows, scores = ranking
        found = self.store.documents(rows.tolist())
        columns = zip(found.ids, scores.tolist(), found.titles, found.texts, found.metadata, strict=True)
        return FoundDocuments(Found(*fields) for fields in columns)

    def ranking(self, query: str, k: int, *, mode: Mode = "fused", where: Filter | None = None) -> Ranking | None:
        """As `search`, but returns rows of the index."""
        if k < 1:
            raise ConfigError("k", k, "at least 1")
        require_choice("mode", mode, get_args(Mode))
        allowed = self.alive if where is None else self.alive & self.store.where(where, len(self.alive))
        if mode == "words":
            return self.words.best(query, k, allowed)
        bags = self.encoder.features([query])
        if not self.encoder.familiar(bags)[0]:
            return None
        vector = self.encoder.encode_bags(bags)[0]
        if mode == "dense" or not self.settings.use_words:
            return self._dense(vector, k, allowed)
        depth = max(k, DEPTH)
        rows, scores = _weighted(
            self._dense(vector, depth, allowed), self.words.best(query, depth, allowed), self.settings.words
        )
        return rows[:k], scores[:k]

    def _dense(self, vector: np.ndarray, k: int, allowed: np.ndarray) -> Ranking:
        moved = vector
        if self.settings.feedback:
            moved = self._with_feedback(vector, *self._nearest(vector, FEEDBACK_DOCUMENTS, allowed))
        if not self.settings.sentences or self.sentences is None:
            return self._nearest(moved, k, allowed)
        rows, scores = self._nearest(moved, max(k, DEPTH), allowed)
        best = _best_sentences(vector, rows, *self.sentences)
        share = np.float32(self.settings.sentences)
        rows, scores = _ordered(rows, np.where(np.isneginf(best), scores, (1 - share) * scores + share * best))
        return rows[:k], scores[:k]

    def _nearest(self, vector: np.ndarray, k: int, allowed: np.ndarray) -> Ranking:
        scores = self.vectors @ vector
        rows = np.flatnonzero(allowed)
        if len(rows) > k:
            rows = rows[np.argpartition(-scores[rows], k - 1)[:k]]
        return _ordered(rows, scores[rows])

    def _with_feedback(self, vector: np.ndarray, rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
        if not len(rows):
            return vector
        shares = np.exp((scores - scores.max()) / FEEDBACK_TEMPERATURE)
        centre = (shares / shares.sum()) @ self.vectors[rows]
        centre /= max(float(np.linalg.norm(centre)), 1e-12)
        moved = vector + np.float32(self.settings.feedback) * (centre - vector)
        return moved / max(float(np.linalg.norm(moved)), 1e-12)


def _ordered(rows: np.ndarray, scores: np.ndarray) -> Ranking:
    """Best first; of equal scores the lower row."""
    order = np.lexsort((rows, -scores))
    return rows[order], scores[order]


def _best_sentences(vector: np.ndarray, rows: np.ndarray, vectors: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The highest cosine to a sentence of each document, ``[k]``; -inf for one without sentences."""
    counts = first[rows + 1] - first[rows]
    best = np.full(len(rows), -np.inf, np.float32)
    there = np.flatnonzero(counts)
    if len(there):
        starts = np.cumsum(counts[there]) - counts[there]
        places = np.arange(int(counts.sum())) + np.repeat(first[rows[there]] - starts, counts[there])
        best[there] = np.maximum.reduceat(vectors[places].astype(np.float32) @ vector, starts)
    return best


def _weighted(dense: Ranking, words: Ranking, weight: float) -> Ranking:
    """As `jepakit.search.fusion.weighted`, for one query."""
    rows, place = np.unique(np.concatenate([dense[0], words[0]]), return_inverse=True)
    share = np.float32(weight)
    parts = np.concatenate([(1 - share) * _scaled(dense[1]), share * _scaled(words[1])])
    sums = np.zeros(len(rows), np.float32)
    np.add.at(sums, place, parts)
    return _ordered(rows, sums)


def _scaled(scores: np.ndarray) -> np.ndarray:
    """Scores brought to 0 .. 1; 1 where all are the same."""
    if not len(scores):
        return scores
    low, spread = scores.min(), scores.max() - scores.min()
    return (scores - low) / spread if spread > 0 else np.ones_like(scores)
