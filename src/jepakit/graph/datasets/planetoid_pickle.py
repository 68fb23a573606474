"""Reads the pickles of the Planetoid files without unpickling, see `jepakit.files.pickles`."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from jepakit.errors import DataError
from jepakit.files import read_bytes
from jepakit.files.pickles import DAMAGE, PickledObject, read_pickled

_MAX_CELLS = 10**8
"""Entries of a dense matrix; PubMed, the largest of the three networks, has 1e7."""
_NUMBERS = re.compile("[biuf][1248]")

# Names with an underscore, and `builtins`, occur in files that a newer Python has rewritten.
_KINDS = {
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "numpy.core.multiarray _reconstruct": "ndarray",
    "numpy._core.multiarray _reconstruct": "ndarray",
    "scipy.sparse.csr csr_matrix": "csr_matrix",
    "scipy.sparse._csr csr_matrix": "csr_matrix",
    "collections defaultdict": "defaultdict",
    "__builtin__ list": "list",
    "builtins list": "list",
}


def read_matrix(path: Path) -> np.ndarray:
    """A pickled matrix, sparse or dense, as ``[rows, columns]`` float32.

    Raises:
        DataError: the file is missing, damaged, or not a matrix of finite numbers.
    """
    content = _read(path)
    try:
        is_sparse = isinstance(content, PickledObject) and content.kind == "csr_matrix"
        matrix = _dense(**content.state) if is_sparse else _array(content)
    except DAMAGE as error:
        raise DataError(f"not a matrix of numbers: {error}", file=path) from None
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise DataError("not a matrix of finite numbers", file=path)
    return matrix.astype(np.float32)


def read_adjacency_lists(path: Path) -> dict[Any, list[Any]]:
    """A pickled dict from each node to its neighbours; node ids are not checked.

    Raises:
        DataError: the file is missing, damaged, or not such a dict.
    """
    content = _read(path)
    if not isinstance(content, dict) or not all(isinstance(ends, list) for ends in content.values()):
        kind, expected = type(content).__name__, "a dict of node -> neighbours"
        raise DataError("not adjacency lists", file=path, value=kind, expected=expected)
    return content


def _read(path: Path) -> Any:
    try:
        return read_pickled(read_bytes(path), _KINDS)
    except DAMAGE as error:
        raise DataError(f"not a Planetoid file: {error}", file=path) from None


def _array(value: Any) -> np.ndarray:
    if not isinstance(value, PickledObject) or value.kind != "ndarray":
        raise TypeError(f"a {value.kind if isinstance(value, PickledObject) else type(value).__name__}")
    _, shape, data_type, is_fortran, content = value.state
    name, byte_order = data_type.arguments[0], data_type.state[1]
    if not _NUMBERS.fullmatch(name):
        raise TypeError(f"values of type {name!r}")
    content = content.encode("latin1") if isinstance(content, str) else content
    values = np.frombuffer(content, dtype=np.dtype(name).newbyteorder(byte_order))
    return values.reshape(shape, order="F" if is_fortran else "C")


def _dense(_shape: tuple[int, int], data: Any, indices: Any, indptr: Any, **_: Any) -> np.ndarray:
    """A matrix in compressed rows. NumPy checks each index, unlike SciPy's loops."""
    columns, pointers = _array(indices).astype(np.int64), _array(indptr).astype(np.int64)
    lengths = np.diff(pointers)
    if _shape[0] != len(lengths) or _shape[0] * _shape[1] > _MAX_CELLS:
        raise ValueError(f"shape {_shape}")
    if (lengths < 0).any() or lengths.sum() != len(columns) or (columns < 0).any():
        raise IndexError("row lengths and column indices do not match")
    matrix = np.zeros(_shape, dtype=np.float32)
    matrix[np.repeat(np.arange(len(lengths)), lengths), columns] = _array(data)
    return matrix
