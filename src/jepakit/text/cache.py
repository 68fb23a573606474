"""Vectors of texts on disk, so that no text is encoded twice.

The cache is never needed: one that cannot be opened or written, or is damaged, only costs the time.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jepakit.cache import cache_folder
from jepakit.text.encoder import Kind, TextEncoder

__all__ = ["CachedEncoder", "EmbeddingCache"]

_LOG = logging.getLogger(__name__)
#: How long a process waits for another's transaction, which takes milliseconds.
_SECONDS = 60.0
#: Parameters of one query; SQLite may be built to allow no more than 999.
_KEYS_AT_ONCE = 500
_CHECKSUM_BYTES = 4


class EmbeddingCache:
    """A table of key -> vector in one SQLite file, which several processes and threads may use at once.

    Each vector carries a checksum: one that was damaged on disk counts as unknown. Where the file cannot be used, one
    warning says why, and nothing is asked of it any more; where it cannot be written, what is in it is still found.

    Args:
        file: by default ``embeddings.sqlite`` in the user's cache folder; made where it is not there.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file or cache_folder() / "embeddings.sqlite"
        self._readable = self._writable = True

    def get(self, keys: Sequence[bytes], dim: int) -> dict[bytes, np.ndarray]:
        """The vectors that are known, by key.

        Args:
            keys: any bytes.
            dim: width of the vectors; those of another width are left out, as are damaged ones and those not finite.

        Returns:
            Key -> ``[dim]`` float32.
        """
        if not keys or not self._readable:
            return {}
        try:
            rows = self._fetch(keys)
        except (sqlite3.Error, OSError) as error:
            self._readable = self._writable = False
            _LOG.warning("%s cannot be used (%s): texts are encoded again; delete it if this goes on", self.file, error)
            return {}
        length = 4 * dim + _CHECKSUM_BYTES
        whole = [(key, blob) for key, blob in rows if len(blob) == length and _is_sound(key, blob)]
        if not whole:
            return {}
        stored = np.frombuffer(b"".join(blob for _, blob in whole), np.uint8).reshape(-1, length)
        vectors = stored[:, _CHECKSUM_BYTES:].copy().view(np.float32)
        finite = np.flatnonzero(np.isfinite(vectors).all(1))
        return {whole[row][0]: vectors[row] for row in finite}

    def put(self, vectors: Mapping[bytes, np.ndarray]) -> None:
        """Keeps vectors, each under its key; a disk that is full or cannot be written to is not an error.

        Args:
            vectors: key -> ``[dim]``.
        """
        if not vectors or not self._writable:
            return
        rows = [(key, _with_checksum(key, vector)) for key, vector in vectors.items()]
        try:
            with self._open() as db:
                db.execute("BEGIN")
                db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
                db.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._writable = False
            _LOG.warning("%s cannot be written (%s): new vectors are not kept", self.file, error)

    def _fetch(self, keys: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        # In the order of the index, whose pages are then read once.
        ordered = sorted(set(keys))
        rows: list[tuple[bytes, bytes]] = []
        with self._open() as db:
            for start in range(0, len(ordered), _KEYS_AT_ONCE):
                some = ordered[start : start + _KEYS_AT_ONCE]
                marks = ",".join("?" * len(some))
                rows += db.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", some)
        return rows

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self.file, timeout=_SECONDS, isolation_level=None)
        try:
            # Several vectors a page, of any usual width; without effect where the file is there.
            db.execute("PRAGMA page_size = 16384")
            # Of processes that start together one sets this, and the others may be refused: they find it set.
            with suppress(sqlite3.OperationalError):
                db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            # Rows of kilobytes fit badly into the tree of a WITHOUT ROWID table: twice the size, five times the time.
            db.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)")
            yield db
        finally:
            db.close()


class CachedEncoder:
    """A `TextEncoder` that asks the cache first. What it encodes is kept block by block, so a killed run goes on.

    Args:
        encoder: encodes what is not known.
        cache: where vectors are kept.
        progress: called with (texts done, texts in all) after each block.
        block: texts between two writes.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        cache: EmbeddingCache,
        *,
        progress: Callable[[int, int], None] | None = None,
        block: int = 512,
    ) -> None:
        self.encoder, self.cache, self.progress, self.block = encoder, cache, progress, block
        self.name, self.dim, self.fingerprint = encoder.name, encoder.dim, encoder.fingerprint

    def encode(self, texts: Sequence[str], kind: Kind) -> Tensor:
        """See `jepakit.text.TextEncoder.encode`; a text that occurs twice is encoded once."""
        keys = [self._key(text, kind) for text in texts]
        vectors = np.zeros((len(texts), self.dim), np.float32)
        known = self.cache.get(keys, self.dim)
        rows: dict[bytes, list[int]] = {}
        for row, key in enumerate(keys):
            if key in known:
                vectors[row] = known[key]
            else:
                rows.setdefault(key, []).append(row)
        del known
        done = len(texts) - sum(map(len, rows.values()))
        # Texts of one length at a time: a batch is as long as its longest.
        todo = sorted(rows, key=lambda key: len(texts[rows[key][0]]), reverse=True)
        for start in range(0, len(todo), self.block):
            some = todo[start : start + self.block]
            new = self.encoder.encode([texts[rows[key][0]] for key in some], kind).numpy()
            self.cache.put(dict(zip(some, new, strict=True)))
            for key, vector in zip(some, new, strict=True):
                vectors[rows[key]] = vector
                done += len(rows[key])
            if self.progress is not None:
                self.progress(done, len(texts))
        return torch.from_numpy(vectors)

    def _key(self, text: str, kind: Kind) -> bytes:
        # Lone surrogates occur in what people scrape; a key has to be made of them all the same.
        content = f"{self.fingerprint}\0{kind}\0{text}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, digest_size=16).digest()


def _with_checksum(key: bytes, vector: np.ndarray) -> bytes:
    blob = np.ascontiguousarray(vector, np.float32).tobytes()
    # The key is part of it: a vector under another's key is as wrong as a damaged one.
    return zlib.crc32(blob, zlib.crc32(key)).to_bytes(_CHECKSUM_BYTES, "little") + blob


def _is_sound(key: bytes, blob: bytes) -> bool:
    found = int.from_bytes(blob[:_CHECKSUM_BYTES], "little")
    return zlib.crc32(memoryview(blob)[_CHECKSUM_BYTES:], zlib.crc32(key)) == found
