"""Files with a row for each graph or node: Parquet, CSV or npz, as the name of the file says."""

from __future__ import annotations

import csv
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from jepakit.errors import ConfigError
from jepakit.files import whole_file
from jepakit.files.copies import named
from jepakit.graph.data import GraphDataset, Origins

_NODES_AT_ONCE = 1 << 16

Columns = Mapping[str, Sequence[Any]]


def require_known_format(field: str, path: Path) -> None:
    """Raises ConfigError where the name of a file says no format."""
    if path.suffix not in _WRITERS:
        raise ConfigError(field, path, f"a file name that ends in {', '.join(_WRITERS)}")


def graph_rows(dataset: GraphDataset) -> tuple[dict[str, Sequence[Any]], list[int]]:
    """Where each row comes from (``file``, ``row``, ``smiles``, ``id``, ``problem``), and its graph, -1 where none."""
    origins = dataset.origins or Origins.of_all(row=range(1, len(dataset.graphs) + 1))
    graph: list[int] = origins.graph.tolist()
    columns: dict[str, Sequence[Any]] = {"graph": [place if place >= 0 else None for place in graph], **origins.columns}
    if "file" in columns:
        columns["file"] = [named(file) for file in columns["file"]]
    return columns | {"problem": [problem or None for problem in origins.problem]}, graph


def node_rows(dataset: GraphDataset) -> tuple[dict[str, Sequence[Any]], list[int]]:
    """As `graph_rows`, with a row for each node: its graph, its place in the graph, and its id in the file."""
    graphs, owner = dataset.graphs, dataset.graphs.graph_of_node
    node = torch.arange(graphs.num_nodes) - graphs.node_ptr[owner]
    columns: dict[str, Sequence[Any]] = {"graph": owner.tolist(), "node": node.tolist()}
    if dataset.node_ids is not None:
        columns["node_id"] = dataset.node_ids
    return columns, list(range(graphs.num_nodes))


def label_columns(labels: Tensor, names: Sequence[str]) -> dict[str, list[Any]]:
    """``label`` for classes, or ``label NAME`` for each of several; None where there is none."""
    if labels.ndim == 1:
        return {"label": [label if label >= 0 else None for label in labels.tolist()]}
    columns: list[list[float]] = labels.T.tolist()
    return {
        f"label {name}": [None if math.isnan(value) else value for value in column]
        for name, column in zip(names, columns, strict=True)
    }


def placed(values: Sequence[Any], index: Sequence[int]) -> list[Any]:
    """The values in the order of ``index``, None where it is -1."""
    return [None if place < 0 else values[place] for place in index]


def unread_note(index: Sequence[int], of: str) -> str:
    """How many rows could not be read (-1 in ``index``), to end a sentence; empty if all could. ``of``: of which."""
    unread = sum(place < 0 for place in index)
    return f"; {unread} of {of} could not be read and have none" if unread else ""


def write_rows(path: Path, columns: Columns, embedding: Tensor | None = None, index: Sequence[int] = ()) -> None:
    """Writes the columns, and the row of ``embedding`` at each ``index``, whole or not at all.

    Without an embedding (-1) Parquet has null, CSV empty cells (``e0``, ``e1``, ...) and npz NaN.
    """
    matrix = None
    if embedding is not None:
        matrix = np.full((len(index), embedding.shape[1]), np.nan, dtype=np.float32)
        there = np.array(index) >= 0
        matrix[there] = embedding.numpy()[np.array(index)[there]]
    with whole_file(path) as unfinished:
        _WRITERS[path.suffix](unfinished, columns, matrix)


def write_nodes(path: Path, dataset: GraphDataset, embedding: Tensor) -> None:
    """As `write_rows` a row for each node of a single graph, some at a time: ``embedding`` may be a mapped file.

    Raises:
        ConfigError: the file is not to be Parquet.
    """
    if path.suffix != ".parquet":
        raise ConfigError("out", path, "a file name that ends in .parquet for so many nodes")
    kind = pa.list_(pa.float32(), embedding.shape[1])
    with whole_file(path) as unfinished:
        writer: pq.ParquetWriter | None = None
        for first in range(0, len(embedding), _NODES_AT_ONCE):
            rows = slice(first, first + _NODES_AT_ONCE)
            part = embedding[rows]
            columns: dict[str, Any] = {"graph": [0] * len(part), "node": range(first, first + len(part))}
            if dataset.node_ids is not None:
                columns["node_id"] = dataset.node_ids[rows]
            if dataset.graphs.node_y is not None:
                columns |= label_columns(dataset.graphs.node_y[rows], dataset.label_names)
            arrays = {name: pa.array(list(values)) for name, values in columns.items()}
            if "label" in arrays:
                arrays["label"] = arrays["label"].cast(pa.int64())
            arrays["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(part.numpy().reshape(-1)), type=kind)
            table = pa.table(arrays)
            writer = pq.ParquetWriter(unfinished, table.schema) if writer is None else writer
            writer.write_table(table)
        if writer is not None:
            writer.close()


def _write_parquet(file: Path, columns: Columns, matrix: np.ndarray | None) -> None:
    arrays = {name: pa.array(list(values)) for name, values in columns.items()}
    if matrix is not None:
        flat = pa.array(matrix.reshape(-1))
        mask = pa.array(np.isnan(matrix).all(axis=1))
        arrays["embedding"] = pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1], mask=mask)
    pq.write_table(pa.table(arrays), file)


def _write_csv(file: Path, columns: Columns, matrix: np.ndarray | None) -> None:
    width = 0 if matrix is None else matrix.shape[1]
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow([*columns, *(f"e{column}" for column in range(width))])
        for row, values in enumerate(zip(*columns.values(), strict=True)):
            cells = [] if matrix is None else matrix[row].tolist()
            writer.writerow(map(_as_cell, [*values, *cells]))


def _as_cell(value: object) -> object:
    """The digits of a float32, and nothing for None and nan."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.9g}"
    return "" if value is None else value


def _write_npz(file: Path, columns: Columns, matrix: np.ndarray | None) -> None:
    arrays = {name: _plain_array(list(values)) for name, values in columns.items()}
    if matrix is not None:
        arrays["embedding"] = matrix
    # `numpy.savez` takes no array of the name "file".
    with zipfile.ZipFile(file, "w") as out:
        for name, values in arrays.items():
            with out.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


def _plain_array(values: list[Any]) -> np.ndarray:
    """Numbers, or else texts; nan or an empty text for None, since an array of objects would be a pickle."""
    if any(isinstance(value, str) for value in values) or all(value is None for value in values):
        return np.array(["" if value is None else str(value) for value in values])
    return np.array([math.nan if value is None else value for value in values])


_WRITERS: dict[str, Callable[[Path, Columns, np.ndarray | None], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".npz": _write_npz,
}
