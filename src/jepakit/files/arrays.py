"""Arrays of numpy in files, without pickles: one mapped into memory, or several by name."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from jepakit.errors import DataError, ModelError
from jepakit.files.reading import reading
from jepakit.files.writing import whole_file


def write_array(file: Path, array: NDArray[Any]) -> None:
    """Writes an array in numpy's own format.

    Raises:
        ModelError: see `jepakit.files.whole_file`.
    """
    with whole_file(file) as unfinished, unfinished.open("wb") as stream:
        # numpy.save writes through a stream of C, whose last block can be lost on a full disk without an error.
        plain = np.ascontiguousarray(array)
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(plain))
        stream.write(plain.reshape(-1).view(np.uint8).data)


def map_array(
    file: Path, dtype: DTypeLike, dimensions: int = 1, *, error: type[DataError | ModelError] = ModelError
) -> NDArray[Any]:
    """The array in a file, mapped into memory.

    Raises:
        DataError, ModelError: it is no such array, or not all of it is there; which of them ``error`` says.
    """
    with reading(file, error):
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        if array.ndim != dimensions or array.dtype != np.dtype(dtype):
            expected = f"{np.dtype(dtype)} of {dimensions} dimensions"
            raise DataError("another array", value=f"{array.dtype} of {array.ndim} dimensions", expected=expected)
        return np.asarray(array)


def write_arrays(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays by name in numpy's own format, ``.npz``, which has a checksum for each.

    Raises:
        ModelError: see `jepakit.files.whole_file`.
    """
    with whole_file(file) as unfinished, unfinished.open("wb") as stream:
        np.savez(stream, **arrays)  # pyright: ignore[reportArgumentType]


def read_arrays(file: Path, names: Iterable[str], *, expected: str | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of these names.

    Args:
        file: as `write_arrays` has written it.
        names: of arrays.
        expected: what to do where it cannot be read.

    Raises:
        ModelError: it is missing or damaged, or an array is not in it.
    """
    with reading(file, ModelError, expected=expected):
        with zipfile.ZipFile(file) as members:
            for member in members.infolist():
                # Written without compression: an array is never larger than the file.
                if member.file_size != member.compress_size:
                    raise DataError("compressed, which jepakit never writes", field=member.filename)
                _require_its_size(members, member)
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}


def _require_its_size(members: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Raises DataError where an array's header states another size than it has: numpy would allocate it."""
    with members.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
        size = stream.tell() + int(np.prod([*shape, dtype.itemsize], dtype=object))
    if size != member.file_size:
        raise DataError("not the size that its header states", field=member.filename, value=member.file_size)
