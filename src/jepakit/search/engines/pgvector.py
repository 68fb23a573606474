"""A table of PostgreSQL with a column of pgvector's type ``vector`` or ``halfvec``.

The address is libpq's, ``postgresql://user@host:port/database?table=docs``, with these options of ours; all others
(``sslmode``, ``host``, ``connect_timeout``, ...) are libpq's:

- ``table``: the table, or ``schema.table``
- ``id``, ``title``, ``text``, ``vector``: its columns (``id``, ``title``, ``text``, ``embedding``); without the
  column ``title``, titles are empty
- ``metadata``: a column of the type ``jsonb``; without it, the other columns are what filters look at
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.search.documents import metadata_json
from jepakit.search.engines.database import Address, Database, Record, client_module, closed_on_error, simple_metadata
from jepakit.search.filters import Conditions

_OPTIONS = {"table": None, "id": "id", "title": "title", "text": "text", "vector": "embedding", "metadata": "metadata"}
#: Seconds to wait for a server.
_PATIENCE = "10"
#: Candidates of a search in an HNSW index; the most that pgvector allows is 1,000.
_CANDIDATES, _MOST_CANDIDATES = 100, 1000
_VECTOR = re.compile(r"(?:^|\.)(?P<kind>vector|halfvec)(?:\((?P<dim>\d+)\))?$")
_COMMENT = re.compile(r"jepakit: base=(?P<base>.*) fingerprint=(?P<fingerprint>\S+)")
_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"""


class PgVector(Database):
    """Opened by `jepakit.search.collection.open_collection`.

    Args:
        connection: of psycopg, in autocommit.
        address: with the names of table and columns.

    Raises:
        ConfigError: the table lacks a column that was named.
        ModelError: there is no such table, or no vectors in it.
    """

    def __init__(self, connection: Any, address: Address) -> None:
        super().__init__(f"{address}, table {address.options['table']}", 0)
        self._db, self._address, self._one_at_a_time = connection, address, Lock()
        self._sql = client_module("psycopg.sql", "psycopg", "pgvector")
        self._names = {name: self._sql.Identifier(column) for name, column in address.options.items()}
        self._names["table"] = _identifier(address.options["table"])
        quoted = self._names["table"].as_string(connection)
        if self._query("SELECT to_regclass(%s)", (quoted,))[0][0] is None:
            raise ModelError(f"{self.name}: there is no such table")
        columns: dict[str, str] = dict(self._query(_COLUMNS, (quoted,)))
        comment = self._query("SELECT obj_description(%s::regclass, 'pg_class')", (quoted,))[0][0]
        for option in ("id", "text", "vector", "title", "metadata"):
            self._require_column(option, columns)
        recorded = _COMMENT.search(comment or "")
        if recorded:
            self.base, self.fingerprint = recorded["base"], recorded["fingerprint"]
        self._id_type = columns[address.options["id"]]
        kind = columns[address.options["vector"]]
        match = _VECTOR.search(kind)
        if match is None:
            expected = f"a column of the type vector or halfvec; {address.options['vector']} is {kind}"
            raise ConfigError("index: vector", address.options["vector"], expected)
        self._kind = match["kind"]
        self.dim = int(match["dim"]) if match["dim"] else self._measured_dim()
        self._title = "coalesce({title}, '')" if address.options["title"] in columns else "''"
        self._own_metadata = columns.get(address.options["metadata"]) == "jsonb"
        taken = {address.options[name] for name in ("id", "title", "text", "vector")}
        others = [name for name, kind in columns.items() if name not in taken and not _VECTOR.search(kind)]
        self._fields = {} if self._own_metadata else {name: f"field_{place}" for place, name in enumerate(others)}
        for name, place in self._fields.items():
            self._names |= {place: self._sql.Identifier(name), f"name_of_{place}": self._sql.Literal(name)}

    @classmethod
    def open(cls, address: str, *, fingerprint: str | None) -> PgVector:
        """Connects, and looks at the table."""
        read = Address.of(address, _OPTIONS, passes_on=True)
        connection = _connected(read)
        with closed_on_error(connection.close):
            table = cls(connection, read)
            table.require(fingerprint)
        return table

    @classmethod
    def create(cls, address: str, *, dim: int, base: str, fingerprint: str) -> PgVector:
        """Makes an empty table with an HNSW index, which finds about 99 of 100 nearest documents."""
        read = Address.of(address, _OPTIONS, passes_on=True)
        sql, connection = client_module("psycopg.sql", "psycopg", "pgvector"), _connected(read)
        names = {name: sql.Identifier(column) for name, column in read.options.items() if name != "table"}
        table = _identifier(read.options["table"])
        make = sql.SQL(
            "CREATE TABLE {table} ({id} text PRIMARY KEY, {title} text NOT NULL, {text} text NOT NULL,"
            " {metadata} jsonb NOT NULL, {vector} vector({dim}) NOT NULL)"
        ).format(table=table, dim=sql.Literal(dim), **names)
        index = sql.SQL("CREATE INDEX ON {table} USING hnsw ({vector} vector_cosine_ops)")
        note = sql.SQL("COMMENT ON TABLE {table} IS {note}").format(
            table=table, note=sql.Literal(f"jepakit: base={base} fingerprint={fingerprint}")
        )
        with closed_on_error(connection.close):
            with _explained(f"{read}, table {read.options['table']}"), connection.transaction():
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
                if connection.execute("SELECT to_regclass(%s)", (table.as_string(connection),)).fetchone()[0]:
                    raise ConfigError("index: table", read.options["table"], "a table that is not there yet")
                for statement in (make, index.format(table=table, vector=names["vector"]), note):
                    connection.execute(statement)
            return cls(connection, read)

    def __len__(self) -> int:
        return int(self._query("SELECT count(*) FROM {table}", ())[0][0])

    def close(self) -> None:
        """Closes the connection."""
        self._db.close()

    def _nearest(self, query: np.ndarray, k: int, conditions: Conditions) -> list[tuple[str, float]]:
        where, values = self._where(conditions)
        literal = _literal(query)
        statement = (
            f"SELECT {{id}}::text, 1 - ({{vector}} <=> %s::{self._kind}) FROM {{table}} WHERE {where}"
            f" ORDER BY {{vector}} <=> %s::{self._kind} LIMIT %s"
        )
        candidates = min(max(k, _CANDIDATES), _MOST_CANDIDATES)
        # With a filter, or more than the candidates wanted, pgvector goes on until it has them.
        settings = {"hnsw.ef_search": str(candidates), "hnsw.iterative_scan": "strict_order"}
        rows = self._query(statement, (literal, *values, literal, k), settings)
        # The cosine of a blank document is not a number to pgvector.
        return [(name, 0.0 if np.isnan(score) else float(score)) for name, score in rows]

    def _read(self, ids: Sequence[str], *, with_vectors: bool) -> dict[str, Record]:
        vector = "{vector}::text" if with_vectors else "NULL"
        statement = (
            f"SELECT {{id}}::text, {self._title}, coalesce({{text}}, ''), {self._metadata()}, {vector} FROM {{table}}"
            f" WHERE {{id}} = ANY(%s::text[]::{self._id_type}[])"
        )
        storable = [name for name in ids if _storable(name)]
        return {
            name: Record(title, text, simple_metadata(metadata), vector and np.array(json.loads(vector)))
            for name, title, text, metadata, vector in self._query(statement, (storable,))
        }

    def _write(self, records: Mapping[str, Record]) -> None:
        unfit = [name for name, record in records.items() if not _storable(name + record.title + record.text)]
        if unfit:
            problem = "PostgreSQL stores no NUL characters and no lone surrogates"
            raise DataError(problem, field="documents", value=unfit[0], expected="texts without them")
        if not self._own_metadata and any(record.metadata for record in records.values()):
            problem = f"{self.name}: has no column {self._address.options['metadata']!r} of the type jsonb"
            raise DataError(problem, field="metadata", expected="documents without metadata")
        marks = {"id": f"%(id)s::text::{self._id_type}", "text": "%(text)s", "vector": f"%(vector)s::{self._kind}"}
        marks |= {"title": "%(title)s"} if self._title != "''" else {}
        marks |= {"metadata": "%(metadata)s::jsonb"} if self._own_metadata else {}
        names = ", ".join(f"{{{name}}}" for name in marks)
        changes = ", ".join(f"{{{name}}} = EXCLUDED.{{{name}}}" for name in marks if name != "id")
        statement = (
            f"INSERT INTO {{table}} ({names}) VALUES ({', '.join(marks.values())})"
            f" ON CONFLICT ({{id}}) DO UPDATE SET {changes}"
        )
        rows = [
            {
                "id": name,
                "title": record.title,
                "text": record.text,
                "metadata": metadata_json(record.metadata, name),
                "vector": None if record.vector is None else _literal(record.vector),
            }
            for name, record in records.items()
        ]
        with self._connected(), self._db.transaction(), self._db.cursor() as cursor:
            cursor.executemany(self._sql.SQL(statement).format(**self._names), rows)

    def _remove(self, ids: Sequence[str]) -> None:
        self._query(f"DELETE FROM {{table}} WHERE {{id}} = ANY(%s::text[]::{self._id_type}[])", (list(ids),))

    def _where(self, conditions: Conditions) -> tuple[str, list[Any]]:
        clauses, values = ["TRUE"], list[Any]()
        for field, condition in conditions.items():
            entry, named = self._entry(field)
            if isinstance(condition, Mapping):
                for sign, bound in condition.items():
                    kind, sql_type = ("string", 'text COLLATE "C"') if isinstance(bound, str) else ("number", "numeric")
                    # What AND evaluates first is open in SQL; CASE converts only what can be converted.
                    value = f"(({entry} #>> '{{{{}}}}')::{sql_type} {sign} %s)"
                    clauses.append(f"CASE jsonb_typeof({entry}) WHEN '{kind}' THEN {value} ELSE FALSE END")
                    values += [*named, *named, bound]
            else:
                clauses.append(f"{entry} = ANY(%s::jsonb[])")
                values += [*named, [json.dumps(value) for value in condition]]
        return " AND ".join(clauses), values

    def _entry(self, field: str) -> tuple[str, list[str]]:
        """A field as ``jsonb``, and the values for its placeholders."""
        if self._own_metadata:
            return "({metadata} -> %s)", [field]
        if field not in self._fields:
            raise ConfigError("filter", field, f"a column of {self.name}: {', '.join(self._fields) or 'there is none'}")
        return f"to_jsonb({{{self._fields[field]}}})", []

    def _metadata(self) -> str:
        if self._own_metadata:
            return "{metadata}"
        pairs = (f"{{name_of_{place}}}::text, {{{place}}}" for place in self._fields.values())
        return f"jsonb_build_object({', '.join(pairs)})"

    def _query(self, statement: str, values: Sequence[Any], settings: Mapping[str, str] | None = None) -> list[Any]:
        with self._connected(), self._db.transaction():
            for name, value in (settings or {}).items():
                self._db.execute("SELECT set_config(%s, %s, true)", (name, value))
            cursor = self._db.execute(self._sql.SQL(statement).format(**self._names), tuple(values))
            return [] if cursor.description is None else cursor.fetchall()

    @contextmanager
    def _connected(self) -> Generator[None]:
        """One thread at a time has the connection, which is made anew when the server has closed it."""
        with self._one_at_a_time, _explained(self.name):
            if self._db.broken:
                self._db = _connected(self._address)
            yield

    def _require_column(self, option: str, columns: Mapping[str, str]) -> None:
        column = self._address.options[option]
        if column in columns or (option in ("title", "metadata") and column == _OPTIONS[option]):
            return
        known = ", ".join(sorted(columns))
        raise ConfigError(f"index: {option}", column, f"a column of {self._address.options['table']}: {known}")

    def _measured_dim(self) -> int:
        rows = self._query("SELECT vector_dims({vector}) FROM {table} WHERE {vector} IS NOT NULL LIMIT 1", ())
        if not rows:
            raise ModelError(f"{self.name}: holds no vectors, and its column does not say how wide they are")
        return int(rows[0][0])


def _connected(address: Address) -> Any:
    psycopg = client_module("psycopg", "psycopg[binary]", "pgvector")
    with _explained(str(address)):
        options = {} if "connect_timeout" in address.rest else {"connect_timeout": _PATIENCE}
        return psycopg.connect(address.url("postgresql"), autocommit=True, **options)


def _identifier(table: str) -> Any:
    return client_module("psycopg.sql", "psycopg[binary]", "pgvector").Identifier(*table.split(".", 1))


@contextmanager
def _explained(name: str) -> Generator[None]:
    """Turns the client's errors into ours."""
    psycopg = client_module("psycopg", "psycopg[binary]", "pgvector")
    try:
        yield
    except psycopg.DataError as error:
        raise DataError(f"{name}: {_first_line(error)}") from error
    except psycopg.Error as error:
        raise ModelError(f"{name}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _literal(vector: np.ndarray) -> str:
    return "[" + ",".join(map(repr, vector.astype(np.float32).tolist())) + "]"


def _storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
