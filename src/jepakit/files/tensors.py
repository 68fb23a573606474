"""Tensors in safetensors files: the same tensors give the same bytes, and the file states its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from jepakit.errors import DataError, ModelError
from jepakit.files.digests import DIGEST, NO_DIGEST, check_digest
from jepakit.files.reading import reading
from jepakit.files.writing import whole_file

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.uint16: "U16",
    torch.uint32: "U32",
    torch.uint64: "U64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.complex64: "C64",
}
_ALIGNMENT = 8


def write_tensors(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file, whole or not at all. Unlike those of the library itself, its bytes depend on nothing
    but the arguments.

    Args:
        file: where to.
        tensors: on any device, of any strides.
        metadata: texts in the header; the digest is added.

    Raises:
        ModelError: a tensor's type is none of the format's, or see `jepakit.files.whole_file`.
    """
    # The largest elements first, so that each tensor begins at a multiple of its element's size.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": {DIGEST: NO_DIGEST, **dict(sorted(metadata.items()))}}
    end = 0
    for name in names:
        tensor = tensors[name]
        if tensor.dtype not in _DTYPES:
            raise ModelError(f"{file}: the tensor {name} is of {tensor.dtype}, which safetensors files cannot hold")
        start, end = end, end + tensor.numel() * tensor.element_size()
        entry = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        header[name] = entry
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % _ALIGNMENT)
    digest = hashlib.sha256()
    with whole_file(file) as unfinished, unfinished.open("wb") as stream:
        for block in chain([len(text).to_bytes(8, "little") + text], (_raw(tensors[name]) for name in names)):
            digest.update(block)
            stream.write(block)
        size = stream.tell()
        stream.seek(8 + text.index(NO_DIGEST.encode()))
        stream.write(digest.hexdigest().encode())
        stream.flush()
        written = unfinished.stat().st_size
        if written != size:
            raise OSError(f"{written} of {size} bytes were written")


def read_tensors(
    file: Path, error: type[DataError | ModelError] = ModelError, *, expected: str | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file, on the CPU, compared with the digest where it states one.

    Raises:
        DataError, ModelError: see `jepakit.files.reading`.
    """
    with reading(file, error, expected=expected):
        check_digest(file)
        with safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 -- not a mapping
            metadata = opened.metadata() or {}
    return tensors, {name: text for name, text in metadata.items() if name != DIGEST}


def read_header(file: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Shapes by name, and metadata, of a safetensors file, without reading its tensors.

    Raises:
        ModelError: see `jepakit.files.reading`.
    """
    with reading(file, ModelError), safe_open(file, framework="pt") as opened:
        shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
        return shapes, opened.metadata() or {}


def _raw(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data
