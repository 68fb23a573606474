"""Messages as they come from the agent: read in one way only, before the protocol's library reads them.

Libraries keep one of two equal keys, and which one differs. What is passed on is written anew from what was read here,
so that no later reader can understand it otherwise.
"""

from __future__ import annotations

import hmac
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from threading import Thread
from typing import Any

import anyio
from anyio import from_thread
from anyio.lowlevel import current_token
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
    """The lines that an agent writes, each a message; what is refused is answered, and not in the lines.

    Args:
        descriptor: of the file that is read: 0 for stdin.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._answer: Callable[[types.JSONRPCError], Awaitable[None]] | None = None
        self._can_answer = anyio.Event()

    def answer_with(self, answer: Callable[[types.JSONRPCError], Awaitable[None]]) -> None:
        """Sets the way to answer what is refused, and begins to read."""
        self._answer = answer
        self._can_answer.set()

    async def __aiter__(self) -> AsyncIterator[str]:
        await self._can_answer.wait()
        async for raw, is_whole in _lines(self._chunks()):
            message = strict_message(raw) if is_whole else refused(raw, "too_large")
            if isinstance(message, str):
                yield message
            elif self._answer is not None:
                await self._answer(message)

    async def _chunks(self) -> AsyncIterator[bytes]:
        """What is read, until the end; in a thread that does not keep the process alive while nothing comes."""
        send, receive = anyio.create_memory_object_stream[bytes](0)
        token = current_token()

        def pump() -> None:
            chunk = b"more"
            # The loop may end before the agent does.
            with suppress(RuntimeError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                while chunk:
                    chunk = os.read(self._descriptor, 1 << 16)
                    from_thread.run(send.send, chunk, token=token)

        Thread(target=pump, daemon=True, name="jepakit-stdin").start()
        async with send, receive:
            while chunk := await receive.receive():
                yield chunk


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, bool]]:
    """Lines that are not blank, and whether they are whole: of one that is too long its beginning."""
    buffer, skips = bytearray(), False
    async for chunk in chunks:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            if not skips and (line := bytes(buffer + end)).strip():
                yield line, len(line) <= MAX_LINE_BYTES
            buffer, skips = bytearray(), False
        if not skips:
            buffer += rest
            if len(buffer) > MAX_LINE_BYTES:
                skips = True
                yield bytes(buffer), False
    if not skips and buffer.strip():
        yield bytes(buffer), True


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
