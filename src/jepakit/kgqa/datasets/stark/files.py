"""The files of a STaRK knowledge base: pickled dicts and tensors of torch, read without running what is in them."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepakit.errors import DataError
from jepakit.files import read_bytes, reading
from jepakit.files.pickles import PickledClass, PickledObject, read_pickled

#: Numbers of numpy in a dict; older versions name the module without underscore.
_SCALARS = {
    "numpy dtype": "dtype",
    "numpy._core.multiarray scalar": "scalar",
    "numpy.core.multiarray scalar": "scalar",
}
_STORAGES = {
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "ByteStorage": "u1",
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
}
_TENSORS = {
    "torch._utils _rebuild_tensor_v2": "tensor",
    "collections OrderedDict": "OrderedDict",
    **{f"torch {name}": kind for name, kind in _STORAGES.items()},
}


def read_dict(file: Path) -> dict[Any, Any]:
    """A pickled dict of plain values; numbers of numpy in it are `PickledObject`, see `plain`.

    Raises:
        DataError: it is no such file, or names anything but plain values.
    """
    content = read_bytes(file)
    with reading(file):
        found = read_pickled(content, _SCALARS)
        if not isinstance(found, dict):
            raise DataError("not a dict", value=type(found).__name__)
        return {plain(key): value for key, value in found.items()}


def plain(value: Any) -> Any:
    """A number or text of numpy as one of Python; other values as they are."""
    if not isinstance(value, PickledObject):
        return value
    if value.kind != "scalar":
        raise TypeError(f"a {value.kind}")
    kind, content = value.arguments
    name, order = str(kind.arguments[0]), kind.state[1]
    if name[0] not in "biufU":
        raise TypeError(f"a number of type {name!r}")
    return np.frombuffer(content, np.dtype(name).newbyteorder("<" if order == "|" else order))[0].item()


def read_tensor(file: Path) -> NDArray[Any]:
    """A tensor that ``torch.save`` of torch 1.6 or later has written, on the CPU.

    Raises:
        DataError: it is no such file, or has anything but one tensor of numbers.
    """
    with reading(file, expected="one tensor as torch.save writes it since torch 1.6"):
        with zipfile.ZipFile(file) as members:
            (pickled,) = (name for name in members.namelist() if name.endswith("/data.pkl"))
            root = pickled.removesuffix("data.pkl")
            found = read_pickled(_stored(members, pickled), _TENSORS)
            if not isinstance(found, PickledObject) or found.kind != "tensor":
                raise DataError("not a tensor", value=type(found).__name__)
            storage, offset, shape, strides = found.arguments[:4]
            tag, kind, key = storage.arguments[:3]
            if tag != "storage" or not isinstance(kind, PickledClass) or not str(key).isdigit():
                raise DataError("not a tensor", value=tag)
            if f"{root}byteorder" in members.namelist() and _stored(members, f"{root}byteorder") != b"little":
                raise DataError("the bytes are in another order", expected="little")
            values = np.frombuffer(_stored(members, f"{root}data/{key}"), f"<{kind.kind}")
        return _viewed(values, offset, shape, strides)


def _stored(members: zipfile.ZipFile, name: str) -> bytes:
    member = members.getinfo(name)
    # torch.save does not compress: a member is never larger than the file.
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise DataError("compressed, which torch.save never does", field=name)
    return members.read(member)


def _viewed(values: NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> NDArray[Any]:
    """The elements of a tensor in its storage."""
    numbers = [offset, *shape, *strides]
    if len(shape) != len(strides) or not all(type(one) is int and one >= 0 for one in numbers):
        raise DataError("not the shape of a tensor", value=(offset, shape, strides))
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    # A stride of 0 repeats an element: the result could be of any size.
    if math.prod(shape) > len(values) or (math.prod(shape) and last >= len(values)):
        raise DataError("the tensor is larger than its content", value=(offset, shape, strides))
    if not math.prod(shape):
        return np.empty(shape, values.dtype)
    steps = [stride * values.itemsize for stride in strides]
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(values[offset:], shape, steps, writeable=False))


def as_text(value: Any, limit: int) -> str:
    """Nested plain values as text, cut at ``limit`` characters; missing ones are left out.

    Lists are separated by commas, the entries of a dict are ``key: value`` with semicolons between them.
    """
    parts: list[str] = []
    room = limit
    for part in _words(value):
        parts.append(part[:room])
        # An empty part counts too: a forged file can nest very many of them.
        room -= max(len(part), 1)
        if room <= 0:
            break
    return "".join(parts)


def is_missing(value: Any) -> bool:
    """Whether a value says that there is none: None, NaN, an empty text or list, -1 (as STaRK-MAG writes it)."""
    # NaN alone differs from itself.
    return value in (None, "", "-1", -1, [], {}) or value != value


def _words(value: Any) -> Iterator[str]:
    value = plain(value)
    if isinstance(value, dict):
        separator = ""
        for key, one in value.items():
            if not is_missing(plain(one)):
                yield f"{separator}{plain(key)}: "
                yield from _words(one)
                separator = "; "
    elif isinstance(value, list | tuple):
        separator = ""
        for one in value:
            if not is_missing(plain(one)):
                yield separator
                yield from _words(one)
                separator = ", "
    else:
        yield " ".join(str(value).split())
