"""Locks of the operating system: one writer for each folder. A lock ends with the process that holds it."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from jepakit.errors import ModelError

if sys.platform != "win32":
    import fcntl


LOCK_NAME = ".lock"
"""The file in a folder that `locked` locks; it stays there, empty."""


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Holds the lock of a run or index folder, which is made where it is missing.

    A process that is killed gives its lock back, so no lock ever has to be removed by hand.

    Raises:
        ModelError: another process holds it, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise ModelError(f"{folder}: cannot be written to ({error.strerror})") from error
    try:
        _require_lock(handle, folder)
        yield
    finally:
        _unlock(handle)
        os.close(handle)


def _require_lock(handle: int, folder: Path) -> None:
    try:
        free = try_lock(handle)
    except OSError as error:
        raise ModelError(f"{folder}: cannot be locked for writing ({error.strerror})") from error
    if not free:
        raise ModelError(
            f"{folder}: another process is writing to this folder; wait until it ends, or give another folder"
        )


def try_lock(handle: int) -> bool:
    """Whether the open file or folder is now locked by this process; False where another holds it."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def hold_folder(folder: Path) -> Generator[None]:
    """Waits for the lock of the folder itself, which is not the one of `locked`, and holds it."""
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Some network file systems have no locks.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        _unlock(handle)
        os.close(handle)


def _unlock(handle: int) -> None:
    # Closing is not enough where a process forked meanwhile has the file open too.
    if sys.platform != "win32":
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)
