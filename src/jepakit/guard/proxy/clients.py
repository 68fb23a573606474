"""The clients of the proxy, and what the server behind it says and asks while it answers one of them.

What the server asks of a client's model or of its user is untrusted text: it says where it comes from, and the client
decides. It is passed on where it is clear which client it is for, and the client has declared that it can be asked.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from mcp import MCPError, types
from mcp.server.connection import allowed_log_levels
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    PromptsListChanged,
    ResourcesListChanged,
    ServerEvent,
    ToolsListChanged,
)
from mcp.shared.message import ServerMessageMetadata
from pydantic import BaseModel, ValidationError

_LOGGER = logging.getLogger(__name__)
#: Clients over HTTP that are told of changes.
_MOST_LISTENERS = 1000
#: Of a text of the server, as a person sees it.
_MOST_SHOWN = 4000

Context = ServerRequestContext[Any, Any]
Ability = Literal["sampling", "elicitation", "roots"]
"""What a client can be asked for."""
_Result = TypeVar("_Result", bound=BaseModel)


class Clients:
    """The ways back to the clients.

    Args:
        seconds: that a client has for an answer.
    """

    def __init__(self, seconds: float) -> None:
        self.bus = InMemorySubscriptionBus()
        self._seconds = seconds
        self._listeners: OrderedDict[str, ServerSession] = OrderedDict()
        self._answered: list[Context] = []

    def remember(self, ctx: Context) -> None:
        """Keeps the way back to a client that is told of changes."""
        key = _client(ctx)
        self._listeners[key] = ctx.session
        self._listeners.move_to_end(key)
        if len(self._listeners) > _MOST_LISTENERS:
            self._listeners.popitem(last=False)

    @contextmanager
    def answering(self, ctx: Context) -> Generator[None]:
        """The server answers this request inside of the block: what it asks is for the client that has made it."""
        self._answered.append(ctx)
        try:
            yield
        finally:
            self._answered = [one for one in self._answered if one is not ctx]

    async def changed(self, event: ServerEvent) -> None:
        """Tells all clients that a list has changed."""
        await self.bus.publish(event)
        for session in list(self._listeners.values()):
            if isinstance(event, ToolsListChanged):
                await session.send_tool_list_changed()
            elif isinstance(event, ResourcesListChanged):
                await session.send_resource_list_changed()
            elif isinstance(event, PromptsListChanged):
                await session.send_prompt_list_changed()

    async def log(self, name: str, params: types.LoggingMessageNotificationParams) -> None:
        """Passes a line of the log of server ``name`` on to the client that it answers, or to its only client."""
        marked = params.model_copy(update={"logger": f"{name}: {params.logger}" if params.logger else name})
        message = types.LoggingMessageNotification(params=marked)
        ctx = self._asking()
        if ctx is not None:
            if params.level in allowed_log_levels(ctx.protocol_version, ctx.meta):
                await ctx.session.send_notification(message, related_request_id=ctx.request_id)
        elif not self._answered and len(self._listeners) == 1:
            (session,) = self._listeners.values()
            if params.level in allowed_log_levels(session.protocol_version, None):
                await session.send_notification(message)

    async def sample(
        self, name: str, context: object, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult | types.ErrorData:
        """Asks the client's model for a text, without the context of the client and without tools."""
        if params.tools or params.tool_choice is not None:
            return _refused("no tools can be used in sampling")
        origin = f"The MCP server {json.dumps(name)} asks for this text; the user does not."
        prompt = origin if params.system_prompt is None else f"{origin}\n\n{params.system_prompt}"
        without = {"include_context": None, "metadata": None, "meta": None, "task": None}
        request = types.CreateMessageRequest(params=params.model_copy(update={"system_prompt": prompt, **without}))
        return await self._ask("sampling", request, types.CreateMessageResult)

    async def elicit(
        self, name: str, context: object, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        """Asks the client's user to fill in a form; no address is opened."""
        if not isinstance(params, types.ElicitRequestFormParams):
            return _refused("only forms are shown")
        message = f"The MCP server {json.dumps(name)} asks:\n{_visible(params.message)}"
        without = {"meta": None, "task": None}
        request = types.ElicitRequest(params=params.model_copy(update={"message": message, **without}))
        return await self._ask("elicitation", request, types.ElicitResult)

    async def roots(self, context: object) -> types.ListRootsResult | types.ErrorData:
        """Asks the client for its roots."""
        return await self._ask("roots", types.ListRootsRequest(), types.ListRootsResult)

    async def _ask(
        self, ability: Ability, request: types.ServerRequest, result: type[_Result]
    ) -> _Result | types.ErrorData:
        ctx = self._asking()
        if ctx is None:
            return _refused("it is not clear which client is asked: not one has a request under way, or several have")
        if ability not in abilities(ctx.session):
            return _refused(f"the client cannot be asked for {ability}")
        _LOGGER.info("the server asks for %s", ability)
        metadata = ServerMessageMetadata(related_request_id=ctx.request_id)
        try:
            return await ctx.session.send_request(request, result, self._seconds, metadata)
        except MCPError as error:
            return error.error
        except ValidationError:
            return _refused("the client's answer cannot be read")

    def _asking(self) -> Context | None:
        """The last request under way, where all of them are of one client."""
        clients = {_client(ctx) for ctx in self._answered}
        return self._answered[-1] if len(clients) == 1 else None


def abilities(session: ServerSession) -> frozenset[Ability]:
    """What a client can be asked for while its request is under way, as it has declared."""
    capabilities = session.client_capabilities
    if capabilities is None or not session.can_send_request:
        return frozenset()
    declared: dict[Ability, bool] = {
        "sampling": capabilities.sampling is not None,
        "elicitation": can_ask(capabilities),
        "roots": capabilities.roots is not None,
    }
    return frozenset(ability for ability, can in declared.items() if can)


def can_ask(capabilities: types.ClientCapabilities | None) -> bool:
    """Whether the client shows forms to a person; one that says nothing of modes does."""
    if capabilities is None or capabilities.elicitation is None:
        return False
    return capabilities.elicitation.form is not None or capabilities.elicitation.url is None


def _client(ctx: Context) -> str:
    return "" if ctx.request is None else ctx.request.headers.get("mcp-session-id", "")


def _refused(reason: str) -> types.ErrorData:
    return types.ErrorData(code=types.INVALID_REQUEST, message=f"refused by the guard: {reason}")


def _visible(text: str) -> str:
    """A text as a person sees it: nothing in it is invisible or turns round."""
    shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]} ..."
    return "".join(one if one.isprintable() or one == "\n" else f"\\u{ord(one):04x}" for one in shown)
