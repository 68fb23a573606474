"""Search over HTTP: JSON in, JSON out, while others add and delete documents.

::

    POST /search            {"query": ...} or {"queries": [...]}, k, mode, filter -> {"results": [[...], ...]}
    POST /documents         {"documents": [{"id", "title", "text", "metadata"}]}  -> what /health gives
    POST /documents/delete  {"ids": [...]}                                        -> what /health gives
    GET  /health            documents, base, strength, fingerprint, generation, static

`jepakit.http` adds errors, limits and ``/metrics``. The status is 422 for an invalid request, and 409 if the index is
missing or damaged, or another process writes to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from threading import Lock
from typing import Annotated, Any

import torch
from fastapi import FastAPI, Response
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictInt
from torch import Tensor

from jepakit.errors import ConfigError, DataError
from jepakit.http import json_response, make_service
from jepakit.retrieval.ranking import encode_documents
from jepakit.retrieval.serving.searcher import Found, Mode, Searcher, document_fingerprint
from jepakit.search.collection import Collection
from jepakit.search.documents import Documents
from jepakit.search.index import Index
from jepakit.text import Kind, TextEncoder

_MAX_K, _MAX_QUERIES = 1000, 256
#: How much longer than the longest query all queries of a request together may be.
_MAX_TOTAL = 5
#: Of a block of texts, after which other requests are served.
_MAX_BLOCK_TEXTS, _MAX_BLOCK_CHARACTERS = 32, 100_000


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SearchRequest(_Request):
    """One query or several, and a filter of the documents."""

    query: str | None = None
    queries: Annotated[list[str], Field(max_length=_MAX_QUERIES)] | None = None
    k: Annotated[StrictInt, Field(ge=1, le=_MAX_K)] = 10
    mode: Mode = "fused"
    filter: dict[str, Any] | None = None


class NewDocument(_Request):
    """A document; it replaces a document with its id."""

    id: Annotated[str, Field(min_length=1)]
    text: str
    title: str = ""
    metadata: dict[str, str | bool | int | FiniteFloat] = {}


class AddRequest(_Request):
    """Documents to add."""

    documents: Annotated[list[NewDocument], Field(min_length=1)]


class DeleteRequest(_Request):
    """Ids of documents to delete."""

    ids: Annotated[list[str], Field(min_length=1)]


class SearchReply(BaseModel):
    """For each query its documents, the best first."""

    results: list[list[Found]]


class StaticReply(BaseModel):
    """Queries since the service began, and how many of them were unfamiliar to the static encoder."""

    queries: int
    unfamiliar: int


class StateReply(BaseModel):
    """The number of documents, the base and the versions; ``static`` where a static encoder answers queries."""

    documents: int
    base: str
    strength: float | None
    fingerprint: str
    generation: int
    static: StaticReply | None = None


def make_app(searcher: Searcher, *, token: str | None = None, max_characters: int = 100_000) -> FastAPI:
    """The application; `jepakit.http.run_service` runs it.

    Requests run concurrently. When another process changes the index, the next request sees it.

    Args:
        searcher: its index is opened again.
        token: required of every request; see `jepakit.http.make_service`.
        max_characters: longest query, and longest document with its title. The queries of one request together may
            be five times as long: more would hold up other requests, so it is refused.

    Raises:
        ConfigError: the token is blank, or ``max_characters`` less than 1.
        ModelError: the index cannot be opened.
    """
    if max_characters < 1:
        raise ConfigError("max_characters", max_characters, "at least 1")
    service = _Service(searcher, max_characters)
    app = make_service("jepakit retrieval", service.health, token=token)
    for path, function, reply in (
        ("/search", service.search, SearchReply),
        ("/documents", service.add, StateReply),
        ("/documents/delete", service.delete, StateReply),
    ):
        app.add_api_route(path, function, methods=["POST"], responses={200: {"model": reply}})
    return app


class _Service:
    """Answers requests, from many threads at once; after a change of the index it makes a new searcher."""

    def __init__(self, searcher: Searcher, max_characters: int) -> None:
        self._given, self._max_characters = searcher, max_characters
        self._encoder = _InBlocks(searcher.encoder)
        # A database is queried anew by every request; a folder's index is opened again when it has changed.
        self._folder = searcher.index.folder if isinstance(searcher.index, Index) else None
        self._fingerprint = document_fingerprint(searcher.encoder, searcher.adapter)
        self._changing, self._counting = Lock(), Lock()
        self._queries = self._unfamiliar = 0
        self._state = self._opened()

    def search(self, request: SearchRequest) -> Response:
        """The best documents for each query."""
        if (request.query is None) == (request.queries is None):
            raise ConfigError("query", request.query, "either query or queries")
        queries = (request.queries or []) if request.query is None else [request.query]
        for query in queries:
            self._check_length("query", query)
        total, limit = sum(map(len, queries)), _MAX_TOTAL * self._max_characters
        if total > limit:
            expected = f"{limit} characters in one request; send the queries in several"
            raise DataError("too long together", field="queries", value=total, expected=expected)
        if request.mode != "words":
            self._count(queries)
        answers = self._searcher().search(queries, request.k, mode=request.mode, where=request.filter)
        return json_response({"results": [[asdict(found) for found in answer] for answer in answers]})

    def add(self, request: AddRequest) -> Response:
        """Adds documents."""
        new = request.documents
        for document in new:
            self._check_length("text", document.title + document.text)
        documents = Documents(
            ids=tuple(document.id for document in new),
            texts=tuple(document.text for document in new),
            titles=tuple(document.title for document in new),
            metadata=tuple(document.metadata for document in new),
        )
        stored = self._searcher().index.sentences is not None
        encoded = encode_documents(documents, self._encoder, self._given.adapter, sentences=stored)
        return self._changed(lambda index: index.add(documents, *encoded))

    def delete(self, request: DeleteRequest) -> Response:
        """Deletes documents."""
        return self._changed(lambda index: index.delete(request.ids))

    def health(self) -> dict[str, object]:
        """The number of documents, the base and the versions."""
        index, adapter = self._searcher().index, self._given.adapter
        counts = {"static": {"queries": self._queries, "unfamiliar": self._unfamiliar}}
        return {
            **(counts if self._given.static is not None else {}),
            "documents": len(index),
            "base": self._encoder.name,
            "strength": None if adapter is None else float(adapter.strength),
            "fingerprint": index.fingerprint,
            "generation": index.generation,
        }

    def _count(self, queries: Sequence[str]) -> None:
        static = self._given.static
        if static is not None:
            familiar = static.familiar(static.features(queries))
            with self._counting:
                self._queries += len(familiar)
                self._unfamiliar += int((~familiar).sum())

    def _searcher(self) -> Searcher:
        """The searcher of the index as it is on disk now."""
        stamp, searcher = self._state
        if self._stamp() == stamp:
            return searcher
        with self._changing:
            # Another thread may have opened it while this one waited.
            if self._stamp() != self._state[0]:
                self._state = self._opened()
            return self._state[1]

    def _changed(self, change: Callable[[Collection], None]) -> Response:
        with self._changing:
            change(self._opened()[1].index)
            self._state = self._opened()
        return json_response(self.health())

    def _opened(self) -> tuple[object, Searcher]:
        # The stamp is read first, so that the next request notices a change that happens meanwhile.
        stamp, folder = self._stamp(), self._folder
        index = self._given.index if folder is None else Index.open(folder, fingerprint=self._fingerprint)
        given = self._given
        return stamp, Searcher(index, self._encoder, given.adapter, given.settings, given.static)

    def _stamp(self) -> object:
        """Changes with every change of an index in a folder, since its manifest is replaced then."""
        if self._folder is None:
            return None
        try:
            manifest = (self._folder / "manifest.json").stat()
        except OSError:
            return None
        return manifest.st_ino, manifest.st_mtime_ns

    def _check_length(self, field: str, text: str) -> None:
        if len(text) > self._max_characters:
            raise DataError("too long", field=field, value=len(text), expected=f"{self._max_characters} characters")


class _InBlocks:
    """A `TextEncoder` that encodes in blocks: it serves one call at a time, and others are served between blocks."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self.name, self.dim, self.fingerprint = encoder.name, encoder.dim, encoder.fingerprint

    def encode(self, texts: Sequence[str], kind: Kind) -> Tensor:
        vectors = [self._encoder.encode(block, kind) for block in _blocks(texts)]
        return torch.cat(vectors) if vectors else torch.zeros(0, self.dim)


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    block: list[str] = []
    for text in texts:
        if block and (len(block) == _MAX_BLOCK_TEXTS or sum(map(len, block)) + len(text) > _MAX_BLOCK_CHARACTERS):
            yield block
            block = []
        block.append(text)
    if block:
        yield block
