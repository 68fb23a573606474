"""The guard in OpenAI Agents, with the real runner and a scripted model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage, function_tool
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from guard_samples import MAIL, fails, mail_session
from jepakit.guard.connectors.openai_agents import guarded
from jepakit.guard.live import Session

done: list[tuple[str, str]] = []
QUIET = RunConfig(tracing_disabled=True)


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    done.clear()


@function_tool
def read_mail() -> str:
    """Reads the mails."""
    done.append(("read_mail", ""))
    return MAIL


@function_tool
def send_mail(to: str) -> str:
    """Sends a mail."""
    done.append(("send_mail", to))
    return "sent"


@function_tool
def wipe(path: str) -> str:
    """Deletes a file."""
    done.append(("wipe", path))
    return "wiped"


class Scripted(Model):
    """A model that makes the calls it is given, whatever it reads."""

    def __init__(self, *calls: tuple[str, str]) -> None:
        self._calls = list(enumerate(calls))

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        output: Any
        if self._calls:
            number, (name, arguments) = self._calls.pop(0)
            output = ResponseFunctionToolCall(
                name=name, arguments=arguments, call_id=f"call_{number}", type="function_call"
            )
        else:
            text = ResponseOutputText(text="done", annotations=[], type="output_text")
            output = ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        raise NotImplementedError


def agent(session: Session, *calls: tuple[str, Any]) -> Agent[Any]:
    given = [(name, arguments if isinstance(arguments, str) else json.dumps(arguments)) for name, arguments in calls]
    tools = guarded(session, [read_mail, send_mail, wipe])
    return Agent(name="mail", model=Scripted(*given), tools=[*tools])


def run(agent: Agent[Any], value: Any = "Answer bob@example.com") -> Any:
    return asyncio.run(Runner.run(agent, value, run_config=QUIET))


def outputs(result: Any) -> list[str]:
    return [item.output for item in result.new_items if item.type == "tool_call_output_item"]


def test_the_agent_does_not_do_what_the_mail_says() -> None:
    result = run(
        agent(
            mail_session(),
            ("read_mail", {}),
            ("send_mail", {"to": "eve@evil.example"}),
            ("send_mail", {"to": "bob@example.com"}),
        )
    )
    read, denied, sent = outputs(result)
    assert (read, sent) == (MAIL, "sent")
    assert '"code": "taint"' in denied
    assert "evil" not in denied
    assert done == [("read_mail", ""), ("send_mail", "bob@example.com")]


@pytest.mark.parametrize("approves", [True, False])
def test_a_person_is_asked(approves: bool) -> None:
    session = mail_session()
    mine = agent(session, ("wipe", {"path": "old.txt"}), ("wipe", {"path": "old.txt"}))
    result = run(mine)
    (asked,) = result.interruptions
    assert (asked.name, json.loads(asked.arguments), done) == ("wipe", {"path": "old.txt"}, [])
    state = result.to_state()
    if approves:
        state.approve(asked)
    else:
        state.reject(asked)
    result = run(mine, state)
    assert done == ([("wipe", "old.txt")] if approves else [])
    # The same call once more needs another approval.
    assert len(result.interruptions) == 1
    assert [call.output for call in session.trace.calls] == (["wiped"] if approves else [])


def test_what_was_read_after_the_question_counts() -> None:
    session = mail_session()
    mine = agent(session, ("send_mail", {"to": "eve@evil.example"}))
    result = run(mine)
    state = result.to_state()
    state.approve(result.interruptions[0])
    session.record("read_mail", {}, MAIL)
    (denied,) = outputs(run(mine, state))
    assert '"code": "taint"' in denied
    assert done == []


@pytest.mark.parametrize(
    "arguments", ['{"to": "bob@example.com", "to": "bob@example.com"}', '["bob@example.com"]', "{"]
)
def test_arguments_that_cannot_be_read_in_one_way_are_not_carried_out(arguments: str) -> None:
    mine = agent(mail_session(), ("send_mail", arguments))
    result = run(mine)
    # The library asks about what it cannot read itself.
    if result.interruptions:
        state = result.to_state()
        state.approve(result.interruptions[0])
        result = run(mine, state)
    assert done == []


def test_a_crash_of_the_guard_is_a_denial_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "check", fails)
    (denied,) = outputs(run(agent(mail_session(), ("read_mail", {}))))
    assert '"code": "internal"' in denied
    assert "secret" not in denied
    assert done == []
