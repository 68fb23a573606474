"""Reads the parts of a run folder that a report shows, and checks them: a damaged file is named with its line."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from jepakit.core.diagnostics import Finding
from jepakit.errors import DataError, ModelError
from jepakit.files import parse_json, read_json, read_text, reading
from jepakit.files.tensors import read_tensors
from jepakit.training.report.sections import ReportSection, read_sections
from jepakit.training.result_rows import ResultRow, read_rows
from jepakit.training.run import RunFolder

T = TypeVar("T")


@dataclass(frozen=True)
class Metrics:
    """metrics.csv by column: values ``[rows]``, NaN where a cell is empty, and which cells are filled ``[rows]``."""

    columns: dict[str, np.ndarray]
    filled: dict[str, np.ndarray]

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Epochs and values of the rows in which the column is filled, diverged values (inf, nan) left as they are."""
        filled = self.filled[name]
        return self.columns["epoch"][filled], self.columns[name][filled]


@dataclass(frozen=True)
class Results:
    """results.json."""

    title: str
    summary: tuple[str, ...]
    recommendation: str | None
    rows: tuple[ResultRow, ...]
    sections: tuple[ReportSection, ...]


@dataclass(frozen=True)
class Embeddings:
    """embeddings.safetensors: the finite rows ``[N, D]``, labels ``[N]`` (-1: none), and how many were dropped."""

    embedding: Tensor
    label: Tensor | None
    label_names: tuple[str, ...]
    dropped: int


@dataclass(frozen=True)
class Diagnosed:
    """diagnosis.json."""

    collapsed: bool
    findings: tuple[Finding, ...]
    values: dict[str, float]


@dataclass(frozen=True)
class RunParts:
    """What a run folder holds; None where the file is missing."""

    folder: RunFolder
    config: str | None
    metrics: Metrics | None
    results: Results | None
    embeddings: Embeddings | None
    diagnosis: Diagnosed | None


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
        metrics=_if_there(folder.metrics, _read_metrics),
        results=_if_there(folder.results, _read_results),
        embeddings=_if_there(folder.embeddings, _read_embeddings),
        diagnosis=_if_there(folder.diagnosis, _read_diagnosis),
    )
    if all(part is None for part in (parts.config, parts.metrics, parts.results, parts.embeddings, parts.diagnosis)):
        raise ModelError(f"{path}: not a run folder (it has no config.yaml, metrics.csv or results.json)")
    return parts


def _if_there(file: Path, read: Callable[[Path], T]) -> T | None:
    return read(file) if file.exists() else None


def _read_metrics(file: Path) -> Metrics:
    reader = csv.reader(read_text(file).splitlines())
    header = next(reader, [])
    rows: list[list[str]] = []
    for cells in reader:
        if len(cells) != len(header):
            raise DataError(
                "a row has another number of cells than the header",
                file=file,
                line=reader.line_num,
                value=len(cells),
                expected=str(len(header)),
            )
        rows.append(cells)
    if header and "epoch" not in header:
        raise DataError(
            "there is no such column", file=file, line=1, field="epoch", expected="epoch, step, train/total ..."
        )
    columns = {
        name: np.array([_number(cells[index], file, line, name) for line, cells in enumerate(rows, start=2)])
        for index, name in enumerate(header)
    }
    filled = {name: np.array([bool(cells[index].strip()) for cells in rows]) for index, name in enumerate(header)}
    unnumbered = np.flatnonzero(~np.isfinite(columns["epoch"])) if rows else []
    if len(unnumbered):
        raise DataError("is empty", file=file, line=int(unnumbered[0]) + 2, field="epoch", expected="a whole number")
    return Metrics(columns, filled)


def _number(cell: str, file: Path, line: int, field: str) -> float:
    if not cell.strip():
        return math.nan
    try:
        return float(cell)
    except ValueError as error:
        raise DataError(
            "is not a number", file=file, line=line, field=field, value=cell, expected="a number"
        ) from error


def _text(content: dict[str, object], field: str, file: Path) -> str:
    value = content.get(field)
    if value is not None and not isinstance(value, str):
        raise DataError("is not text", file=file, field=field, value=value, expected="text")
    return value or ""


def _read_results(file: Path) -> Results:
    content = read_json(file)
    summary = content.get("summary", [])
    if not isinstance(summary, list) or not all(isinstance(line, str) for line in summary):
        raise DataError("is not a list of texts", file=file, field="summary", value=summary, expected="a list of texts")
    return Results(
        title=_text(content, "title", file),
        summary=tuple(summary),
        recommendation=_text(content, "recommendation", file) or None,
        rows=read_rows(content.get("rows", []), file=file),
        sections=read_sections(content.get("sections", []), file=file),
    )


def _read_diagnosis(file: Path) -> Diagnosed:
    content = read_json(file)
    collapsed, findings, values = (
        content.get(key, default) for key, default in (("collapsed", None), ("findings", []), ("values", {}))
    )
    if not isinstance(collapsed, bool):
        raise DataError("says not whether", file=file, field="collapsed", value=collapsed, expected="true or false")
    if not isinstance(findings, list):
        raise DataError("is not a list", file=file, field="findings", value=findings, expected="a list")
    if not isinstance(values, dict) or not all(isinstance(v, int | float) for v in values.values()):
        raise DataError(
            "is not a mapping to numbers", file=file, field="values", value=values, expected='{"name": number}'
        )
    return Diagnosed(collapsed, tuple(_finding(f, i, file) for i, f in enumerate(findings)), values)


def _finding(finding: object, index: int, file: Path) -> Finding:
    where = f"findings[{index}]"
    if not isinstance(finding, dict) or not all(
        isinstance(finding.get(key), str) for key in ("what", "advice", "severity")
    ):
        raise DataError(
            "is no finding", file=file, field=where, value=finding, expected="what, advice, severity as texts"
        )
    if finding["severity"] not in ("error", "warning"):
        raise DataError(
            "no such severity",
            file=file,
            field=f"{where}.severity",
            value=finding["severity"],
            expected="error or warning",
        )
    return Finding(finding["what"], finding["advice"], finding["severity"])


def _read_embeddings(file: Path) -> Embeddings:
    tensors, metadata = read_tensors(file)
    with reading(file, ModelError):
        names = parse_json(metadata.get("label_names", "[]"))
    embedding, label = tensors.get("embedding"), tensors.get("label")
    if embedding is None or embedding.ndim != 2 or not embedding.is_floating_point():
        found = None if embedding is None else f"{embedding.dtype} {tuple(embedding.shape)}"
        raise DataError("is no [N, D] float tensor", file=file, field="embedding", value=found, expected="[N, D] float")
    if label is not None and (label.shape != embedding.shape[:1] or label.is_floating_point()):
        found = f"{label.dtype} {tuple(label.shape)}"
        raise DataError("does not fit", file=file, field="label", value=found, expected=f"[{len(embedding)}] int64")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError("is not a list of texts", file=file, field="label_names", value=names, expected="a JSON list")
    finite = torch.isfinite(embedding).all(1)
    return Embeddings(
        embedding[finite].float(),
        None if label is None else label[finite].long(),
        tuple(names),
        dropped=int((~finite).sum()),
    )
