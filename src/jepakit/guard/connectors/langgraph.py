"""LangGraph: ``ToolNode(tools, wrap_tool_call=guard.wrap, awrap_tool_call=guard.awrap)``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jepakit.guard.audit import Judgement
from jepakit.guard.connectors.outcomes import INTERNAL, GuardFailedError, contained, refusal, text_of
from jepakit.guard.live import Session

if TYPE_CHECKING:
    from langchain_core.messages import ToolMessage
    from langgraph.types import Command

    Result = ToolMessage | Command[Any]


class ToolCallGuard:
    """Judges tool calls before a ``ToolNode`` carries them out, and records what they return.

    A call that is denied becomes a message with the coarse reason. For one that is asked about the graph is
    interrupted, which needs a checkpointer: ``{"call", "tool", "arguments", "code", "digest"}`` goes to the
    application, and it is carried out after ``Command(resume={"approve": digest})`` with the digest that was shown.

    Args:
        session: of the agent.
        server: where the tools live, as the policy names it.
        interrupts: ask by interrupts; else such a call is not carried out, and its message says why.
    """

    def __init__(self, session: Session, *, server: str = "", interrupts: bool = True) -> None:
        self.session, self._server, self._interrupts = session, server, interrupts

    def wrap(self, request: Any, execute: Callable[[Any], Result]) -> Result:
        """The wrapper of ``wrap_tool_call``."""
        judgement = self._let_through(request, self._checked(request))
        if not isinstance(judgement, Judgement):
            return judgement
        with self._recording_faults(judgement):
            result = execute(request)
        return self._recorded(judgement, result)

    async def awrap(self, request: Any, execute: Callable[[Any], Awaitable[Result]]) -> Result:
        """The wrapper of ``awrap_tool_call``."""
        judgement = self._let_through(request, await asyncio.to_thread(self._checked, request))
        if not isinstance(judgement, Judgement):
            return judgement
        with self._recording_faults(judgement):
            result = await execute(request)
        return self._recorded(judgement, result)

    def _checked(self, request: Any) -> Judgement | None:
        """The judgement of a call; None: the guard has failed."""
        call = request.tool_call
        try:
            return contained(
                lambda: self.session.check(call["name"], call["args"], server=self._server, call=call.get("id"))
            )
        except GuardFailedError:
            return None

    def _let_through(self, request: Any, judgement: Judgement | None) -> Judgement | ToolMessage:
        """The judgement of a call that is to be carried out, after a person was asked; else what the model reads."""
        try:
            final = None if judgement is None else self._asked(request, judgement)
        except GuardFailedError:
            final = None
        if final is None:
            return _message(request, INTERNAL)
        return final if final.effective == "allow" else _message(request, refusal(final))

    def _asked(self, request: Any, judgement: Judgement) -> Judgement:
        """The judgement after a person was asked."""
        from langgraph.types import interrupt

        if judgement.effective != "ask" or not self._interrupts:
            return judgement
        shown = {"call": judgement.call, "tool": judgement.tool, "arguments": request.tool_call["args"]}
        answer = interrupt({**shown, "code": judgement.code, "digest": judgement.digest})
        if not isinstance(answer, Mapping) or answer.get("approve") != judgement.digest:
            return judgement
        token = self.session.approvals.grant(judgement.call, judgement.digest)
        return contained(lambda: self.session.approve(judgement.call, token))

    @contextmanager
    def _recording_faults(self, judgement: Judgement) -> Generator[None]:
        """The node may show the text of a tool's fault to the model, which has then read it."""
        from langgraph.errors import GraphBubbleUp

        try:
            yield
        except GraphBubbleUp:
            raise
        except Exception as error:
            self.session.finish(judgement.call, error=repr(error))
            raise

    def _recorded(self, judgement: Judgement, result: Result) -> Result:
        texts = [text_of(message.content) for message in _messages(result)]
        failed = any(message.status == "error" for message in _messages(result))
        output = "\n".join(texts) if texts else text_of(getattr(result, "update", None) or "")
        self.session.finish(judgement.call, output, error=output or "error" if failed else None)
        return result


def _messages(result: Result) -> list[ToolMessage]:
    from langchain_core.messages import ToolMessage

    if isinstance(result, ToolMessage):
        return [result]
    update = result.update
    listed = update.get("messages", []) if isinstance(update, Mapping) else update
    return [one for one in listed if isinstance(one, ToolMessage)] if isinstance(listed, list) else []


def _message(request: Any, text: str) -> ToolMessage:
    from langchain_core.messages import ToolMessage

    call = request.tool_call
    return ToolMessage(content=text, name=call.get("name"), tool_call_id=call.get("id") or "", status="error")
