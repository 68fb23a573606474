"""Reads the parts of a run folder that a report shows, and checks them: a damaged file is named with its line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import compress
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from jepakit.core import Diagnosis
from jepakit.errors import DataError, ModelError
from jepakit.files import parse_json, read_json, read_text, reading
from jepakit.files.tensors import read_tensors
from jepakit.training.checked import checked
from jepakit.training.results import Evaluation, read_evaluation
from jepakit.training.run import RunFolder

T = TypeVar("T")

Metrics = dict[str, np.ndarray]
"""Column of metrics.csv -> epoch and value of each row in which it is filled, ``[n, 2]``; inf and nan are left."""


@dataclass(frozen=True)
class Embeddings:
    """embeddings.safetensors, without the rows that are not finite.

    Args:
        embedding: ``[N, D]``.
        label: ``[N]``, -1 where there is none.
        label_names: names of the classes.
        dropped: how many rows were not finite.
        value: a number of each row, ``[N]``, nan where there is none.
        value_name: what it is.
        titles: of each row, or none at all.
        drawings: of each row, or none at all.
    """

    embedding: Tensor
    label: Tensor | None
    label_names: tuple[str, ...]
    dropped: int
    value: Tensor | None = None
    value_name: str = ""
    titles: tuple[str, ...] = ()
    drawings: tuple[str, ...] = ()

    def facts_of(self, row: int) -> tuple[str, str]:
        """Title and drawing of a row, and its value."""
        title = self.titles[row] if self.titles else ""
        if self.value is not None and np.isfinite(value := float(self.value[row])):
            title += f"\n{self.value_name}: {value:.4g}"
        return title.strip(), self.drawings[row] if self.drawings else ""


@dataclass(frozen=True)
class RunParts:
    """The parts of a run folder; None where the file is missing."""

    folder: RunFolder
    config: str | None
    metrics: Metrics | None
    results: Evaluation | None
    embeddings: Embeddings | None
    diagnosis: Diagnosis | None


def read_run(path: Path) -> RunParts:
    """Reads a run folder.

    Raises:
        DataError: a text file of it is damaged; names the file, the line and the field.
        ModelError: there is no such folder, it holds nothing of a run, or the embeddings cannot be read.
    """
    folder = RunFolder(path)
    if not path.is_dir():
        raise ModelError(f"{path}: there is no run folder here")
    parts = RunParts(
        folder,
        config=_if_there(folder.config, read_text),
        metrics=_if_there(folder.metrics, lambda file: _by_column(folder.read_metrics(), file)),
        results=_if_there(folder.results, read_evaluation),
        embeddings=_if_there(folder.embeddings, _read_embeddings),
        diagnosis=_if_there(folder.diagnosis, lambda file: checked(Diagnosis, read_json(file), file=file)),
    )
    if all(getattr(parts, field.name) is None for field in fields(parts)[1:]):
        raise ModelError(f"{path}: not a run folder (it has no config.yaml, metrics.csv or results.json)")
    return parts


def _if_there(file: Path, read: Callable[[Path], T]) -> T | None:
    return read(file) if file.exists() else None


def _by_column(rows: list[dict[str, str]], file: Path) -> Metrics:
    cells: dict[str, list[tuple[float, float]]] = {}
    for line, row in enumerate(rows, start=2):
        for name, cell in row.items():
            if cell.strip():
                cells.setdefault(name, []).append((float(row["epoch"]), _number(cell, file, line, name)))
    return {name: np.array(column) for name, column in cells.items()}


def _number(cell: str, file: Path, line: int, field: str) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise DataError("is no number", file=file, line=line, field=field, value=cell, expected="a number") from error


def _read_embeddings(file: Path) -> Embeddings:
    tensors, metadata = read_tensors(file)
    texts: dict[str, tuple[str, ...]] = {}
    for name in ("label_names", "titles", "drawings"):
        with reading(file, ModelError):
            content = parse_json(metadata.get(name, "[]"))
        texts[name] = checked(tuple[str, ...], content, file=file, field=name)
    embedding, label, value = tensors.get("embedding"), tensors.get("label"), tensors.get("value")
    if embedding is None or embedding.ndim != 2 or not embedding.is_floating_point():
        found = None if embedding is None else f"{embedding.dtype} {tuple(embedding.shape)}"
        raise DataError("is no [N, D] float tensor", file=file, field="embedding", value=found, expected="[N, D] float")
    count = len(embedding)
    if label is not None and (label.shape != (count,) or label.is_floating_point()):
        found = f"{label.dtype} {tuple(label.shape)}"
        raise DataError("does not fit", file=file, field="label", value=found, expected=f"[{count}] int64")
    if value is not None and (value.shape != (count,) or not value.is_floating_point()):
        found = f"{value.dtype} {tuple(value.shape)}"
        raise DataError("does not fit", file=file, field="value", value=found, expected=f"[{count}] float")
    for name in ("titles", "drawings"):
        if len(texts[name]) not in (0, count):
            raise DataError("does not fit", file=file, field=name, value=len(texts[name]), expected=f"{count} texts")
    finite = torch.isfinite(embedding).all(1)
    kept = finite.tolist()
    return Embeddings(
        embedding[finite].float(),
        None if label is None else label[finite].long(),
        texts["label_names"],
        dropped=int((~finite).sum()),
        value=None if value is None else value[finite].float(),
        value_name=metadata.get("value_name", ""),
        titles=tuple(compress(texts["titles"], kept)),
        drawings=tuple(compress(texts["drawings"], kept)),
    )
