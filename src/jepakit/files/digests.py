"""SHA-256 digests of files: inside of the JSON objects and safetensors files that jepakit writes.

A file that has no digest (written by another program, or by a jepakit before digests) is taken as it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

DIGEST = "sha256"
"""The key of the digest in a JSON object, and in the metadata of a safetensors file."""

NO_DIGEST = "0" * 64
"""Stands in place of the digest of a safetensors file while that is computed."""

_BLOCK_BYTES = 1 << 22
_LARGEST_HEADER = 100_000_000
"""Bytes of a safetensors header, as the format limits it."""
_EMBEDDED = re.compile(rb'\{"__metadata__":\{"sha256":"([0-9a-f]{64})"')


def digest_of(file: Path) -> str:
    """SHA-256 of a file as hexadecimal digits; of a safetensors file that holds its own digest, without that one."""
    return _digests(file)[0]


def check_digest(file: Path) -> None:
    """Compares a safetensors file with the digest in its metadata, where there is one.

    Raises:
        ValueError: it is another file than was written.
    """
    digest, stated = _digests(file)
    if stated is not None and stated != digest:
        raise ValueError("its SHA-256 digest is another than the file states")


def stated_digest(file: Path) -> str | None:
    """The digest that a safetensors file states of itself, unchecked; None where it states none."""
    with file.open("rb") as stream:
        return _header(stream.read(8), stream.read)[1]


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The object with its digest under the key ``sha256``."""
    return {**content, DIGEST: _digest_of_object(content)}


def unsealed(content: dict[str, Any]) -> dict[str, Any]:
    """The object without its digest.

    Raises:
        ValueError: it is another object than was written.
    """
    bare = {key: value for key, value in content.items() if key != DIGEST}
    if DIGEST in content and content[DIGEST] != _digest_of_object(bare):
        raise ValueError(f'its digest is another than it states; if you have edited it, delete its key "{DIGEST}"')
    return bare


def _digest_of_object(content: Mapping[str, Any]) -> str:
    # As it is read again: with keys of text, without tuples.
    kept = cast(object, json.loads(json.dumps(content)))
    return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _digests(file: Path) -> tuple[str, str | None]:
    """The digest of a file, and the one that it states of itself."""
    found = hashlib.sha256()
    with file.open("rb") as stream:
        stated = None
        if file.name.endswith(".safetensors"):
            head, stated = _header(stream.read(8), stream.read)
            found.update(head)
        while block := stream.read(_BLOCK_BYTES):
            found.update(block)
    return found.hexdigest(), stated


def _header(length: bytes, read: Any) -> tuple[bytes, str | None]:
    """Length and header of a safetensors file with `NO_DIGEST` in place of the digest, and that digest."""
    size = int.from_bytes(length, "little")
    head = cast(bytes, read(min(size, _LARGEST_HEADER)))
    embedded = _EMBEDDED.match(head)
    if embedded is None:
        return length + head, None
    start, end = embedded.span(1)
    return length + head[:start] + NO_DIGEST.encode() + head[end:], embedded[1].decode()
