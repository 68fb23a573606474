"""Reads graph sets in the TU text format: ``NAME_A.txt``, ``NAME_graph_indicator.txt`` and optional files.

Reference: Morris et al. 2020, "TUDataset", https://chrsmrrs.github.io/datasets.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from jepakit.errors import DataError
from jepakit.files import reading
from jepakit.graph.data import GraphDataset, Graphs, Origins, Task
from jepakit.graph.datasets.download import named_set
from jepakit.graph.datasets.edges import add_missing_reverses, drop_repeats
from jepakit.graph.datasets.tables import MAX_FLOAT, Block, joined, one_hot, standardise
from jepakit.graph.vocabulary import CONSTANT, Attribute, Vocabulary, unknown_value

_LOG = logging.getLogger(__name__)

_MAX_EXACT = 2**53
"""Up to here float64 holds every whole number."""


@dataclass(frozen=True)
class _Table:
    """The numbers of one file, ``[rows, columns]``."""

    path: Path
    values: np.ndarray


def load_tu(path: str | Path, *, vocabulary: Vocabulary | None = None) -> GraphDataset:
    """Loads a folder in the TU format.

    - ``x``: node labels one-hot, then node attributes standardised over the whole set; without either, ones.
    - ``edge_attr``: edge labels and edge attributes likewise, or None.
    - Edges: self-loops and exact repeats are dropped; missing reverses are added.
    - Ids and labels are whole numbers, which may be written as floats (``1.0``).
    - Node ids that restart in each graph are refused.
    - ``y``: graph labels as classes in ascending order, with the original labels in ``label_names``; or else graph
      attributes unchanged, ``[G, T]``, ``nan`` where unlabelled; or else None.

    Args:
        path: the folder that holds ``NAME_A.txt``, or the parent of such a folder named ``raw``.
        vocabulary: that of an encoder; a label that is not in it is refused with its line.

    Raises:
        DataError: a file is missing or inconsistent with the others, a value is not a finite number, or a label is not
            in the vocabulary.
    """
    folder, name = named_set(Path(path), "", "_A.txt")
    stem = f"{folder / name}_"
    indicator = _read(Path(f"{stem}graph_indicator.txt"), int, columns=1)
    edge_list = _read(Path(f"{stem}A.txt"), int, columns=2)
    graph_of_node = indicator.values[:, 0] - 1
    y, task, label_names = _graph_targets(stem, indicator)
    edge_index = _check_edges(edge_list, graph_of_node)
    x, nodes = _features(f"{stem}node", indicator, vocabulary.nodes if vocabulary else ())
    edge_attr, edge_names = _features(f"{stem}edge", edge_list, vocabulary.edges if vocabulary else ())
    edges = drop_repeats((edge_index, edge_attr), len(graph_of_node))
    edge_index, edge_attr = add_missing_reverses(edges, len(graph_of_node))
    graphs = Graphs.pack(
        np.ones((len(graph_of_node), 1), dtype=np.float32) if x is None else x,
        edge_index,
        np.bincount(graph_of_node),
        edge_attr=edge_attr,
        y=y,
        vocabulary=Vocabulary(nodes or (Attribute(CONSTANT, "numbers", 1),), edge_names),
        field_name=name,
    )
    rows = range(1, len(graphs) + 1)
    origins = Origins.of_all(file=[str(folder)] * len(graphs), row=rows)
    return GraphDataset(name, graphs, task, label_names, source="TU-format files", origins=origins)


def _graph_targets(stem: str, indicator: _Table) -> tuple[np.ndarray | None, Task, tuple[str, ...]]:
    labels, attributes = Path(f"{stem}graph_labels.txt"), Path(f"{stem}graph_attributes.txt")
    if labels.exists():
        table = _read(labels, int, columns=1)
        _check_indicator(indicator, table)
        classes, y = np.unique(table.values[:, 0], return_inverse=True)
        return y.astype(np.int64), "graph classification", tuple(str(label) for label in classes)
    if attributes.exists():
        table = _read(attributes, float)
        _check_indicator(indicator, table)
        _refuse(np.abs(table.values) > MAX_FLOAT, table, "a graph attribute is not a finite number")
        columns = tuple(f"attribute {column + 1}" for column in range(table.values.shape[1]))
        return table.values.astype(np.float32), "graph regression", columns
    _check_indicator(indicator, None)
    return None, "none", ()


def _check_indicator(indicator: _Table, targets: _Table | None) -> None:
    """Checks that graph ids ascend from 1 without gaps, and that ``targets`` has a row for each."""
    ids = indicator.values[:, 0]
    if ids.size == 0:
        raise DataError("the file is empty", file=indicator.path, expected="the graph id of each node, from 1")
    steps = np.diff(ids, prepend=0)
    _refuse((np.arange(len(ids)) == 0) & (ids != 1), indicator, "graph ids do not start at 1", "1")
    invalid = (steps < 0) | (steps > 1)
    if invalid.any():
        before = ids[invalid.argmax() - 1]
        problem = "graph ids descend" if steps[invalid.argmax()] < 0 else f"graph {before + 1} has no nodes"
        _refuse(invalid, indicator, problem, f"{before} or {before + 1}")
    if targets is None:
        return
    if len(targets.values) > ids[-1]:
        expected = f"nodes of each of the {len(targets.values)} graphs in {targets.path.name}"
        raise DataError(f"graph {ids[-1] + 1} has no nodes", file=indicator.path, expected=expected)
    _check_length(targets, int(ids[-1]), indicator)


def _check_edges(edge_list: _Table, graph_of_node: np.ndarray) -> np.ndarray:
    """The edges as ``[2, E]`` node ids from 0."""
    num_nodes, values = len(graph_of_node), edge_list.values
    problem = "an edge names a node that does not exist"
    expected = f"node ids from 1 to {num_nodes}, the number of lines of the graph indicator"
    _refuse((values < 1) | (values > num_nodes), edge_list, problem, expected)
    edge_index = np.ascontiguousarray(values.T - 1)
    owner = graph_of_node[edge_index]
    crossing = owner[0] != owner[1]
    _check_restart(edge_list, graph_of_node, crossing=bool(crossing.any()))
    if crossing.any():
        row = int(crossing.argmax())
        problem = f"an edge joins two graphs, {owner[0, row] + 1} and {owner[1, row] + 1}"
        ends, line = values[row].tolist(), _line_of(edge_list, row)
        raise DataError(problem, file=edge_list.path, line=line, value=ends, expected="both ends in one graph")
    return edge_index


def _check_restart(edge_list: _Table, graph_of_node: np.ndarray, *, crossing: bool) -> None:
    """Refuses node ids that restart from 1 in each graph, and says so where that is only possible.

    Restarted ids are at most the size of the largest graph. Then edges join two graphs, or repeat while later graphs
    have none.
    """
    sizes, values = np.bincount(graph_of_node), edge_list.values
    if len(sizes) < 2 or not values.size or values.max() > sizes.max():
        return
    joined = np.bincount(graph_of_node[values[:, 0] - 1], minlength=len(sizes))
    bare = (sizes > 1) & (joined == 0)
    problem = "node ids restart in each graph"
    if crossing or (bare.any() and len(np.unique(values, axis=0)) < len(values)):
        expected = f"ids that go on over all graphs, from 1 to {len(graph_of_node)}"
        raise DataError(problem, file=edge_list.path, value=f"no id above {values.max()}", expected=expected)
    if bare.any():
        possible = f"perhaps {problem}: no id is above {values.max()}, and {bare.sum()} graphs have no edges"
        _LOG.warning("%s: %s; they have to go on from 1 to %d", edge_list.path, possible, len(graph_of_node))


def _features(stem: str, owners: _Table, known: Sequence[Attribute]) -> tuple[np.ndarray | None, tuple[Attribute, ...]]:
    """Labels one-hot, then attributes standardised, and what they are; ``owners`` has a row per node or edge."""
    blocks: list[Block] = []
    labels, attributes = Path(f"{stem}_labels.txt"), Path(f"{stem}_attributes.txt")
    if labels.exists():
        table = _read(labels, int)
        _check_length(table, len(owners.values), owners)
        for place, column in enumerate(table.values.T, start=1):
            blocks.append(one_hot("label" if place == 1 else f"label {place}", column))
            _refuse_unknown(table, column, blocks[-1][1], known)
    if attributes.exists():
        table = _read(attributes, float)
        _check_length(table, len(owners.values), owners)
        _refuse(~np.isfinite(table.values), table, "an attribute is not a finite number")
        blocks.append(standardise("attributes", table.values))
    return joined(blocks)


def _refuse_unknown(table: _Table, column: np.ndarray, own: Attribute, known: Sequence[Attribute]) -> None:
    trained = next((one for one in known if (one.name, one.kind) == (own.name, "categories")), None)
    if trained is None or trained.unknown:
        return
    for value in own.values:
        if value not in trained.values:
            row = int((column == int(value)).argmax())
            raise unknown_value(trained, value, file=table.path, line=_line_of(table, row))


def _read(path: Path, kind: type[int] | type[float], columns: int | None = None) -> _Table:
    """Reads comma-separated numbers; ``columns`` defaults to the number in the first line."""
    with reading(path), path.open(encoding="utf-8-sig", errors="replace") as lines:
        first = next((line.strip() for line in lines if line.strip()), "")
    width = columns or first.count(",") + 1
    if not first:
        return _Table(path, np.empty((0, width), dtype=np.dtype(kind)))
    names = [str(column) for column in range(width)]
    try:
        return _Table(path, _parse(path, names, pa.int64() if kind is int else pa.float64()))
    except pa.ArrowInvalid as error:
        whole = _parse_whole_floats(path, names) if kind is int else None
        if whole is None:
            raise _bad_line(path, kind, width, str(error)) from None
        return _Table(path, whole)


def _parse(path: Path, names: list[str], kind: pa.DataType) -> np.ndarray:
    table = csv.read_csv(
        path,
        read_options=csv.ReadOptions(column_names=names),
        parse_options=csv.ParseOptions(quote_char=False),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, kind), null_values=[], strings_can_be_null=False
        ),
    )
    return np.stack([column.to_numpy() for column in table.columns], axis=1)


def _parse_whole_floats(path: Path, names: list[str]) -> np.ndarray | None:
    """Whole numbers that are written as floats (``1.0``, ``1e+00``), as numpy does, or None where they are none."""
    try:
        values = _parse(path, names, pa.float64())
    except pa.ArrowInvalid:
        return None
    exact = np.abs(values) <= _MAX_EXACT
    return values.astype(np.int64) if exact.all() and (values == np.round(values)).all() else None


def _bad_line(path: Path, kind: type[int] | type[float], width: int, reason: str) -> DataError:
    """The error for the first line of a file that is not ``width`` numbers."""
    number_kind = "a whole number" if kind is int else "a number"
    for number, line in _filled_lines(path):
        values = line.split(",")
        if len(values) != width:
            expected = f"{width} values, comma-separated" if width > 1 else "one value"
            return DataError("wrong number of values", file=path, line=number, value=line, expected=expected)
        for value in values:
            if not _is_number(kind, value):
                return DataError(f"not {number_kind}", file=path, line=number, value=value.strip())
    return DataError(f"cannot be read: {reason}", file=path, expected=f"{number_kind} in each of {width} columns")


def _is_number(kind: type[int] | type[float], value: str) -> bool:
    try:
        kind(value)
    except ValueError:
        try:
            return float(value).is_integer() and abs(float(value)) <= _MAX_EXACT
        except ValueError:
            return False
    return True


def _filled_lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, with their numbers. Arrow skips blank lines too."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def _line_of(table: _Table, row: int) -> int:
    return _filled_lines(table.path)[row][0]


def _check_length(table: _Table, rows: int, owners: _Table) -> None:
    if (lines := len(table.values)) != rows:
        expected = f"{rows}, the number in {owners.path.name}"
        raise DataError("wrong number of lines", file=table.path, value=lines, expected=expected)


def _refuse(bad: np.ndarray, table: _Table, problem: str, expected: str | None = None) -> None:
    if bad.any():
        row, *column = np.argwhere(bad)[0]
        value = table.values[row, column or 0].item()
        raise DataError(problem, file=table.path, line=_line_of(table, row), value=value, expected=expected)
