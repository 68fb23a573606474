"""The kind of a family: unseen problems of its generator are of it, and those of others are told by what differs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jepakit.lp.families.combinatorial import CombinatorialAuction, FacilityLocation, IndependentSet, SetCover
from jepakit.lp.families.named import LPFamily
from jepakit.lp.families.perturbed import Perturbed, RandomFeasible
from jepakit.lp.starts.kind import Kind

ONE_MATRIX = Perturbed((RandomFeasible(rows=30, columns=50).problem(0),), sides=0.02)
FAMILIES: dict[str, LPFamily] = {
    "set cover": SetCover(60, 70, 0.1),
    "denser": SetCover(60, 70, 0.3),
    "larger": SetCover(240, 280, 0.1),
    "independent set": IndependentSet(60),
    "auction": CombinatorialAuction(50, 60),
    "facility location": FacilityLocation(5, 12, 5),
    "random": RandomFeasible(rows=60, columns=70),
    "one matrix": ONE_MATRIX,
}


@pytest.mark.parametrize("name", FAMILIES)
def test_unseen_problems_are_of_the_kind_and_those_of_other_generators_are_not(name: str) -> None:
    kind = Kind.of([FAMILIES[name].problem(seed) for seed in range(12)])
    strange = [seed for seed in range(100, 140) if kind.difference(FAMILIES[name].problem(seed))]
    assert len(strange) <= 2
    for other, family in FAMILIES.items():
        if other != name:
            assert all(kind.difference(family.problem(seed)) for seed in range(5)), other


def test_what_differs_is_said_with_the_range_of_training() -> None:
    kind = Kind.of([SetCover(60, 70, 0.1).problem(seed) for seed in range(4)])
    problem = SetCover(60, 70, 0.1).problem(9)
    assert kind.difference(SetCover(80, 70, 0.1).problem(0)) == "rows 80, in training 60"
    assert kind.difference(replace(problem, costs=-problem.costs)) == "share of positive costs 0, in training 1"
    dearer = np.where(np.arange(70) == 3, 1e6, problem.costs)
    assert kind.difference(replace(problem, costs=dearer)).startswith("decades of costs ")
    # Units do not matter.
    assert not kind.difference(replace(problem, costs=1e5 * problem.costs))


def test_of_problems_of_one_matrix_another_matrix_is_another_kind() -> None:
    problems = [ONE_MATRIX.problem(seed) for seed in range(4)]
    other = replace(problems[0], matrix=1.001 * problems[0].matrix)
    assert Kind.of(problems).difference(other) == "another matrix"
    assert not Kind.of([*problems, other]).difference(replace(other, matrix=1.002 * other.matrix))
