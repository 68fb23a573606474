"""The built-in dataset, with nothing to download: syntax trees of the functions in Python's own standard library.

A graph is a function or method, its label the package it comes from (asyncio, email, tkinter, ...). The feature of a
node is its kind of syntax. Names and values are left out, because they would reveal the package.
"""

import ast
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jepakit.core.packed import owners
from jepakit.datasets.cache import cached_tensors
from jepakit.datasets.standard_library import library_folder, parse_source, source_files
from jepakit.errors import DataError
from jepakit.graph.data import GraphDataset, Graphs
from jepakit.graph.datasets.tensors import dataset_from_tensors, dataset_to_tensors
from jepakit.graph.vocabulary import Attribute, Vocabulary

_CACHE_VERSION = 2
_MOST_PACKAGES = 10
_FEWEST_FUNCTIONS = 80
_MAX_GRAPHS = 3000
# The smallest trees occur in every package.
_MIN_NODES, _MAX_NODES = 8, 200

NODE_KINDS: tuple[str, ...] = (
    # definitions and statements
    *("FunctionDef", "ClassDef", "Lambda", "arguments", "arg", "Return", "Yield", "YieldFrom", "Await"),
    *("Assign", "AugAssign", "AnnAssign", "NamedExpr", "Delete", "Expr", "Pass", "Global", "Nonlocal"),
    *("If", "IfExp", "For", "While", "Break", "Continue", "With", "withitem", "Match", "match_case", "pattern"),
    *("Raise", "Try", "ExceptHandler", "Assert", "Import", "ImportFrom", "alias"),
    # expressions
    *("Call", "keyword", "Attribute", "Subscript", "Slice", "Starred", "Name"),
    *("BoolOp", "BinOp", "UnaryOp", "Compare", "JoinedStr", "FormattedValue"),
    *("Tuple", "List", "Set", "Dict", "ListComp", "SetComp", "DictComp", "GeneratorExp", "comprehension"),
    *("string", "number", "constant"),
    "other",
)
"""Columns of ``x``: classes of `ast`. All patterns are one kind, constants are split by type, asynchronous statements
count as their plain forms, and classes that later versions of Python add as `other`."""

EDGE_ROLES: tuple[str, ...] = ("child", "parent", "next sibling", "previous sibling")
"""Columns of ``edge_attr``: the role of the edge's target for its source."""

_VOCABULARY = Vocabulary(
    (Attribute("kind", "categories", values=NODE_KINDS),), (Attribute("role", "categories", values=EDGE_ROLES),)
)

_KIND = {name: column for column, name in enumerate(NODE_KINDS)}
_PLAIN_FORM = {"AsyncFunctionDef": "FunctionDef", "AsyncFor": "For", "AsyncWith": "With", "TryStar": "Try"}
_CONSTANT_KIND: dict[type, str] = {str: "string", int: "number", float: "number", complex: "number"}
# Operators and load/store contexts follow almost always from the parent's kind, and would double the tree.
_NO_NODES = (ast.expr_context, ast.boolop, ast.operator, ast.unaryop, ast.cmpop)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

_Tree = tuple[tuple[int, ...], tuple[int, ...]]
"""For each node, in the order of the text, its column of `NODE_KINDS` and its parent (-1 for the root)."""


def load_python() -> GraphDataset:
    """Graph classification on the standard library of the running interpreter: which package is a function from?

    Every function and method of its packages is a tree (functions inside it belong to it; test folders are left out),
    of two equal trees the first stays. The classes are the largest packages, ten at most, each with at least 80
    functions of 8 to 200 nodes. From each class the same number of trees is taken, evenly spaced. Python 3.11 gives
    3000 graphs in ten classes of 300, with 44 nodes in the mean.

    ``x`` is one-hot over `NODE_KINDS`, ``edge_attr`` over `EDGE_ROLES`, ``y`` ``[G]`` the package. A tree of n nodes
    has n - 1 edges from parent to child, as many back, and two between neighbouring children of a node. Trees, labels
    and their order depend on the version of Python only. The result is cached in the user's cache folder.

    Raises:
        DataError: the interpreter has no such source files (some distributions leave them out).
    """
    root = library_folder()
    files = [(path, file) for path, file in source_files(root) if "/" in path]
    listing = [(f"{path}.py", file.stat().st_size) for path, file in files]
    identity = repr((_CACHE_VERSION, sys.version, listing))
    key = f"python-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
    stored = cached_tensors(key, lambda: dataset_to_tensors(_build(root, files)))
    return dataset_from_tensors(*stored)


def _build(root: Path, files: list[tuple[str, Path]]) -> GraphDataset:
    package_of: dict[_Tree, str] = {}
    for name, path in files:
        for tree in _trees(path):
            if _MIN_NODES <= len(tree[0]) <= _MAX_NODES:
                package_of.setdefault(tree, name.partition("/")[0])
    by_package: dict[str, list[_Tree]] = {}
    for tree, package in package_of.items():
        by_package.setdefault(package, []).append(tree)
    enough = {name: trees for name, trees in by_package.items() if len(trees) >= _FEWEST_FUNCTIONS}
    names = sorted(sorted(enough, key=lambda name: (-len(enough[name]), name))[:_MOST_PACKAGES])
    if len(names) < 2:
        raise DataError(
            f"fewer than two packages with {_FEWEST_FUNCTIONS} functions of {_MIN_NODES} to {_MAX_NODES} nodes",
            file=root,
            expected="the source files of the standard library",
        )
    counts = [min(_MAX_GRAPHS // len(names), len(enough[name])) for name in names]
    chosen = [
        enough[name][i * len(enough[name]) // count]
        for name, count in zip(names, counts, strict=True)
        for i in range(count)
    ]
    return GraphDataset(
        name="python",
        graphs=_pack(chosen, owners(torch.tensor(counts))),
        task="graph classification",
        label_names=tuple(names),
        source=f"functions of the standard library of Python {sys.version.split()[0]}, labelled by package",
    )


def _trees(path: Path) -> Iterator[_Tree]:
    module = parse_source(path)
    return map(_flatten, _outermost_functions(module)) if module else iter(())


def _outermost_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _FUNCTIONS):
            yield child
        elif not isinstance(child, ast.expr):
            yield from _outermost_functions(child)


def _flatten(function: ast.AST) -> _Tree:
    kinds: list[int] = []
    parents: list[int] = []
    pending = [(function, -1)]
    while pending:
        node, parent = pending.pop()
        here = len(kinds)
        kinds.append(_kind(node))
        parents.append(parent)
        children = [child for child in ast.iter_child_nodes(node) if not isinstance(child, _NO_NODES)]
        pending.extend((child, here) for child in reversed(children))
    return tuple(kinds), tuple(parents)


def _kind(node: ast.AST) -> int:
    if isinstance(node, ast.Constant):
        return _KIND[_CONSTANT_KIND.get(type(node.value), "constant")]
    if isinstance(node, ast.pattern):
        return _KIND["pattern"]
    name = type(node).__name__
    return _KIND.get(_PLAIN_FORM.get(name, name), _KIND["other"])


def _pack(trees: list[_Tree], y: Tensor) -> Graphs:
    sizes = np.array([len(kinds) for kinds, _ in trees])
    kinds = np.concatenate([kinds for kinds, _ in trees])
    within = np.concatenate([parents for _, parents in trees])
    nodes = np.arange(len(kinds))
    parent = np.where(within < 0, -1, within + np.repeat(sizes.cumsum() - sizes, sizes))
    child = nodes[parent >= 0]
    # A stable sort by parent puts the children of a node side by side, in the order of the text.
    siblings = child[np.argsort(parent[child], kind="stable")]
    adjacent = parent[siblings[:-1]] == parent[siblings[1:]]
    left, right = siblings[:-1][adjacent], siblings[1:][adjacent]
    parts = [(parent[child], child), (child, parent[child]), (left, right), (right, left)]
    role = np.repeat(np.arange(len(parts)), [len(source) for source, _ in parts])
    edge_index = np.stack([np.concatenate(ends) for ends in zip(*parts, strict=True)])
    return Graphs.pack(
        x=np.eye(len(NODE_KINDS), dtype=np.float32)[kinds],
        edge_index=edge_index,
        nodes_per_graph=sizes,
        edge_attr=np.eye(len(EDGE_ROLES), dtype=np.float32)[role],
        y=y,
        vocabulary=_VOCABULARY,
        field_name="python",
    )
