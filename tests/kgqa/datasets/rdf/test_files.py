"""RDF files: every format is the same graph; labels, types and inverses; what is refused."""

import gzip
from pathlib import Path

import pytest
from pyoxigraph import Literal, NamedNode, Quad, RdfFormat, serialize

from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.data import KnowledgeGraph, Relation
from jepakit.kgqa.datasets import load_graph
from jepakit.kgqa.datasets.rdf.files import load_rdf

TURTLE = """
@prefix : <http://example.org/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix schema: <https://schema.org/> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
:kismet a :Film ; rdfs:label "Kismet"@de, "Kismet (film)"@en-GB, "Qismet" ; :directed_by :william ; :year 1944 .
:william schema:name "William \\"Bill\\" Dieterle" ;
    rdfs:comment "A director,\\nborn 1893." ; :knows :william, [ :in :pl ] .
:directed_by rdfs:label "directed by" ; owl:inverseOf :directed ; rdfs:domain :Film .
:directed rdfs:label "director of" .
:Film rdfs:label "film" .
<http://example.org/%C5%81%C3%B3d%C5%BA> a :City, :Place ; :in :pl .
:lonely a :Film .
:pl skos:prefLabel "Polska"@pl .
"""
TRIPLES = {
    ("Kismet (film)", "directed by", 'William "Bill" Dieterle'),
    ('William "Bill" Dieterle', "knows", 'William "Bill" Dieterle'),
    ('William "Bill" Dieterle', "knows", "_:0"),
    ("_:0", "in", "Polska"),
    ("Łódź", "in", "Polska"),
}


def named(graph: KnowledgeGraph) -> set[tuple[str, ...]]:
    names = graph.column("name")
    return {(names[h], graph.relations[r].name, names[t]) for h, r, t in graph.triples().tolist()}


def quads(text: str) -> list[Quad]:
    from pyoxigraph import parse

    return list(parse(text, RdfFormat.TURTLE))


def test_every_format_is_read_as_the_same_graph(tmp_path: Path) -> None:
    statements = [quad.triple for quad in quads(TURTLE)]
    (tmp_path / "a.ttl").write_text(TURTLE, "utf-8")
    serialize(statements, str(tmp_path / "b.nt"), RdfFormat.N_TRIPLES)
    serialize(statements, str(tmp_path / "c.rdf"), RdfFormat.RDF_XML)
    serialize(statements, str(tmp_path / "d.owl"), RdfFormat.RDF_XML)
    for name in ("a.ttl", "b.nt", "c.rdf"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    for file in sorted(tmp_path.iterdir()):
        assert named(load_graph(file)) == TRIPLES, file.name
    assert load_rdf(tmp_path / "a.ttl").fingerprint == load_rdf(tmp_path / "a.ttl").fingerprint
    assert load_rdf(tmp_path / "a.ttl").name == "a"


def test_names_types_texts_and_inverses(tmp_path: Path) -> None:
    (tmp_path / "a.ttl").write_text(TURTLE, "utf-8")
    graph = load_rdf(tmp_path / "a.ttl")
    rows = {row["name"]: row for row in graph.entities.to_pylist()}
    assert rows["Kismet (film)"] == {
        "id": "http://example.org/kismet",
        "name": "Kismet (film)",
        "type": "film",
        "text": "",
    }
    assert rows['William "Bill" Dieterle']["text"] == "A director,\nborn 1893."
    assert rows["Łódź"]["type"] == "City, Place"
    assert graph.degree[graph.rows(["http://example.org/lonely"])[0]] == 0
    assert set(rows) == {name for h, _, t in TRIPLES for name in (h, t)} | {"lonely"}
    assert Relation("directed by", "director of") in graph.relations


def test_literals_are_entities_when_asked(tmp_path: Path) -> None:
    (tmp_path / "a.ttl").write_text(TURTLE, "utf-8")
    graph = load_graph(tmp_path / "a.ttl", literals=True)
    assert named(graph) == TRIPLES | {("Kismet (film)", "year", "1944")}
    row = graph.rows([str(Literal("1944", datatype=NamedNode("http://www.w3.org/2001/XMLSchema#integer")))])
    assert graph.column("type", row) == ["integer"]
    (tmp_path / "kb.tsv").write_text("a\tr\tb\n")
    with pytest.raises(ConfigError) as error:
        load_graph(tmp_path / "kb.tsv", literals=True)
    assert error.value.field == "literals"


def test_relations_of_the_same_name_stay_apart(tmp_path: Path) -> None:
    (tmp_path / "a.nt").write_text("<x:a> <http://x/in> <x:b> .\n<x:a> <http://y/in> <x:b> .\n")
    assert [relation.name for relation in load_rdf(tmp_path / "a.nt").relations] == ["http://x/in", "http://y/in"]


def test_statements_about_statements_are_left_out(tmp_path: Path) -> None:
    text = "<x:a> <x:r> <x:b> .\n<x:a> <x:says> <<( <x:c> <x:r> <x:d> )>> .\n"
    (tmp_path / "a.nt").write_text(text)
    assert named(load_rdf(tmp_path / "a.nt")) == {("a", "r", "b")}


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.nt", b"<x:a> <x:r> <x:b> .\n<x:a> <x:r> .\n", 2),
        ("a.ttl", b"<x:a> <x:r> <x:b> .\n\n<x:a> nope:r <x:b> .\n", 3),
        ("a.nt", b"<x:a> <x:r> <x:\xff> .\n", 1),
        ("a.nt", b"", None),
        ("a.nt", b'<x:a> <x:r> "only a value" .\n', None),
        ("a.rdf", b"<html>", None),
        ("a.nt.gz", gzip.compress(b"<x:a> <x:r> <x:b> .\n" * 99, mtime=0)[:-9], None),
    ],
)
def test_files_that_are_no_rdf_are_named(tmp_path: Path, name: str, content: bytes, line: int | None) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        load_rdf(tmp_path / name)
    assert error.value.file == tmp_path / name
    if line is not None:
        assert error.value.line == line


ENTITIES = {
    "a plain one": ('<!ENTITY x "http://x/">', True),
    "one in another": ('<!ENTITY l "ha"><!ENTITY m "&l;&l;">', False),
    "one in another, escaped": ('<!ENTITY l "ha"><!ENTITY m "&#38;l;&#38;l;">', False),
    "a long one": (f'<!ENTITY l "{"ha" * 999}">', False),
    "a file": ('<!ENTITY l SYSTEM "file:///etc/passwd">', False),
    "a parameter": ('<!ENTITY % l "ha">', False),
}


@pytest.mark.parametrize("kind", ENTITIES)
def test_xml_entities_that_could_grow_are_refused(tmp_path: Path, kind: str) -> None:
    declared, fine = ENTITIES[kind]
    file = tmp_path / "a.rdf"
    file.write_text(
        f'<?xml version="1.0"?>\n<!DOCTYPE r [{declared}]>\n'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:x="http://x/">\n'
        '<rdf:Description rdf:about="http://x/a"><x:r rdf:resource="http://x/b"/></rdf:Description></rdf:RDF>'
    )
    if fine:
        assert load_rdf(file).num_triples == 1
        return
    with pytest.raises(DataError) as error:
        load_rdf(file)
    assert (error.value.file, error.value.line) == (file, 2)
