"""Search over HTTP: JSON in, JSON out, while others add and delete documents.

::

    POST /search            {"query": ...} or {"queries": [...]}, k, mode, filter -> {"results": [[...], ...]}
    POST /documents         {"documents": [{"id", "title", "text", "metadata"}]}  -> what /health gives
    POST /documents/delete  {"ids": [...]}                                        -> what /health gives
    GET  /health            documents, base, strength, fingerprint, generation

What is wrong with a request is 422, what is wrong with the index or in its way 409, both with ``{"error": ...}``.
"""

from __future__ import annotations

import hmac
import json
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from threading import Lock
from typing import Annotated, Any
from urllib.parse import urlsplit

import torch
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictInt
from torch import Tensor

from jepakit.errors import ConfigError, DataError, JepakitError, ModelError
from jepakit.retrieval.data import Documents
from jepakit.retrieval.ranking.sentences import encode_sentences
from jepakit.retrieval.serving.searcher import Mode, Searcher, document_fingerprint
from jepakit.search.collection import Collection
from jepakit.search.index import Index
from jepakit.text import Kind, TextEncoder

__all__ = ["make_app", "run_server"]

_MAX_K, _MAX_QUERIES = 1000, 256
_MAX_BODY = 64 * 2**20
_SECONDS_TO_FINISH = 30
_AT_ONCE = 32
_STATUS = {
    400: "the body cannot be read",
    404: "there is nothing here; /openapi.json lists what there is",
    405: "not with this method; /openapi.json lists what there is",
    500: "the server failed; its log says how",
}


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
    """The application; `run_server` runs it, or any ASGI server.

    Requests run side by side. When another process changes the index, the next request sees it.

    Args:
        searcher: what searches; its index is opened anew.
        token: whoever asks has to send it as ``Authorization: Bearer TOKEN``. None: anybody on this machine may ask,
            and requests that name another host are refused, for a web page could lead a browser here.
        max_characters: of a query, and of a document with its title.

    Raises:
        ConfigError: the token is blank, or ``max_characters`` less than 1.
        ModelError: the index cannot be opened.
    """
    if token is not None and not token.strip():
        raise ConfigError("token", token, "a text that nobody guesses, or none")
    if max_characters < 1:
        raise ConfigError("max_characters", max_characters, "at least 1")
    service = _Service(searcher, max_characters)
    # The pages about the interface would load scripts from elsewhere.
    app = FastAPI(title="jepakit retrieval", docs_url=None, redoc_url=None)
    app.state.has_token = token is not None
    app.add_api_route("/search", service.search, methods=["POST"])
    app.add_api_route("/documents", service.add, methods=["POST"])
    app.add_api_route("/documents/delete", service.delete, methods=["POST"])
    app.add_api_route("/health", service.health, methods=["GET"])
    for status, message in _STATUS.items():
        app.add_exception_handler(status, _answer_with(status, message))
    app.add_exception_handler(JepakitError, _explain)
    app.add_exception_handler(RequestValidationError, _explain)

    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        return _refusal(request.headers, token) or await call_next(request)

    app.middleware("http")(guard)
    return app


def run_server(app: FastAPI, host: str = "127.0.0.1", port: int = 8765) -> None:
    """Serves until SIGTERM or SIGINT; requests under way are answered before it ends.

    Args:
        app: what `make_app` made.
        host: the address to listen at; without a token only one of this machine.
        port: the port to listen at.

    Raises:
        ConfigError: the address is open to others though there is no token, or cannot be listened at.
    """
    if not app.state.has_token and not _is_loopback(host):
        raise ConfigError("host", host, "127.0.0.1, or a token, without which anybody could read and delete")
    config = uvicorn.Config(
        app, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=_SECONDS_TO_FINISH
    )
    with _listening(host, port) as listener:
        uvicorn.Server(config).run(sockets=[listener])


class _Service:
    """Answers requests, from many threads at once.

    A searcher never changes under a search: after a change there is a new one.
    """

    def __init__(self, searcher: Searcher, max_characters: int) -> None:
        self._given, self._max_characters = searcher, max_characters
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
        return _json({"results": [[asdict(found) for found in answer] for answer in answers]})

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
        encoder, adapter = _InTurns(self._given.encoder), self._given.adapter
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

    def health(self) -> Response:
        """What is served."""
        index, adapter = self._searcher().index, self._given.adapter
        return _json(
            {
                "documents": len(index),
                "base": self._given.encoder.name,
                "strength": None if adapter is None else float(adapter.strength),
                "fingerprint": index.fingerprint,
                "generation": index.generation,
            }
        )

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
        return self.health()

    def _opened(self) -> tuple[object, Searcher]:
        # Looked at first: what is published meanwhile is noticed by the next request.
        stamp = _stamp(self._folder)
        if self._folder is None:
            return stamp, self._given
        index = Index.open(self._folder, fingerprint=self._fingerprint)
        return stamp, Searcher(index, self._given.encoder, self._given.adapter, self._given.settings)

    def _check_length(self, field: str, text: str) -> None:
        if len(text) > self._max_characters:
            raise DataError("too long", field=field, value=len(text), expected=f"{self._max_characters} characters")


class _InTurns:
    """A `TextEncoder` in blocks: encoders take one call at a time, and between two of these queries have their turn."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self.name, self.dim, self.fingerprint = encoder.name, encoder.dim, encoder.fingerprint

    def encode(self, texts: Sequence[str], kind: Kind) -> Tensor:
        starts = range(0, len(texts), _AT_ONCE)
        found = [self._encoder.encode(texts[start : start + _AT_ONCE], kind) for start in starts]
        return torch.cat(found) if found else torch.zeros(0, self.dim)


def _stamp(folder: Path | None) -> object:
    """Changes with every change of an index, whose manifest is replaced then; None: it is not there."""
    if folder is None:
        return None
    try:
        found = (folder / "manifest.json").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    # In ASCII, for lone surrogates occur in what people scrape.
    text = json.dumps(content, allow_nan=False)
    return Response(text, status, headers=headers, media_type="application/json")


def _answer_with(status: int, message: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    # After a fault uvicorn hangs up, which a client that would use the connection again has to know.
    headers = {"Connection": "close"} if status >= 500 else None

    async def answer(_request: Request, _error: Exception) -> Response:
        return _json({"error": message}, status, headers)

    return answer


async def _explain(_request: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        return _json({"error": "; ".join(_problem(one) for one in error.errors()[:5])}, 422)
    return _json({"error": str(error)}, 409 if isinstance(error, ModelError) else 422)


def _problem(found: Mapping[str, Any]) -> str:
    if found["type"] == "json_invalid":
        return f"the body is not JSON: {found['ctx']['error']} at character {found['loc'][-1]}"
    place = ".".join(str(part) for part in found["loc"][1:])
    return f"{place or 'body'}: {found['msg']}"


def _refusal(headers: Mapping[str, str], token: str | None) -> Response | None:
    """Why a request is not even read; None: it is."""
    if token is None and not _is_loopback(_host_name(headers.get("host", ""))):
        return _json({"error": "without a token this server answers to 127.0.0.1 and localhost only"}, 403)
    if token is not None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("latin-1"), token.encode()):
            challenge = {"WWW-Authenticate": "Bearer"}
            return _json({"error": "expected the header Authorization: Bearer TOKEN"}, 401, challenge)
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal() or int(length) > _MAX_BODY:
        return _json({"error": f"expected a body of known length, at most {_MAX_BODY} bytes"}, 413)
    return None


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    if not 0 < port < 2**16:
        raise ConfigError("port", port, "from 1 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError("port", port, f"one that is free at {host} ({error})") from error
