"""The documents of an index on disk: one SQLite file, a row for each, numbered as the vectors are."""

from __future__ import annotations

import json
import shutil
import sqlite3
import weakref
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from jepakit.errors import ConfigError, DataError, ModelError, did_you_mean
from jepakit.files import reading
from jepakit.search.documents import Documents, metadata_json
from jepakit.search.filters import Filter, Value, filter_sql

_AT_ONCE = 500
#: Ids before and after an unknown one, in their order, among which the nearest is looked for.
_NEIGHBOURS = 500
#: Results of filters that are cached, since a server often gets the same few filters.
_FILTERS = 16
_COLUMNS = "id, title, text, metadata, source"
_TABLE = """
CREATE TABLE documents (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    metadata TEXT NOT NULL,
    source TEXT
)"""
# Lone surrogates occur in what people scrape, and sqlite3 takes them as bytes only.
_INSERT = """
INSERT INTO documents VALUES (?, CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), ?, CAST(? AS TEXT))"""


class DocumentStore:
    """Reads a file of documents, from any thread. The file never changes; what is new is written to another.

    Args:
        file: what `write` or `updated` made.

    Raises:
        ModelError: there is no such file, or it is damaged.
    """

    def __init__(self, file: Path) -> None:
        with reading(file, ModelError):
            file.stat()
        self.file = file
        # An immutable file takes no locks and is read on when it is removed under an open connection.
        address = f"{file.resolve().as_uri()}?mode=ro&immutable=1"
        self._lock = Lock()
        try:
            self._db = sqlite3.connect(address, uri=True, check_same_thread=False)
        except sqlite3.Error as error:
            raise ModelError(f"{file}: cannot be read ({error})") from error
        # From Python 3.13 on, an unclosed connection raises a warning.
        weakref.finalize(self, self._db.close)
        self._db.text_factory = _decode
        self._select_where = lru_cache(maxsize=_FILTERS)(self._where)
        self._count = int(self._all("SELECT count(*) FROM documents")[0][0])

    def __len__(self) -> int:
        return self._count

    @classmethod
    def write(cls, file: Path, documents: Documents) -> DocumentStore:
        """Writes a new file; document i is row i.

        Raises:
            DataError: metadata that JSON does not know.
        """
        with _writing(file) as db:
            db.execute(_TABLE)
            db.executemany(_INSERT, _records(documents, 0))
        return cls(file)

    def updated(self, file: Path, *, deleted: Sequence[int], added: Documents | None, first: int) -> DocumentStore:
        """Writes a new file: this one without some rows, then with more.

        Args:
            file: the new file.
            deleted: rows that go.
            added: documents that come.
            first: the row of the first of them.

        Raises:
            DataError: metadata that JSON does not know.
        """
        shutil.copyfile(self.file, file)
        with _writing(file) as db:
            db.executemany("DELETE FROM documents WHERE row = ?", ((row,) for row in deleted))
            if added is not None:
                db.executemany(_INSERT, _records(added, first))
        return DocumentStore(file)

    def compacted(self, file: Path) -> DocumentStore:
        """Writes a new file in which the rows, in their order, are numbered from 0."""
        with _writing(file) as db:
            db.execute(_TABLE)
            db.execute("ATTACH ? AS old", (str(self.file),))
            numbered = f"SELECT row_number() OVER (ORDER BY row) - 1, {_COLUMNS} FROM old.documents ORDER BY row"
            db.execute(f"INSERT INTO documents {numbered}")
            db.commit()
            db.execute("DETACH old")
        return DocumentStore(file)

    def documents(self, rows: Sequence[int]) -> Documents:
        """The documents of some rows, in that order; a row may occur once.

        Raises:
            DataError: there is no such row.
        """
        found = dict(self._chunked(f"SELECT row, {_COLUMNS} FROM documents WHERE row IN (%s)", rows))
        missing = next((row for row in rows if row not in found), None)
        if missing is not None:
            raise DataError("no such row", file=self.file, field="rows", value=missing)
        records = [found[row] for row in rows]
        sources = [record[4] for record in records]
        return Documents(
            ids=tuple(record[0] for record in records),
            titles=tuple(record[1] for record in records),
            texts=tuple(record[2] for record in records),
            metadata=tuple(json.loads(record[3]) for record in records),
            source=() if None in sources else tuple(sources),
        )

    def find(self, ids: Iterable[str]) -> dict[str, int]:
        """Id -> row, for the ids that exist."""
        marked = "SELECT CAST(id AS BLOB), row FROM documents WHERE id IN (%s)"
        found = self._chunked(marked, [_encode(name) for name in ids], mark="CAST(? AS TEXT)")
        return {_decode(name): row for name, (row,) in found}

    def rows(self, ids: Sequence[str]) -> list[int]:
        """The row of each id.

        Raises:
            DataError: there is no such id; the message has the nearest.
        """
        found = self.find(ids)
        unknown = next((name for name in ids if name not in found), None)
        if unknown is not None:
            hint = did_you_mean(unknown, self._neighbours(unknown))
            raise DataError(
                "no such id in the index", field="ids", value=unknown, expected=f"an id that is there{hint}"
            )
        return [found[name] for name in ids]

    def where(self, where: Filter, size: int) -> np.ndarray:
        """``[size]`` bool: the rows that a filter allows.

        Raises:
            ConfigError: the filter is none, or no document has one of its fields.
        """
        rows = self._select_where(*filter_sql(where))
        if not len(rows):
            self._check_fields(where)
        allowed = np.zeros(size, bool)
        allowed[rows] = True
        return allowed

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def _where(self, condition: str, values: tuple[Value, ...]) -> np.ndarray:
        found = self._all(f"SELECT row FROM documents WHERE {condition}", values)
        return np.fromiter((row for (row,) in found), np.int64, len(found))

    def _check_fields(self, where: Filter) -> None:
        """Raises ConfigError where a filter without hits names an unknown field or compares another type."""
        fields: dict[str, set[str]] = {}
        for name, kind in self._all("SELECT DISTINCT key, type FROM documents, json_each(metadata)"):
            fields.setdefault(name, set()).add("text" if kind == "text" else "a number")
        for name, condition in where.items():
            if name not in fields:
                known = f"a field of the documents: {', '.join(sorted(fields)[:20])}{did_you_mean(name, fields)}"
                raise ConfigError("filter", name, known if fields else "no filter: no document has metadata")
            bounds = condition.values() if isinstance(condition, Mapping) else ()
            if {"text" if isinstance(bound, str) else "a number" for bound in bounds} - fields[name]:
                there = " or ".join(sorted(fields[name]))
                raise ConfigError(f"filter.{name}", condition, f"bounds that are {there}, as the documents have there")

    def _neighbours(self, name: str) -> list[str]:
        around = (("<", "DESC"), (">", "ASC"))
        statements = [
            f"SELECT id FROM documents WHERE id {sign} CAST(? AS TEXT) ORDER BY id {way}" for sign, way in around
        ]
        return [found for sql in statements for (found,) in self._all(f"{sql} LIMIT {_NEIGHBOURS}", (_encode(name),))]

    def _chunked(self, statement: str, values: Sequence[Any], mark: str = "?") -> Iterator[tuple[Any, tuple[Any, ...]]]:
        for start in range(0, len(values), _AT_ONCE):
            some = values[start : start + _AT_ONCE]
            for first, *rest in self._all(statement % ",".join([mark] * len(some)), some):
                yield first, tuple(rest)

    def _all(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._db.execute(statement, tuple(values)).fetchall()
        except sqlite3.DatabaseError as error:
            raise ModelError(f"{self.file}: damaged ({error})") from error


@contextmanager
def _writing(file: Path) -> Generator[sqlite3.Connection]:
    db = sqlite3.connect(file)
    try:
        # A file that was not finished is thrown away: it needs no journal, and is synced once, as a whole.
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        with db:
            yield db
    finally:
        db.close()


def _records(documents: Documents, first: int) -> Iterator[tuple[Any, ...]]:
    sources = documents.source or (None,) * len(documents)
    columns = zip(documents.ids, documents.titles, documents.texts, documents.metadata, sources, strict=True)
    for row, (name, title, text, metadata, source) in enumerate(columns, start=first):
        yield (
            row,
            _encode(name),
            _encode(title),
            _encode(text),
            metadata_json(metadata, name),
            None if source is None else _encode(source),
        )


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogatepass")
