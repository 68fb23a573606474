"""Search over HTTP: JSON in, JSON out, while others add and delete documents.

::

    POST /search            {"query": ...} or {"queries": [...]}, k, mode, filter -> {"results": [[...], ...]}
    POST /documents         {"documents": [{"id", "title", "text", "metadata"}]}  -> what /health gives
    POST /documents/delete  {"ids": [...]}                                        -> what /health gives
    GET  /health            documents, base, strength, fingerprint, generation

`jepakit.http` is the frame: errors, limits, ``/metrics``. An invalid request is 422; 409 says that the index is in the
way: it is missing, damaged, or another process writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

import torch
from fastapi import FastAPI, Response
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictInt
from torch import Tensor

from jepakit.errors import ConfigError, DataError
from jepakit.http import json_response, make_service
from jepakit.retrieval.ranking.sentences import encode_sentences
from jepakit.retrieval.serving.searcher import Mode, Searcher, document_fingerprint
from jepakit.search.collection import Collection
from jepakit.search.documents import Documents
from jepakit.search.index import Index
from jepakit.text import Kind, TextEncoder

_MAX_K, _MAX_QUERIES = 1000, 256
#: Texts and characters that are encoded before other requests have their turn.
_TEXTS_AT_ONCE, _CHARACTERS_AT_ONCE = 32, 100_000


class SearchRequest(BaseModel):
    """One query or several, and which documents may answer."""

    model_config = ConfigDict(extra="forbid")

    query: str | None = None
    queries: Annotated[list[str], Field(max_length=_MAX_QUERIES)] | None = None
    k: Annotated[StrictInt, Field(ge=1, le=_MAX_K)] = 10
    mode: Mode = "fused"
    filter: dict[str, Any] | None = None


class NewDocument(BaseModel):
    """A document; one whose id is there already takes its place."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(min_length=1)]
    text: str
    title: str = ""
    metadata: dict[str, str | bool | int | FiniteFloat] = {}


class AddRequest(BaseModel):
    """Documents that come."""

    model_config = ConfigDict(extra="forbid")

    documents: Annotated[list[NewDocument], Field(min_length=1)]


class DeleteRequest(BaseModel):
    """Documents that go."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[str], Field(min_length=1)]


def make_app(searcher: Searcher, *, token: str | None = None, max_characters: int = 100_000) -> FastAPI:
    """The application; `jepakit.http.run_service` runs it.

    Requests run side by side. When another process changes the index, the next request sees it.

    Args:
        searcher: what searches; its index is opened anew.
        token: required of every request; see `jepakit.http.make_service`.
        max_characters: of a query, and of a document with its title.

    Raises:
        ConfigError: the token is blank, or ``max_characters`` less than 1.
        ModelError: the index cannot be opened.
    """
    if max_characters < 1:
        raise ConfigError("max_characters", max_characters, "at least 1")
    service = _Service(searcher, max_characters)
    app = make_service("jepakit retrieval", service.health, token=token)
    app.add_api_route("/search", service.search, methods=["POST"])
    app.add_api_route("/documents", service.add, methods=["POST"])
    app.add_api_route("/documents/delete", service.delete, methods=["POST"])
    return app


class _Service:
    """Answers requests, from many threads at once.

    A searcher never changes under a search: after a change there is a new one.
    """

    def __init__(self, searcher: Searcher, max_characters: int) -> None:
        self._given, self._max_characters = searcher, max_characters
        self._encoder = _InTurns(searcher.encoder)
        # A database is asked anew by every request; a folder's index is opened anew when it has changed.
        self._folder = searcher.index.folder if isinstance(searcher.index, Index) else None
        self._fingerprint = document_fingerprint(searcher.encoder, searcher.adapter)
        self._changing = Lock()
        self._state = self._opened()

    def search(self, request: SearchRequest) -> Response:
        """Finds documents for each query."""
        if (request.query is None) == (request.queries is None):
            raise ConfigError("query", request.query, "either query or queries")
        queries = request.queries if request.query is None else [request.query]
        for query in queries or []:
            self._check_length("query", query)
        answers = self._searcher().search(queries or [], request.k, mode=request.mode, where=request.filter)
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
        encoder, adapter = self._encoder, self._given.adapter
        vectors = encoder.encode(documents.passages, "document")
        vectors = vectors if adapter is None else adapter.documents(vectors)
        kept = self._searcher().index.sentences is not None
        sentences = encode_sentences(documents, encoder) if kept else None
        if sentences is not None and adapter is not None:
            sentences = sentences.adapted(adapter)
        return self._changed(lambda index: index.add(documents, vectors, sentences))

    def delete(self, request: DeleteRequest) -> Response:
        """Deletes documents."""
        return self._changed(lambda index: index.delete(request.ids))

    def health(self) -> dict[str, object]:
        """What is served."""
        index, adapter = self._searcher().index, self._given.adapter
        return {
            "documents": len(index),
            "base": self._encoder.name,
            "strength": None if adapter is None else float(adapter.strength),
            "fingerprint": index.fingerprint,
            "generation": index.generation,
        }

    def _searcher(self) -> Searcher:
        """The searcher of the index as it is on disk now."""
        stamp, searcher = self._state
        if _stamp(self._folder) == stamp:
            return searcher
        with self._changing:
            # Another thread may have been here while this one waited.
            if _stamp(self._folder) != self._state[0]:
                self._state = self._opened()
            return self._state[1]

    def _changed(self, change: Callable[[Collection], None]) -> Response:
        with self._changing:
            change(self._opened()[1].index)
            self._state = self._opened()
        return json_response(self.health())

    def _opened(self) -> tuple[object, Searcher]:
        # Looked at first: what is published meanwhile is noticed by the next request.
        stamp = _stamp(self._folder)
        folder = self._folder
        index = self._given.index if folder is None else Index.open(folder, fingerprint=self._fingerprint)
        return stamp, Searcher(index, self._encoder, self._given.adapter, self._given.settings)

    def _check_length(self, field: str, text: str) -> None:
        if len(text) > self._max_characters:
            raise DataError("too long", field=field, value=len(text), expected=f"{self._max_characters} characters")


class _InTurns:
    """A `TextEncoder` in blocks: encoders take one call at a time, and other requests come between two blocks."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self.name, self.dim, self.fingerprint = encoder.name, encoder.dim, encoder.fingerprint

    def encode(self, texts: Sequence[str], kind: Kind) -> Tensor:
        vectors = [self._encoder.encode(block, kind) for block in _blocks(texts)]
        return torch.cat(vectors) if vectors else torch.zeros(0, self.dim)


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    block: list[str] = []
    for text in texts:
        if block and (len(block) == _TEXTS_AT_ONCE or sum(map(len, block)) + len(text) > _CHARACTERS_AT_ONCE):
            yield block
            block = []
        block.append(text)
    if block:
        yield block


def _stamp(folder: Path | None) -> object:
    """Changes with every change of an index, whose manifest is replaced then; None: it is not there."""
    if folder is None:
        return None
    try:
        found = (folder / "manifest.json").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
