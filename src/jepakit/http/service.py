"""An application with the checks every request passes, and the server that runs it."""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jepakit.errors import ConfigError, JepakitError, MissingExtraError, ModelError
from jepakit.http.deadlines import ServiceLimits, protocol_with_deadlines
from jepakit.http.metrics import Metrics
from jepakit.http.refusals import MESSAGES, refusals

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI, Request, Response

#: Counted for a client that ends the connection before it is answered; no answer has this status.
_CLIENT_GONE = 499
#: Routes that answer while all others wait.
_ALWAYS = ("/health", "/metrics")

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]


def make_service(
    title: str,
    health: Callable[[], Mapping[str, object]],
    *,
    token: str | None = None,
    limits: ServiceLimits | None = None,
) -> FastAPI:
    """An application with ``/health`` and ``/metrics``, to which a system adds its routes.

    Without a token requests whose Host or Origin header names another machine are refused: a web page could lead a
    browser here (DNS rebinding), or send it. A `ModelError` in a route is answered with 409, any other `JepakitError`
    with 422.

    Args:
        title: of the interface's description in ``/openapi.json``.
        health: what ``/health`` gives, as JSON.
        token: required as ``Authorization: Bearer TOKEN``; None: none is, and only this machine may ask.
        limits: what it takes on.

    Raises:
        ConfigError: the token is blank.
        MissingExtraError: FastAPI is not installed.
    """
    try:
        from fastapi import FastAPI
        from fastapi.exceptions import RequestValidationError
    except ImportError as error:
        raise MissingExtraError("fastapi", "retrieval") from error
    if token is not None and not token.strip():
        raise ConfigError("token", token, "a secret text, or none")
    # The pages about the interface would load scripts from elsewhere.
    app = FastAPI(title=title, docs_url=None, redoc_url=None, responses=refusals(token=token is not None))
    app.state.token, app.state.limits = token, limits or ServiceLimits()
    metrics = Metrics()

    def answer_health() -> Response:
        return json_response(health())

    app.add_api_route("/health", answer_health, methods=["GET"], response_model=None)
    app.add_api_route("/metrics", metrics.response, methods=["GET"], response_model=None, include_in_schema=False)
    for status, message in MESSAGES.items():
        app.add_exception_handler(status, _answer_with(status, message))
    app.add_exception_handler(JepakitError, _explain)
    app.add_exception_handler(RequestValidationError, _explain)
    app.add_middleware(_Gate, token=token, limits=app.state.limits, metrics=metrics)  # pyright: ignore[reportArgumentType]
    return app


def make_server(app: FastAPI) -> uvicorn.Server:
    """A server for what `make_service` made, with the deadlines of its limits; `run_service` runs one."""
    import uvicorn

    limits: ServiceLimits = app.state.limits
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=protocol_with_deadlines(limits),
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_keep_alive=limits.idle_seconds,
            timeout_graceful_shutdown=limits.stop_seconds,
        )
    )


def run_service(app: FastAPI, host: str = "127.0.0.1", port: int = 8765) -> None:
    """Serves until SIGTERM or SIGINT; requests under way are answered before it ends.

    Meanwhile linear algebra of this process, in NumPy, SciPy and torch, uses one thread for each request.

    Args:
        app: what `make_service` made.
        host: the address to listen at; without a token only one of this machine.
        port: the port to listen at.

    Raises:
        ConfigError: the address is open to others though there is no token, or cannot be listened at.
    """
    if app.state.token is None and not _is_loopback(host):
        raise ConfigError("host", host, "127.0.0.1, or a token: without one, other machines could send requests")
    with _listening(host, port) as listener, _one_thread_a_request():
        make_server(app).run(sockets=[listener])


@contextmanager
def _one_thread_a_request() -> Generator[None]:
    """Limits the thread pools of native libraries: requests are what runs in parallel.

    Threads that multiply matrices at once wait for OpenBLAS' pool by spinning. On two cores, 16 at once made a search
    that takes 3 ms of processor time take 47.
    """
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    # The limit of OpenMP is one of the thread that sets it; torch hands its own on to threads that start later.
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def json_response(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer in ASCII: text that people collect has lone surrogates, which UTF-8 cannot hold."""
    from fastapi import Response

    return Response(json.dumps(content, allow_nan=False), status, headers=headers, media_type="application/json")


class _Gate:
    """ASGI middleware: refuses a request or reads its body, waits until one may be answered, and counts it."""

    def __init__(self, app: _App, token: str | None, limits: ServiceLimits, metrics: Metrics) -> None:
        self._app, self._token, self._limits, self._metrics = app, token, limits, metrics
        self._places = asyncio.Semaphore(limits.at_once)
        self._pending = 0

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        start, status = time.perf_counter(), 500

        async def send_noting_status(message: _Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.in_flight += 1
        try:
            body = await self._body(scope, receive, send_noting_status)
            if body is not None:
                await self._answer(scope, body, receive, send_noting_status)
            elif status == 500:
                status = _CLIENT_GONE
        finally:
            self._metrics.in_flight -= 1
            # Only routes that exist: the paths clients make up are without end.
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if route != "none" else "any"
            self._metrics.count(method, route, status, time.perf_counter() - start)
        return None

    async def _body(self, scope: _Message, receive: _Receive, send: _Send) -> bytes | None:
        """The body of a request; None: it is refused, which is sent, or the client is gone."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = _refusal(headers, self._token, self._limits.body_bytes)
        if refusal is None:
            return await _whole_body(receive)
        await refusal(scope, receive, send)
        return None

    async def _answer(self, scope: _Message, body: bytes, receive: _Receive, send: _Send) -> None:
        whole = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive_body() -> _Message:
            return next(whole, None) or await receive()

        if scope["path"] in _ALWAYS:
            return await self._app(scope, receive_body, send)
        if self._pending >= self._limits.at_once + self._limits.waiting:
            busy = json_response({"error": "too many requests at once; try again"}, 503, {"Retry-After": "1"})
            return await busy(scope, receive, send)
        self._pending += 1
        try:
            async with self._places:
                return await self._app(scope, receive_body, send)
        finally:
            self._pending -= 1


async def _whole_body(receive: _Receive) -> bytes | None:
    """The body, or None where the client is gone; how long it may be is known, how long it may take is the server's."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _answer_with(status: int, message: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    # After a fault uvicorn hangs up, which a client that would use the connection again has to know.
    headers = {"Connection": "close"} if status >= 500 else {}

    async def answer(_request: Request, error: Exception) -> Response:
        # Of a method that a path does not support, those that it supports.
        own: Mapping[str, str] = getattr(error, "headers", None) or {}
        return json_response({"error": message}, status, {**own, **headers})

    return answer


async def _explain(_request: Request, error: Exception) -> Response:
    if isinstance(error, JepakitError):
        return json_response({"error": str(error)}, 409 if isinstance(error, ModelError) else 422)
    problems: list[Mapping[str, Any]] = error.errors()  # pyright: ignore[reportAttributeAccessIssue]
    return json_response({"error": "; ".join(map(_problem, problems[:5]))}, 422)


def _problem(problem: Mapping[str, Any]) -> str:
    if problem["type"] == "json_invalid":
        return f"the body is not JSON: {problem['ctx']['error']} at character {problem['loc'][-1]}"
    place = ".".join(str(part) for part in problem["loc"][1:])
    return f"{place or 'body'}: {problem['msg']}"


def _refusal(headers: Mapping[str, str], token: str | None, body_bytes: int) -> Response | None:
    """The answer to a request that is not even read; None: it is."""
    if token is None and not _is_loopback(_host_name(headers.get("host", ""))):
        return json_response({"error": "without a token this server answers to 127.0.0.1 and localhost only"}, 403)
    origin = headers.get("origin")
    if token is None and origin is not None and not _is_loopback(_host_name(origin.partition("//")[2])):
        return json_response({"error": "without a token this server answers to no web page of another machine"}, 403)
    if token is not None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("latin-1"), token.encode()):
            challenge = {"WWW-Authenticate": "Bearer"}
            return json_response({"error": "expected the header Authorization: Bearer TOKEN"}, 401, challenge)
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal() or int(length) > body_bytes:
        return json_response({"error": f"expected a body of known length, at most {body_bytes} bytes"}, 413)
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
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError("port", port, f"one that is free at {host} ({error})") from error
    # Connections inherit it. Without it the body of an answer waits for the client to acknowledge its head, for 40 ms:
    # asyncio sets it only for listeners of another kind.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
