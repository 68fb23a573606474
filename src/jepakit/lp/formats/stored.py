"""Hashes that say which problem, or which matrix, something on disk belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from jepakit.lp.data import Array, LinearProgram


def fingerprint(problem: LinearProgram) -> str:
    """A hash of all numbers of a problem; names do not count."""
    sides = (problem.costs, problem.row_lower, problem.row_upper, problem.lower, problem.upper)
    return _digest([*sides, *_of_matrix(problem)])


def matrix_fingerprint(problem: LinearProgram) -> str:
    """A hash of the matrix."""
    return _digest(_of_matrix(problem))


def _of_matrix(problem: LinearProgram) -> list[Array]:
    matrix = problem.matrix
    return [matrix.data, matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)]


def _digest(parts: Iterable[Array]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes() + b";")
    return digest.hexdigest()
