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
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from jepakit.errors import DataError, ModelError
from jepakit.files import digest_of, locked, read_json, reading, write_text
from jepakit.files.locking import LOCK_NAME
from jepakit.files.writing import put_on_disk

_FORMAT_VERSION = 1
_WAY_OUT = "build the index again (of a retrieval run: jepakit retrieval index RUN)"
_MANIFEST, _PREFIX = "manifest.json", "generation-"


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
        digests: SHA-256 of each file, by its path in the folder; none in folders of jepakit before digests.
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
    digests: Mapping[str, str] = field(default_factory=dict[str, str])

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
    if not os.path.lexists(file):
        raise ModelError(f"{folder}: no index there ({_MANIFEST} is missing)")
    content = read_json(file, ModelError)
    if content.pop("checksum", None) != _checksum(content):
        raise ModelError(f"{file}: damaged (its checksum is another)")
    if content.get("format_version") != _FORMAT_VERSION:
        written = f"version {content.get('format_version')}, by jepakit {content.get('jepakit')}"
        raise ModelError(f"{file}: another format ({written}; this jepakit reads version {_FORMAT_VERSION})")
    if {"digests", *content} != {field.name for field in fields(Manifest)}:
        raise ModelError(f"{file}: damaged (found the fields {', '.join(sorted(content))})")
    return Manifest(**content)


def check_files(folder: Path, manifest: Manifest) -> Path:
    """The folder of the generation, whose files are as they were written.

    Raises:
        ModelError: a file is missing or damaged.
    """
    generation = folder / manifest.folder_name
    for name, size in manifest.files.items():
        file = generation / name
        with reading(file, ModelError, expected=_WAY_OUT):
            if file.stat().st_size != size:
                raise DataError("damaged", value=f"{file.stat().st_size} bytes", expected=f"{size} bytes")
            digest = manifest.digests.get(f"{generation.name}/{name}")
            if digest is not None and digest_of(file) != digest:
                raise DataError("damaged: its SHA-256 digest differs from the manifest's")
    return generation


@contextmanager
def writing(folder: Path) -> Generator[None]:
    """Holds the lock of an index folder, which is made where there is none.

    The lock is the operating system's: it goes with the process that holds it, however that ends.

    Raises:
        ModelError: another process is writing there, the folder holds something else, or it cannot be written to.
    """
    try:
        strangers = [path.name for path in folder.iterdir() if not _is_ours(path)] if folder.exists() else []
    except OSError as error:
        raise ModelError(f"{folder}: cannot be read ({error.strerror})") from error
    if strangers:
        raise ModelError(f"{folder}: holds something that is no index ({sorted(strangers)[0]}); give another folder")
    with locked(folder):
        yield


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
        sizes = _sync(partial)
        digests = {f"{partial.name}/{name}": digest_of(partial / name) for name in sizes}
        manifest = replace(describe(number, sizes), digests=digests)
        _switch(folder, manifest)
    except (OSError, sqlite3.OperationalError) as error:
        state = "what was there stays in use" if (folder / _MANIFEST).exists() else "there is no index"
        raise ModelError(f"{folder}: the index could not be written ({error}); {state}") from error
    finally:
        _remove_unused(folder)
    return manifest


def _switch(folder: Path, manifest: Manifest) -> None:
    content = asdict(manifest)
    # The generation has to be on the disk before the manifest that names it.
    put_on_disk(folder)
    write_text(folder / _MANIFEST, json.dumps({**content, "checksum": _checksum(content)}, indent=1))


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
        if not _is_ours(path) or path.name in (used, _MANIFEST, LOCK_NAME):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _is_ours(path: Path) -> bool:
    unfinished = path.name.startswith(f".{_MANIFEST}.") or path.name == f"{_MANIFEST}.partial"
    return path.name in (_MANIFEST, LOCK_NAME) or unfinished or _number(path) is not None


def _sync(folder: Path) -> dict[str, int]:
    """Puts all of a folder on the disk itself; returns the size of each file."""
    paths = [*folder.rglob("*"), folder]
    for path in paths:
        put_on_disk(path)
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(paths) if path.is_file()}


def _checksum(content: Mapping[str, object]) -> str:
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"
