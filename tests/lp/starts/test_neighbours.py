"""The nearest problem of training: found by what changes, kept on disk, none for another matrix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jepakit.errors import ModelError
from jepakit.lp import Solver, label, lower_bound
from jepakit.lp.families.perturbed import Perturbed, RandomFeasible
from jepakit.lp.starts.neighbours import Neighbours

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


def test_the_best_is_the_one_that_proves_most() -> None:
    family = Perturbed((RandomFeasible(rows=12, columns=20, equations=0.0).problem(0),), sides=0.2)
    problems = [family.problem(seed) for seed in range(20)]
    optima = label(problems)
    neighbours = Neighbours.of(problems, optima)
    differ = 0
    for seed in range(50, 60):
        problem = family.problem(seed)
        best, nearest = neighbours.best(problem), neighbours.nearest(problem)
        assert best is not None
        assert best.y is not None
        assert nearest is not None
        bounds = [lower_bound(problem, optimum.y) for optimum in optima]
        assert lower_bound(problem, best.y) == max(bounds)
        differ += not np.array_equal(best.x, nearest.x)
    assert differ > 0


def test_a_neighbour_is_found_where_no_bound_is_proved() -> None:
    """A free column whose cost changes has a reduced cost that no bound holds."""
    problems = [replace(one, lower=np.full(20, -np.inf)) for one in PROBLEMS]
    neighbours = Neighbours.of(problems, label(PROBLEMS))
    dearer = replace(problems[2], costs=problems[2].costs + 1)
    start = neighbours.best(dearer)
    assert start is not None
    np.testing.assert_array_equal(start.x, neighbours.x[2])


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
    with pytest.raises(ModelError, match=r"neighbours\.npz: "):
        Neighbours.load(file)
