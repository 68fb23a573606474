"""The built-in corpus, with nothing to download: docstrings of Python's own standard library.

A document is what a docstring says after its summary; the query is the summary. People wrote both, for the same thing,
in different words. Files are parsed, never imported.
"""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jepakit.datasets.standard_library import library_folder, parse_source, source_files
from jepakit.errors import DataError
from jepakit.retrieval.data import Pairs, Queries, RetrievalDataset
from jepakit.retrieval.datasets.chunks import sentence_spans, word_spans
from jepakit.retrieval.datasets.splits import split_by_document
from jepakit.search.documents import Documents

_FRACTIONS = {"train": 0.7, "dev": 0.1, "test": 0.2}
_FEWEST_QUERY_WORDS = 3
_FEWEST_DOCUMENT_WORDS = 8


@dataclass(frozen=True)
class _Docstring:
    name: str
    module: str
    kind: str
    summary: str
    body: str


def load_python_docs() -> RetrievalDataset:
    """Search in the standard library of the running interpreter: from the summary of a docstring to the rest of it.

    Each module, class, function and method with a docstring of more than a summary is a document: ``id`` the qualified
    name (``argparse.ArgumentParser.add_argument``), text the docstring after the summary, at least 8 words, without the
    name; no title; ``source`` the module; ``metadata`` ``module`` and ``kind`` (module, class, function). The query is
    the summary, the first sentence, at least 3 words. Of equal names, summaries or bodies the first is kept. Tests are
    left out. Modules are divided 70/10/20 into train, dev and test.

    The same in every process and place; another version of Python has other docstrings.

    Raises:
        DataError: the interpreter has no such source files (some distributions leave them out).
    """
    root = library_folder()
    with _no_garbage_collection():
        found = list(_distinct(one for module, file in _modules(root) for one in _docstrings(module, file)))
    if not found:
        raise DataError("no docstrings", file=root, expected="the source files of the standard library")
    documents = Documents(
        ids=tuple(one.name for one in found),
        texts=tuple(one.body for one in found),
        titles=("",) * len(found),
        metadata=tuple({"module": one.module, "kind": one.kind} for one in found),
        source=tuple(one.module for one in found),
    )
    pairs = Pairs.of(range(len(found)), range(len(found)))
    return RetrievalDataset(
        name="python",
        documents=documents,
        queries=Queries(documents.ids, tuple(one.summary for one in found)),
        splits=split_by_document(pairs, documents, _FRACTIONS, seed=0),
        origin=f"docstrings of the standard library of Python {sys.version.split()[0]}: summary -> the rest, "
        "divided by module into train, dev and test (70, 10, 20 %)",
        labelled=False,
    )


@contextmanager
def _no_garbage_collection() -> Generator[None, None, None]:
    """Two thirds of the time to parse the library goes into looking for cycles among its trees, which have none."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _modules(root: Path) -> list[tuple[str, Path]]:
    """The dotted name and file of every module of the library, sorted by name."""
    return sorted((path.removesuffix("/__init__").replace("/", "."), file) for path, file in source_files(root))


def _docstrings(module: str, file: Path) -> Iterator[_Docstring]:
    tree = parse_source(file)
    for name, kind, text in _documented(tree, module) if tree else ():
        summary, body = _halves(text)
        if len(word_spans(summary)) >= _FEWEST_QUERY_WORDS and len(word_spans(body)) >= _FEWEST_DOCUMENT_WORDS:
            yield _Docstring(name, module, kind, summary, body)


def _documented(tree: ast.Module, module: str) -> Iterator[tuple[str, str, str]]:
    """Name, kind and docstring, outermost first, in the order of the text."""
    pending: list[tuple[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, str]] = [(tree, module)]
    while pending:
        node, name = pending.pop()
        text = ast.get_docstring(node, clean=True)
        if text:
            kind = (
                "module" if isinstance(node, ast.Module) else "class" if isinstance(node, ast.ClassDef) else "function"
            )
            yield name, kind, text
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            named = [
                child for child in node.body if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            pending.extend((child, f"{name}.{child.name}") for child in reversed(named))


def _halves(docstring: str) -> tuple[str, str]:
    """The first sentence on one line, and what follows it."""
    spans = sentence_spans(docstring)
    if not spans:
        return "", ""
    start, end = spans[0]
    return " ".join(docstring[start:end].split()), docstring[end:].strip()


def _distinct(found: Iterator[_Docstring]) -> Iterator[_Docstring]:
    """The first of each name, summary and body."""
    names, summaries, bodies = set[str](), set[str](), set[str]()
    for one in found:
        if one.name not in names and one.summary not in summaries and one.body not in bodies:
            names.add(one.name)
            summaries.add(one.summary)
            bodies.add(one.body)
            yield one
