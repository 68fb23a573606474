"""A module's state in a safetensors file: tied tensors once, and a readable account of weights that do not fit."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from jepakit.errors import ModelError
from jepakit.training.whole_file import whole_file

__all__ = ["load_weights", "read_weights", "write_tensors", "write_weights"]


def write_tensors(tensors: Mapping[str, Tensor], file: Path, metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file so that a reader, or a crash, never meets half of it.

    Raises:
        ModelError: it cannot be written; on a full disk, for one.
    """
    with whole_file(file) as partial:
        # safetensors makes files that only their owner can read, whatever the umask says.
        partial.touch()
        mode = partial.stat().st_mode
        save_file(dict(tensors), partial, metadata=dict(metadata))
        partial.chmod(mode)
        # Without it a power cut after the rename can leave the new name with an empty file.
        with partial.open("rb+") as written:
            os.fsync(written.fileno())


def write_weights(module: nn.Module, file: Path) -> None:
    """Writes the module's state; a tensor with several names is stored once and the names are kept in the header.

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
    write_tensors(stored, file, {"format": "pt", "aliases": json.dumps(aliases)})


def read_weights(file: Path) -> dict[str, Tensor]:
    """Reads what `write_weights` wrote: every name of the state, on the CPU.

    Raises:
        ModelError: the file is damaged or no safetensors file.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            stored = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 -- not a mapping
            aliases = json.loads((opened.metadata() or {}).get("aliases", "{}"))
        return stored | {name: stored[kept] for name, kept in aliases.items()}
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"{file}: is damaged or no safetensors file: {error}") from error


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], *, file: Path) -> None:
    """Copies ``weights`` into ``module``, which must have exactly these tensors.

    Raises:
        ModelError: they belong to another architecture; the message names the first few tensors that differ.
    """
    built = module.state_dict()
    differences = {
        "missing": [name for name in built if name not in weights],
        "unexpected": sorted(weights.keys() - built.keys()),
        "of another shape": [
            f"{name} {tuple(weights[name].shape)} where {tuple(tensor.shape)} belongs"
            for name, tensor in built.items()
            # A lazy parameter has no shape before it is given one.
            if name in weights and not is_lazy(tensor) and tensor.shape != weights[name].shape
        ],
    }
    if any(differences.values()):
        told = "; ".join(f"{kind}: {_first_few(names)}" for kind, names in differences.items() if names)
        raise ModelError(f"{file}: holds the weights of another architecture than {type(module).__qualname__}: {told}")
    module.load_state_dict(weights)


def _first_few(names: list[str], limit: int = 3) -> str:
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
