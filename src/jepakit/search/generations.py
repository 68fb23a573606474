"""A folder whose content is replaced whole: written beside, put on disk, then named by a manifest that is renamed last.

Readers never wait and never see half of anything; one writer at a time; what a killed one left is removed by the next.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from jepakit.errors import ModelError
from jepakit.search.files import read_json

__all__ = ["Manifest", "check_files", "publish", "read_manifest", "writing"]

_FORMAT_VERSION = 1
_MANIFEST, _LOCK, _PREFIX = "manifest.json", ".lock", "generation-"


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` says.

    Args:
        base: the sentence encoder's name.
        fingerprint: of the encoder and the adapter that the vectors were made with.
        kind: ``exact`` or ``hnsw``.
        dim: width of a vector.
        documents: how many.
        rows: how many, with those deleted.
        generation: counts every change.
        files: bytes of each file of the generation, by its path there.
        jepakit: the version that wrote it.
        format_version: of the folder.
    """

    base: str
    fingerprint: str
    kind: str
    dim: int
    documents: int
    rows: int
    generation: int
    files: Mapping[str, int]
    jepakit: str
    format_version: int = _FORMAT_VERSION

    @property
    def folder_name(self) -> str:
        """The folder of its generation."""
        return f"{_PREFIX}{self.generation:04d}"


def read_manifest(folder: Path) -> Manifest:
    """What an index folder's manifest says.

    Raises:
        ModelError: there is none, it is damaged, or this version of jepakit cannot read the folder.
    """
    file = folder / _MANIFEST
    try:
        content = read_json(file)
    except FileNotFoundError:
        raise ModelError(f"{folder}: no index there ({_MANIFEST} is missing)") from None
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error})") from error
    if content.pop("checksum", None) != _checksum(content):
        raise ModelError(f"{file}: damaged (its checksum is another)")
    if content.get("format_version") != _FORMAT_VERSION:
        written = f"version {content.get('format_version')}, by jepakit {content.get('jepakit')}"
        raise ModelError(f"{file}: another format ({written}; this jepakit reads version {_FORMAT_VERSION})")
    if set(content) != {field.name for field in fields(Manifest)}:
        raise ModelError(f"{file}: damaged (found the fields {', '.join(sorted(content))})")
    return Manifest(**content)


def check_files(folder: Path, manifest: Manifest) -> Path:
    """The folder of the generation, whose files are as long as they were written.

    Raises:
        FileNotFoundError: a file is missing.
        ModelError: a file is damaged.
    """
    generation = folder / manifest.folder_name
    for name, size in manifest.files.items():
        found = (generation / name).stat().st_size
        if found != size:
            raise ModelError(f"{generation / name}: damaged ({found} bytes, {size} expected)")
    return generation


@contextmanager
def writing(folder: Path) -> Generator[None]:
    """Holds the lock of an index folder, which is made where there is none.

    The lock is the operating system's: it goes with the process that holds it, however that ends.

    Raises:
        ModelError: another process is writing there, the folder holds something else, or it cannot be written to.
    """
    # Not there on Windows, where indexes can be read only.
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        strangers = [path.name for path in folder.iterdir() if not _is_ours(path)]
        if strangers:
            raise ModelError(
                f"{folder}: holds something that is no index ({sorted(strangers)[0]}); give another folder"
            )
        lock = (folder / _LOCK).open("w")
    except OSError as error:
        raise ModelError(f"{folder}: cannot be written to ({error})") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ModelError(f"{folder}: another process is writing this index; try again when it is done") from None
        except OSError as error:
            raise ModelError(f"{folder}: cannot be locked for writing ({error})") from error
        try:
            yield
        finally:
            # Closing is not enough where a process forked meanwhile has the file open too.
            fcntl.flock(lock, fcntl.LOCK_UN)


def publish(
    folder: Path, write: Callable[[Path], None], describe: Callable[[int, Mapping[str, int]], Manifest]
) -> Manifest:
    """Makes the next generation the one in use. The caller holds the lock, see `writing`.

    Args:
        folder: the index.
        write: puts the files into an empty folder.
        describe: the manifest for a generation's number and the sizes of its files.

    Raises:
        ModelError: the disk is full or fails; the generation in use stays so.
    """
    _remove_unused(folder)
    number = 1 + max((_number(path) or 0 for path in folder.iterdir()), default=0)
    partial = folder / f"{_PREFIX}{number:04d}"
    try:
        partial.mkdir()
        write(partial)
        manifest = describe(number, _sync(partial))
        _switch(folder, manifest)
    except (OSError, sqlite3.OperationalError) as error:
        state = "what was there stays in use" if (folder / _MANIFEST).exists() else "there is no index"
        raise ModelError(f"{folder}: the index could not be written ({error}); {state}") from error
    finally:
        _remove_unused(folder)
    return manifest


def _switch(folder: Path, manifest: Manifest) -> None:
    content = asdict(manifest)
    beside = folder / f"{_MANIFEST}.partial"
    beside.write_text(json.dumps({**content, "checksum": _checksum(content)}, indent=1), encoding="ascii")
    _sync_one(beside)
    # The generation has to be on the disk before the manifest that names it.
    _sync_one(folder)
    beside.replace(folder / _MANIFEST)
    _sync_one(folder)


def _number(path: Path) -> int | None:
    """Of a generation's folder; None for anything else."""
    prefix, number = path.name[: len(_PREFIX)], path.name[len(_PREFIX) :]
    return int(number) if prefix == _PREFIX and number.isdecimal() else None


def _remove_unused(folder: Path) -> None:
    """Old generations and what a killed writer left; what cannot be removed now is by the next writer."""
    used = None
    if (folder / _MANIFEST).exists():
        try:
            used = read_manifest(folder).folder_name
        except ModelError:
            # Nobody knows which one is in use: all stay until a whole one takes their place.
            return
    for path in folder.iterdir():
        if _number(path) is not None and path.name != used:
            shutil.rmtree(path, ignore_errors=True)


def _is_ours(path: Path) -> bool:
    return path.name in (_MANIFEST, _LOCK, f"{_MANIFEST}.partial") or _number(path) is not None


def _sync(folder: Path) -> dict[str, int]:
    """Puts all of a folder on the disk itself; returns the size of each file."""
    paths = [*folder.rglob("*"), folder]
    for path in paths:
        _sync_one(path)
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(paths) if path.is_file()}


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checksum(content: Mapping[str, object]) -> str:
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"
