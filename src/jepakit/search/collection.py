"""A collection of documents to search: an index in a folder, or a table in the user's database."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import urlsplit

import numpy as np
from torch import Tensor

from jepakit.errors import ConfigError
from jepakit.search.documents import Documents
from jepakit.search.filters import Filter
from jepakit.search.hits import Hits
from jepakit.search.index import Index
from jepakit.search.sentences import Sentences

_ENGINES = {
    "postgresql": "jepakit.search.engines.pgvector:PgVector",
    "postgres": "jepakit.search.engines.pgvector:PgVector",
    "qdrant": "jepakit.search.engines.qdrant:Qdrant",
    "qdrants": "jepakit.search.engines.qdrant:Qdrant",
    "milvus": "jepakit.search.engines.milvus:Milvus",
    "milvuss": "jepakit.search.engines.milvus:Milvus",
}


class Collection(Protocol):
    """Documents that several processes search, add and delete at the same time.

    A row is the number of a document in this open collection; it is not valid in another one.
    """

    @property
    def dim(self) -> int:
        """Width of a vector."""
        ...

    @property
    def base(self) -> str:
        """The name of the encoder that the vectors are from; empty where it is not recorded."""
        ...

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of that encoder; None where it is not recorded."""
        ...

    @property
    def generation(self) -> int | None:
        """Changes when rows are renumbered or their vectors change; None: unknown, so nothing may be cached."""
        ...

    @property
    def has_words(self) -> bool:
        """Whether `search_words` works."""
        ...

    @property
    def sentences(self) -> Sentences | None:
        """The sentences of each row; None where they are not stored."""
        ...

    def __len__(self) -> int: ...

    def search_vectors(self, queries: Tensor | np.ndarray, k: int, where: Filter | None = None) -> Hits:
        """The nearest documents of each query, ``[Q, D] -> [Q, k]``; scores are cosines.

        Raises:
            DataError: the queries are no unit vectors of this width.
            ConfigError: ``k`` is less than 1, or the filter is not one.
            ModelError: the database does not answer.
        """
        ...

    def search_words(self, texts: Sequence[str], k: int, where: Filter | None = None) -> Hits:
        """The documents with the highest BM25 for each text, ``[Q, k]``.

        Raises:
            ConfigError: `has_words` is False, ``k`` is less than 1, or the filter is not one.
        """
        ...

    def vectors(self, rows: Tensor | Sequence[int]) -> Tensor:
        """The vectors of some rows, ``[n, D]``, of length 1 or 0."""
        ...

    def documents(self, rows: Tensor | Sequence[int]) -> Documents:
        """The documents of some rows, which all differ, in that order."""
        ...

    def rows_of(self, ids: Sequence[str]) -> list[int]:
        """The row of each id.

        Raises:
            DataError: there is no such id.
        """
        ...

    def add(self, documents: Documents, vectors: Tensor | np.ndarray, sentences: Sentences | None = None) -> None:
        """Adds documents; a document with the id of an existing one replaces it.

        Raises:
            DataError: a vector is no unit vector of this width, or there is not one for each document.
            ModelError: the collection cannot be written to.
        """
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Deletes documents.

        Raises:
            DataError: there is no such id.
            ModelError: the collection cannot be written to.
        """
        ...

    def close(self) -> None:
        """Closes files and connections."""
        ...


def open_collection(place: str | Path, *, fingerprint: str | None = None) -> Collection:
    """Opens a collection.

    Args:
        place: the folder of an index, or the address of a database: ``postgresql://user@host/db?table=docs``,
            ``qdrant://host:6333?collection=docs``, ``milvus://host:19530?collection=docs``. The engines' modules list
            what else an address may say.
        fingerprint: fingerprint of the encoder of the queries; None: not compared.

    Raises:
        ConfigError: there is no such engine, or the address lacks something.
        ModelError: there is no such collection, it cannot be reached, or it holds vectors of another encoder.
        MissingExtraError: the engine's client is not installed.
    """
    engine = _engine(place)
    if engine is None:
        return Index.open(place, fingerprint=fingerprint)
    return engine.open(str(place), fingerprint=fingerprint)


def create_collection(address: str, *, dim: int, base: str, fingerprint: str) -> Collection:
    """Makes an empty table or collection in a database.

    Args:
        address: see `open_collection`.
        dim: width of a vector.
        base: name of the encoder of the vectors.
        fingerprint: fingerprint of that encoder.

    Raises:
        ConfigError: this is no address of a database, or there is a table or collection of that name already.
        ModelError: the database cannot be reached, or refuses.
        MissingExtraError: the engine's client is not installed.
    """
    engine = _engine(address)
    if engine is None:
        raise ConfigError("to", address, f"an address that begins with {', '.join(f'{name}:' for name in _ENGINES)}")
    return engine.create(address, dim=dim, base=base, fingerprint=fingerprint)


class _Engine(Protocol):
    def open(self, address: str, *, fingerprint: str | None) -> Collection: ...

    def create(self, address: str, *, dim: int, base: str, fingerprint: str) -> Collection: ...


def _engine(place: str | Path) -> _Engine | None:
    """The class for an address; None for a folder."""
    scheme = urlsplit(place).scheme if isinstance(place, str) and ":" in place else ""
    if scheme not in _ENGINES:
        if isinstance(place, str) and "://" in place:
            known = ", ".join(f"{name}://" for name in _ENGINES)
            raise ConfigError("index", f"{scheme}://...", f"a folder, or an address that begins with {known}")
        return None
    module, _, name = _ENGINES[scheme].partition(":")
    return cast("_Engine", getattr(import_module(module), name))
