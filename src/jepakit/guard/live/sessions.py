"""The sessions of many agents, by the ids that their applications give them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from threading import Lock

from jepakit.errors import ConfigError, DataError
from jepakit.guard.live.session import Session

#: Ended sessions whose ids are remembered; more of them end new ones before they begin.
_MOST_ENDED = 1_000_000


class Sessions:
    """Sessions by id. One that has ended never begins anew: it would know nothing of what its agent has read.

    Args:
        make: a new session.
        most: at the same time.
        idle_seconds: a session that was not used so long ends when another needs its place.
        clock: seconds.

    Raises:
        ConfigError: ``most`` is less than 1.
    """

    def __init__(
        self,
        make: Callable[[], Session],
        *,
        most: int = 256,
        idle_seconds: float = 86_400.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if most < 1:
            raise ConfigError("sessions", most, "at least 1")
        self._make, self._most, self._idle, self._clock = make, most, idle_seconds, clock
        self._lock = Lock()
        self._held: OrderedDict[str, tuple[Session, float]] = OrderedDict()
        self._ended: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, name: str) -> Session:
        """The session of an id, which begins now if there is none.

        Raises:
            DataError: it has ended, or there are too many.
        """
        now = self._clock()
        with self._lock:
            held = self._held.pop(name, None)
            session = self._begin(name, now) if held is None else held[0]
            self._held[name] = session, now
            return session

    def end(self, name: str) -> None:
        """Ends a session."""
        with self._lock:
            self._held.pop(name, None)
            self._ended.add(_short(name))

    def _begin(self, name: str, now: float) -> Session:
        if _short(name) in self._ended:
            raise DataError("the session has ended", field="session", value=name, expected="another id")
        if len(self._held) >= self._most:
            oldest, (_, used) = next(iter(self._held.items()))
            if now - used < self._idle or len(self._ended) >= _MOST_ENDED:
                raise DataError("too many sessions at once", field="session", expected=f"at most {self._most}")
            del self._held[oldest]
            self._ended.add(_short(oldest))
        return self._make()


def _short(name: str) -> bytes:
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
