"""What is kept on disk of problems: arrays in one file, and hashes that say what they belong to."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from jepakit.errors import ModelError
from jepakit.lp.data import Array, LinearProgram
from jepakit.training.whole_file import whole_file

__all__ = ["fingerprint", "matrix_fingerprint", "read_arrays", "write_arrays"]


def fingerprint(problem: LinearProgram) -> str:
    """The same for the same numbers, whatever the names."""
    sides = (problem.costs, problem.row_lower, problem.row_upper, problem.lower, problem.upper)
    return _digest([*sides, *_of_matrix(problem)])


def matrix_fingerprint(problem: LinearProgram) -> str:
    """The same for the same matrix."""
    return _digest(_of_matrix(problem))


def _of_matrix(problem: LinearProgram) -> list[Array]:
    matrix = problem.matrix
    return [matrix.data, matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)]


def _digest(parts: Iterable[Array]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes() + b";")
    return digest.hexdigest()


def write_arrays(file: Path, **arrays: Array) -> None:
    """Writes arrays by name, all or none.

    Raises:
        ModelError: they cannot be written; on a full disk, for one.
    """
    with whole_file(file) as partial, partial.open("wb") as stream:
        np.savez(stream, **arrays)  # pyright: ignore[reportArgumentType]


def read_arrays(file: Path, names: Iterable[str]) -> dict[str, Array]:
    """The arrays of these names.

    Raises:
        ModelError: the file is missing or damaged, or one is not in it.
    """
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(f"{file}: cannot be read ({error}); train again") from error
