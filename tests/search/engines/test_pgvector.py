"""Tables that users made, and connections that break."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from uuid import uuid4

import psycopg
import pytest
import torch
from toy_index import DIM, documents_of, vectors_of

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.search.collection import open_collection
from jepakit.search.documents import Documents


@pytest.fixture
def table(server: str) -> Generator[tuple[psycopg.Connection, str]]:
    """A table with numbers for ids, vectors that are not of length 1, and columns instead of metadata."""
    name = f"t{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA pg_catalog")
        connection.execute(
            f"CREATE TABLE {name} (key bigint PRIMARY KEY, body text, lang text, year int, v vector({DIM}), draft bool)"
        )
        for number in range(20):
            vector = (vectors_of([number])[0] * 3).tolist()
            row = (number, f"body {number}", "en" if number % 2 else "de", 2000 + number, str(vector), number > 10)
            connection.execute(f"INSERT INTO {name} VALUES (%s, %s, %s, %s, %s, %s)", row)
        yield connection, f"{server}&table={name}&id=key&text=body&vector=v"


def test_a_users_table_is_searched_as_it_is(table: tuple[psycopg.Connection, str]) -> None:
    collection = open_collection(table[1], fingerprint="anything")
    assert (len(collection), collection.dim, collection.fingerprint) == (20, DIM, None)
    hits = collection.search_vectors(vectors_of([7]), 2, {"lang": "en", "year": {"gte": 2003}})
    assert hits.scores[0, 0] == pytest.approx(1)
    first = collection.documents(hits.rows[0, :1])
    assert first == Documents(("7",), ("body 7",), ("",), ({"lang": "en", "year": 2007, "draft": False},))
    torch.testing.assert_close(collection.vectors(hits.rows[0, :1]), vectors_of([7]), atol=1e-5, rtol=0)
    drafts = collection.search_vectors(vectors_of([7]), 20, {"draft": True})
    assert int(drafts.found.sum()) == 9
    with pytest.raises(ConfigError):
        collection.search_vectors(vectors_of([7]), 2, {"nothing": 1})
    with pytest.raises(DataError):
        collection.rows_of(["7", "seven"])
    with pytest.raises(DataError):
        collection.add(documents_of([30]), vectors_of([30]))
    bare = Documents(("31",), ("new",), ("",), ({},))
    collection.add(bare, vectors_of([31]))
    assert collection.search_vectors(vectors_of([31]), 1).rows[0].tolist() == collection.rows_of(["31"])
    collection.close()


@pytest.mark.parametrize("changed", ["&vector=body", "&id=nothing", "&table=nothing", "&metadata=nothing"])
def test_columns_that_are_not_there(table: tuple[psycopg.Connection, str], changed: str) -> None:
    option = changed[1:].partition("=")[0]
    kept = [part for part in table[1].split("&") if not part.startswith(f"{option}=")]
    with pytest.raises((ConfigError, ModelError)):
        open_collection("&".join(kept) + changed)


def test_an_index_of_the_users_serves_many_hits(table: tuple[psycopg.Connection, str]) -> None:
    connection, address = table
    name = address.partition("table=")[2].partition("&")[0]
    collection = open_collection(address)
    numbers = range(100, 800)
    with connection.cursor() as cursor:
        rows = [(number, str(vectors_of([number])[0].tolist())) for number in numbers]
        cursor.executemany(f"INSERT INTO {name} (key, body, lang, v) VALUES (%s, '', 'fr', %s)", rows)
    connection.execute(f"CREATE INDEX ON {name} USING hnsw (v vector_cosine_ops)")
    connection.execute(f"ANALYZE {name}")
    assert int(collection.search_vectors(vectors_of([3]), 300).found.sum()) == 300
    assert int(collection.search_vectors(vectors_of([3]), 10, {"lang": "de"}).found.sum()) == 10
    collection.close()


def test_a_connection_that_the_server_closed_is_made_anew(table: tuple[psycopg.Connection, str]) -> None:
    connection, address = table
    collection = open_collection(address)
    connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with suppress(ModelError):
        len(collection)
    assert len(collection) == 20
    collection.close()
