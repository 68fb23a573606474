"""Property graphs: a real ladybug database; the records of a Neo4j server, and an address without one."""

import socket
from pathlib import Path

import ladybug
import pytest
from neo4j import Record

from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.datasets import load_graph
from jepakit.kgqa.datasets.property_graphs.databases import NODES, RELATIONSHIPS, graph_of_records, load_ladybug


def named(graph: KnowledgeGraph) -> set[tuple[str, ...]]:
    ids = graph.column("id")
    return {(ids[h], graph.relations[r].name, ids[t]) for h, r, t in graph.triples().tolist()}


STATEMENTS = """
CREATE NODE TABLE Film(code INT64, title STRING, tags STRING[], summary STRING, PRIMARY KEY(code));
CREATE NODE TABLE Person(name STRING, PRIMARY KEY(name));
CREATE NODE TABLE `Odd ``name`(code STRING, text STRING[], PRIMARY KEY(code));
CREATE REL TABLE directed_by(FROM Film TO Person, year INT64);
CREATE REL TABLE knows(FROM Person TO Person, FROM Person TO Film);
CREATE REL TABLE nothing(FROM Person TO Film);
CREATE (:Film {code: 7, title: 'Kismet "1944"', summary: 'A film.'}), (:Film {code: 8}), (:Person {name: 'Ada'}),
       (:Person {name: 'Łukasz'}), (:Person {name: '8'}), (:`Odd ``name` {code: 'x', text: ['a', 'b']});
MATCH (p:Person {name: 'Ada'}) DELETE p;
MATCH (f:Film {code: 7}), (p:Person {name: 'Łukasz'}) CREATE (f)-[:directed_by {year: 1944}]->(p);
MATCH (p:Person {name: 'Łukasz'}) CREATE (p)-[:knows]->(p);
MATCH (p:Person {name: '8'}), (f:Film {code: 8}) CREATE (p)-[:knows]->(f);
"""


def make_database(file: Path, statements: str) -> Path:
    database = ladybug.Database(file, buffer_pool_size=1 << 26)
    connection = ladybug.Connection(database)
    for statement in filter(str.strip, statements.split(";\n")):
        connection.execute(statement)
    connection.close()
    database.close()
    return file


@pytest.mark.parametrize("name", ["films.lbug", "films"])
def test_a_ladybug_database(tmp_path: Path, name: str) -> None:
    graph = load_graph(make_database(tmp_path / name, STATEMENTS))
    assert named(graph) == {
        ("Film:7", "directed_by", "Person:Łukasz"),
        ("Person:Łukasz", "knows", "Person:Łukasz"),
        ("Person:8", "knows", "Film:8"),
    }
    rows = {row["id"]: (row["name"], row["type"], row["text"]) for row in graph.entities.to_pylist()}
    assert rows == {
        "Film:7": ('Kismet "1944"', "Film", "A film."),
        "Film:8": ("8", "Film", ""),
        "Person:Łukasz": ("Łukasz", "Person", ""),
        "Person:8": ("8", "Person", ""),
        "Odd `name:x": ("x", "Odd `name", "['a', 'b']"),
    }
    assert [relation.name for relation in graph.relations] == ["directed_by", "knows", "nothing"]


def test_databases_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    whole = make_database(tmp_path / "whole.lbug", STATEMENTS).read_bytes()
    (tmp_path / "cut.lbug").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "foreign.lbug").write_bytes(b"PK" * 5000)
    (tmp_path / "empty.lbug").write_bytes(b"")
    make_database(tmp_path / "bare.lbug", "CREATE NODE TABLE A(k STRING, PRIMARY KEY(k));\n")
    for name in ("cut", "foreign", "empty", "bare"):
        with pytest.raises(DataError) as error:
            load_ladybug(tmp_path / f"{name}.lbug")
        assert error.value.file == tmp_path / f"{name}.lbug"


def records(query: str, *rows: tuple[object, ...]) -> list[Record]:
    """Records of Neo4j's driver, with the columns that a query names."""
    columns = [part.rpartition(" ")[2] for part in query.partition("RETURN ")[2].split(", ")]
    return [Record(zip(columns, row, strict=True)) for row in rows]


def test_the_records_of_neo4j() -> None:
    nodes = records(
        NODES,
        ("4:x:0", ["Film", "Classic"], {"title": "Kismet", "id": 10, "tags": ["a", "b"]}),
        ("4:x:1", ["Person"], {"name": "William", "id": 11, "description": "A director."}),
        ("4:x:2", [], {"id": "alone"}),
    )
    between = records(RELATIONSHIPS, ("4:x:0", "DIRECTED_BY", "4:x:1"), ("4:x:1", "KNOWS", "4:x:1"))
    graph = graph_of_records("films", nodes, between)
    assert named(graph) == {("10", "DIRECTED_BY", "11"), ("11", "KNOWS", "11")}
    assert graph.entities.to_pylist() == [
        {"id": "10", "name": "Kismet", "type": "Classic, Film", "text": ""},
        {"id": "11", "name": "William", "type": "Person", "text": "A director."},
        {"id": "alone", "name": "alone", "type": "", "text": ""},
    ]
    nodes[2]["properties"]["id"] = 11
    assert graph_of_records("films", nodes, between).column("id") == ["4:x:0", "4:x:1", "4:x:2"]
    with pytest.raises(DataError) as error:
        graph_of_records("films", nodes[:1], between)
    assert error.value.value == "4:x:1"


def test_a_neo4j_server_that_is_not_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError) as error:
        load_graph(f"bolt://user:secret@127.0.0.1:{port}/films")
    assert error.value.file == f"bolt://127.0.0.1:{port}"
    assert "secret" not in str(error.value)
    with pytest.raises(ConfigError):
        load_graph("neo4j://")
