"""Whether the files of a run, encoder or index folder are still what was written: `verify`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jepakit.errors import DataError, JepakitError, ModelError
from jepakit.files.digests import check_digest, digest_of, stated_digest
from jepakit.files.reading import parse_json, read_json, read_text, read_yaml, reading


@dataclass(frozen=True)
class Verified:
    """What `verify` has found.

    Args:
        files: how many were read.
        with_digest: how many of them state a digest, or are named with one by a file beside them.
        faults: a sentence for each file that is damaged or missing.
    """

    files: int
    with_digest: int
    faults: tuple[str, ...]


def verify(folder: Path) -> Verified:
    """Reads every file below a folder and computes every digest that is stated.

    Raises:
        ModelError: there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: there is no such folder")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise ModelError(f"{folder}: there are no files in it")
    faults: list[str] = []
    digested: set[Path] = set()
    for file in files:
        try:
            digested |= set(_verified(file))
        except JepakitError as error:
            faults.append(str(error))
    return Verified(len(files), len(digested), tuple(dict.fromkeys(faults)))


def _verified(file: Path) -> Iterator[Path]:
    """Reads a file; gives the files whose digests agree."""
    if file.suffix == ".json":
        with reading(file, ModelError):
            content = parse_json(read_text(file, ModelError), finite=False)
        if isinstance(content, dict):
            bare = read_json(file, ModelError, finite=False)
            if bare != content:
                yield file
            yield from _named(file, bare.get("digests"))
    elif file.suffix in (".yaml", ".yml"):
        read_yaml(file)
    elif file.suffix in (".csv", ".jsonl", ".md", ".html"):
        read_text(file)
    elif file.suffix == ".safetensors":
        with reading(file, ModelError):
            check_digest(file)
            if stated_digest(file) is not None:
                yield file
    elif file.suffix == ".npz":
        _read_arrays(file)
    elif file.suffix == ".sqlite":
        _check_database(file)
    else:
        with reading(file, ModelError):
            digest_of(file)


def _named(manifest: Path, digests: object) -> Iterator[Path]:
    """The files that a JSON file names with their digests, by paths from its own folder."""
    if not isinstance(digests, dict):
        return
    for name, digest in digests.items():
        file = manifest.parent / name
        with reading(file, ModelError):
            if digest_of(file) != digest:
                raise DataError(f"not the file that {manifest.name} was written with")
        yield file


def _read_arrays(file: Path) -> None:
    import zipfile

    with reading(file, ModelError), zipfile.ZipFile(file) as members:
        damaged = members.testzip()
        if damaged is not None:
            raise DataError("its checksum is another", field=damaged)


def _check_database(file: Path) -> None:
    with reading(file, ModelError):
        # Read only, and without the files that SQLite makes beside a database.
        db = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            (state,) = db.execute("PRAGMA integrity_check(1)").fetchone()
        finally:
            db.close()
        if state != "ok":
            raise DataError(f"damaged ({state})")
