"""Messages as they come from the agent: read in one way only, before the protocol's library reads them.

Libraries keep one of two equal keys, and which one differs. What is passed on is written anew from what was read here,
so that no later reader can understand it otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, BinaryIO

import anyio
from anyio import to_thread
from mcp import types

from jepakit.errors import DataError
from jepakit.guard.traces.strict_json import JsonLimits, TooLargeError, parse

MAX_LINE_BYTES = 16 << 20
"""Of a message over stdio; what is longer is not read as a whole."""

LIMITS = JsonLimits(depth=72)
"""Of a message. The arguments of a call stand two levels deep in it, and have limits of their own."""

_ID = re.compile(rb'"id"\s*:\s*(-?[0-9]{1,18}|"[^"\\]{0,100}")')
#: Bytes of a message in which its id is looked for, if it cannot be read.
_HEAD = 4096


def strict_message(raw: bytes) -> str | types.JSONRPCError:
    """A message in JSON that has one meaning, or the answer to one that is refused."""
    try:
        return json.dumps(parse(raw, LIMITS), ensure_ascii=True, allow_nan=False)
    except DataError as fault:
        return refused(raw, "too_large" if isinstance(fault, TooLargeError) else "unreadable")


def refused(raw: bytes, code: str) -> types.JSONRPCError:
    """The answer to a message that is not read."""
    match = _ID.search(raw[:_HEAD]) or _ID.search(raw[-_HEAD:])
    error = types.ErrorData(code=types.PARSE_ERROR, message="denied", data={"decision": "deny", "code": code})
    return types.JSONRPCError(jsonrpc="2.0", id=None if match is None else json.loads(match[1]), error=error)


class StrictLines:
    """The lines of a stream, each a message; what is refused is answered, and not in the lines.

    Args:
        stream: what the agent writes.
        answer: sends the answer to a message that is refused; set when there is a way to.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._answer: Callable[[types.JSONRPCError], Awaitable[None]] | None = None
        self._can_answer = anyio.Event()

    def answer_with(self, answer: Callable[[types.JSONRPCError], Awaitable[None]]) -> None:
        """Sets the way to answer what is refused, and begins to read."""
        self._answer = answer
        self._can_answer.set()

    async def __aiter__(self) -> AsyncIterator[str]:
        await self._can_answer.wait()
        while raw := await to_thread.run_sync(self._stream.readline, MAX_LINE_BYTES, abandon_on_cancel=True):
            if raw.endswith(b"\n") or len(raw) < MAX_LINE_BYTES:
                message = strict_message(raw) if raw.strip() else None
            else:
                message = refused(raw, "too_large")
                while raw and not raw.endswith(b"\n"):
                    raw = await to_thread.run_sync(self._stream.readline, MAX_LINE_BYTES, abandon_on_cancel=True)
            if isinstance(message, str):
                yield message
            elif message is not None and self._answer is not None:
                await self._answer(message)


class StrictBodies:
    """ASGI middleware: the bodies of requests, read as `strict_message` reads them.

    Args:
        app: what is asked.
        token: required as ``Authorization: Bearer TOKEN``; None: none is.
        limit: bytes of a body.
    """

    def __init__(self, app: Any, *, token: str | None = None, limit: int = LIMITS.bytes) -> None:
        self._app, self._token, self._limit = app, token, limit

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if self._token is not None and not self._is_known(scope):
            return await _answer(send, 401, b"", [(b"www-authenticate", b"Bearer")])
        if scope["method"] != "POST":
            return await self._app(scope, receive, send)
        body = await self._body(receive)
        if body is None:
            return await _refuse(send, 413, refused(b"", "too_large"))
        message = strict_message(body)
        if isinstance(message, types.JSONRPCError):
            return await _refuse(send, 400, message)
        raw = message.encode("ascii")
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        whole = iter([{"type": "http.request", "body": raw, "more_body": False}])

        async def receive_strict() -> Any:
            return next(whole, None) or await receive()

        length = (b"content-length", str(len(raw)).encode())
        return await self._app({**scope, "headers": [*headers, length]}, receive_strict, send)

    def _is_known(self, scope: Any) -> bool:
        import hmac

        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), (self._token or "").encode())

    async def _body(self, receive: Any) -> bytes | None:
        """The body; None: it is too long. A client that has gone has sent a message that is no JSON."""
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self._limit:
                return None
            if not message.get("more_body"):
                return bytes(body)


async def _refuse(send: Any, status: int, error: types.JSONRPCError) -> None:
    body = error.model_dump(mode="json", by_alias=True, exclude_unset=True)
    await _answer(send, status, json.dumps(body).encode(), [(b"content-type", b"application/json")])


async def _answer(send: Any, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
