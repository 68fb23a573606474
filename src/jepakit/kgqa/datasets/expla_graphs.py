"""ExplaGraphs: does an argument support or counter a belief? Each pair has a graph of common sense that explains it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from jepakit.errors import DataError
from jepakit.files import numbered_lines
from jepakit.kgqa.data import KnowledgeGraph, Subgraph
from jepakit.kgqa.datasets.triples import COLUMNS, graph_of_names

LABELS = ("support", "counter")
_HEADER = ["arg1", "arg2", "label", "graph"]
_TRIPLE = re.compile(r"\(([^;()]+);([^;()]+);([^;()]+)\)")


@dataclass(frozen=True)
class ExplaGraphs:
    """Pairs of arguments; with P pairs:

    Args:
        graph: all explanations together; an entity is a concept, which several explanations may use.
        beliefs: the first arguments, P.
        arguments: the second ones.
        labels: of `LABELS`.
        subgraphs: the explanation of each pair, with its own triples alone.
    """

    graph: KnowledgeGraph
    beliefs: tuple[str, ...]
    arguments: tuple[str, ...]
    labels: tuple[str, ...]
    subgraphs: tuple[Subgraph, ...]

    def __len__(self) -> int:
        return len(self.labels)


def load_expla_graphs(file: Path) -> ExplaGraphs:
    """Lines ``arg1<TAB>arg2<TAB>label<TAB>(head; relation; tail)(head; relation; tail)`` below a header (Saha et al.
    2021), as G-Retriever distributes them.

    Raises:
        DataError: a line has another form; names file and line.
    """
    pairs: list[tuple[str, str, str]] = []
    triples: list[tuple[str, str, str]] = []
    counts: list[int] = []
    for line, text in numbered_lines(file):
        cells = text.rstrip("\r\n").split("\t")
        if not text.strip() or (line == 1 and cells == _HEADER):
            continue
        if len(cells) != len(_HEADER):
            raise DataError("not a pair", file=file, line=line, value=text.strip(), expected=", ".join(_HEADER))
        if cells[2] not in LABELS:
            expected = " or ".join(LABELS)
            raise DataError("no such label", file=file, line=line, field="label", value=cells[2], expected=expected)
        found = [(head.strip(), kind.strip(), tail.strip()) for head, kind, tail in _TRIPLE.findall(cells[3])]
        rest = _TRIPLE.sub("", cells[3]).strip()
        if rest or not found or not all(map(all, found)):
            expected = "(head; relation; tail)(head; relation; tail)..."
            raise DataError("not a graph", file=file, line=line, field="graph", value=cells[3], expected=expected)
        pairs.append((cells[0], cells[1], cells[2]))
        triples += found
        counts.append(len(found))
    if not pairs:
        raise DataError("there are no pairs", file=file, expected=f"lines of {', '.join(_HEADER)}")
    columns = zip(COLUMNS, zip(*triples, strict=True), strict=True)
    table = pa.table({name: pa.array(list(values), pa.large_utf8()) for name, values in columns})
    graph = graph_of_names("expla_graphs", table)
    kinds = {relation.name: row for row, relation in enumerate(graph.relations)}
    heads, tails = (graph.find([triple[place] for triple in triples]) for place in (0, 2))
    rows = np.stack([heads, [kinds[kind] for _, kind, _ in triples], tails], 1)
    parts = np.split(rows, np.cumsum(counts)[:-1])
    beliefs, arguments, labels = zip(*pairs, strict=True)
    return ExplaGraphs(graph, beliefs, arguments, labels, tuple(map(_subgraph, parts)))


def _subgraph(rows: np.ndarray) -> Subgraph:
    """The subgraph of some triples of the graph, ``[m, 3]``; its entities ascend."""
    entities, place = np.unique(rows[:, [0, 2]], return_inverse=True)
    head, tail = place.reshape(-1, 2).T
    return Subgraph(entities, np.stack([head, rows[:, 1], tail], 1))
