"""The nearest problem of training: found by what changes, kept on disk, none for another matrix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jepakit.errors import ModelError
from jepakit.lp import Solver, label
from jepakit.lp.families.perturbed import Perturbed, RandomFeasible
from jepakit.lp.neighbours import Neighbours

FAMILY = Perturbed((RandomFeasible(rows=12, columns=20).problem(0),), sides=0.02)
PROBLEMS = [FAMILY.problem(seed) for seed in range(6)]


def test_the_nearest_is_the_one_that_differs_least(tmp_path: Path) -> None:
    optima = label(PROBLEMS)
    neighbours = Neighbours.of(PROBLEMS, optima)
    neighbours.save(tmp_path / "neighbours.npz")
    loaded = Neighbours.load(tmp_path / "neighbours.npz")
    assert len(loaded) == 6
    for some in (neighbours, loaded):
        close = replace(PROBLEMS[4], row_lower=PROBLEMS[4].row_lower + 1e-9)
        start = some.nearest(close)
        assert start is not None
        assert start.basis is not None
        np.testing.assert_array_equal(start.x, optima[4].x)
        np.testing.assert_array_equal(start.basis.columns, optima[4].basis.columns)
    unseen = FAMILY.problem(99)
    start = loaded.nearest(unseen)
    assert start is not None
    solver = Solver()
    assert solver.solve(unseen, [start]).pivots < solver.solve(unseen).pivots


def test_of_another_matrix_there_is_none() -> None:
    neighbours = Neighbours.of(PROBLEMS, label(PROBLEMS))
    other = RandomFeasible(rows=12, columns=20).problem(1)
    assert neighbours.nearest(other) is None
    mixed = Neighbours.of([PROBLEMS[0], other], label([PROBLEMS[0], other]))
    assert len(mixed) == 0
    assert mixed.nearest(other) is None


@pytest.mark.parametrize("damage", [b"", b"half a fi", None])
def test_a_damaged_file_is_named(tmp_path: Path, damage: bytes | None) -> None:
    file = tmp_path / "neighbours.npz"
    Neighbours.of(PROBLEMS, label(PROBLEMS)).save(file)
    file.write_bytes(file.read_bytes()[:-200] if damage is None else damage)
    with pytest.raises(ModelError, match=r"neighbours\.npz: cannot be read"):
        Neighbours.load(file)
