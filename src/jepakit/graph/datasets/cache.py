"""Datasets that take seconds to build, kept as safetensors in the user's cache folder.

The cache is never needed: a file that is missing, damaged or written by another build is built again, and a folder that
cannot be written to only costs the time.
"""

import json
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from jepakit.cache import cache_folder
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

    The file is written beside its final place and moved there, so that no reader ever sees half of it, and carries a
    checksum, so that one with a flipped bit is built again too.
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
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError):
        return None
    header = metadata.get("header", "")
    return (tensors, json.loads(header)) if metadata.get("checksum") == _checksum(tensors, header) else None


def _write(file: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    text = json.dumps(header, sort_keys=True)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as beside:
            unfinished = Path(beside) / file.name
            save_file(tensors, unfinished, metadata={"header": text, "checksum": _checksum(tensors, text)})
            unfinished.replace(file)
    except (SafetensorError, OSError):
        # Safetensors reports a full disk or a read-only folder as its own error; either way the data are in memory.
        return


def _checksum(tensors: dict[str, Tensor], header: str) -> str:
    value = zlib.crc32(header.encode())
    for name in sorted(tensors):
        value = zlib.crc32(tensors[name].numpy().data, zlib.crc32(name.encode(), value))
    return f"{value:08x}"
