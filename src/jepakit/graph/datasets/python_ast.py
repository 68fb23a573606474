"""The built-in dataset, with nothing to download: syntax trees of the functions in Python's own standard library.

A graph is a function or method, its label the package it comes from (asyncio, email, tkinter, ...). Nodes carry the
kind of syntax and nothing that somebody named: names and values would give the package away. What is left is how the
people behind each package write code.
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
from jepakit.errors import ConfigError, DataError
from jepakit.graph.data import GraphDataset, Graphs
from jepakit.graph.datasets.tensors import dataset_from_tensors, dataset_to_tensors

_CACHE_VERSION = 1
_MOST_PACKAGES = 10
_FEWEST_FUNCTIONS = 80

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
"""Columns of ``x``: classes of `ast`, with patterns in one, constants by type (`constant`: None, bytes and what is no
string or number), asynchronous statements as their plain forms, and what later versions of Python add as `other`."""

EDGE_ROLES: tuple[str, ...] = ("child", "parent", "next sibling", "previous sibling")
"""Columns of ``edge_attr``: what the edge's target is to its source."""

_KIND = {name: column for column, name in enumerate(NODE_KINDS)}
_PLAIN_FORM = {"AsyncFunctionDef": "FunctionDef", "AsyncFor": "For", "AsyncWith": "With", "TryStar": "Try"}
_CONSTANT_KIND: dict[type, str] = {str: "string", int: "number", float: "number", complex: "number"}
# Operators and load/store contexts say little that the parent's kind and place do not, and would double the tree.
_NO_NODES = (ast.expr_context, ast.boolop, ast.operator, ast.unaryop, ast.cmpop)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

_Tree = tuple[tuple[int, ...], tuple[int, ...]]
"""Columns of `NODE_KINDS` and parents (-1 for the root), a node each, in the order of the text."""


def load_python(*, max_graphs: int = 3000, min_nodes: int = 8, max_nodes: int = 200) -> GraphDataset:
    """Graph classification on the standard library of the running interpreter: which package is a function from?

    Every function and method of its packages is one tree (functions inside it belong to it; test folders are left
    out), of two equal trees the first stays. The classes are the largest packages, ten at most, each with at least 80
    functions, from each of which as many are taken, evenly spaced, as make ``max_graphs`` in all. Python 3.11 gives
    3000 graphs in ten classes of 300, each of 8 to 200 nodes, 44 in the mean.

    Trees, labels and their order are the same wherever the library's files are; another version of Python has other
    files. The result is kept in the user's cache folder.

    Args:
        max_graphs: the most graphs to take; a package with less than its share leaves the set smaller.
        min_nodes: the fewest nodes a tree may have; the smallest trees occur in every package.
        max_nodes: the most nodes a tree may have.

    Returns:
        ``x`` is one-hot over `NODE_KINDS`, ``edge_attr`` over `EDGE_ROLES`, ``y`` ``[G]`` the package. Each tree of n
        nodes has n - 1 edges from parent to child, as many back, and two between neighbouring children of a node.

    Raises:
        ConfigError: fewer than 10 graphs, or no sizes between ``min_nodes`` and ``max_nodes``.
        DataError: the interpreter has no such source files (some distributions leave them out).
    """
    if max_graphs < _MOST_PACKAGES:
        raise ConfigError("max_graphs", max_graphs, f"at least {_MOST_PACKAGES}, one a class")
    if min_nodes < 1:
        raise ConfigError("min_nodes", min_nodes, "at least 1")
    if max_nodes < min_nodes:
        raise ConfigError("max_nodes", max_nodes, f"at least min_nodes ({min_nodes})")
    root = library_folder()
    files = [(path, file) for path, file in source_files(root) if "/" in path]
    listing = [(f"{path}.py", file.stat().st_size) for path, file in files]
    identity = repr((_CACHE_VERSION, sys.version, listing, max_graphs, min_nodes, max_nodes))
    key = f"python-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
    stored = cached_tensors(key, lambda: dataset_to_tensors(_build(root, files, max_graphs, min_nodes, max_nodes)))
    return dataset_from_tensors(*stored)


def _build(root: Path, files: list[tuple[str, Path]], max_graphs: int, min_nodes: int, max_nodes: int) -> GraphDataset:
    package_of: dict[_Tree, str] = {}
    for name, path in files:
        for tree in _trees(path, min_nodes, max_nodes):
            package_of.setdefault(tree, name.partition("/")[0])
    by_package: dict[str, list[_Tree]] = {}
    for tree, package in package_of.items():
        by_package.setdefault(package, []).append(tree)
    enough = {name: trees for name, trees in by_package.items() if len(trees) >= _FEWEST_FUNCTIONS}
    names = sorted(sorted(enough, key=lambda name: (-len(enough[name]), name))[:_MOST_PACKAGES])
    if len(names) < 2:
        raise DataError(
            f"fewer than two packages with {_FEWEST_FUNCTIONS} functions of {min_nodes} to {max_nodes} nodes",
            file=root,
            expected="the source files of the standard library, and sizes that its functions have",
        )
    chosen = [_evenly(enough[name], max_graphs // len(names)) for name in names]
    sizes = torch.tensor([len(trees) for trees in chosen])
    return GraphDataset(
        name="python",
        graphs=_pack([tree for trees in chosen for tree in trees], owners(sizes)),
        task="graph classification",
        label_names=tuple(names),
        source=f"functions of the standard library of Python {sys.version.split()[0]}, labelled by package",
    )


def _trees(path: Path, min_nodes: int, max_nodes: int) -> Iterator[_Tree]:
    module = parse_source(path)
    for function in _outermost_functions(module) if module else ():
        kinds, parents = _flatten(function)
        if min_nodes <= len(kinds) <= max_nodes:
            yield kinds, parents


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


def _evenly(trees: list[_Tree], most: int) -> list[_Tree]:
    count = min(most, len(trees))
    return [trees[i * len(trees) // count] for i in range(count)]


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
        x=torch.from_numpy(np.eye(len(NODE_KINDS), dtype=np.float32)[kinds]),
        edge_index=torch.from_numpy(edge_index),
        nodes_per_graph=torch.from_numpy(sizes),
        edge_attr=torch.from_numpy(np.eye(len(EDGE_ROLES), dtype=np.float32)[role]),
        y=y,
        field_name="python",
    )
