"""Bases that are singular, by structure or by numbers, are refused, and leave the process alive."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from jepakit.lp import Basis, LinearProgram
from jepakit.lp.solving.completion import BasicBlock


def square(matrix: sp.csc_array) -> tuple[LinearProgram, Basis]:
    size = matrix.shape[0]
    zeros = np.zeros(size)
    problem = LinearProgram(zeros, matrix, zeros, zeros, zeros, np.full(size, np.inf))
    return problem, Basis(np.ones(size, np.int8), np.zeros(size, np.int8))


@pytest.mark.parametrize("seed", range(30))
def test_a_basis_that_is_singular_whatever_its_numbers_are_is_refused(seed: int) -> None:
    draw = np.random.default_rng(seed)
    size = int(draw.integers(20, 400))
    matrix = sp.random_array((size, size), density=2 / size, rng=draw, format="csc")
    missing = (np.diff(matrix.indptr) == 0).any() or (np.bincount(matrix.indices, minlength=size) == 0).any()
    assert missing
    assert BasicBlock.of(*square(matrix)) is None


@pytest.mark.parametrize("seed", range(60))
def test_columns_that_depend_on_each_other_leave_the_process_alive(seed: int) -> None:
    draw = np.random.default_rng(seed)
    size = int(draw.integers(2, 60))
    matrix = sp.random_array((size, size), density=min(1.0, 4 / size), rng=draw, format="lil")
    matrix.setdiag(draw.integers(1, 3, size))
    first, second = draw.choice(size, 2, replace=False)
    matrix[:, [first]] = matrix[:, [second]] * float(draw.choice([1.0, 2.0, -1.0]))
    given = sp.csc_array(matrix) * 10.0 ** draw.integers(-12, 12)
    assert np.linalg.matrix_rank(given.toarray()) < size
    block = BasicBlock.of(*square(sp.csc_array(given)))
    if block is not None:  # Rounding may hide it.
        assert block.solve(np.ones(size), transposed=True).shape == (size,)


def test_a_block_solves_with_its_matrix_and_the_transpose() -> None:
    matrix = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0], [1.0, 0.0, 4.0]])
    block = BasicBlock.of(*square(sp.csc_array(matrix)))
    assert block is not None
    right = np.array([4.0, 3.0, 9.0])
    np.testing.assert_allclose(matrix @ block.solve(right, transposed=False), right)
    np.testing.assert_allclose(matrix.T @ block.solve(right, transposed=True), right)
