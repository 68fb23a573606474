"""Lightning checkpoints without pickles: tensors as safetensors, everything else as JSON in the same file's header."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from pytorch_lightning.plugins.io import CheckpointIO
from torch import Tensor

from jepakit.errors import ModelError
from jepakit.files import parse_json, reading
from jepakit.files.tensors import read_tensors, write_tensors

_TENSOR, _PAIRS, _TUPLE = "__tensor__", "__pairs__", "__tuple__"


def write_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Writes a nested structure of tensors, numbers, strings, lists and mappings, atomically.

    Raises:
        ModelError: a value has another type, which would need a pickle, or the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    write_tensors(path, tensors, {"skeleton": json.dumps(_flatten(checkpoint, "checkpoint", tensors))})


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads what `write_checkpoint` wrote, on the CPU.

    Raises:
        ModelError: the file is missing or damaged.
    """
    way_out = "a whole checkpoint; delete it, and --resume begins the run again"
    tensors, metadata = read_tensors(path, expected=way_out)
    with reading(path, ModelError, expected=way_out):
        return _unflatten(parse_json(metadata["skeleton"], finite=False), tensors.__getitem__)


class SafetensorsCheckpointIO(CheckpointIO):
    """Makes Lightning write its checkpoints in this format."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """See `write_checkpoint`."""
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """See `read_checkpoint`."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Deletes the file, if there is one."""
        Path(path).unlink(missing_ok=True)


def _flatten(value: Any, key: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        # A copy, since two names for one storage are refused by the format.
        tensors[key] = value.detach().to("cpu", copy=True).contiguous()
        return {_TENSOR: key}
    if isinstance(value, Mapping):
        # JSON knows only string keys; an optimiser's state is keyed by integers.
        entries = cast(Mapping[Any, Any], value)
        return {_PAIRS: [[k, _flatten(v, f"{key}.{k}", tensors)] for k, v in entries.items()]}
    if isinstance(value, (list, tuple)):
        items = [_flatten(v, f"{key}.{i}", tensors) for i, v in enumerate(cast(list[Any], value))]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (torch.device, torch.dtype, Path)):
        return str(value)
    raise ModelError(f"{key} holds a {type(value).__name__}, which a checkpoint cannot keep without a pickle")


def _unflatten(value: Any, tensor: Callable[[str], Tensor]) -> Any:
    if isinstance(value, list):
        return [_unflatten(item, tensor) for item in cast(list[Any], value)]
    if not isinstance(value, dict):
        return value
    entry = cast(dict[str, Any], value)
    if _TENSOR in entry:
        return tensor(entry[_TENSOR])
    if _TUPLE in entry:
        return tuple(_unflatten(item, tensor) for item in entry[_TUPLE])
    return {k: _unflatten(v, tensor) for k, v in entry[_PAIRS]}
