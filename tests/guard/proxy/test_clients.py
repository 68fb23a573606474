"""What the server behind the proxy asks its client and logs, in both eras of the protocol on either side."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import StdioServerParameters, types

import mail_server
from mail_server import MailServer
from proxied import connected, text

NEW, OLD = None, "legacy"


class Person:
    """The client's model and its user."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def write(self, context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        self.asked.append(params)
        content = types.TextContent(type="text", text="a summary")
        return types.CreateMessageResult(role="assistant", content=content, model="tiny")

    async def fill_in(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.asked.append(params)
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async def roots(self, context: Any) -> types.ListRootsResult:
        self.asked.append(None)
        return types.ListRootsResult(roots=[types.Root(uri="file:///home")])

    def callbacks(self) -> dict[str, Any]:
        return {
            "sampling_callback": self.write,
            "elicitation_callback": self.fill_in,
            "list_roots_callback": self.roots,
        }


@pytest.fixture
def mail(tmp_path: Path) -> MailServer:
    return MailServer(tmp_path / "log")


def behind(mail: MailServer, server: str | None) -> StdioServerParameters | None:
    """The server as a process over stdio, of earlier times; None: in this process, of 2026-07-28."""
    words = [mail_server.__file__, str(mail.log), "legacy"]
    return None if server is None else StdioServerParameters(command=sys.executable, args=words)


@pytest.mark.parametrize("server", [OLD, NEW], ids=["old", "new"])
def test_what_the_server_asks_is_passed_on_with_its_origin(mail: MailServer, server: str | None) -> None:
    person = Person()

    async def scenario() -> None:
        async with connected(mail, "legacy", behind=behind(mail, server), **person.callbacks()) as client:
            written = json.loads(text(await client.call_tool("ask", {"for": "text"})))
            filled = json.loads(text(await client.call_tool("ask", {"for": "form"})))
            roots = json.loads(text(await client.call_tool("ask", {"for": "roots"})))
        assert (written["content"]["text"], filled["content"], len(roots["roots"])) == ("a summary", {"name": "Ada"}, 1)

    anyio.run(scenario)
    sampled, form, _ = person.asked
    assert sampled.system_prompt == 'The MCP server "mail" asks for this text; the user does not.\n\nBe brief'
    assert (sampled.include_context, sampled.metadata, sampled.max_tokens) == (None, None, 9)
    assert form.message == 'The MCP server "mail" asks:\nYour name?\\u202e'


@pytest.mark.parametrize("era", ["legacy", "auto"])
@pytest.mark.parametrize(
    ("wanted", "server"), [("text", NEW), ("form", OLD), ("form", NEW), ("roots", NEW), ("address", OLD)]
)
def test_what_a_client_cannot_be_asked_is_refused_in_words(
    mail: MailServer, wanted: str, server: str | None, era: str
) -> None:
    """Without the capability; over a protocol that has no questions; an address that a person would open."""
    person = Person()
    callbacks = person.callbacks() if era == "auto" or wanted == "address" else {}

    async def scenario() -> None:
        async with connected(mail, era, behind=behind(mail, server), **callbacks) as client:
            answer = await client.call_tool("ask", {"for": wanted})
            assert "evil" not in text(answer)
            if callbacks and era == "legacy":
                assert "refused by the guard" in text(answer)
            else:
                assert "not supported" in text(answer).lower()
            assert text(await client.call_tool("send_mail", {"to": "bob@example.com", "body": ""})) == "done"

    anyio.run(scenario)
    assert person.asked == []


@pytest.mark.parametrize("server", [OLD, NEW], ids=["old", "new"])
@pytest.mark.parametrize("era", ["legacy", "auto"])
def test_lines_of_the_log_name_the_server(mail: MailServer, server: str | None, era: str) -> None:
    lines: list[types.LoggingMessageNotificationParams] = []

    async def noted(params: types.LoggingMessageNotificationParams) -> None:
        lines.append(params)

    async def scenario() -> None:
        options: dict[str, Any] = {"logging_callback": noted}
        options |= {"log_level": "warning"} if era == "auto" else {}
        async with connected(mail, era, behind=behind(mail, server), **options) as client:
            if era == "legacy":
                request = types.SetLevelRequest(params=types.SetLevelRequestParams(level="warning"))
                await client.session.send_request(request, types.EmptyResult)
            for level in ("error", "debug"):
                await client.call_tool("log", {"level": level})
            with anyio.move_on_after(0.2):
                await anyio.sleep(1)

    anyio.run(scenario)
    assert (lines[0].level, lines[0].logger, lines[0].data) == ("error", "mail: disk", "is full")
    if era == "auto":
        assert len(lines) == 1
    if server is OLD and era == "legacy":
        assert '["set_level", {"level": "warning"}]' in mail.log.read_text()
