"""What all databases have in common: addresses, numbers for ids, checks, and the record of the encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from threading import Lock
from typing import Any, cast
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.errors import ConfigError, DataError, MissingExtraError, ModelError
from jepakit.search.documents import Documents, Metadata
from jepakit.search.filters import Conditions, Filter, conditions_of
from jepakit.search.hits import Hits
from jepakit.search.sentences import Sentences
from jepakit.search.vectors import check_vectors

#: Documents written, or ids looked up, in one request.
BATCH = 500


@dataclass(frozen=True)
class Record:
    """A document as a database holds it."""

    title: str
    text: str
    metadata: Metadata
    vector: np.ndarray | None = None


@dataclass(frozen=True)
class Address:
    """A URL, of whose query part some options are ours and the rest the client's.

    Args:
        parts: of the URL.
        options: ours, by name.
        rest: the query part without them.
    """

    parts: SplitResult
    options: Mapping[str, str]
    rest: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str, defaults: Mapping[str, str | None], *, passes_on: bool = False) -> Address:
        """Reads a URL.

        Args:
            text: the URL.
            defaults: our options; those without a default (None) have to be there.
            passes_on: whether other options are for the client.

        Raises:
            ConfigError: an option is missing or not known.
        """
        parts = urlsplit(text)
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        options = {name: given.pop(name, default) for name, default in defaults.items()}
        missing = next((name for name, value in options.items() if value is None), None)
        if missing is not None:
            raise ConfigError(f"index: {missing}", None, f"an address such as {parts.scheme}://...?{missing}=docs")
        if given and not passes_on:
            raise ConfigError(f"index: {next(iter(given))}", "...", f"one of the options {', '.join(defaults)}")
        return cls(parts, {name: value or "" for name, value in options.items()}, given)

    def url(self, scheme: str) -> str:
        """The URL without our options."""
        return self.parts._replace(scheme=scheme, query=urlencode(self.rest)).geturl()

    def __str__(self) -> str:
        """Without the user's name and password, and without options: what a message may show."""
        host = self.parts.netloc.rpartition("@")[2]
        return f"{self.parts.scheme}:{'//' if self.parts.netloc else ''}{host}{self.parts.path}"


class Database(ABC):
    """A table or collection in a database. It keeps a number for each id that it has returned.

    Args:
        name: what messages call it.
        dim: width of a vector.
        base: the encoder's name, where it is recorded.
        fingerprint: the encoder's, where it is recorded.
    """

    has_words = False
    sentences: Sentences | None = None
    generation: int | None = None

    def __init__(self, name: str, dim: int, base: str = "", fingerprint: str | None = None) -> None:
        self.name, self.dim, self.base, self.fingerprint = name, dim, base, fingerprint
        self._ids: list[str] = []
        self._numbers: dict[str, int] = {}
        self._lock = Lock()

    def require(self, fingerprint: str | None) -> None:
        """Raises ModelError where the vectors are recorded as another encoder's."""
        if None not in (fingerprint, self.fingerprint) and fingerprint != self.fingerprint:
            raise ModelError(
                f"{self.name}: holds vectors of {self.base} with the fingerprint {self.fingerprint!r}, not"
                f" {fingerprint!r}: search with the encoder they were made with, or write them again"
            )

    def search_vectors(self, queries: Tensor | np.ndarray, k: int, where: Filter | None = None) -> Hits:
        """See `jepakit.search.collection.Collection.search_vectors`."""
        if k < 1:
            raise ConfigError("k", k, "at least 1")
        asked = check_vectors(queries, self.dim, field="queries")
        rows, scores = torch.full((len(asked), k), -1), torch.full((len(asked), k), -torch.inf)
        conditions = conditions_of(where or {})
        for place, query in enumerate(asked):
            # A blank query finds nothing.
            found = self._nearest(query, k, conditions) if query.any() else []
            for rank, (name, score) in enumerate(found[:k]):
                rows[place, rank], scores[place, rank] = self._number(name), score
        return Hits(rows, scores)

    def search_words(self, texts: Sequence[str], k: int, where: Filter | None = None) -> Hits:
        """Raises ConfigError: databases are searched by vector only."""
        raise ConfigError("mode", "words", f"dense: {self.name} is searched by vectors only")

    def vectors(self, rows: Tensor | Sequence[int]) -> Tensor:
        """See `jepakit.search.collection.Collection.vectors`."""
        records = self._records(rows, with_vectors=True)
        vectors = [record.vector for record in records if record.vector is not None]
        array = np.stack(vectors) if vectors else np.empty((0, self.dim))
        return F.normalize(torch.from_numpy(array.astype(np.float32)), dim=-1)

    def documents(self, rows: Tensor | Sequence[int]) -> Documents:
        """See `jepakit.search.collection.Collection.documents`."""
        records = self._records(rows, with_vectors=False)
        return Documents(
            ids=tuple(self._ids[int(row)] for row in rows),
            texts=tuple(record.text for record in records),
            titles=tuple(record.title for record in records),
            metadata=tuple(record.metadata for record in records),
        )

    def rows_of(self, ids: Sequence[str]) -> list[int]:
        """See `jepakit.search.collection.Collection.rows_of`."""
        self._require_ids(ids)
        return [self._number(name) for name in ids]

    def add(self, documents: Documents, vectors: Tensor | np.ndarray, sentences: Sentences | None = None) -> None:
        """See `jepakit.search.collection.Collection.add`; in batches, each of which is written whole or not at all."""
        if sentences is not None:
            raise DataError("sentences for a database, which keeps none", field="sentences", value=len(sentences))
        array = check_vectors(vectors, self.dim, names=documents.ids)
        if len(array) != len(documents):
            expected = str(len(documents))
            raise DataError("not one vector for each document", field="vectors", value=len(array), expected=expected)
        for start in range(0, len(documents), BATCH):
            stop = min(start + BATCH, len(documents))
            columns = (documents.ids, documents.titles, documents.texts, documents.metadata, array)
            rows = zip(*(column[start:stop] for column in columns), strict=True)
            self._write({name: Record(title, text, metadata, vector) for name, title, text, metadata, vector in rows})

    def delete(self, ids: Sequence[str]) -> None:
        """See `jepakit.search.collection.Collection.delete`."""
        self._require_ids(ids)
        for some in _batches(list(dict.fromkeys(ids))):
            self._remove(some)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def close(self) -> None:
        """Closes the connection."""

    @abstractmethod
    def _nearest(self, query: np.ndarray, k: int, conditions: Conditions) -> list[tuple[str, float]]:
        """The ids and cosines of the nearest documents, best first."""

    @abstractmethod
    def _read(self, ids: Sequence[str], *, with_vectors: bool) -> dict[str, Record]:
        """Those documents that there are."""

    @abstractmethod
    def _write(self, records: Mapping[str, Record]) -> None:
        """Adds or replaces documents."""

    @abstractmethod
    def _remove(self, ids: Sequence[str]) -> None:
        """Deletes documents."""

    def _number(self, name: str) -> int:
        with self._lock:
            number = self._numbers.setdefault(name, len(self._ids))
            if number == len(self._ids):
                self._ids.append(name)
            return number

    def _records(self, rows: Tensor | Sequence[int], *, with_vectors: bool) -> list[Record]:
        numbers = [int(row) for row in rows]
        unknown = next((number for number in numbers if not 0 <= number < len(self._ids)), None)
        if unknown is not None:
            raise DataError("no such row", field="rows", value=unknown)
        ids = [self._ids[number] for number in numbers]
        records: dict[str, Record] = {}
        for some in _batches(list(dict.fromkeys(ids))):
            records |= self._read(some, with_vectors=with_vectors)
        self._require_all(ids, records, "the document is no longer there; search again")
        return [records[name] for name in ids]

    def _require_ids(self, ids: Sequence[str]) -> None:
        for some in _batches(ids):
            self._require_all(some, self._read(some, with_vectors=False), "no such id")

    def _require_all(self, ids: Sequence[str], records: Mapping[str, Any], problem: str) -> None:
        unknown = next((name for name in ids if name not in records), None)
        if unknown is not None:
            raise DataError(f"{self.name}: {problem}", field="ids", value=unknown, expected="an id that is there")


def client_module(name: str, package: str, extra: str) -> Any:
    """The client's module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(package, extra) from error


@contextmanager
def closed_on_error(close: Callable[[], object]) -> Generator[None]:
    """Closes a connection where what is done with it fails."""
    try:
        yield
    except BaseException:
        close()
        raise


def simple_metadata(entries: object) -> Metadata:
    """The fields that filters can compare: texts, numbers, truth values."""
    found = cast("Mapping[str, object]", entries) if isinstance(entries, Mapping) else {}
    return {str(name): value for name, value in found.items() if isinstance(value, str | int | float | bool)}


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), BATCH):
        yield ids[start : start + BATCH]
