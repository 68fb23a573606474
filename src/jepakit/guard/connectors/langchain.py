"""LangChain: ``create_agent(model, tools, middleware=[guard_middleware(session)])``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from jepakit.errors import MissingExtraError
from jepakit.guard.connectors.langgraph import ToolCallGuard
from jepakit.guard.live import Session

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware

    from jepakit.guard.connectors.langgraph import Result


def guard_middleware(session: Session, *, server: str = "", interrupts: bool = True) -> AgentMiddleware[Any, Any, Any]:
    """Middleware that judges the tool calls of an agent before they are carried out, see `ToolCallGuard`.

    Put it last in the list: what another middleware changes in a call is judged too.

    Args:
        session: of the agent.
        server: where the tools live, as the policy names it.
        interrupts: ask by interrupts of the graph, which needs a checkpointer.

    Raises:
        MissingExtraError: LangChain is not installed.
    """
    try:
        from langchain.agents.middleware import AgentMiddleware
    except ImportError as error:
        raise MissingExtraError("langchain", "langgraph") from error
    guard = ToolCallGuard(session, server=server, interrupts=interrupts)

    class GuardMiddleware(AgentMiddleware[Any, Any, Any]):
        """Judges a call, and carries it out or not."""

        def wrap_tool_call(self, request: Any, handler: Callable[[Any], Result]) -> Result:
            return guard.wrap(request, handler)

        async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Result]]) -> Result:
            return await guard.awrap(request, handler)

    return GuardMiddleware()
