"""Asks the guard's service. Whatever is not a clear answer is a denial."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Thread
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from jepakit.errors import ConfigError, DataError
from jepakit.guard.traces.strict_json import parse

#: Of an answer.
_MOST_BYTES = 1 << 20
_CODES = ("policy", "taint", "limit", "secret", "model", "too_large", "unreadable", "internal", "approval")


class Answer(NamedTuple):
    """What is to be done with a call.

    Args:
        decision: `jepakit.guard.policy.Decision`.
        code: the coarse reason; empty where the call is allowed.
    """

    decision: Literal["allow", "ask", "deny"]
    code: str


DENIED = Answer("deny", "internal")
"""Where there is no clear answer."""


@dataclass(frozen=True)
class GuardClient:
    """A client of the service.

    Args:
        url: of the service, from the configuration.
        token: of the service; None: it has none.
        seconds: for an answer, from the beginning to its end.
    """

    url: str = "http://127.0.0.1:8765"
    token: str | None = None
    seconds: float = 10.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("url", self.url, "an address that begins with http:// or https://")
        if not self.seconds > 0:
            raise ConfigError("seconds", self.seconds, "more than 0")

    def check(self, session: str, tool: str, arguments: object, **further: str) -> Answer:
        """The answer about the next call of a session; `DENIED` where there is none."""
        body = {"session": session, "tool": tool, "arguments": arguments, **further}
        reply = self._ask("/v1/check", body)
        if reply is None:
            return DENIED
        decision, code = reply.get("decision"), reply.get("code")
        if decision == "allow":
            return Answer("allow", "")
        if decision == "ask" and code in _CODES:
            return Answer("ask", str(code))
        return Answer("deny", str(code)) if decision == "deny" and code in _CODES else DENIED

    def tell(self, path: str, body: Mapping[str, Any]) -> bool:
        """Whether the service has taken note of something."""
        return self._ask(path, body) is not None

    def _ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """The object that the service answers with status 200; None: anything else, or nothing in time."""
        try:
            content = json.dumps(body, allow_nan=False).encode("ascii")
        except (TypeError, ValueError, RecursionError):
            return None
        replies: list[dict[str, Any]] = []
        # A socket's own limit is for each of its parts; what sends a byte now and then would never end.
        thread = Thread(target=_contained, args=(lambda: self._exchange(path, content), replies), daemon=True)
        thread.start()
        thread.join(self.seconds)
        return replies[0] if replies else None

    def _exchange(self, path: str, content: bytes) -> dict[str, Any] | None:
        parts = urlsplit(self.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=self.seconds)
        try:
            headers = {"Content-Type": "application/json"}
            if self.token is not None:
                headers["Authorization"] = f"Bearer {self.token}"
            connection.request("POST", parts.path.rstrip("/") + path, content, headers)
            response = connection.getresponse()
            raw = response.read(_MOST_BYTES)
        finally:
            connection.close()
        reply = parse(raw)
        return reply if response.status == 200 and isinstance(reply, dict) else None


def _contained(exchange: Callable[[], dict[str, Any] | None], replies: list[dict[str, Any]]) -> None:
    try:
        reply = exchange()
    except (OSError, HTTPException, ValueError, DataError):
        return
    if reply is not None:
        replies.append(reply)
