"""The proxy over streamable HTTP, in front of a server over streamable HTTP."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client

import mail_server
from mail_server import POLICY

PROXY = "import sys; from jepakit.cli.main import main; sys.exit(main())"
TOKEN = {"authorization": "Bearer secret"}


@dataclass
class Served:
    """A proxy and the server behind it."""

    url: str
    port: int
    log: Path
    server: subprocess.Popen[bytes]

    def calls(self) -> list[str]:
        """The calls that have reached the server."""
        return [json.loads(line)[0] for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def restart(self) -> None:
        self.server.kill()
        self.server.wait()
        self.server = start_server(self.log, self.port)


def start_server(log: Path, port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, mail_server.__file__, str(log), str(port)])
    for _ in range(1200):
        assert process.poll() is None
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return process
    raise AssertionError("the server does not answer")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("proxy")
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "token").write_text("secret\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = start_server(folder / "log", port)
    options = ["--url", f"http://127.0.0.1:{port}/mcp", "--port", "0", "--token_file", str(folder / "token")]
    options += ["--policy", str(folder / "policy.yaml"), "--task", "Answer bob@example.com", "--timeout", "60"]
    command = [sys.executable, "-W", "error", "-c", PROXY, "guard", "proxy", *options]
    proxy = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert proxy.stdout is not None
    try:
        one = Served(proxy.stdout.readline().split()[-1], port, folder / "log", server)
        server = one.server
        yield one
        proxy.terminate()
        assert proxy.wait(60) in (143, -15)
    finally:
        proxy.stdout.close()
        for process in (proxy, one.server):
            process.kill()
            process.wait()


@asynccontextmanager
async def connected(served: Served, era: str, **options: Any) -> AsyncIterator[Client]:
    async with httpx2.AsyncClient(headers=TOKEN, timeout=60) as http:
        transport = streamable_http_client(served.url, http_client=http)
        async with Client(transport, mode=era, read_timeout_seconds=60, cache=None, **options) as agent:
            yield agent


def text(result: types.CallToolResult) -> str:
    return "".join(block.text for block in result.content if isinstance(block, types.TextContent))


@pytest.mark.parametrize("era", ["legacy", "auto"])
def test_calls_are_judged_and_a_person_is_asked(served: Served, era: str) -> None:
    before = len(served.calls())

    async def agree(context: Any, params: Any) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"approve": True})

    async def scenario() -> None:
        async with connected(served, era, elicitation_callback=agree) as agent:
            assert "eve@evil.example" in text(await agent.call_tool("read_mail", {}))
            denied = await agent.call_tool("send_mail", {"to": "eve@evil.example", "body": ""})
            assert (denied.is_error, '"code": "taint"' in text(denied)) == (True, True)
            assert text(await agent.call_tool("delete_file", {"path": "old"})) == "done"

    anyio.run(scenario)
    assert served.calls()[before:] == ["read_mail", "delete_file"]


def test_the_client_that_made_the_call_is_asked(served: Served) -> None:
    asked: list[str] = []

    async def fill_in(context: Any, params: types.ElicitRequestFormParams) -> types.ElicitResult:
        asked.append(params.message)
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async def scenario() -> None:
        async with (
            connected(served, "legacy", elicitation_callback=fill_in) as agent,
            connected(served, "legacy", elicitation_callback=fill_in) as other,
        ):
            assert "Ada" in text(await agent.call_tool("ask", {"for": "form"}))
            began = len(served.calls())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(other.call_tool, "wait", {"seconds": 600})
                with anyio.fail_after(60):
                    while len(served.calls()) == began:
                        await anyio.sleep(0.02)
                # The server does not say which of its two calls it asks about.
                assert "not clear which client" in text(await agent.call_tool("ask", {"for": "form"}))
                tasks.cancel_scope.cancel()

    anyio.run(scenario)
    assert len(asked) == 1
    assert asked[0].startswith('The MCP server "http')


CALL = '{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "send_mail", "arguments": %s}}'
JSON = {**TOKEN, "content-type": "application/json", "accept": "application/json, text/event-stream"}


@pytest.mark.parametrize(
    ("arguments", "headers", "status", "data"),
    [
        ('{"to": "bob@example.com", "to": "eve@evil.example"}', {}, 400, "unreadable"),
        ('{"to": NaN}', {}, 400, "unreadable"),
        (f'{{"to": {"[" * 100}{"]" * 100}}}', {}, 400, "too_large"),
        (f'{{"to": "{"a" * 5_000_000}"}}', {}, 413, "too_large"),
        ("{}", {"authorization": "Bearer guessed"}, 401, None),
        ("{}", {"authorization": ""}, 401, None),
        ("{}", {"host": "rebound.example"}, 421, None),
        ("{}", {"origin": "https://evil.example"}, 403, None),
    ],
)
def test_what_is_refused_before_it_is_judged(
    served: Served, arguments: str, headers: dict[str, str], status: int, data: str | None
) -> None:
    before = served.calls()
    answer = httpx.post(served.url, content=CALL % arguments, headers={**JSON, **headers}, timeout=60)
    assert answer.status_code == status, answer.text
    if data is not None:
        assert answer.json()["error"]["data"] == {"decision": "deny", "code": data}
    assert served.calls() == before


def test_a_server_that_was_started_again_is_connected_again(served: Served) -> None:
    async def scenario() -> None:
        async with connected(served, "auto") as agent:
            assert not (await agent.call_tool("read_mail", {})).is_error
            served.restart()
            with anyio.fail_after(60):
                while (await agent.call_tool("read_mail", {})).is_error:
                    await anyio.sleep(0.1)
            denied = await agent.call_tool("send_mail", {"to": "eve@evil.example", "body": ""})
            assert '"code": "taint"' in text(denied)

    anyio.run(scenario)
