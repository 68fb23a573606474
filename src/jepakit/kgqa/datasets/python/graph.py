"""The built-in graph: the standard library of the running interpreter."""

from __future__ import annotations

from jepakit.datasets.python_library import RELATIONS, read_python_library
from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table


def load_python_graph() -> KnowledgeGraph:
    """The graph of `jepakit.datasets.python_library.read_python_library`; the name of an entity is its id.

    Raises:
        DataError: the interpreter has no source files (some distributions leave them out).
    """
    library = read_python_library()
    entities = entity_table(library.ids, types=library.types, texts=library.texts)
    relations = [Relation(*names) for names in RELATIONS.items()]
    return KnowledgeGraph.from_rows("python", entities, relations, library.triples.numpy())
