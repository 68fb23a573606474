"""What the standard library of the running interpreter defines, and how it hangs together: entities and triples."""

from __future__ import annotations

import ast
import builtins
import hashlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jepakit.datasets.cache import Stored, cached_tensors
from jepakit.datasets.python_source import Definition, Function, Library, Scope, imported_modules
from jepakit.datasets.standard_library import library_folder, no_garbage_collection, source_files
from jepakit.errors import DataError

RELATIONS = {
    "defines": "defined in",
    "inherits from": "subclassed by",
    "imports": "imported by",
    "calls": "called by",
    "raises": "raised by",
}
"""Relation -> its name in the other direction."""

_CACHE_VERSION = 1
#: Applications, demonstrations and tables of characters; other modules do not import them.
_LEFT_OUT = ("idlelib", "lib2to3", "turtledemo", "encodings", "ensurepip", "this", "antigravity")
_Triple = tuple[str, str, str]


@dataclass(frozen=True)
class PythonLibrary:
    """The entities of the library, and the triples between them.

    Args:
        ids: qualified names, N.
        types: ``module``, ``class``, ``function`` or ``method``, N.
        texts: first paragraphs of docstrings, N.
        triples: rows of head, of `RELATIONS` and of tail, ``[T, 3]`` int64.
    """

    ids: list[str]
    types: list[str]
    texts: list[str]
    triples: Tensor


def read_python_library() -> PythonLibrary:
    """The standard library of the running interpreter as a graph. Files are parsed, never imported.

    Entities are modules, classes, functions and methods whose own name does not begin with an underscore; the id
    is the qualified name (``argparse.ArgumentParser.add_argument``), the type is one of these four words, the text
    the first paragraph of the docstring. Beside them stand the modules without source (``sys``), without text, and the
    built-in classes that others inherit from or raise, such as ``builtins.ValueError``.

    =================  ==============================================================================================
    relation           from, to
    =================  ==============================================================================================
    ``defines``        a module its classes and functions; a class its methods and classes
    ``inherits from``  a class the bases that its definition names
    ``imports``        a module another, anywhere in its source
    ``calls``          a function or method another, or a class to make an instance of; nothing built-in
    ``raises``         a function or method a class that it raises itself
    =================  ==============================================================================================

    The triples are those that the source alone shows: see `jepakit.datasets.python_source` for what is resolved.
    Calls of methods of an object are in it for ``self`` and ``super()`` only. Functions inside a function belong to it.
    What is made to be raised is raised, not called.

    The graph depends on the version of Python only; Python 3.11 has 9,700 entities and 19,000 triples. It is
    kept in the user's cache folder.

    Raises:
        DataError: the interpreter has no such source files (some distributions leave them out).
    """
    root = library_folder()
    listing = [(path, file.stat().st_size) for path, file in source_files(root)]
    digest = hashlib.sha256(repr((_CACHE_VERSION, sys.version, listing)).encode()).hexdigest()
    with no_garbage_collection():
        tensors, header = cached_tensors(f"python-graph-{digest[:32]}", lambda: extract(root))
    return PythonLibrary(header["ids"], header["types"], header["texts"], tensors["triples"])


def extract(root: Path) -> Stored:
    """The triples of the library in a folder, ``[T, 3]``, and ids, types and texts of its entities by name.

    Raises:
        DataError: there are no source files.
    """
    library = Library(root, without=_LEFT_OUT)
    if not library.modules:
        raise DataError("no source files", file=root, expected="the source files of the standard library")
    entities = dict(chain(_modules(library), _definitions(library)))
    triples = {one for one in _triples(library) if one[0] in entities}
    mentioned = {tail for _, _, tail in triples if tail.startswith("builtins.")}
    for kind in sorted(_with_bases(mentioned)):
        entities[kind] = ("class", _first_paragraph(inspect.getdoc(getattr(builtins, kind.partition(".")[2]))))
        triples |= {("builtins", "defines", kind)}
        triples |= {(kind, "inherits from", base) for base in _bases_of(kind)}
    used = {end for head, _, tail in triples for end in (head, tail)}
    ids = sorted(name for name in entities if name in used)
    row = {name: place for place, name in enumerate(ids)}
    index = {name: place for place, name in enumerate(RELATIONS)}
    rows = sorted((row[head], index[kind], row[tail]) for head, kind, tail in triples if tail in row)
    header: dict[str, Any] = {
        "ids": ids,
        "types": [entities[name][0] for name in ids],
        "texts": [entities[name][1] for name in ids],
    }
    return {"triples": torch.from_numpy(np.array(rows, np.int64))}, header


def _modules(library: Library) -> Iterator[tuple[str, tuple[str, str]]]:
    """Name, and type and text, of each module."""
    for name in sorted(library.known):
        module = library.modules.get(name)
        if name.partition(".")[0] not in _LEFT_OUT:
            yield name, ("module", _first_paragraph(ast.get_docstring(module.tree) if module else ""))
    yield "builtins", ("module", _first_paragraph(inspect.getdoc(builtins)))


def _definitions(library: Library) -> Iterator[tuple[str, tuple[str, str]]]:
    for name, definition in library.definitions.items():
        if _is_public(definition):
            kind = "method" if definition.owner else "function"
            kind = "class" if isinstance(definition.node, ast.ClassDef) else kind
            yield name, (kind, _first_paragraph(ast.get_docstring(definition.node)))


def _is_public(definition: Definition) -> bool:
    """Whether neither its name nor that of a class around it begins with an underscore."""
    inner = definition.name.removeprefix(f"{definition.module.name}.")
    return not any(part.startswith("_") for part in inner.split("."))


def _triples(library: Library) -> Iterator[_Triple]:
    for module in library.modules.values():
        for node in ast.walk(module.tree):
            for target in (
                imported_modules(node, module, library) if isinstance(node, ast.Import | ast.ImportFrom) else ()
            ):
                if target != module.name:
                    yield module.name, "imports", target
    for name, definition in library.definitions.items():
        yield definition.owner or definition.module.name, "defines", name
        for node in definition.nodes:
            if isinstance(node, ast.ClassDef):
                bases = [base for base in library.bases(name) if base is not None and _is_class(base, library)]
                yield from ((name, "inherits from", base) for base in bases)
            else:
                yield from _done_by(library, definition, node)


def _done_by(library: Library, definition: Definition, node: Function) -> Iterator[_Triple]:
    """What a function calls and raises."""
    body = list(ast.walk(node))[1:]
    scope = Scope.of(library, definition, node, body)
    raised_calls = {id(inner.exc) for inner in body if isinstance(inner, ast.Raise)}
    for inner in body:
        if isinstance(inner, ast.Call) and id(inner) not in raised_calls:
            called = scope.resolve(inner.func)
            if called in library.definitions:
                yield definition.name, "calls", called
        elif isinstance(inner, ast.Raise) and inner.exc is not None:
            raised = scope.resolve(inner.exc.func if isinstance(inner.exc, ast.Call) else inner.exc)
            if raised is not None and _is_class(raised, library):
                yield definition.name, "raises", raised


def _is_class(name: str | None, library: Library) -> bool:
    if name is None:
        return False
    return name.startswith("builtins.") or (
        name in library.definitions and isinstance(library.definitions[name].node, ast.ClassDef)
    )


def _bases_of(kind: str) -> list[str]:
    """The bases of a built-in class."""
    return [f"builtins.{base.__name__}" for base in getattr(builtins, kind.partition(".")[2]).__bases__]


def _with_bases(kinds: set[str]) -> set[str]:
    """Built-in classes with all that they inherit from."""
    found = set(kinds)
    while more := {base for kind in found for base in _bases_of(kind)} - found:
        found |= more
    return found


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").strip().split("\n\n")[0].split())
