"""A built-in graph of nodes with labels, with nothing to download: what Python's standard library defines.

A node is a module, class, function or method, its label the package it is from, its features the words of its docstring
and name. It is to a citation network what a call is to a citation: of packages much as of fields.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from jepakit.datasets.python_library import RELATIONS, read_python_library
from jepakit.graph.data import GraphDataset, Graphs
from jepakit.graph.datasets.edges import add_missing_reverses, drop_repeats

#: The relation that tells the label: what a module defines is of its package.
_LEFT_OUT = "defines"
_PACKAGES = 10
#: A word of fewer nodes is no feature.
_FEWEST_NODES = 5
_TRAIN, _VAL, _TEST = 20, 500, 1000
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def load_python_library() -> GraphDataset:
    """Node classification on the standard library of the running interpreter: which package is an entity from?

    - Nodes: those of `jepakit.datasets.python_library.read_python_library` that have a word or an edge.
    - ``x``: the words of the first paragraph of the docstring and of the last part of the name, each row scaled to sum
      1 (a row of zeros is kept). Words of fewer than 5 nodes, and the names of the packages, are left out.
    - Edges: what inherits from, imports, calls or raises what, in both directions, without repeats. That a module
      defines something is left out: it tells the package.
    - ``node_y``: the package, one of the ten largest; -1 for entities of others, which are there for their edges.
    - ``node_ids``: qualified names.
    - ``splits``: at random, always the same: 20 nodes of each class to train, 500 others for validation, 1000 to test.

    Raises:
        DataError: the interpreter has no source files (some distributions leave them out).
    """
    library = read_python_library()
    package = [name.partition(".")[0] for name in library.ids]
    largest = sorted(name for name, _ in Counter(package).most_common(_PACKAGES))
    texts = [f"{text} {name.rpartition('.')[2]}" for name, text in zip(library.ids, library.texts, strict=True)]
    x = _bag_of_words(texts, without=largest)
    head, relation, tail = library.triples.numpy().T
    used = (relation != list(RELATIONS).index(_LEFT_OUT)) & (head != tail)
    pairs = np.stack([head[used], tail[used]])
    kept = np.asarray(x.any(1))
    kept[pairs.ravel()] = True
    nodes = int(kept.sum())
    edges = drop_repeats(((kept.cumsum() - 1)[pairs], None), nodes)
    y = np.array([largest.index(name) if name in largest else -1 for name in package])[kept]
    graphs = Graphs.pack(
        x[kept], add_missing_reverses(edges, nodes)[0], np.array([nodes]), node_y=y, field_name="python-library"
    )
    ids = [name for name, there in zip(library.ids, kept, strict=True) if there]
    about = "node classification", tuple(largest), _splits(y), "Python's standard library"
    return GraphDataset("python-library", graphs, *about, node_ids=ids)


def _bag_of_words(texts: Sequence[str], *, without: Sequence[str]) -> np.ndarray:
    """The share of each word among those of each text, ``[N, V]`` float32; the words in alphabetical order."""
    words = [[word.lower() for word in _WORD.findall(text)] for text in texts]
    counts = Counter(word for listed in words for word in set(listed))
    known = sorted(word for word, count in counts.items() if count >= _FEWEST_NODES and word not in without)
    column = {word: place for place, word in enumerate(known)}
    x = np.zeros((len(texts), len(known)), np.float32)
    pairs = [(row, column[word]) for row, listed in enumerate(words) for word in listed if word in column]
    np.add.at(x, tuple(np.array(pairs, np.int64).reshape(-1, 2).T), 1)
    return x / np.maximum(x.sum(1, keepdims=True), 1)


def _splits(y: np.ndarray) -> dict[str, torch.Tensor]:
    order = np.random.default_rng(0).permutation(np.flatnonzero(y >= 0))
    train = np.concatenate([order[y[order] == label][:_TRAIN] for label in range(_PACKAGES)])
    rest = order[~np.isin(order, train)]
    parts = {"train": train, "val": rest[:_VAL], "test": rest[_VAL : _VAL + _TEST]}
    return {name: torch.from_numpy(rows) for name, rows in parts.items()}
