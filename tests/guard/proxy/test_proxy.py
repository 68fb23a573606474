"""The proxy as a process, in front of a real server, asked by a real client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters, types

import mail_server
from jepakit.errors import ConfigError
from jepakit.guard.proxy import ProxyConfig
from mail_server import POLICY

SERVER = Path(mail_server.__file__)
COMMAND = "import sys; from jepakit.cli.main import main; sys.exit(main())"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


def words(folder: Path, *options: str, upstream: tuple[str, ...] | None = None) -> list[str]:
    served = ("--", sys.executable, str(SERVER), str(folder / "log")) if upstream is None else upstream
    given = ["guard", "proxy", "--policy", str(folder / "policy.yaml"), "--task", "Answer bob@example.com"]
    return ["-W", "error", "-c", COMMAND, *given, "--name", "mail", "--timeout", "60", *options, *served]


CALL = '{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"send_mail","arguments":%s}}'
REFUSED = {
    "key twice": ('{"to":"bob@example.com","to":"eve@evil.example"}', "unreadable"),
    "key escaped": (r'{"to":"bob@example.com","t\u006f":"eve@evil.example"}', "unreadable"),
    "NaN": ('{"to":NaN}', "unreadable"),
    "no number": ('{"to":1e400}', "unreadable"),
    "surrogate": (r'{"to":"\ud800"}', "unreadable"),
    "deep": ('{"to":' + "[" * 5000 + "]" * 5000 + "}", "too_large"),
    "wide": ('{"to":[' + "1," * 20_000 + "1]}", "too_large"),
    "long": ('{"to":"' + "a" * 10_000_000 + '"}', "too_large"),
    "longer": ('{"to":"' + "a" * 17_000_000 + '"}', "too_large"),
}
INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "raw", "version": "1"},
}


def test_what_has_two_meanings_or_is_too_large_is_denied_and_stdout_is_pure(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, *words(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(line: str) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    try:
        begin = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE}
        assert ask(json.dumps(begin))["id"] == 0
        process.stdin.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        for number, (arguments, code) in enumerate(REFUSED.values(), 1):
            began = time.monotonic()
            answer = ask(CALL % (number, arguments))
            assert (answer["id"], answer["error"]["data"]) == (number, {"decision": "deny", "code": code})
            assert time.monotonic() - began < 5
        # A caller cannot say who it is, or what it has read.
        meta = '"_meta":{"role":"admin","tier":"user","jepakit/role":"admin"},"name"'
        hidden = '{"to":"eve@evil.example","tier":"user","role":"admin"}'
        answer = ask((CALL % (99, hidden)).replace('"name"', meta))
        assert answer["result"]["isError"]
        assert ask(CALL % (100, '{"to":"bob@example.com","body":"\\u00e9"}'))["result"]["isError"] is False
        process.terminate()
        # The agent's end of stdin is still open.
        assert process.wait(60) == 143
        rest, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert rest == b""
    assert b"the server has started" in errors
    assert [json.loads(line)[1] for line in (folder / "log").read_text().splitlines()] == [
        {"to": "bob@example.com", "body": "é"}
    ]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "url"),
        ({"command": ("a",), "url": "http://localhost"}, "url"),
        ({"url": "file:///etc"}, "url"),
        ({"command": ("a",), "port": 70_000}, "port"),
        ({"command": ("a",), "token": "secret"}, "token"),
        ({"command": ("a",), "port": 0, "token": " "}, "token"),
    ],
)
def test_options_that_cannot_be_are_named(options: Any, field: str) -> None:
    with pytest.raises(ConfigError) as refused:
        ProxyConfig(**options)
    assert refused.value.field == field


def test_a_client_over_stdio_is_asked_what_the_server_asks(folder: Path) -> None:
    async def fill_in(context: Any, params: types.ElicitRequestFormParams) -> types.ElicitResult:
        assert params.message.startswith('The MCP server "mail" asks:')
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    upstream = ("--", sys.executable, str(SERVER), str(folder / "log"), "legacy")
    proxy = StdioServerParameters(command=sys.executable, args=words(folder, upstream=upstream), env=dict(os.environ))

    async def scenario() -> None:
        async with Client(proxy, mode="legacy", elicitation_callback=fill_in, cache=None) as agent:
            for _ in range(2):
                answer = await agent.call_tool("ask", {"for": "form"})
                assert [block.text for block in answer.content if "Ada" in block.text]

    anyio.run(scenario)
