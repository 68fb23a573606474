"""The one way of writing files and folders: whole or not at all, on the disk before they get their name.

What is written goes into a hidden folder ``.NAME.RANDOM.partial`` beside its final place, and is moved from there. The
writer holds a lock on that folder; the next writer removes such folders of killed writers, which hold no lock.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from secrets import token_hex
from typing import Any

from safetensors import SafetensorError

from jepakit.errors import ModelError
from jepakit.files.digests import sealed
from jepakit.files.locking import hold_folder, try_lock

_PARTIAL = re.compile(r"\..*\.[0-9a-f]{8}\.partial")
#: Characters of the target's name in that of its hidden folder; both are limited to 255 bytes.
_SHOWN = 40


@contextmanager
def whole_file(file: Path) -> Generator[Path]:
    """A path to write to, under the same file name; what is there at the end takes the place of ``file``.

    A link stays, and the file that it names is replaced. Folders on the way are made. A library that reports a full
    disk in another way than by OSError has to be checked inside of the block.

    Raises:
        ModelError: the disk is full, or the place cannot be written to; ``file`` is unchanged.
    """
    target = Path(os.path.realpath(file.expanduser()))
    with _named_failures(file), _hidden_folder(target) as (partial, new_mode):
        mode = _mode_of(target) if target.exists() else new_mode
        unfinished = partial / target.name
        yield unfinished
        unfinished.chmod(mode)
        put_on_disk(unfinished)
        unfinished.replace(target)
        put_on_disk(target.parent)


@contextmanager
def whole_folder(folder: Path, *, replace: bool = False) -> Generator[Path]:
    """An empty folder to write to, under the same name; with all that is in it at the end it becomes ``folder``.

    Args:
        folder: the final place.
        replace: take the place of a folder that is there. A process that is killed in the moment of the exchange
            leaves the old folder as ``.NAME.RANDOM.previous``; the next writer moves it back.

    Raises:
        ModelError: ``folder`` holds something and ``replace`` is not set, or it cannot be written; what was there
            stays.
    """
    target = Path(os.path.realpath(folder.expanduser()))
    if not replace and target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise ModelError(f"{target}: is there already; give a new folder, or remove it first")
    with _named_failures(folder), _hidden_folder(target) as (partial, mode):
        unfinished = partial / target.name
        unfinished.mkdir()
        yield unfinished
        for path in sorted(unfinished.rglob("*"), reverse=True):
            if path.is_file():
                # Some libraries make files that only their owner can read.
                path.chmod(mode)
            put_on_disk(path)
        put_on_disk(unfinished)
        _exchange(unfinished, target)


def write_bytes(file: Path, content: bytes) -> None:
    """Writes a file, whole or not at all.

    Raises:
        ModelError: see `whole_file`.
    """
    with whole_file(file) as unfinished:
        unfinished.write_bytes(content)
        size = unfinished.stat().st_size
        if size != len(content):
            raise OSError(f"{size} of {len(content)} bytes were written")


def write_text(file: Path, text: str) -> None:
    """As `write_bytes`, text in UTF-8."""
    write_bytes(file, text.encode("utf-8"))


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Writes an object as JSON with its digest, see `jepakit.files.read_json`.

    Raises:
        ModelError: see `whole_file`.
    """
    write_text(file, json.dumps(sealed(content), indent=2) + "\n")


def put_on_disk(path: Path) -> None:
    """Returns when the file, or the names in the folder, have left the caches of the operating system."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _named_failures(target: Path) -> Generator[None]:
    """One message for all that can fail; ``target`` as the user wrote it."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        interrupt = error.__context__
        # Ctrl-C in the middle of a clean-up makes that fail too: `shutil.rmtree` closes a folder twice.
        while interrupt is not None and not isinstance(interrupt, KeyboardInterrupt):
            interrupt = interrupt.__context__
        if interrupt is not None:
            raise interrupt from None
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        state = "; what was there stays" if os.access(target, os.F_OK) else ""
        raise ModelError(f"{target}: could not be written ({reason}){state}") from error


def _mode_of(target: Path) -> int:
    if not target.is_file():
        kind = "a folder" if target.is_dir() else "a device or a pipe"
        raise ModelError(f"{target}: is {kind}; a file can be written to a file only")
    return stat.S_IMODE(target.stat().st_mode)


@contextmanager
def _hidden_folder(target: Path) -> Generator[tuple[Path, int]]:
    """A new folder beside ``target``, locked while it is there, and the permissions that files get."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target.parent)
    while True:
        partial = target.parent / f".{target.name[:_SHOWN]}.{token_hex(4)}.partial"
        partial.mkdir()
        try:
            with hold_folder(partial):
                # Before the lock was taken another writer may have taken it for a leftover.
                if partial.exists():
                    yield partial, stat.S_IMODE(partial.stat().st_mode) & 0o666
                    return
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@lru_cache(maxsize=1024)
def _remove_leftovers(folder: Path) -> None:
    """Removes what killed writers left, once for each process and folder: a folder can hold very many files."""
    with suppress(OSError):
        for name in [entry.name for entry in os.scandir(folder) if _PARTIAL.fullmatch(entry.name)]:
            with suppress(OSError):
                handle = os.open(folder / name, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    if try_lock(handle):
                        shutil.rmtree(folder / name, ignore_errors=True)
                finally:
                    os.close(handle)


def _exchange(unfinished: Path, target: Path) -> None:
    """Moves a folder to its place. One writer at a time is in here, so a folder set aside is of a killed one."""
    with hold_folder(target.parent):
        for left in target.parent.glob(f".{_as_pattern(target.name)}.*.previous"):
            if target.exists():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.rename(target)
        previous = target.parent / f".{target.name}.{token_hex(4)}.previous"
        replaces = target.exists()
        if replaces:
            target.rename(previous)
        try:
            unfinished.rename(target)
        except OSError:
            if replaces:
                previous.rename(target)
            raise
        put_on_disk(target.parent)
    shutil.rmtree(previous, ignore_errors=True)


def _as_pattern(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)
