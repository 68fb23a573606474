"""The proxy's server between a real server and a real client, in one process, in both eras of the protocol."""

from __future__ import annotations

import io
import json
import os
import pty
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import MCPError, StdioServerParameters, types

import mail_server
from jepakit.cli.main import main
from jepakit.guard.live import Pins, RequestFolder, Session
from mail_server import MailServer
from proxied import connected, text

ERAS = pytest.mark.parametrize("era", ["legacy", "auto"])


@pytest.fixture
def mail(tmp_path: Path) -> MailServer:
    return MailServer(tmp_path / "log")


def calls(mail: MailServer) -> list[str]:
    """The calls that have reached the server."""
    return [json.loads(line)[0] for line in mail.log.read_text().splitlines()] if mail.log.exists() else []


def public(result: types.CallToolResult) -> dict[str, Any]:
    assert result.is_error
    return json.loads(text(result)[text(result).index("{") :])


async def eventually(reached: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not reached():
            await anyio.sleep(0.02)


@ERAS
def test_what_the_mails_ask_for_does_not_reach_the_server(mail: MailServer, era: str) -> None:
    async def scenario() -> None:
        async with connected(mail, era) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == set(mail.tools)
            assert "eve@evil.example" in text(await client.call_tool("read_mail", {}))
            denied = public(await client.call_tool("send_mail", {"to": "eve@evil.example", "body": "all"}))
            assert (denied.keys(), denied["decision"], denied["code"]) == (
                {"call", "decision", "code"},
                "deny",
                "taint",
            )
            assert text(await client.call_tool("send_mail", {"to": "bob@example.com", "body": "Yes"})) == "done"

    anyio.run(scenario)
    assert calls(mail) == ["read_mail", "send_mail"]


@ERAS
def test_a_resource_is_read_like_an_output_and_judged_like_a_call(mail: MailServer, era: str) -> None:
    async def scenario() -> None:
        async with connected(mail, era) as client:
            assert [resource.name for resource in (await client.list_resources()).resources] == ["notes"]
            await client.read_resource("file:///notes")
            denied = await client.call_tool("send_mail", {"to": "mallory@evil.example", "body": "hi"})
            assert public(denied)["code"] == "taint"
        pins = Pins({"mail": {}})
        async with connected(mail, era, pins=pins) as client:
            with pytest.raises(MCPError) as refused:
                await client.read_resource("file:///notes")
            assert refused.value.data["decision"] == "ask"

    anyio.run(scenario)


@ERAS
def test_a_person_is_asked_by_the_client(mail: MailServer, era: str) -> None:
    asked: list[str] = []
    answers = ["decline", "no", "accept"]

    async def ask(context: Any, params: Any) -> types.ElicitResult:
        asked.append(params.message)
        answer = answers[len(asked) - 1]
        if answer == "decline":
            return types.ElicitResult(action="decline")
        return types.ElicitResult(action="accept", content={"approve": answer == "accept"})

    async def scenario() -> None:
        async with connected(mail, era, elicitation_callback=ask) as client:
            for _ in range(2):
                refused = public(await client.call_tool("delete_file", {"path": "a\u202e"}))
                assert (refused["decision"], refused["code"]) == ("ask", "approval")
            assert text(await client.call_tool("delete_file", {"path": "a\u202e"})) == "done"

    anyio.run(scenario)
    assert calls(mail) == ["delete_file"]
    assert len(asked) == 3
    assert '"delete_file"' in asked[0]
    assert "\\u202e" in asked[0]


def test_an_answer_is_for_the_call_that_was_shown(mail: MailServer) -> None:
    answer: Any = {"approve": types.ElicitResult(action="accept", content={"approve": True})}

    async def scenario() -> None:
        async with connected(mail, "auto", elicitation_callback=lambda *_: None) as client:  # pyright: ignore
            call = client.session.call_tool
            shown = await call("delete_file", {"path": "a"}, allow_input_required=True)
            assert isinstance(shown, types.InputRequiredResult)
            state: dict[str, Any] = {"input_responses": answer, "allow_input_required": True}
            edited = await call("delete_file", {"path": "b"}, request_state=shown.request_state, **state)
            assert isinstance(edited, types.InputRequiredResult)
            guessed = await call("delete_file", {"path": "a"}, request_state="guessed", **state)
            assert isinstance(guessed, types.InputRequiredResult)
            approved = await call("delete_file", {"path": "a"}, request_state=shown.request_state, **state)
            assert isinstance(approved, types.CallToolResult)
            again = await call("delete_file", {"path": "a"}, request_state=shown.request_state, **state)
            assert isinstance(again, types.InputRequiredResult)

    anyio.run(scenario)
    assert calls(mail) == ["delete_file"]


@ERAS
def test_a_tool_that_changes_or_is_new_is_asked_about(mail: MailServer, era: str) -> None:
    changes: list[Any] = []
    pins = Pins()

    async def noted(message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            changes.append(message)

    async def scenario() -> None:
        async with connected(mail, era, pins=pins, message_handler=noted) as client:
            assert not (await client.call_tool("read_mail", {})).is_error
            if era == "auto":
                async with client.listen(tools_list_changed=True) as events:
                    await client.call_tool("change", {"tool": "read_mail"})
                    await anext(aiter(events))
            else:
                await client.call_tool("change", {"tool": "read_mail"})
                await eventually(lambda: bool(changes))
            assert public(await client.call_tool("read_mail", {}))["decision"] == "ask"
            assert not (await client.call_tool("send_mail", {"to": "bob@example.com", "body": ""})).is_error
            await client.call_tool("change", {"tool": "renamed"})
            await client.list_tools()
            assert public(await client.call_tool("renamed", {}))["decision"] == "ask"
        # Connected once more, the server is compared with the same pins.
        async with connected(mail, era, pins=Pins(pins.pinned)) as client:
            assert public(await client.call_tool("read_mail", {}))["decision"] == "ask"

    anyio.run(scenario)
    assert calls(mail).count("read_mail") == 1


@ERAS
def test_progress_and_cancellation_go_through(mail: MailServer, era: str) -> None:
    seen: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        seen.append(done)

    async def scenario() -> None:
        async with connected(mail, era) as client:
            await client.call_tool("wait", {"seconds": 0.1}, progress_callback=progress)
            await eventually(lambda: len(seen) == 3)
            with anyio.move_on_after(0.5):
                await client.call_tool("wait", {"seconds": 1.5})
            assert text(await client.call_tool("send_mail", {"to": "bob@example.com", "body": ""})) == "done"
            await anyio.sleep(1.2)

    anyio.run(scenario)
    assert calls(mail) == ["wait", "waited", "wait", "send_mail"]
    assert sorted(seen) == [1.0, 2.0, 3.0]


@ERAS
def test_no_text_of_a_fault_reaches_the_agent(mail: MailServer, era: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise KeyError("secret of the host")

    async def scenario() -> None:
        async with connected(mail, era) as client:
            monkeypatch.setattr(Session, "check", fails)
            with pytest.raises(MCPError) as refused:
                await client.call_tool("read_mail", {})
            assert "secret" not in repr(refused.value.error)

    anyio.run(scenario)
    assert calls(mail) == []


def test_a_person_approves_at_a_terminal(
    mail: MailServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "asks"
    words = ["guard", "approve", str(folder)]

    async def scenario() -> None:
        async with connected(mail, "legacy", requests=RequestFolder(folder)) as client:
            first = public(await client.call_tool("delete_file", {"path": "old"}))
            again = public(await client.call_tool("delete_file", {"path": "old"}))
            assert (first["decision"], first["call"]) == ("ask", again["call"])
            call = ["--call", first["call"]]
            # Not by the agent, which has no terminal.
            monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
            assert main([*words, *call]) == 2
            with at_terminal(monkeypatch, "n"):
                assert main([*words, *call]) == 2
            assert public(await client.call_tool("delete_file", {"path": "old"}))["decision"] == "ask"
            assert main(words) == 0
            assert first["call"] in capsys.readouterr().out
            with at_terminal(monkeypatch, "y"):
                assert main([*words, *call]) == 0
            assert public(await client.call_tool("delete_file", {"path": "new"}))["decision"] == "ask"
            assert text(await client.call_tool("delete_file", {"path": "old"})) == "done"
            assert public(await client.call_tool("delete_file", {"path": "old"}))["decision"] == "ask"

    anyio.run(scenario)
    assert calls(mail) == ["delete_file"]


@contextmanager
def at_terminal(monkeypatch: pytest.MonkeyPatch, answer: str) -> Iterator[None]:
    """A person at a terminal, who answers."""
    near, far = pty.openpty()
    os.write(near, f"{answer}\n".encode())
    with os.fdopen(far) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        yield
    os.close(near)


def test_a_crash_of_the_server_fails_calls_that_wait_and_what_was_read_counts_afterwards(mail: MailServer) -> None:
    failed: list[bool] = []
    command = StdioServerParameters(command=sys.executable, args=[mail_server.__file__, str(mail.log)])

    async def scenario() -> None:
        async with connected(mail, "auto", behind=command) as client:

            async def wait() -> None:
                failed.append((await client.call_tool("wait", {"seconds": 600})).is_error)

            assert "eve" in text(await client.call_tool("read_mail", {}))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await eventually(lambda: "wait" in calls(mail))
                assert (await client.call_tool("crash", {})).is_error
            # The server is started again.
            assert text(await client.call_tool("send_mail", {"to": "bob@example.com", "body": ""})) == "done"
            denied = await client.call_tool("send_mail", {"to": "eve@evil.example", "body": ""})
            assert public(denied)["code"] == "taint"

    anyio.run(scenario)
    assert failed == [True]
    assert calls(mail) == ["read_mail", "wait", "crash", "send_mail"]
