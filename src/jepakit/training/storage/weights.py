"""A module's state in a safetensors file: tied tensors once, and a readable account of weights that do not fit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from jepakit.errors import ModelError
from jepakit.files import parse_json, reading
from jepakit.files.tensors import read_header, read_tensors, write_tensors


def write_weights(module: nn.Module, file: Path) -> None:
    """Writes the module's state; a tensor with several names is stored once, its names in the header.

    Raises:
        ModelError: a part of the state is no tensor, a lazy parameter has no values yet, or the file cannot be written.
    """
    stored: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first_name: dict[tuple[object, ...], str] = {}
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise ModelError(f"{name} of the encoder's state is {type(value).__name__}; only tensors can be saved")
        if is_lazy(value):
            raise ModelError(f"{name} has no values yet; run one batch through the encoder before you save it")
        identity = (value.device, value.data_ptr(), value.dtype, value.shape, value.stride())
        kept = first_name.setdefault(identity, name) if value.numel() else name
        if kept == name:
            # A view of a larger tensor would be refused by safetensors, or drag the whole of it into the file.
            stored[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        else:
            aliases[name] = kept
    write_tensors(file, stored, {"format": "pt", "aliases": json.dumps(aliases)})


def read_weights(file: Path) -> dict[str, Tensor]:
    """Reads what `write_weights` wrote: every name of the state, on the CPU.

    Raises:
        ModelError: the file is damaged or no safetensors file, or a weight is NaN.
    """
    stored, metadata = read_tensors(file)
    for name, tensor in stored.items():
        if tensor.is_floating_point() and bool(tensor.isnan().any()):
            way_out = "the training that wrote it diverged; train again with a smaller learning rate"
            raise ModelError(f"{file}: {name} holds NaN: {way_out}")
    with reading(file, ModelError):
        return stored | {name: stored[kept] for name, kept in _aliases(metadata).items()}


def read_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that `read_weights` gives, from the header alone.

    Raises:
        ModelError: the file is damaged or no safetensors file.
    """
    shapes, metadata = read_header(file)
    with reading(file, ModelError):
        return shapes | {name: shapes[kept] for name, kept in _aliases(metadata).items()}


def require_shapes(module: nn.Module, shapes: Mapping[str, tuple[int, ...]], file: Path) -> None:
    """Checks that the state of ``module`` has exactly the tensors that ``file`` has.

    Raises:
        ModelError: they belong to another architecture; the message names the first few tensors that differ.
    """
    built = module.state_dict()
    differences = {
        "missing": [name for name in built if name not in shapes],
        "unexpected": sorted(shapes.keys() - built.keys()),
        "of another shape": [
            f"{name} {shapes[name]} where {tuple(tensor.shape)} belongs"
            for name, tensor in built.items()
            # A lazy parameter has no shape before it is given one.
            if name in shapes and not is_lazy(tensor) and tuple(tensor.shape) != shapes[name]
        ],
    }
    if any(differences.values()):
        details = "; ".join(
            f"{kind}: {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            for kind, names in differences.items()
            if names
        )
        raise ModelError(f"{file}: the weights do not fit {type(module).__qualname__}: {details}")


def _aliases(metadata: Mapping[str, str]) -> dict[str, str]:
    return parse_json(metadata.get("aliases", "{}"))
