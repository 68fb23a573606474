"""The MCP server behind the proxy: one connection, made again after it has ended."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
from mcp import Client, MCPError, StdioServerParameters, types
from mcp.client.subscriptions import SubscriptionLost
from mcp.server import Server
from mcp.server.subscriptions import PromptsListChanged, ResourcesListChanged, ServerEvent, ToolsListChanged
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from jepakit.errors import DataError, JepakitError, in_one_line
from jepakit.guard.data import Tool
from jepakit.guard.live import Pins
from jepakit.guard.proxy.clients import Ability, Clients
from jepakit.guard.sources.calls import tool_of
from jepakit.guard.sources.fields import Fields

_LOGGER = logging.getLogger(__name__)
#: Of lists of tools, and tools in all: a server whose list has no end is no server.
_MOST_PAGES, _MOST_TOOLS = 100, 10_000
_CHANGES: dict[type, ServerEvent] = {
    types.ToolListChangedNotification: ToolsListChanged(),
    types.PromptListChangedNotification: PromptsListChanged(),
    types.ResourceListChangedNotification: ResourcesListChanged(),
}


class UpstreamError(JepakitError):
    """The server cannot be reached, has gone, or does not answer as the protocol says."""


class Upstream:
    """A connection to the server, the tools that it lists, and how they compare with their pins.

    Args:
        target: the server's command, its address, or a server of this process.
        name: of the server, from the configuration: what it says of itself decides nothing.
        pins: of its tools.
        clients: are told what the server says, and asked what it asks.
        seconds: for a connection, and for a list.
    """

    def __init__(
        self,
        target: StdioServerParameters | Server[Any] | str,
        name: str,
        pins: Pins,
        clients: Clients,
        *,
        seconds: float = 60.0,
    ) -> None:
        self.target, self.name, self.pins = target, name, pins
        self.tools: list[types.Tool] = []
        self._clients, self._seconds = clients, seconds
        self._lock = anyio.Lock()
        self._client: Client | None = None
        self._end: anyio.Event | None = None
        self._ended: anyio.Event | None = None
        self._offered: frozenset[Ability] | None = None
        self._is_stale = True
        self._tasks: anyio.abc.TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Upstream]:
        """Connections are made inside of the block, and end with it."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                yield self
            finally:
                tasks.cancel_scope.cancel()

    async def ready(self) -> Client:
        """The connection; its tools have been listed, again where the server said that they have changed.

        Raises:
            UpstreamError: there is none.
        """
        async with self._lock:
            if self._client is None:
                await self._connect()
            if self._is_stale:
                # A change that comes while the tools are listed counts.
                self._is_stale = False
                with self._failing():
                    await self._list()
            if self._client is None:
                raise UpstreamError("the server has gone")
            return self._client

    async def offer(self, abilities: frozenset[Ability]) -> None:
        """Tells the server what a client can be asked for; the first client decides.

        What a connection can be asked for is said at its beginning, so it is made again.
        """
        async with self._lock:
            if self._offered is not None:
                return
            self._offered = abilities
            ended = self._ended
            if abilities and ended is not None:
                self.lost()
                await ended.wait()

    async def listed(self) -> list[types.Tool]:
        """The tools as the server lists them now."""
        self._is_stale = True
        await self.ready()
        return self.tools

    async def send(self, request: Callable[[Client], Awaitable[Any]]) -> Any:
        """The server's answer to a request.

        Raises:
            UpstreamError: it has not answered, or not as the protocol says.
            MCPError: it has answered with an error.
        """
        client = await self.ready()
        with self._failing():
            return await request(client)

    async def set_level(self, level: types.LoggingLevel) -> types.EmptyResult:
        """Tells a server of earlier times from which level on its log is wanted; a newer one reads it in requests.

        Raises:
            UpstreamError: it has not answered, or not as the protocol says.
            MCPError: it has answered with an error.
        """
        request = types.SetLevelRequest(params=types.SetLevelRequestParams(level=level))

        async def send(client: Client) -> types.EmptyResult:
            if client.protocol_version in MODERN_PROTOCOL_VERSIONS:
                return types.EmptyResult()
            return await client.session.send_request(request, types.EmptyResult)

        return await self.send(send)

    def _failing(self) -> _Failing:
        return _Failing(self)

    def lost(self) -> None:
        """The connection is of no use any more; the next request makes another."""
        if self._end is not None:
            self._end.set()
        self._client, self._end, self._is_stale = None, None, True

    async def _connect(self) -> None:
        if self._tasks is None:
            raise UpstreamError("not running")
        failure = await self._tasks.start(self._connection)
        if failure is not None:
            raise UpstreamError(f"the server cannot be reached: {failure}")

    async def _connection(self, *, task_status: anyio.abc.TaskStatus[str | None]) -> None:
        """Holds a connection from its beginning to its end, in one task."""
        end, self._ended = anyio.Event(), anyio.Event()
        ended = self._ended
        is_started = False
        try:
            with anyio.move_on_after(self._seconds) as scope:
                async with self._entered(scope) as client:
                    self._client, self._end, self._is_stale = client, end, True
                    is_started = True
                    task_status.started(None)
                    await end.wait()
        except UpstreamError as error:
            _LOGGER.warning("%s", error)
            if not is_started:
                task_status.started(str(error))
        else:
            if not is_started:
                task_status.started("it does not answer in time")
        finally:
            ended.set()
            if self._end is end:
                self.lost()

    @asynccontextmanager
    async def _entered(self, scope: anyio.CancelScope) -> AsyncGenerator[Client]:
        """A client that is connected, and listens to changes; ``scope`` ends what takes too long until then."""
        try:
            async with self._new_client() as client:
                scope.deadline = float("inf")
                async with anyio.create_task_group() as tasks:
                    if client.protocol_version in MODERN_PROTOCOL_VERSIONS:
                        tasks.start_soon(self._listen, client)
                    yield client
                    tasks.cancel_scope.cancel()
        except Exception as error:
            raise UpstreamError(in_one_line(first_error(error))) from error

    def _new_client(self) -> Client:
        offered, clients = self._offered or frozenset(), self._clients
        return Client(
            self.target,
            message_handler=self._message,
            logging_callback=partial(clients.log, self.name),
            sampling_callback=partial(clients.sample, self.name) if "sampling" in offered else None,
            elicitation_callback=partial(clients.elicit, self.name) if "elicitation" in offered else None,
            list_roots_callback=clients.roots if "roots" in offered else None,
            cache=None,
        )

    async def _listen(self, client: Client) -> None:
        """Changes as servers of 2026-07-28 tell them."""
        try:
            async with client.listen(
                tools_list_changed=True, prompts_list_changed=True, resources_list_changed=True
            ) as events:
                async for event in events:
                    await self._changed(event)
        except (MCPError, SubscriptionLost, TimeoutError) as error:
            # Not every server tells of changes.
            _LOGGER.info("no subscription: %s", in_one_line(error))

    async def _message(self, message: Any) -> None:
        """Changes as earlier servers tell them."""
        event = _CHANGES.get(type(message))
        if event is not None:
            await self._changed(event)

    async def _changed(self, event: ServerEvent) -> None:
        self._is_stale = True
        await self._clients.changed(event)

    async def _list(self) -> None:
        client = self._client
        if client is None:
            raise UpstreamError("the server has gone")
        tools: list[types.Tool] = []
        cursor = None
        with anyio.fail_after(self._seconds):
            for _ in range(_MOST_PAGES):
                page = await client.list_tools(cursor=cursor)
                tools += page.tools
                cursor = page.next_cursor
                if cursor is None or len(tools) > _MOST_TOOLS:
                    break
        if cursor is not None or len(tools) > _MOST_TOOLS:
            raise UpstreamError("the server's list of tools has no end")
        self.tools = tools
        difference = self.pins.listed(self.name, self.described(client))
        if difference and self.name in self.pins.pinned:
            _LOGGER.warning("tools of %s differ from their pins: %s", self.name, difference)

    def described(self, client: Client) -> list[Tool]:
        """The tools with all that the server says about them, and what an agent can read besides their outputs."""
        offered = client.server_capabilities
        methods = [(RESOURCES, offered.resources), (PROMPTS, offered.prompts)]
        further = [Tool(name=name, server=self.name) for name, capability in methods if capability is not None]
        return [*(self._described(tool) for tool in self.tools), *further]

    def _described(self, tool: types.Tool) -> Tool:
        content = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
        described = tool_of(Fields.of(content), self.name)
        if described is None:
            raise DataError("a tool without a name")
        further = {key: content[key] for key in sorted(content.keys() - _OWN_FIELDS)}
        annotations = {**described.annotations, **({"further": further} if further else {})}
        return described.model_copy(update={"annotations": annotations})


RESOURCES, PROMPTS = "resources/read", "prompts/get"
"""The names under which a policy finds these methods."""

_OWN_FIELDS = {"name", "description", "inputSchema", "annotations"}


class _Failing:
    """Turns the end of a connection, and all that is no answer, into `UpstreamError`."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, MCPError) and error.code == types.CONNECTION_CLOSED:
            self._upstream.lost()
            raise UpstreamError("the server has gone") from error
        if isinstance(error, Exception) and not isinstance(error, MCPError | UpstreamError):
            raise UpstreamError(in_one_line(error)) from error


def first_error(error: BaseException) -> BaseException:
    """The first of a group of errors, and of the groups in it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
