"""OpenAI Agents: ``Agent(tools=guarded(session, tools))``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jepakit.errors import DataError, MissingExtraError
from jepakit.guard.audit import Judgement
from jepakit.guard.audit.judgement import call_digest
from jepakit.guard.connectors.outcomes import INTERNAL, GuardFailedError, contained, refusal, text_of
from jepakit.guard.data import Call
from jepakit.guard.live import Session
from jepakit.guard.traces.strict_json import parse

if TYPE_CHECKING:
    from agents import (
        FunctionTool,
        RunContextWrapper,
        ToolGuardrailFunctionOutput,
        ToolInputGuardrailData,
        ToolOutputGuardrailData,
    )


def guarded(session: Session, tools: Iterable[FunctionTool], *, server: str = "") -> list[FunctionTool]:
    """Copies of tools whose calls are judged before they are carried out, and whose outputs are recorded.

    A call that is denied is not carried out, and the model reads the coarse reason. For one that is asked about the
    run is interrupted (``result.interruptions``), and goes on after ``state.approve(...)``. The library also asks about
    calls whose arguments it cannot inspect, such as those with defaults.

    Args:
        session: of the agent.
        tools: function tools.
        server: where they live, as the policy names it.

    Raises:
        MissingExtraError: OpenAI Agents is not installed.
    """
    try:
        from agents import ToolInputGuardrail, ToolOutputGuardrail
    except ImportError as error:
        raise MissingExtraError("openai-agents", "openai-agents") from error
    guard = _Guard(session, server)
    return [
        replace(
            tool,
            tool_input_guardrails=[
                *(tool.tool_input_guardrails or []),
                ToolInputGuardrail(guard.before, name="jepakit guard"),
            ],
            tool_output_guardrails=[
                ToolOutputGuardrail(guard.after, name="jepakit guard"),
                *(tool.tool_output_guardrails or []),
            ],
            needs_approval=tool.needs_approval if tool.needs_approval is True else guard.asking(tool),
        )
        for tool in tools
    ]


class _Guard:
    def __init__(self, session: Session, server: str) -> None:
        self._session, self._server = session, server
        #: Id of a call in the run -> its judgement, between the question whether to ask and its execution.
        self._judged: dict[str, Judgement] = {}

    def asking(self, tool: FunctionTool) -> Any:
        """Whether a person is asked about a call: ``needs_approval``."""
        others = tool.needs_approval

        async def needs_approval(context: RunContextWrapper[Any], arguments: dict[str, Any], call: str) -> bool:
            check = self._session.check
            try:
                judgement = await asyncio.to_thread(
                    contained, lambda: check(tool.name, arguments, server=self._server, call=call)
                )
            except GuardFailedError:
                # `before` denies it.
                return False
            if judgement.effective == "allow":
                self._judged[call] = judgement
            asked = judgement.effective == "ask"
            return asked or (callable(others) and await others(context, arguments, call))

        return needs_approval

    async def before(self, data: ToolInputGuardrailData) -> ToolGuardrailFunctionOutput:
        """Lets a call through or not, right before it is carried out."""
        from agents import ToolGuardrailFunctionOutput

        try:
            judgement = await asyncio.to_thread(contained, lambda: self._judgement(data))
        except GuardFailedError:
            return ToolGuardrailFunctionOutput.reject_content(INTERNAL)
        if judgement.effective != "allow":
            return ToolGuardrailFunctionOutput.reject_content(refusal(judgement))
        self._judged[data.context.tool_call_id] = judgement
        return ToolGuardrailFunctionOutput.allow()

    async def after(self, data: ToolOutputGuardrailData) -> ToolGuardrailFunctionOutput:
        """Records what a call returned, as the model reads it."""
        from agents import ToolGuardrailFunctionOutput

        judgement = self._judged.pop(data.context.tool_call_id)
        self._session.finish(judgement.call, text_of(data.output))
        return ToolGuardrailFunctionOutput.allow()

    def _judgement(self, data: ToolInputGuardrailData) -> Judgement:
        context = data.context
        known = self._judged.pop(context.tool_call_id, None)
        try:
            arguments, unreadable = parse(context.tool_arguments or "{}"), None
        except DataError as fault:
            arguments, unreadable = None, fault.problem
        if arguments is not None and not isinstance(arguments, dict):
            arguments, unreadable = None, "not an object"
        if known is not None and self._is_same(known, context.tool_name, arguments):
            return known
        judgement = self._session.check(
            context.tool_name, arguments, server=self._server, call=context.tool_call_id, unreadable=unreadable
        )
        if judgement.effective != "ask" or not context.is_tool_approved(context.tool_name, context.tool_call_id):
            return judgement
        token = self._session.approvals.grant(judgement.call, judgement.digest)
        return self._session.approve(judgement.call, token)

    def _is_same(self, judgement: Judgement, tool: str, arguments: dict[str, Any] | None) -> bool:
        """Whether a call is the one that was judged: two keys of one name are one in what the library has shown."""
        made = Call(id=judgement.call, tool=tool, server=self._server, arguments=arguments)
        return arguments is not None and call_digest(made) == judgement.digest
