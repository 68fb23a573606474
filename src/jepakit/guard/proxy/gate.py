"""The proxy's own MCP server: what an agent asks for is judged, and goes to the server behind the proxy or does not.

Nothing that comes with a call but its tool and arguments is looked at: no ``_meta`` of a request can say who the user
is or where a value comes from.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import anyio
from anyio import to_thread
from mcp import MCPError, types
from mcp.server import Server
from mcp.server.context import CallNext, HandlerResult
from mcp.server.subscriptions import ListenHandler
from pydantic import ValidationError

from jepakit.guard.audit import Judgement
from jepakit.guard.live import Request, RequestFolder, Session
from jepakit.guard.proxy.clients import Clients, Context, abilities, can_ask
from jepakit.guard.proxy.upstream import PROMPTS, RESOURCES, Upstream, UpstreamError
from jepakit.guard.sources.fields import Fields
from jepakit.guard.sources.mcp import output_text

_LOGGER = logging.getLogger(__name__)
#: Of a call, in the question to a person.
_MOST_SHOWN = 4000
_ANSWER = "approve"
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {_ANSWER: {"type": "boolean", "title": "Carry it out", "default": False}},
    "required": [_ANSWER],
}

_Asking = types.CallToolRequestParams | types.ReadResourceRequestParams | types.GetPromptRequestParams


@dataclass(frozen=True)
class _Wanted:
    """What a request wants from the server: a tool, or a method that is judged as a tool."""

    tool: str
    arguments: Mapping[str, Any]


class Gate:
    """The handlers of the proxy's server.

    Args:
        session: judges, and remembers what was read.
        requests: where a person is asked whose client cannot ask; None: nowhere, and such calls are not carried out.
        seconds: that a person has for an answer.
    """

    upstream: Upstream

    def __init__(self, session: Session, requests: RequestFolder | None = None, *, seconds: float = 600.0) -> None:
        self.session, self._requests, self._seconds = session, requests, seconds
        self.clients = Clients(seconds)
        self._level: types.LoggingLevel | None = None

    def server(self, capabilities: types.ServerCapabilities) -> Server[Any]:
        """The server for the agent; it offers what the one behind it offers."""
        resources, prompts = capabilities.resources is not None, capabilities.prompts is not None
        server = Server(
            f"jepakit guard: {self.upstream.name}",
            version=version("jepakit"),
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_list_resources=self.list_resources if resources else None,
            on_list_resource_templates=self.list_templates if resources else None,
            on_read_resource=self.read_resource if resources else None,
            on_list_prompts=self.list_prompts if prompts else None,
            on_get_prompt=self.get_prompt if prompts else None,
            on_subscriptions_listen=ListenHandler(self.clients.bus),
        )
        if capabilities.logging is not None:
            server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, self.set_level)
        server.middleware.append(self._contained)
        return server

    async def list_tools(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        """All tools of the server, on one page."""
        return types.ListToolsResult(tools=await self.upstream.listed())

    async def call_tool(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Carries a call out, or says that it is not."""
        wanted = _Wanted(params.name, params.arguments or {})
        judgement = await self._judged(ctx, wanted, params)
        if isinstance(judgement, types.InputRequiredResult):
            return judgement
        if judgement.effective != "allow":
            return _failed(_refusal(judgement))

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            await ctx.session.report_progress(progress, total, message)

        try:
            with self.clients.answering(ctx):
                result: types.CallToolResult = await self.upstream.send(
                    lambda client: client.call_tool(
                        params.name, params.arguments, progress_callback=progressed, meta=self._meta(ctx)
                    )
                )
        except (UpstreamError, MCPError) as error:
            text = f"the server failed: {error.message}" if isinstance(error, MCPError) else "the server has failed"
            self.session.finish(judgement.call, error=text)
            _LOGGER.warning("call %s: %s", judgement.call, error)
            return _failed(text)
        content = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        text = output_text(Fields.of(content))
        self.session.finish(judgement.call, text, error=text or "error" if result.is_error else None)
        return result

    async def list_resources(
        self, ctx: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        """A page of the server's resources."""
        return await self.upstream.send(lambda client: client.list_resources(cursor=params and params.cursor))

    async def list_templates(
        self, ctx: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        """A page of the server's templates of resources."""
        return await self.upstream.send(lambda client: client.list_resource_templates(cursor=params and params.cursor))

    async def list_prompts(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        """A page of the server's prompts."""
        return await self.upstream.send(lambda client: client.list_prompts(cursor=params and params.cursor))

    async def read_resource(
        self, ctx: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult | types.InputRequiredResult:
        """A resource; judged as a call of `RESOURCES`."""
        wanted = _Wanted(RESOURCES, {"uri": params.uri})
        return await self._read(
            ctx, wanted, params, lambda client: client.read_resource(params.uri, meta=self._meta(ctx))
        )

    async def get_prompt(
        self, ctx: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        """A prompt; judged as a call of `PROMPTS`."""
        wanted = _Wanted(PROMPTS, {"name": params.name, "arguments": params.arguments or {}})
        return await self._read(
            ctx,
            wanted,
            params,
            lambda client: client.get_prompt(params.name, params.arguments, meta=self._meta(ctx)),
        )

    async def set_level(self, ctx: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        """The level from which on a client wants to see the server's log."""
        self._level = params.level
        return await self.upstream.set_level(params.level)

    def _meta(self, ctx: Context) -> types.RequestParamsMeta | None:
        """The level of the log, which servers of 2026-07-28 read in each request; nothing else of the client's."""
        level = (ctx.meta or {}).get(types.LOG_LEVEL_META_KEY) or self._level
        return None if level is None else {types.LOG_LEVEL_META_KEY: level}  # pyright: ignore[reportReturnType]

    async def _read(self, ctx: Context, wanted: _Wanted, params: _Asking, request: Any) -> Any:
        judgement = await self._judged(ctx, wanted, params)
        if isinstance(judgement, types.InputRequiredResult):
            return judgement
        if judgement.effective != "allow":
            raise MCPError(types.INVALID_REQUEST, _refusal(judgement), judgement.public())
        try:
            with self.clients.answering(ctx):
                result = await self.upstream.send(request)
        except (UpstreamError, MCPError):
            self.session.finish(judgement.call, error="the server has failed")
            raise
        self.session.finish(judgement.call, _all_texts(result.model_dump(mode="json", by_alias=True)))
        return result

    async def _judged(self, ctx: Context, wanted: _Wanted, params: _Asking) -> Judgement | types.InputRequiredResult:
        """The judgement, after a person has been asked; or the question, where the client asks and comes again."""
        # What the server lists now is what the pins are compared with.
        await self.upstream.ready()
        check = partial(self.session.check, wanted.tool, wanted.arguments, server=self.upstream.name)
        judgement = await to_thread.run_sync(check)
        _LOGGER.info("call %s of %s: %s %s", judgement.call, wanted.tool, judgement.effective, judgement.digest)
        if judgement.effective != "ask":
            return judgement
        if params.request_state == judgement.call and _agrees((params.input_responses or {}).get(_ANSWER)):
            return await self._approved(judgement)
        if self._requests is not None and (token := self._requests.take(judgement.call)) is not None:
            return await to_thread.run_sync(self.session.approve, judgement.call, token)
        if not can_ask(ctx.session.client_capabilities):
            self._ask_elsewhere(judgement, wanted)
            return judgement
        if params.request_state == judgement.call and params.input_responses:
            return judgement
        question = _question(judgement, wanted)
        if not ctx.session.can_send_request:
            asked = types.ElicitRequest(
                params=types.ElicitRequestFormParams(message=question, requested_schema=_SCHEMA)
            )
            return types.InputRequiredResult(input_requests={_ANSWER: asked}, request_state=judgement.call)
        with anyio.move_on_after(self._seconds):
            answer = await ctx.session.elicit_form(question, _SCHEMA, related_request_id=ctx.request_id)
            if _agrees(answer):
                return await self._approved(judgement)
        return judgement

    async def _approved(self, judgement: Judgement) -> Judgement:
        token = self.session.approvals.grant(judgement.call, judgement.digest)
        return await to_thread.run_sync(self.session.approve, judgement.call, token)

    def _ask_elsewhere(self, judgement: Judgement, wanted: _Wanted) -> None:
        if self._requests is None:
            _LOGGER.warning("call %s needs an approval, and nobody can be asked: see --approvals", judgement.call)
            return
        server, code = self.upstream.name, judgement.code
        arguments = dict(wanted.arguments)
        self._requests.ask(Request(judgement.call, server, wanted.tool, arguments, judgement.digest, code))
        # For the person, not for the agent, which might do it itself.
        command = f"jepakit guard approve {self._requests.folder} --call {judgement.call}"
        _LOGGER.warning("a call of %s waits for an approval: %s", wanted.tool, command)

    async def _contained(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """No text of a fault reaches the agent."""
        try:
            if ctx.request_id is not None and ctx.method != "initialize":
                self.clients.remember(ctx)
                await self.upstream.offer(abilities(ctx.session))
            return await call_next(ctx)
        except (MCPError, ValidationError):
            raise
        except UpstreamError as error:
            _LOGGER.warning("%s: %s", ctx.method, error)
            raise MCPError(types.INTERNAL_ERROR, "the server has failed") from error
        except Exception as error:
            _LOGGER.exception("%s", ctx.method)
            raise MCPError(types.INTERNAL_ERROR, "internal") from error


def _refusal(judgement: Judgement) -> str:
    """What the agent reads: that the call was not carried out, and no more than the coarse reason."""
    public = json.dumps(judgement.public())
    if judgement.effective == "ask":
        return f"Not carried out: a person has to approve this call first. Then make it again, unchanged. {public}"
    return f"Not carried out: the call is denied. {public}"


def _failed(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)


def _question(judgement: Judgement, wanted: _Wanted) -> str:
    """The call as a person sees it: in ASCII, so that nothing in it is invisible or turns round."""
    shown = json.dumps(dict(wanted.arguments), indent=1)
    if len(shown) > _MOST_SHOWN:
        shown = f"{shown[:_MOST_SHOWN]}\n... and {len(shown) - _MOST_SHOWN} more characters, which are not shown"
    return f"The agent wants to call {json.dumps(wanted.tool)} ({judgement.code}) with:\n{shown}"


def _agrees(answer: object) -> bool:
    if not isinstance(answer, types.ElicitResult) or answer.action != "accept":
        return False
    return (answer.content or {}).get(_ANSWER) is True


def _all_texts(value: object) -> str:
    """All texts in a result, which an agent may read in any order."""
    found: list[str] = []
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, Mapping):
            stack.extend(reversed(list(one.values())))
        elif isinstance(one, list):
            stack.extend(reversed(one))
    return "\n\n".join(found)
