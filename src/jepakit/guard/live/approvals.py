"""Approvals: a person lets one call through that the guard asks about."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable
from hashlib import sha256
from secrets import token_bytes, token_hex
from threading import Lock

from jepakit.errors import ConfigError

MIN_KEY_BYTES = 32
"""Of the key that signs tokens."""

_TOKEN = re.compile(r"(?P<expires>[0-9]{1,15})\.(?P<nonce>[0-9a-f]{32})\.(?P<signature>[0-9a-f]{64})", re.ASCII)


class Approvals:
    """Tokens that each let one call through, once, and for a limited time.

    A token is bound to the id of the call and to its digest (`jepakit.guard.audit.Judgement`): it is worth nothing for
    another call, nor for this call with another argument. It is signed with HMAC-SHA256.

    Args:
        key: a secret; None: a new one, which ends with this process.
        seconds: how long a token is valid.
        clock: seconds since the epoch.

    Raises:
        ConfigError: the key is short, or ``seconds`` are less than 1.
    """

    def __init__(self, key: bytes | None = None, *, seconds: int = 600, clock: Callable[[], float] = time.time) -> None:
        if key is not None and len(key) < MIN_KEY_BYTES:
            raise ConfigError("key", f"{len(key)} bytes", f"at least {MIN_KEY_BYTES} random bytes")
        if seconds < 1:
            raise ConfigError("seconds", seconds, "at least 1")
        self._key = token_bytes(MIN_KEY_BYTES) if key is None else key
        self._seconds, self._clock = seconds, clock
        self._lock = Lock()
        #: Nonce -> when its token expires. Only tokens with a true signature get here.
        self._used: dict[str, int] = {}

    def grant(self, call: str, digest: str) -> str:
        """A token for a call. Whoever asks for it has been told by a person that the call may be carried out.

        Args:
            call: its id.
            digest: of its server, tool and arguments.
        """
        expires, nonce = int(self._clock()) + self._seconds, token_hex(16)
        return f"{expires}.{nonce}.{self._signature(expires, nonce, call, digest)}"

    def redeem(self, token: str, call: str, digest: str) -> bool:
        """Whether a token lets this call through; it does so once."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            return False
        expires, nonce = int(match["expires"]), match["nonce"]
        if not hmac.compare_digest(self._signature(expires, nonce, call, digest), match["signature"]):
            return False
        now = self._clock()
        with self._lock:
            self._used = {one: until for one, until in self._used.items() if until > now}
            if expires <= now or nonce in self._used:
                return False
            self._used[nonce] = expires
        return True

    def _signature(self, expires: int, nonce: str, call: str, digest: str) -> str:
        # The texts are hashed, so that no part of one can be taken for a part of another.
        parts = [sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in (call, digest)]
        message = "\n".join(["jepakit approval 1", str(expires), nonce, *parts])
        return hmac.new(self._key, message.encode(), sha256).hexdigest()
