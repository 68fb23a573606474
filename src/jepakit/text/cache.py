"""A cache of text embeddings on disk. If it cannot be read or written, texts are encoded again."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import zlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jepakit.datasets.folders import cache_folder
from jepakit.errors import ConfigError
from jepakit.mapping import Map
from jepakit.progress import phase
from jepakit.text.encoder import Kind, TextEncoder
from jepakit.text.load import TextConfig, load_text_encoder

_LOG = logging.getLogger(__name__)
#: Longest wait for the transaction of another process; one takes milliseconds.
_LOCK_TIMEOUT_SECONDS = 60.0
#: Parameters per query; some builds of SQLite allow at most 999.
_MAX_QUERY_KEYS = 500
_CHECKSUM_BYTES = 4


class EmbeddingCache:
    """A table of key -> vector in an SQLite file, safe for concurrent processes and threads.

    Each vector has a checksum, and damaged vectors count as missing. If the file cannot be read, a warning states the
    reason, and the cache is not used again. If it can be read but not written, new vectors are not stored.

    Args:
        file: created if missing; by default ``embeddings.sqlite`` in the user's cache folder.
    """

    def __init__(self, file: str | Path | None = None) -> None:
        self.file = Path(file) if file else cache_folder() / "embeddings.sqlite"
        self._readable = self._writable = True

    def get(self, keys: Sequence[bytes], dim: int) -> dict[bytes, np.ndarray]:
        """Stored vectors by key, ``[dim]`` float32; skips those that are damaged, not finite or of another width."""
        if not keys or not self._readable:
            return {}
        try:
            rows = self._fetch(keys)
        except (sqlite3.Error, OSError) as error:
            self._readable = self._writable = False
            _LOG.warning("%s cannot be used (%s): texts are encoded again; delete it if this goes on", self.file, error)
            return {}
        parts = [(key, blob[:_CHECKSUM_BYTES], blob[_CHECKSUM_BYTES:]) for key, blob in rows]
        vectors = {
            key: np.frombuffer(values, np.float32)
            for key, checksum, values in parts
            if len(values) == 4 * dim and _checksum(key, values) == checksum
        }
        return {key: vector for key, vector in vectors.items() if np.isfinite(vector).all()}

    def put(self, vectors: Mapping[bytes, np.ndarray]) -> None:
        """Stores vectors ``[dim]`` by key; a full or read-only disk is not an error."""
        if not vectors or not self._writable:
            return
        raw = {key: np.ascontiguousarray(vector, np.float32).tobytes() for key, vector in vectors.items()}
        rows = [(key, _checksum(key, values) + values) for key, values in raw.items()]
        try:
            with self._open() as db:
                db.execute("BEGIN")
                db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
                db.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._writable = False
            _LOG.warning("%s cannot be written (%s): new vectors are not kept", self.file, error)

    def _fetch(self, keys: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        # In the order of the index, so that each of its pages is read once.
        ordered = sorted(set(keys))
        rows: list[tuple[bytes, bytes]] = []
        with self._open() as db:
            for start in range(0, len(ordered), _MAX_QUERY_KEYS):
                batch = ordered[start : start + _MAX_QUERY_KEYS]
                marks = ",".join("?" * len(batch))
                rows += db.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", batch)
        return rows

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self.file, timeout=_LOCK_TIMEOUT_SECONDS, isolation_level=None)
        try:
            # A page holds several vectors of any usual width. No effect on an existing file.
            db.execute("PRAGMA page_size = 16384")
            # If several processes start together, one sets the mode, and SQLite may refuse the others.
            with suppress(sqlite3.OperationalError):
                db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            # With rows of kilobytes, a WITHOUT ROWID table takes twice the space and five times the time.
            db.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)")
            yield db
        finally:
            db.close()


def load_cached_encoder(config: TextConfig, *, mapped: Map = map) -> TextEncoder:
    """The encoder of a configuration, with the cache in the user's cache folder if ``config.cache`` is set.

    Args:
        config: of the encoder.
        mapped: see `CachedEncoder`.

    Raises:
        ModelError, ConfigError, MissingExtraError: see `jepakit.text.load_text_encoder`.
        ConfigError: texts are encoded elsewhere, and the encoder has no cache, or cannot be sent there.
    """
    encoder = load_text_encoder(config)
    if mapped is not map:
        if not config.cache:
            raise ConfigError("cache", False, "true with ray: the workers encode what the cache lacks")
        if config.backend != "torch" or encoder.model.device.type != "cpu":
            used = f"{config.backend} on {encoder.model.device}"
            raise ConfigError("backend", used, "torch, and device: cpu, with ray: the model is sent to the workers")
    return CachedEncoder(encoder, EmbeddingCache(), mapped=mapped) if config.cache else encoder


class CachedEncoder:
    """A `TextEncoder` with a cache. New vectors are stored after each block, so a killed run can continue.

    Args:
        encoder: encodes the texts that are not in the cache.
        cache: stores the vectors.
        block: texts per block.
        mapped: where blocks are encoded, see `jepakit.mapping.mapping`; the cache is read and written here.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        cache: EmbeddingCache,
        *,
        block: int = 128,
        mapped: Map = map,
    ) -> None:
        self.encoder, self.cache, self.block, self.mapped = encoder, cache, block, mapped
        self.name, self.dim, self.fingerprint = encoder.name, encoder.dim, encoder.fingerprint

    def encode(self, texts: Sequence[str], kind: Kind) -> Tensor:
        """See `jepakit.text.TextEncoder.encode`; equal texts are encoded once."""
        keys = [self._key(text, kind) for text in texts]
        vectors = np.zeros((len(texts), self.dim), np.float32)
        cached = self.cache.get(keys, self.dim)
        rows: dict[bytes, list[int]] = {}
        for row, key in enumerate(keys):
            if key in cached:
                vectors[row] = cached[key]
            else:
                rows.setdefault(key, []).append(row)
        del cached
        done = len(texts) - sum(map(len, rows.values()))
        # Sorted by length, because a batch is padded to its longest text.
        missing = sorted(rows, key=lambda key: len(texts[rows[key][0]]), reverse=True)
        with phase("encoding texts", len(texts), unit="texts", done=done) as encoding:
            blocks = [missing[start : start + self.block] for start in range(0, len(missing), self.block)]
            asked = ([texts[rows[key][0]] for key in block] for block in blocks)
            # A block is in the cache before the next one is encoded.
            for block, encoded in zip(blocks, self.mapped(partial(_encoded, self.encoder, kind), asked), strict=True):
                self.cache.put(dict(zip(block, encoded, strict=True)))
                for key, vector in zip(block, encoded, strict=True):
                    vectors[rows[key]] = vector
                    encoding.advance(len(rows[key]))
        return torch.from_numpy(vectors)

    def _key(self, text: str, kind: Kind) -> bytes:
        # Scraped texts contain lone surrogates, which need a key, too.
        content = f"{self.fingerprint}\0{kind}\0{text}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, digest_size=16).digest()


def _encoded(encoder: TextEncoder, kind: Kind, texts: list[str]) -> np.ndarray:
    return encoder.encode(texts, kind).numpy()


def _checksum(key: bytes, values: bytes) -> bytes:
    """Covers the key, too: it detects a vector stored under another key."""
    return zlib.crc32(values, zlib.crc32(key)).to_bytes(_CHECKSUM_BYTES, "little")
