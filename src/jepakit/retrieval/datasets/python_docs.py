"""The built-in corpus, with nothing to download: docstrings of Python's own standard library.

A document is a docstring without its summary; the query is the summary. People wrote both, about the same thing, in
different words. Files are parsed, never imported.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from jepakit.datasets.standard_library import library_folder, no_garbage_collection, parse_source, source_files
from jepakit.errors import DataError
from jepakit.retrieval.data import Pairs, Queries, RetrievalDataset
from jepakit.retrieval.datasets.chunks import sentence_spans, word_spans
from jepakit.retrieval.datasets.splits import split_by_document
from jepakit.search.documents import Documents

_FRACTIONS = {"train": 0.7, "dev": 0.1, "test": 0.2}
_MIN_QUERY_WORDS, _MIN_DOCUMENT_WORDS = 3, 8


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

    The result is the same in every process; other versions of Python have other docstrings.

    Raises:
        DataError: the interpreter has no such source files (some distributions leave them out).
    """
    with no_garbage_collection():
        docstrings = list(_docstrings())
    if not docstrings:
        raise DataError("no docstrings", file=library_folder(), expected="the source files of the standard library")
    documents = Documents(
        ids=tuple(docstring.name for docstring in docstrings),
        texts=tuple(docstring.body for docstring in docstrings),
        titles=("",) * len(docstrings),
        metadata=tuple({"module": docstring.module, "kind": docstring.kind} for docstring in docstrings),
        source=tuple(docstring.module for docstring in docstrings),
    )
    rows = range(len(docstrings))
    return RetrievalDataset(
        name="python",
        documents=documents,
        queries=Queries(documents.ids, tuple(docstring.summary for docstring in docstrings)),
        splits=split_by_document(Pairs.of(rows, rows), documents, _FRACTIONS, seed=0),
        origin=f"docstrings of the standard library of Python {sys.version.split()[0]}: summary -> the rest, "
        "divided by module into train, dev and test (70, 10, 20 %)",
        labelled=False,
    )


def _docstrings() -> Iterator[_Docstring]:
    """Those that are long enough, and whose name, summary and body are new."""
    root = library_folder()
    modules = sorted((path.removesuffix("/__init__").replace("/", "."), file) for path, file in source_files(root))
    names, summaries, bodies = set[str](), set[str](), set[str]()
    for module, file in modules:
        tree = parse_source(file)
        for name, kind, text in _documented(tree, module) if tree else ():
            spans = sentence_spans(text)
            if not spans:
                continue
            start, end = spans[0]
            summary, body = " ".join(text[start:end].split()), text[end:].strip()
            if name in names or summary in summaries or body in bodies:
                continue
            if len(word_spans(summary)) >= _MIN_QUERY_WORDS and len(word_spans(body)) >= _MIN_DOCUMENT_WORDS:
                names.add(name)
                summaries.add(summary)
                bodies.add(body)
                yield _Docstring(name, module, kind, summary, body)


def _documented(tree: ast.Module, module: str) -> Iterator[tuple[str, str, str]]:
    """Name, kind and docstring, outermost first, in the order of the text."""
    pending: list[tuple[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, str]] = [(tree, module)]
    while pending:
        node, name = pending.pop()
        kind = {"Module": "module", "ClassDef": "class"}.get(type(node).__name__, "function")
        if text := ast.get_docstring(node, clean=True):
            yield name, kind, text
        if kind != "function":
            pending += [
                (child, f"{name}.{child.name}")
                for child in reversed(node.body)
                if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            ]
