"""Datasets that take seconds to build, kept as safetensors in the user's cache folder.

The cache is never needed: a file that is missing, damaged or written by another build is built again, and a folder that
cannot be written to only costs the time.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jepakit.cache import cache_folder
from jepakit.errors import JepakitError, ModelError
from jepakit.files import parse_json, stated_digest
from jepakit.files.tensors import read_tensors, write_tensors
from jepakit.graph.data import GraphDataset, Graphs

__all__ = ["cached_dataset", "cached_tensors", "dataset_from_tensors", "dataset_to_tensors"]

Stored = tuple[dict[str, Tensor], dict[str, Any]]
"""Named CPU tensors and what JSON can hold about them."""


def cached_dataset(key: str, build: Callable[[], GraphDataset]) -> GraphDataset:
    """The dataset in the cache under ``key``, or the one that ``build`` returns, which is then put there.

    Args:
        key: the file's name without its suffix; it must change with everything that the result depends on.
        build: makes the dataset.
    """
    return dataset_from_tensors(*cached_tensors(key, lambda: dataset_to_tensors(build())))


def cached_tensors(key: str, build: Callable[[], Stored]) -> Stored:
    """As `cached_dataset`, for a loader that stores more than its `GraphDataset`.

    The file states its digest, so that one with a flipped bit is built again too.
    """
    file = cache_folder() / f"{key}.safetensors"
    stored = _read(file)
    if stored is None:
        stored = build()
        _write(file, *stored)
    return stored


def dataset_to_tensors(dataset: GraphDataset) -> Stored:
    """What `dataset_from_tensors` turns back into an equal dataset.

    Float tensors of small whole numbers (one-hot features) become bytes, a quarter of the size; the header names them.
    """
    graphs = {f"graphs.{f.name}": getattr(dataset.graphs, f.name) for f in fields(Graphs)}
    splits = {f"splits.{name}": ids for name, ids in dataset.splits.items()}
    tensors: dict[str, Tensor] = {name: value for name, value in {**graphs, **splits}.items() if value is not None}
    as_bytes = {name: value.to(torch.uint8) for name, value in tensors.items() if value.dtype == torch.float32}
    compact = {name: value for name, value in as_bytes.items() if torch.equal(value.float(), tensors[name])}
    header = {
        "name": dataset.name,
        "task": dataset.task,
        "label_names": list(dataset.label_names),
        "source": dataset.source,
        "splits": list(dataset.splits),
        "compact": sorted(compact),
    }
    return {**tensors, **compact}, header


def dataset_from_tensors(tensors: dict[str, Tensor], header: dict[str, Any]) -> GraphDataset:
    """The dataset that `dataset_to_tensors` took apart; tensors under other names are left alone."""
    full = {name: value.float() if name in header["compact"] else value for name, value in tensors.items()}
    return GraphDataset(
        name=header["name"],
        graphs=Graphs(**{f.name: full[f"graphs.{f.name}"] for f in fields(Graphs) if f"graphs.{f.name}" in full}),
        task=header["task"],
        label_names=tuple(header["label_names"]),
        splits={name: full[f"splits.{name}"] for name in header["splits"]},
        source=header["source"],
    )


def _read(file: Path) -> Stored | None:
    try:
        if stated_digest(file) is None:
            return None
        tensors, metadata = read_tensors(file)
        return tensors, parse_json(metadata["header"])
    except (JepakitError, OSError, KeyError, ValueError):
        return None


def _write(file: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    # On a full disk or in a read-only folder the data are in memory all the same.
    with suppress(ModelError):
        write_tensors(file, tensors, {"header": json.dumps(header, sort_keys=True)})
