"""Work that is waited for no longer than allowed, and whose failures are values."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from jepakit.errors import JepakitError

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What became of a piece of work.

    Args:
        value: what it returned; None where it failed or did not end.
        failure: the name of the kind of its error, or ``timeout``; not the text, which may hold what nobody is to see.
    """

    value: T | None
    failure: str = ""


class _FailedError(JepakitError):
    """Work has failed; the text is the name of the kind of error."""


class Bounded:
    """Runs work in threads of its own.

    Work that does not end goes on in its thread, which does not keep the process alive. Of such threads there are at
    most ``most``; while there are so many, nothing is started.

    Args:
        most: pieces of work at the same time.
    """

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most)

    def run(self, work: Callable[[], T], timeout: float) -> Outcome[T]:
        """The outcome of ``work``; that of a timeout after ``timeout`` seconds."""
        end = time.monotonic() + timeout
        if not self._free.acquire(timeout=timeout):
            return Outcome(None, "timeout")
        results: list[Outcome[T]] = []
        done = threading.Event()

        def target() -> None:
            try:
                results.append(Outcome(_converted(work)))
            except _FailedError as failed:
                results.append(Outcome(None, str(failed)))
            finally:
                self._free.release()
                done.set()

        try:
            threading.Thread(target=target, daemon=True, name="jepakit-audit").start()
        except RuntimeError:
            # The system has no thread left.
            self._free.release()
            return Outcome(None, "RuntimeError")
        if not done.wait(max(0.0, end - time.monotonic())):
            return Outcome(None, "timeout")
        return results[0] if results else Outcome(None, "interrupted")


def _converted(work: Callable[[], T]) -> T:
    try:
        return work()
    except Exception as error:
        raise _FailedError(type(error).__name__) from error
