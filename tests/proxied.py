"""A client of the proxy's server, in one process, in front of the server with mails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters, types

from jepakit.guard import Context
from jepakit.guard.audit import Auditor
from jepakit.guard.live import Pins, RequestFolder, Session
from jepakit.guard.policy import parse_policy
from jepakit.guard.proxy.gate import Gate
from jepakit.guard.proxy.upstream import Upstream
from mail_server import POLICY, MailServer


@asynccontextmanager
async def connected(
    mail: MailServer,
    era: str,
    *,
    behind: StdioServerParameters | None = None,
    pins: Pins | None = None,
    requests: RequestFolder | None = None,
    **callbacks: Any,
) -> AsyncIterator[Client]:
    pins = pins or Pins()
    auditor = Auditor(parse_policy(POLICY, file=Path("policy.yaml")), timeout=60)
    context = Context(task="Answer bob@example.com")
    approvals = None if requests is None else requests.approvals
    gate = Gate(Session(auditor, context, pins=pins, approvals=approvals), requests)
    gate.upstream = Upstream(behind or mail.server, "mail", pins, gate.clients)
    async with gate.upstream.running():
        capabilities = (await gate.upstream.ready()).server_capabilities
        if "mail" not in pins.pinned:
            pins.accept("mail")
        server = gate.server(capabilities)
        async with Client(server, mode=era, read_timeout_seconds=60, cache=None, **callbacks) as client:
            yield client


def text(result: types.CallToolResult) -> str:
    return "".join(block.text for block in result.content if isinstance(block, types.TextContent))
