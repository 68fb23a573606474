"""LangChain: ``create_agent(model, tools, middleware=[GuardMiddleware(session)])``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import AgentMiddleware

from jepakit.guard.connectors.langgraph import Result, ToolCallGuard
from jepakit.guard.live import Session


class GuardMiddleware(AgentMiddleware[Any, Any, Any]):
    """Judges the tool calls of an agent before they are carried out, see `ToolCallGuard`.

    Put it last in the list of middleware: what another one changes in a call is judged too.

    Args:
        session: of the agent.
        server: where the tools live, as the policy names it.
        interrupts: ask by interrupts of the graph, which needs a checkpointer.
    """

    def __init__(self, session: Session, *, server: str = "", interrupts: bool = True) -> None:
        super().__init__()
        self._guard = ToolCallGuard(session, server=server, interrupts=interrupts)

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Result]) -> Result:
        """Judges a call, and carries it out or not."""
        return self._guard.wrap(request, handler)

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Result]]) -> Result:
        """Judges a call, and carries it out or not."""
        return await self._guard.awrap(request, handler)
