"""The limits of a service, and a protocol that holds clients to the deadlines among them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True)
class ServiceLimits:
    """What one service takes on.

    Args:
        body_bytes: of one request.
        head_seconds: from a client's first byte, or its connection, to the end of the request's head.
        body_seconds: from the end of the head to the end of the body.
        idle_seconds: how long a connection without a request is kept.
        stop_seconds: how long requests under way may take when the service is stopped.
        connections: at once; more are refused.
        at_once: requests answered at the same time.
        waiting: requests that wait to be answered; more are refused.
    """

    body_bytes: int = 64 * 2**20
    head_seconds: float = 10.0
    body_seconds: float = 60.0
    idle_seconds: int = 5
    stop_seconds: int = 30
    connections: int = 512
    at_once: int = 16
    waiting: int = 128


def protocol_with_deadlines(limits: ServiceLimits) -> type[asyncio.Protocol]:
    """Uvicorn's HTTP protocol with deadlines for the head and the body of each request, which it has not."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    parts: dict[object, tuple[str, float]] = {
        h11.IDLE: ("head", limits.head_seconds),
        h11.SEND_BODY: ("body", limits.body_seconds),
    }

    class Protocol(H11Protocol):
        _awaited: object = None
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                return self._refuse(503, "too many connections; try again")
            return self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._expect(None)
            super().connection_lost(exc)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def shutdown(self) -> None:
            # What has not been asked in full is not waited for.
            if self._awaited is h11.SEND_BODY:
                return self._refuse(503, "the server stops")
            return super().shutdown()

        def send_400_response(self, msg: str) -> None:
            self._refuse(400, msg)

        def _watch(self) -> None:
            """Starts a deadline when the client begins a head or a body, and ends it when that has come."""
            state = self.conn.their_state
            # Between two requests uvicorn's own limit for idle connections holds.
            idle = state is h11.IDLE and self.timeout_keep_alive_task is not None
            self._expect(None if idle or self.transport.is_closing() else state)

        def _expect(self, state: object) -> None:
            if state is self._awaited:
                return
            if self._deadline is not None:
                self._deadline.cancel()
            self._awaited, self._deadline = state, None
            if state in parts:
                part, seconds = parts[state]
                message = f"the {part} of the request took too long"
                self._deadline = self.loop.call_later(seconds, self._refuse, 408, message)

        def _refuse(self, status: int, message: str) -> None:
            # Else the answer has begun, or all of it is sent already.
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self.transport.write(_raw_answer(status, message))
            self.transport.close()

    return Protocol


def _raw_answer(status: int, message: str) -> bytes:
    body = json.dumps({"error": message}).encode()
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
