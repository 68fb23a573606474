"""Search: from texts to documents, by base model, adapter, index and BM25."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from jepakit.errors import ConfigError, ModelError, require_choice
from jepakit.retrieval.adapter.familiarity import Familiarity
from jepakit.retrieval.adapter.stage import base_of
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.ranking import familiar, fused, ranked
from jepakit.search.collection import Collection, open_collection
from jepakit.search.filters import Filter
from jepakit.search.found import Found, FoundDocuments
from jepakit.search.hits import Hits
from jepakit.search.sentences import Sentences
from jepakit.search.settings import DEPTH, SearchSettings
from jepakit.search.static.encoder import STATIC, StaticEncoder
from jepakit.text import TextEncoder, load_text_encoder
from jepakit.text.saved import text_config_of
from jepakit.training import RunFolder, load_encoder_as

Mode = Literal["fused", "dense", "words"]


class Searcher:
    """Searches an index.

    Args:
        index: the documents: an index in a folder, or a collection in a database.
        encoder: the base model.
        adapter: trained on that base; None searches with the base alone.
        settings: weights of feedback, sentences and BM25.
        static: answers the queries that are familiar to it in place of the base and the adapter, which answer the
            others; None: they answer all.

    Raises:
        ModelError: the adapter was trained on another base, or ``static`` on other vectors of documents.
        ConfigError: sentences or words have a weight but the index has none; or the adapter changes documents but the
            collection does not record that it holds adapted vectors.
    """

    def __init__(
        self,
        index: Collection,
        encoder: TextEncoder,
        adapter: Adapter | None = None,
        settings: SearchSettings | None = None,
        static: StaticEncoder | None = None,
    ) -> None:
        if adapter is not None:
            require_base(adapter, encoder)
        if static is not None:
            static.require_documents(document_fingerprint(encoder, adapter))
        self.index, self.encoder, self.adapter, self.static = index, encoder, adapter, static
        self.settings = settings or SearchSettings()
        if self.settings.sentences and index.sentences is None:
            expected = "0 for an index without sentences; or build it with those of jepakit.retrieval.encode_sentences"
            raise ConfigError("settings.sentences", self.settings.sentences, expected)
        if self.settings.use_words and not index.has_words:
            given = max(self.settings.words, self.settings.words_elsewhere)
            raise ConfigError("settings.words", given, "0: the collection is searched by vectors only")
        if adapter is not None and adapter.changes_documents and index.fingerprint is None:
            expected = "a collection that jepakit wrote for this adapter, which changes documents: index --to ADDRESS"
            raise ConfigError("index", None, expected)
        self.notes: tuple[str, ...] = ()
        self._all = _Indexed(index)

    @classmethod
    def open(
        cls,
        run: str | Path,
        *,
        index: str | Path | None = None,
        encoder: TextEncoder | None = None,
        static: bool = True,
    ) -> Searcher:
        """The search of a finished run, in its own index or in a database.

        Steps that a database does not support are left out; `notes` lists them.

        Args:
            run: folder of the run.
            index: a folder or an address, see `jepakit.search.collection.open_collection`; None: the run's own index.
            encoder: the run's base model; None: loaded as the run's ``config.yaml`` says.
            static: answer familiar queries by the run's static encoder, where it has one.

        Raises:
            ModelError: there is no index, or it or the adapter was made with another base model.
            ConfigError: the address is not valid, or the database lacks a table or column that it names.
        """
        folder = RunFolder(Path(run))
        encoder = encoder or load_text_encoder(base_of(folder, text_config_of(folder)))
        adapter, settings = load_encoder_as(Adapter, folder.encoder), SearchSettings.read(folder.path / "search.json")
        place = folder.path / "index" if index is None else index
        collection = open_collection(place, fingerprint=document_fingerprint(encoder, adapter))
        if collection.dim != adapter.out_dim:
            raise ConfigError("index", collection.dim, f"vectors of {adapter.out_dim} numbers, as {encoder.name} gives")
        notes: list[str] = []
        if collection.fingerprint is None:
            notes.append(f"the collection does not record the encoder of its vectors; assumed is {encoder.name}")
        if settings.use_words and not collection.has_words:
            weight = f"weight {settings.words:g} in this run, {settings.words_elsewhere:g} elsewhere"
            notes.append(f"BM25 ({weight}) is left out: the collection has no words")
            settings = replace(settings, words=0, words_elsewhere=0)
        if settings.sentences and collection.sentences is None:
            notes.append(f"sentences (weight {settings.sentences:g} in this run) are left out: it stores none")
            settings = replace(settings, sentences=0)
        table = StaticEncoder.load(folder.path / STATIC) if static and (folder.path / STATIC).is_dir() else None
        searcher = cls(collection, encoder, adapter, settings, None if table is None or table.gate.closed else table)
        searcher.notes = tuple(notes)
        return searcher

    def search(
        self, queries: Sequence[str], k: int = 10, *, mode: Mode = "fused", where: Filter | None = None
    ) -> list[FoundDocuments]:
        """The best ``k`` documents for each query.

        Args:
            queries: texts.
            k: the most documents for each query.
            mode: ``dense`` by vectors, ``words`` by BM25, ``fused`` by both, with the weights of ``settings``.
            where: filter on the metadata; None: all documents.

        Raises:
            ConfigError: ``k`` is less than 1.
        """
        hits = self.hits(queries, k, mode=mode, where=where)
        rows = hits.rows[hits.found].unique()
        documents = self.index.documents(rows)
        columns = zip(documents.ids, documents.titles, documents.texts, documents.metadata, strict=True)
        by_row = dict(zip(rows.tolist(), columns, strict=True))

        def found(row: int, score: float) -> Found:
            name, title, text, metadata = by_row[row]
            return Found(name, score, title, text, metadata)

        return [
            FoundDocuments(found(row, score) for row, score in zip(best, scores, strict=True) if row >= 0)
            for best, scores in zip(hits.rows.tolist(), hits.scores.tolist(), strict=True)
        ]

    def hits(self, queries: Sequence[str], k: int, *, mode: Mode = "fused", where: Filter | None = None) -> Hits:
        """As `search`, but returns rows of the index."""
        require_search(k, mode)
        if mode == "words":
            return self.index.search_words(queries, k, where)
        source = _Indexed(self.index, where) if where else self._all
        if self.static is None:
            return self._searched(queries, self.encoder.encode(queries, "query"), self.adapter, source, k, mode)
        bags = self.static.features(queries)
        answered = self.static.familiar(bags)
        rows, scores = torch.full((len(queries), k), -1), torch.full((len(queries), k), -torch.inf)
        for chosen in (np.flatnonzero(answered), np.flatnonzero(~answered)):
            texts = [queries[place] for place in chosen.tolist()]
            if not texts:
                continue
            quick = bool(answered[chosen[0]])
            vectors = (
                torch.from_numpy(self.static.encode_bags(bags)[chosen])
                if quick
                else self.encoder.encode(texts, "query")
            )
            hits = self._searched(texts, vectors, None if quick else self.adapter, source, k, mode)
            rows[chosen, : hits.rows.shape[1]], scores[chosen, : hits.rows.shape[1]] = hits.rows, hits.scores
        return Hits(rows, scores)

    def _searched(
        self, queries: Sequence[str], base: Tensor, adapter: Adapter | None, source: _Indexed, k: int, mode: Mode
    ) -> Hits:
        """The hits of queries with these vectors, ``[Q, D]``; without an adapter they are at home."""
        familiarity = familiar(base, adapter, self._all)
        if mode == "dense" or not self.settings.use_words:
            return ranked(base, adapter, source, k, self.settings, familiarity)
        dense = ranked(base, adapter, source, max(k, DEPTH), self.settings, familiarity)
        words = self.index.search_words(queries, max(k, DEPTH), source.where)
        return fused(dense, words, self.settings, familiarity).first(k)


class _Indexed:
    """The documents of an index that a filter allows, as a `jepakit.retrieval.ranking.Source`.

    It caches the familiarity of documents.
    """

    def __init__(self, index: Collection, where: Filter | None = None) -> None:
        self.index, self.where = index, where
        self._generation: int | None = None
        self._familiarity: dict[int, list[float]] = {}

    @property
    def sentences(self) -> Sentences | None:
        return self.index.sentences

    def nearest(self, queries: Tensor, k: int) -> Hits:
        return self.index.search_vectors(queries, k, self.where)

    def vectors_of(self, hits: Hits) -> Tensor:
        vectors = torch.zeros(*hits.rows.shape, self.index.dim)
        vectors[hits.found] = self.index.vectors(hits.rows[hits.found])
        return vectors

    def familiarity_of(self, hits: Hits, memory: Familiarity) -> Tensor:
        if self.index.generation != self._generation or self._generation is None:
            self._generation, self._familiarity = self.index.generation, {}
        rows = hits.rows[hits.found].tolist()
        cached = self._familiarity
        if new := [row for row in dict.fromkeys(rows) if row not in cached]:
            cached.update(zip(new, memory.both(self.index.vectors(new)).tolist(), strict=True))
        # 0 where a query has fewer than k hits.
        familiarity = torch.zeros(*hits.rows.shape, 2)
        familiarity[hits.found] = torch.tensor([cached[row] for row in rows]).view(-1, 2)
        return familiarity


def require_search(k: int, mode: Mode) -> None:
    """Raises ConfigError if ``k`` is less than 1 or there is no such mode."""
    if k < 1:
        raise ConfigError("k", k, "at least 1")
    require_choice("mode", mode, get_args(Mode))


def require_base(adapter: Adapter, encoder: TextEncoder) -> None:
    """Raises ModelError if the adapter was trained on another base model."""
    if adapter.fingerprint != encoder.fingerprint:
        raise ModelError(
            f"the adapter was trained on {adapter.base} with fingerprint {adapter.fingerprint[:8]}, but {encoder.name}"
            f" has {encoder.fingerprint[:8]}: the base model, its tokeniser or its settings changed; put them back, or"
            " train again, which makes the index too: jepakit retrieval train"
        )


def document_fingerprint(encoder: TextEncoder, adapter: Adapter | None) -> str:
    """The fingerprint that an index must have: of the base and, if it changes documents, of the adapter.

    Raises:
        ModelError: the adapter was trained on another base.
    """
    if adapter is not None:
        require_base(adapter, encoder)
    if adapter is None or not adapter.changes_documents:
        return encoder.fingerprint
    digest = hashlib.blake2b(encoder.fingerprint.encode(), digest_size=16)
    for name, value in sorted(adapter.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
