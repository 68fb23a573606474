"""Runs the proxy: over stdio, as clients start MCP servers, or over streamable HTTP on this machine."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import uvicorn
from mcp import StdioServerParameters, types
from mcp.server import Server
from mcp.server.lowlevel import NotificationOptions
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

from jepakit.errors import ConfigError, ModelError
from jepakit.guard.data import Tool
from jepakit.guard.live import Pins, RequestFolder, Session
from jepakit.guard.live.pins import Difference
from jepakit.guard.proxy.clients import Clients
from jepakit.guard.proxy.gate import Gate
from jepakit.guard.proxy.strict import StrictBodies, StrictLines
from jepakit.guard.proxy.upstream import Upstream, UpstreamError, first_error

_LOGGER = logging.getLogger(__name__)
PATH = "/mcp"
"""Of the proxy over HTTP."""


@dataclass(frozen=True)
class ProxyConfig:
    """What the proxy stands in front of, and who can reach it.

    Args:
        command: of the server, with its arguments; none: ``url`` is given.
        url: of a server over streamable HTTP.
        name: under which policy and pins know the server; None: its command or its address.
        pins: a file; None: the tools are pinned as they are when the proxy starts. Where it is missing, it is written.
        approvals: a folder with requests for approval, for clients that cannot ask a person; None: there is none.
        seconds: that a person has to approve a call.
        port: to serve HTTP at 127.0.0.1; None: stdio is served.
        token: that clients over HTTP have to know; None: every program on this machine may ask.
    """

    command: tuple[str, ...] = ()
    url: str | None = None
    name: str | None = None
    pins: Path | None = None
    approvals: Path | None = None
    seconds: int = 600
    port: int | None = None
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if bool(self.command) == (self.url is not None):
            raise ConfigError("url", self.url, "a server: either its address, or its command after --")
        if self.url is not None and urlsplit(self.url).scheme not in ("http", "https"):
            raise ConfigError("url", self.url, "an address that begins with http:// or https://")
        if self.port is not None and not 0 <= self.port < 2**16:
            raise ConfigError("port", self.port, "from 0 to 65535")
        if self.token is not None and (self.port is None or not self.token.strip()):
            raise ConfigError("token", "...", "a secret text, where HTTP is served, or none")

    @property
    def server(self) -> str:
        """The identity of the server, from the configuration alone."""
        return self.name or self.url or " ".join(self.command)


def run_proxy(
    config: ProxyConfig, session: Callable[[Pins, RequestFolder | None], Session], started: Callable[[str], None]
) -> None:
    """Serves until the client goes, or the process is stopped.

    Nothing but messages of the protocol is written to stdout; the log is on stderr.

    Args:
        config: see there.
        session: makes the session, from the pins and the folder of approvals.
        started: is told the address, where HTTP is served.

    Raises:
        ConfigError: the port is taken.
        DataError: the file of pins cannot be read.
        ModelError: the server cannot be reached.
    """
    requests = None if config.approvals is None else RequestFolder(config.approvals, seconds=config.seconds)
    pins = Pins.load(config.pins) if config.pins is not None and config.pins.exists() else Pins()
    gate = Gate(session(pins, requests), requests, seconds=config.seconds)
    with _named(config):
        anyio.run(_run, config, gate, pins, started)


def list_server(config: ProxyConfig, pins: Pins) -> tuple[list[Tool], Difference]:
    """The tools of a server, and how they differ from their pins.

    Raises:
        ModelError: the server cannot be reached.
    """

    async def connect() -> tuple[list[Tool], Difference]:
        async with Upstream(_target(config), config.server, pins, Clients(config.seconds)).running() as upstream:
            client = await upstream.ready()
            tools = upstream.described(client)
            return tools, pins.listed(config.server, tools)

    with _named(config):
        return anyio.run(connect)


@contextmanager
def _named(config: ProxyConfig) -> Generator[None]:
    """One error for a server that cannot be reached, and for a stop, out of all tasks that it ends."""
    try:
        yield
    except BaseExceptionGroup as group:
        stops, _ = group.split(KeyboardInterrupt)
        if stops is not None:
            raise first_error(stops) from group
        failures, others = group.split(UpstreamError)
        if failures is None or others is not None:
            raise
        raise ModelError(f"{config.server}: {first_error(failures)}") from group


async def _run(config: ProxyConfig, gate: Gate, pins: Pins, started: Callable[[str], None]) -> None:
    gate.upstream = Upstream(_target(config), config.server, pins, gate.clients)
    serving = _over_stdio() if config.port is None else _over_http(config, config.port, started)
    async with serving as run, gate.upstream.running():
        client = await gate.upstream.ready()
        if config.server not in pins.pinned:
            pins.accept(config.server)
            if config.pins is not None:
                pins.save(config.pins)
                _LOGGER.warning("the tools of %s are pinned in %s", config.server, config.pins)
        await run(gate.server(client.server_capabilities))


def _target(config: ProxyConfig) -> StdioServerParameters | str:
    if config.url is not None:
        return config.url
    command, *words = config.command
    # The proxy stands where the server stood: the server has the environment that it would have there.
    return StdioServerParameters(command=command, args=words, env=dict(os.environ))


_Run = Callable[[Server[Any]], Awaitable[None]]


@asynccontextmanager
async def _over_stdio() -> AsyncGenerator[_Run]:
    lines = StrictLines(sys.stdin.fileno())
    # From here on whatever else is written to stdout, in this process and those it starts, goes to stderr.
    async with stdio_server(stdin=lines) as (read, write):  # pyright: ignore[reportArgumentType]

        async def answer(error: types.JSONRPCError) -> None:
            await write.send(SessionMessage(error))

        async def run(server: Server[Any]) -> None:
            lines.answer_with(answer)
            changes = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
            await server.run(read, write, server.create_initialization_options(changes))

        yield run


@asynccontextmanager
async def _over_http(config: ProxyConfig, port: int, started: Callable[[str], None]) -> AsyncGenerator[_Run]:
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise ConfigError("port", port, f"one that is free at 127.0.0.1 ({error})") from error

    # As for `jepakit.http`: else answers wait for clients to acknowledge them.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def run(server: Server[Any]) -> None:
        app = StrictBodies(server.streamable_http_app(streamable_http_path=PATH), token=config.token)
        options = uvicorn.Config(
            app, log_config=None, access_log=False, ws="none", lifespan="on", timeout_graceful_shutdown=5
        )
        started(f"http://127.0.0.1:{listener.getsockname()[1]}{PATH}")
        await uvicorn.Server(options).serve(sockets=[listener])

    with listener:
        yield run
