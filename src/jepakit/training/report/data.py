"""Reads the parts of a run folder that a report shows, and checks them: a damaged file is named with its line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
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
    """embeddings.safetensors: the finite rows ``[N, D]``, labels ``[N]`` (-1: none), and how many were dropped."""

    embedding: Tensor
    label: Tensor | None
    label_names: tuple[str, ...]
    dropped: int


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
    with reading(file, ModelError):
        names = parse_json(metadata.get("label_names", "[]"))
    embedding, label = tensors.get("embedding"), tensors.get("label")
    if embedding is None or embedding.ndim != 2 or not embedding.is_floating_point():
        value = None if embedding is None else f"{embedding.dtype} {tuple(embedding.shape)}"
        raise DataError("is no [N, D] float tensor", file=file, field="embedding", value=value, expected="[N, D] float")
    if label is not None and (label.shape != embedding.shape[:1] or label.is_floating_point()):
        value = f"{label.dtype} {tuple(label.shape)}"
        raise DataError("does not fit", file=file, field="label", value=value, expected=f"[{len(embedding)}] int64")
    finite = torch.isfinite(embedding).all(1)
    return Embeddings(
        embedding[finite].float(),
        None if label is None else label[finite].long(),
        checked(tuple[str, ...], names, file=file, field="label_names"),
        dropped=int((~finite).sum()),
    )
