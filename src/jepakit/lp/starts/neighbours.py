"""Solved training problems as starts: for a new problem the basis whose duals prove the best bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from jepakit.files.arrays import read_arrays, write_arrays
from jepakit.lp.data import Array, LinearProgram, matrix_fingerprint
from jepakit.lp.solving.basis import Basis, Optimum
from jepakit.lp.solving.certificate import DualBounds, lower_bounds
from jepakit.lp.solving.solver import Start

#: If costs vary, a lower bound takes a product with the matrix, and is computed for this many nearest problems only.
_BOUNDS_WITH_COSTS = 64


@dataclass(frozen=True, eq=False)
class Neighbours:
    """P problems of one matrix with their optima; empty if the matrices differ.

    Args:
        matrix: its fingerprint; empty without problems.
        varying: indices into costs, bounds and sides, concatenated, that differ between the problems, ``[V]`` int64.
        numbers: the values there, ``[P, V]``, 0 for an infinite one.
        spread: standard deviation of each, ``[V]``.
        x: ``[P, n]``.
        y: ``[P, m]``.
        columns: statuses, ``[P, n]`` int8.
        rows: statuses, ``[P, m]`` int8.
    """

    matrix: str
    varying: Array
    numbers: Array
    spread: Array
    x: Array
    y: Array
    columns: Array
    rows: Array

    @classmethod
    def of(cls, problems: Sequence[LinearProgram], optima: Sequence[Optimum]) -> Neighbours:
        """The optima of problems."""
        matrices = {matrix_fingerprint(problem) for problem in problems}
        if len(matrices) != 1:
            empty, codes = np.zeros((0, 0)), np.zeros((0, 0), np.int8)
            return cls("", np.zeros(0, np.int64), empty, np.zeros(0), empty, empty, codes, codes)
        numbers = np.stack([_numbers(problem) for problem in problems])
        varying = np.flatnonzero((numbers != numbers[0]).any(0))
        return cls(
            matrix=matrices.pop(),
            varying=varying,
            numbers=numbers[:, varying],
            spread=numbers[:, varying].std(0),
            x=np.stack([optimum.x for optimum in optima]),
            y=np.stack([optimum.y for optimum in optima]),
            columns=np.stack([optimum.basis.columns for optimum in optima]),
            rows=np.stack([optimum.basis.rows for optimum in optima]),
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def nearest(self, problem: LinearProgram) -> Start | None:
        """The optimum of the problem whose varying numbers are nearest; None for a problem of another matrix."""
        near = self._by_distance(problem)
        return None if near is None else self._start(int(near[0]))

    def best(self, problem: LinearProgram, *, without: int | None = None) -> Start | None:
        """The optimum whose duals prove the highest lower bound; the nearest if none proves a bound.

        As long as costs stay the same, every optimal basis stays dual feasible. The distance from its bound to the
        optimum is what the dual simplex method has to gain from there.

        Args:
            problem: the problem.
            without: index of a problem that is left out.
        """
        near = self._by_distance(problem)
        if near is None:
            return None
        near = near[near != without]
        costs_vary = bool((self.varying < self.x.shape[1]).any())
        if costs_vary:
            near = near[:_BOUNDS_WITH_COSTS]
            bounds = lower_bounds(problem, self.y[near])
        else:
            bounds = self._dual_bounds.bounds(problem)[near]
        # If all bounds are -inf, argmax is the first, which is the nearest.
        return self._start(int(near[bounds.argmax()]))

    def bases(self, problem: LinearProgram) -> list[Basis]:
        """The optimal bases; none for a problem of another matrix."""
        if matrix_fingerprint(problem) != self.matrix:
            return []
        return [Basis(*pair) for pair in zip(self.columns, self.rows, strict=True)]

    def _by_distance(self, problem: LinearProgram) -> Array | None:
        """Indices of the problems, the nearest first; None for a problem of another matrix."""
        if matrix_fingerprint(problem) != self.matrix:
            return None
        distance = (((self.numbers - _numbers(problem)[self.varying]) / self.spread) ** 2).sum(1)
        return np.argsort(distance, kind="stable")

    @cached_property
    def _dual_bounds(self) -> DualBounds:
        return DualBounds(self.y)

    def _start(self, at: int) -> Start:
        return Start("neighbour", self.x[at], self.y[at], Basis(self.columns[at], self.rows[at]))

    def save(self, file: Path) -> None:
        """Writes an ``.npz`` file."""
        arrays = {name: getattr(self, name) for name in self.__dataclass_fields__}
        write_arrays(file, {**arrays, "matrix": np.array(self.matrix)})

    @classmethod
    def load(cls, file: Path) -> Neighbours:
        """Reads a file of `save`.

        Raises:
            ModelError: the file is missing or damaged.
        """
        stored = read_arrays(file, cls.__dataclass_fields__, expected="a whole file; train again")
        return cls(matrix=str(stored.pop("matrix")), **stored)


def _numbers(problem: LinearProgram) -> Array:
    parts = (problem.costs, problem.lower, problem.upper, problem.row_lower, problem.row_upper)
    return np.nan_to_num(np.concatenate(parts), posinf=0.0, neginf=0.0)
