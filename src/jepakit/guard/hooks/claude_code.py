"""``jepakit-guard-hook``: hooks of Claude Code, and of agents that have the same ones.

::

    PreToolUse        asks the guard about the call: deny, ask the user, or nothing, so that the agent's own rules hold
    PostToolUse       tells the guard what the call returned; if that fails the agent stops
    UserPromptSubmit  tells the guard the user's words, where the service has a token

The program reads the hook's JSON from stdin and writes its answer to stdout. An agent carries a call out if the hook
fails, so whatever goes wrong here is a denial: its exit status is 2, and no text of the fault is written.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jepakit.errors import DataError
from jepakit.guard.hooks.client import DENIED, Answer, GuardClient
from jepakit.guard.traces.strict_json import JsonLimits, parse

LIMITS = JsonLimits(bytes=32 << 20, depth=80, leaves=1_000_000)
"""Of what the agent writes; the service has limits of its own."""


def main() -> int:
    """Answers one event of an agent.

    The service is named by the environment: ``JEPAKIT_GUARD_URL`` (by default http://127.0.0.1:8765),
    ``JEPAKIT_GUARD_TOKEN_FILE`` and ``JEPAKIT_GUARD_SECONDS``.

    Raises:
        SystemExit: with status 2, if anything fails: the agent then does not carry the call out.
    """
    done = False
    try:
        event = parse(sys.stdin.buffer.read(LIMITS.bytes + 1), LIMITS)
        answer = respond(event, _client(os.environ))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        done = True
    finally:
        if not done:
            sys.stderr.write("guard: internal\n")
            # In place of the fault, whose text the agent would read.
            raise SystemExit(2)
    return 0


def respond(event: object, client: GuardClient) -> dict[str, Any]:
    """The answer to an event.

    Args:
        event: as the agent describes it.
        client: asks the service.

    Raises:
        DataError: it is no event.
    """
    if not isinstance(event, Mapping) or not isinstance(event.get("hook_event_name"), str):
        raise DataError("not an event of a hook", expected="an object with hook_event_name")
    kind = event["hook_event_name"]
    if kind == "PostToolUse":
        return _finished(event, client)
    if kind == "UserPromptSubmit":
        # What is not told makes later answers stricter, not milder.
        client.tell("/v1/say", {"session": event.get("session_id"), "text": event.get("prompt")})
        return {}
    return _permission(_asked(event, client)) if kind == "PreToolUse" else {}


def server_and_tool(name: str) -> tuple[str, str]:
    """Server and tool of a name: those of MCP servers are ``mcp__SERVER__TOOL``."""
    prefix, _, rest = name.partition("__")
    server, separator, tool = rest.partition("__")
    return (server, tool) if prefix == "mcp" and separator else ("", name)


def _asked(event: Mapping[str, Any], client: GuardClient) -> Answer:
    name, session = event.get("tool_name"), event.get("session_id")
    if not isinstance(name, str) or not isinstance(session, str):
        return DENIED
    server, tool = server_and_tool(name)
    given = event.get("tool_use_id")
    further = {"call": given} if isinstance(given, str) and given else {}
    return client.check(session, tool, event.get("tool_input"), server=server, **further)


def _permission(answer: Answer) -> dict[str, Any]:
    if answer.decision == "allow":
        # Not "allow": that would skip the questions that the user has configured.
        return {}
    what = "denies the call" if answer.decision == "deny" else "asks a person"
    return {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": answer.decision,
            "permissionDecisionReason": f"The guard {what} ({answer.code}).",
        }
    }


def _finished(event: Mapping[str, Any], client: GuardClient) -> dict[str, Any]:
    server, tool = server_and_tool(str(event.get("tool_name")))
    response = event.get("tool_response")
    output = response if isinstance(response, str) else json.dumps(response, ensure_ascii=False)
    told = {
        "session": event.get("session_id"),
        "call": str(event.get("tool_use_id") or "unknown"),
        "output": output,
        "tool": tool,
        "server": server,
        "arguments": event.get("tool_input"),
    }
    if client.tell("/v1/finish", told):
        return {}
    return {"continue": False, "stopReason": "The guard was not told what the agent has read."}


def _client(environment: Mapping[str, str]) -> GuardClient:
    file = environment.get("JEPAKIT_GUARD_TOKEN_FILE")
    return GuardClient(
        environment.get("JEPAKIT_GUARD_URL", GuardClient.url),
        None if file is None else Path(file).read_text("utf-8").strip(),
        float(environment.get("JEPAKIT_GUARD_SECONDS", GuardClient.seconds)),
    )
