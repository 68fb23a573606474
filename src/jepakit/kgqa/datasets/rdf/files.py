"""RDF: files in N-Triples, Turtle and RDF/XML, and what their statements become in a knowledge graph.

=========================================================  ========================================================
statement                                                  in the graph
=========================================================  ========================================================
subject and object are IRIs or blank nodes                 a triple; the IRI is the id of the entity
``rdfs:label``, ``skos:prefLabel``, ``schema:name``, ...   the name of the entity or relation (else the end of its IRI)
``rdfs:comment``, ``schema:description``, ...              the text of the entity
``rdf:type``                                               the type of the entity, by its name; no triple
``owl:inverseOf``                                          the inverse name of both relations
the object is another literal                              nothing, or a triple to an entity of its own (``literals``)
the subject or object is a relation, or a triple           nothing: it is about the schema, not the things
=========================================================  ========================================================

Literals are left out by default: most are numbers, dates and long texts, to which no second triple leads, and which
would be half of the entities of a usual graph. Of labels and texts in several languages the English one is taken, else
one without a language, else the first.
"""

from __future__ import annotations

import io
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np

from jepakit.errors import DataError
from jepakit.files import read_bytes, read_text, reading
from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table

if TYPE_CHECKING:
    from pyoxigraph import BlankNode, Literal, NamedNode, Triple

    Term = NamedNode | BlankNode | Literal | Triple
    Statement = tuple[Term, NamedNode, Term]

RDF_SUFFIXES = {".nt": "nt", ".ttl": "ttl", ".rdf": "rdf", ".owl": "rdf"}
"""Suffix of a file -> extension that names its format."""

_RDFS, _OWL = "http://www.w3.org/2000/01/rdf-schema#", "http://www.w3.org/2002/07/owl#"
_RDF, _SKOS = "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://www.w3.org/2004/02/skos/core#"
_SCHEMA = ("http://schema.org/", "https://schema.org/")
#: Predicates of names and of texts, the best first.
LABELS = (f"{_RDFS}label", f"{_SKOS}prefLabel", *(f"{base}name" for base in _SCHEMA), "http://xmlns.com/foaf/0.1/name")
TEXTS = (
    *(f"{_RDFS}comment", f"{_SKOS}definition", *(f"{base}description" for base in _SCHEMA)),
    *("http://purl.org/dc/terms/description", "http://purl.org/dc/elements/1.1/description"),
)
_TYPE, _INVERSE = f"{_RDF}type", f"{_OWL}inverseOf"
_PROPERTIES = {f"{_RDF}Property", *(f"{_OWL}{kind}Property" for kind in ("Object", "Datatype", "Annotation"))}
#: An entity of XML whose value is short and has no other entity in it: a namespace.
_PLAIN_ENTITY = re.compile(r"""<!ENTITY\s+[\w.-]+\s+("[^"&%<]{0,256}"|'[^'&%<]{0,256}')\s*>""")


def load_rdf(file: Path, *, literals: bool = False, name: str | None = None) -> KnowledgeGraph:
    """A graph from an RDF file; see the table at the head of this module.

    A blank node has the id ``_:N``, N in order of appearance, so that the same file gives the same graph.

    Args:
        file: ``.nt``, ``.ttl``, ``.rdf`` or ``.owl`` (RDF/XML), packed with gzip or not.
        literals: whether values such as dates are entities too; their id is as N-Triples writes them.
        name: of the graph; by default that of the file.

    Raises:
        DataError: the file is no such RDF, or has no triples between entities; names file and line.
    """
    with reading(file):
        return graph_of_statements(name or file.name.partition(".")[0], _parsed(file), literals=literals)


def _parsed(file: Path) -> Iterator[Statement]:
    import pyoxigraph

    packed = file.suffix == ".gz"
    suffix = RDF_SUFFIXES[(file.suffixes[-2] if packed else file.suffix).lower()]
    form = pyoxigraph.RdfFormat.from_extension(suffix)
    if suffix == "rdf":
        content = read_text(file)
        _require_plain_entities(content)
        source = io.BytesIO(content.encode())
    else:
        source = io.BytesIO(read_bytes(file)) if packed else file.open("rb")
    with source:
        try:
            for quad in pyoxigraph.parse(source, form):
                yield quad.subject, quad.predicate, quad.object
        except SyntaxError as error:
            raise DataError(f"not RDF: {error.msg}", file=file, line=error.lineno) from error


def _require_plain_entities(content: str) -> None:
    """Refuses XML entities that grow: a few lines of them can take all memory when they are written out."""
    declared = content.count("<!ENTITY")
    if declared != len(_PLAIN_ENTITY.findall(content)):
        line = content[: content.find("<!ENTITY")].count("\n") + 1
        expected = "entities of at most 256 characters, without other entities in them"
        raise DataError("an XML entity that is not a plain text", line=line, expected=expected)


@dataclass
class _Collected:
    """The statements of a graph. Entities are numbered in order of appearance, relations too."""

    literals: bool
    rows: dict[str, int] = field(default_factory=dict)
    relations: dict[str, int] = field(default_factory=dict)
    heads: array[int] = field(default_factory=lambda: array("q"))
    kinds: array[int] = field(default_factory=lambda: array("q"))
    tails: array[int] = field(default_factory=lambda: array("q"))
    names: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    texts: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    types: dict[str, list[str]] = field(default_factory=dict)
    inverses: dict[str, str] = field(default_factory=dict)
    blank: dict[str, str] = field(default_factory=dict)

    def add(self, subject: Term, relation: str, value: Term) -> None:
        """Takes a statement in."""
        import pyoxigraph

        if type(subject) is pyoxigraph.NamedNode and type(value) is pyoxigraph.NamedNode:
            head, tail = subject.value, value.value
        elif pyoxigraph.Triple in (type(subject), type(value)):
            return
        else:
            head, tail = self._id(subject), self._id(value)
        if isinstance(value, pyoxigraph.Literal):
            if self._described(head, relation, value) or not self.literals:
                return
            self.names.setdefault(tail, (3, 0, value.value))
            self.types.setdefault(tail, [value.datatype.value])
        if relation == _TYPE:
            self.types.setdefault(head, []).append(tail)
            self.rows.setdefault(head, len(self.rows))
        elif relation == _INVERSE:
            self.inverses |= {head: tail, tail: head}
        else:
            rows = self.rows
            self.heads.append(rows.setdefault(head, len(rows)))
            self.kinds.append(self.relations.setdefault(relation, len(self.relations)))
            self.tails.append(rows.setdefault(tail, len(rows)))

    def _described(self, entity: str, relation: str, value: Literal) -> bool:
        """Whether a value is a name or a text, which is then kept where it is the best so far."""
        for known, best in ((LABELS, self.names), (TEXTS, self.texts)):
            if relation in known:
                language = (value.language or "").lower().partition("-")[0]
                rank = (("en", "").index(language) if language in ("en", "") else 2, known.index(relation))
                if rank < best.get(entity, (3, 0))[:2]:
                    best[entity] = (*rank, value.value)
                self.rows.setdefault(entity, len(self.rows))
                return True
        return False

    def _id(self, term: Term) -> str:
        import pyoxigraph

        if isinstance(term, pyoxigraph.NamedNode):
            return term.value
        if isinstance(term, pyoxigraph.BlankNode):
            return self.blank.setdefault(term.value, f"_:{len(self.blank)}")
        return str(term)

    def name(self, one: str) -> str:
        """The label of an entity or relation, else the end of its IRI."""
        return self.names[one][2] if one in self.names and self.names[one][2].strip() else _end_of(one)


def graph_of_statements(name: str, statements: Iterable[Statement], *, literals: bool = False) -> KnowledgeGraph:
    """The graph of RDF statements; see the table at the head of this module.

    Raises:
        DataError: there is no triple between entities.
    """
    collected = _Collected(literals)
    for subject, predicate, value in statements:
        collected.add(subject, predicate.value, value)
    schema = {one for one, kinds in collected.types.items() if _PROPERTIES & set(kinds)}
    schema |= set(collected.relations) | set(collected.inverses)
    ids = np.array(list(collected.rows), object)
    about_schema = np.array([one in schema for one in ids], bool)
    edges = np.stack([np.array(ends, np.int64) for ends in (collected.heads, collected.kinds, collected.tails)], 1)
    edges = edges[~(about_schema[edges[:, 0]] | about_schema[edges[:, 2]])]
    # Classes are in the types of entities; they are entities themselves only where a triple has them.
    classes = {kind for kinds in collected.types.values() for kind in kinds}
    kept = np.array([one not in schema and one not in classes for one in ids], bool)
    kept[edges[:, [0, 2]].ravel()] = True
    place = np.cumsum(kept) - 1
    used, kinds = np.unique(edges[:, 1], return_inverse=True)
    triples = np.stack([place[edges[:, 0]], kinds.reshape(-1), place[edges[:, 2]]], 1)
    known = list(ids[kept])
    entities = entity_table(
        known,
        names=[collected.name(one) for one in known],
        types=[", ".join(sorted({collected.name(kind) for kind in collected.types.get(one, ())})) for one in known],
        texts=[collected.texts[one][2] if one in collected.texts else "" for one in known],
    )
    iris = np.array(list(collected.relations), object)[used]
    return KnowledgeGraph.from_rows(name, entities, _relations(collected, list(iris)), triples)


def _relations(collected: _Collected, iris: list[str]) -> list[Relation]:
    names = {iri: collected.name(iri) for iri in iris}
    several = {name for name in names.values() if list(names.values()).count(name) > 1}
    inverse = {iri: collected.name(other) for iri, other in collected.inverses.items()}
    return [Relation(iri if names[iri] in several else names[iri], inverse.get(iri, "")) for iri in iris]


def _end_of(iri: str) -> str:
    end = re.split(r"[/#:]", iri.rstrip("/#"))[-1]
    return unquote(end) if end and not iri.startswith(("_:", '"')) else iri
