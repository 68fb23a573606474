"""Property graphs: a ladybug database on disk, and a Neo4j server."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa

from jepakit.errors import ConfigError, DataError, in_one_line
from jepakit.files import reading
from jepakit.kgqa.arrow import pc
from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table
from jepakit.kgqa.datasets.property_graphs.properties import NAMES, TEXTS, chosen, graph_of_nodes

NODES = "MATCH (n) RETURN elementId(n) AS id, labels(n) AS labels, properties(n) AS properties"
RELATIONSHIPS = "MATCH (a)-[r]->(b) RETURN elementId(a) AS head, type(r) AS relation, elementId(b) AS tail"
"""What a Neo4j server is asked."""

_BUFFER_BYTES = 1 << 30
_TEXT = pa.large_utf8()
_CONNECT_SECONDS = 15


def load_ladybug(file: Path) -> KnowledgeGraph:
    """A graph from a ladybug database, which is opened for reading only.

    A node is an entity with the id ``TABLE:KEY``, KEY its primary key; its type is its table, its name and text are
    properties, looked for under the names in `jepakit.kgqa.datasets.property_graphs.properties`; a node without a name
    has its key. A relationship is a triple, its relation its table; its properties are left out.

    Raises:
        DataError: it is no such database, another process writes to it, or it has no relationships.
    """
    import ladybug

    with reading(file):
        database = ladybug.Database(file, read_only=True, buffer_pool_size=_BUFFER_BYTES)
        try:
            # Its stubs have a list of results, which there are for several queries only.
            connection: Any = ladybug.Connection(database)
            try:
                return _graph_of_tables(file.stem, lambda query: connection.execute(query).get_as_arrow())
            finally:
                connection.close()
        finally:
            database.close()


def _graph_of_tables(name: str, ask: Any) -> KnowledgeGraph:
    tables = sorted((row["name"], row["type"]) for row in ask("CALL show_tables() RETURN *").to_pylist())
    kinds = [table for table, kind in tables if kind == "REL"]
    parts = [_nodes(ask, table) for table, kind in tables if kind == "NODE"]
    keys = np.concatenate([keys for keys, _ in parts]) if parts else np.empty(0, np.int64)
    order = np.argsort(keys)
    triples = [np.empty((0, 3), np.int64)]
    for relation, kind in enumerate(kinds):
        rows = ask(f"MATCH (a)-[r:{_quoted(kind)}]->(b) RETURN id(a) AS head, id(b) AS tail")
        head, tail = (order[np.searchsorted(keys[order], _keys(rows[end]))] for end in ("head", "tail"))
        triples.append(np.stack([head, np.full(len(head), relation), tail], 1))
    entities = pa.concat_tables([table for _, table in parts]) if parts else entity_table([])
    relations = [Relation(kind) for kind in kinds]
    return KnowledgeGraph.from_rows(name, entities, relations, np.concatenate(triples))


def _nodes(ask: Any, table: str) -> tuple[np.ndarray, pa.Table]:
    """The internal ids of a table's nodes as numbers, and their rows as entities."""
    columns = ask(f"CALL table_info('{table}') RETURN *").to_pylist()
    names = [column["name"] for column in columns]
    key = next(column["name"] for column in columns if column["primary key"])
    wanted = {"key": key, "name": chosen(names, NAMES) or key, "text": chosen(names, TEXTS)}
    listed = ", ".join(f"n.{_quoted(column)} AS {alias}_" for alias, column in wanted.items() if column)
    rows = ask(f"MATCH (n:{_quoted(table)}) RETURN id(n) AS id_, {listed}")
    keys = _as_text(rows["key_"])
    ids = pc.binary_join_element_wise(pa.scalar(f"{table}:", _TEXT), keys, pa.scalar("", _TEXT))
    name = _as_text(rows["name_"])
    given = pc.if_else(pc.equal(name, ""), keys, name)
    texts = _as_text(rows["text_"]) if wanted["text"] else None
    entities = entity_table(ids, names=given, types=[table] * len(rows))
    if texts is not None:
        entities = entities.set_column(entities.column_names.index("text"), "text", texts)
    return _keys(rows["id_"]), entities


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as texts, empty where a value is missing."""
    if pa.types.is_nested(column.type):
        column = pa.chunked_array([pa.array([None if one is None else str(one) for one in column.to_pylist()], _TEXT)])
    return pc.fill_null(column.cast(_TEXT), "")


def _keys(ids: pa.ChunkedArray) -> np.ndarray:
    """Internal ids, a table and an offset, as one number each."""
    table, offset = (pc.struct_field(ids, name).to_numpy().astype(np.int64) for name in ("table", "offset"))
    return table * (1 << 48) + offset


def _quoted(name: str) -> str:
    """A name of a table or property as Cypher wants it."""
    return "`" + name.replace("`", "``") + "`"


def load_neo4j(url: str) -> KnowledgeGraph:
    """The graph of a Neo4j server.

    A node is an entity. Its id is its property ``id`` where all nodes have different ones, else the element id of the
    server, which does not survive an export. Its type are its labels; its name and text are properties, looked for
    under the names in `jepakit.kgqa.datasets.property_graphs.properties`. A relationship is a triple; its properties
    are left out. Everything is read in one transaction, through the server's driver, and built in memory.

    No server was at hand: the queries follow Neo4j's manual for versions 5 and later, what is made of their records is
    tested with records of the driver, and an address without a server with the driver itself.

    Args:
        url: ``neo4j://HOST[:PORT][/DATABASE]``, or with the scheme ``neo4j+s``, ``bolt`` or ``bolt+s``. User and
            password stand in it, or in the environment variables NEO4J_USERNAME and NEO4J_PASSWORD.

    Raises:
        ConfigError: it is no such address.
        DataError: the server cannot be reached, refuses, or has no relationships. The message has the address without
            the password.
    """
    import neo4j
    from neo4j.exceptions import ConfigurationError, DriverError, Neo4jError

    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
    if not parts.hostname or parts.query:
        raise ConfigError("graph", place, "neo4j://HOST[:PORT][/DATABASE]")
    user = unquote(parts.username or "") or os.environ.get("NEO4J_USERNAME", "neo4j")
    password = unquote(parts.password or "") or os.environ.get("NEO4J_PASSWORD", "")
    database = parts.path.strip("/") or None
    try:
        with (
            neo4j.GraphDatabase.driver(
                place, auth=(user, password) if password else None, connection_timeout=_CONNECT_SECONDS
            ) as driver,
            driver.session(database=database, default_access_mode=neo4j.READ_ACCESS) as session,
            session.begin_transaction() as transaction,
        ):
            nodes = list(transaction.run(NODES))
            return graph_of_records(database or parts.hostname, nodes, transaction.run(RELATIONSHIPS))
    except (DriverError, Neo4jError, ConfigurationError, OSError) as error:
        expected = "a server of Neo4j that is up; user and password in NEO4J_USERNAME and NEO4J_PASSWORD"
        raise DataError(f"the graph cannot be read ({in_one_line(error)})", file=place, expected=expected) from error


def graph_of_records(
    name: str, nodes: Sequence[Mapping[str, Any]], relationships: Iterable[Mapping[str, Any]]
) -> KnowledgeGraph:
    """The graph of the records that `NODES` and `RELATIONSHIPS` give.

    Raises:
        DataError: there are no relationships, or one has an end that is no node.
    """
    elements = [str(node["id"]) for node in nodes]
    given = [node["properties"].get("id") for node in nodes]
    unique = None not in given and len(set(map(str, given))) == len(given)
    id_of = dict(zip(elements, map(str, given) if unique else elements, strict=True))
    ends, relations = list[tuple[str, str]](), list[str]()
    for one in relationships:
        head, tail = str(one["head"]), str(one["tail"])
        ends.append((id_of.get(head, head), id_of.get(tail, tail)))
        relations.append(str(one["relation"]))
    described = [{**node["properties"], "type": ", ".join(sorted(node["labels"]))} for node in nodes]
    return graph_of_nodes(name, list(id_of.values()), described, ends, relations)
