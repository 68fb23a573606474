"""The unlearned rival, and a second opinion: the basis of a training problem whose duals prove most of this one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from jepakit.files.arrays import read_arrays, write_arrays
from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.formats.stored import matrix_fingerprint
from jepakit.lp.networks.batch import Optimum
from jepakit.lp.solving.basis import Basis
from jepakit.lp.solving.certificate import DualBounds, lower_bounds
from jepakit.lp.solving.solver import Start

__all__ = ["Neighbours"]

#: Where costs vary, so many of the nearest are asked what they prove: it takes a product with the matrix each.
_JUDGED = 64


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Problems of one matrix with their optima; there are none where the matrices differ.

    Args:
        matrix: which one, as a hash; empty where there are none.
        varying: which of costs, bounds and sides, one after another, differ between the problems, ``[V]`` int64.
        numbers: these of each problem, ``[P, V]``, 0 for an infinite one.
        spread: of each over the problems, ``[V]``.
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
        """Remembers problems, where they have one matrix."""
        matrices = {matrix_fingerprint(problem) for problem in problems}
        if len(matrices) != 1:
            none, nothing = np.zeros((0, 0)), np.zeros(0)
            codes = none.astype(np.int8)
            return cls("", nothing.astype(np.int64), none, nothing, none, none, codes, codes)
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
        """The optimum of the problem whose changing numbers are nearest; None for a problem of another matrix."""
        if not self._of_its_matrix(problem):
            return None
        return self._start(int(self._by_distance(problem)[0]))

    def best(self, problem: LinearProgram, *, without: int | None = None) -> Start | None:
        """The optimum whose duals prove the highest lower bound; the nearest where none proves any.

        Args:
            problem: the problem.
            without: one of the remembered ones, which is not asked.

        Where sides and bounds change, and costs do not, all optimal bases stay dual feasible: what the duals of one
        miss of the optimum is what the dual simplex method has to climb from there.
        """
        if not self._of_its_matrix(problem):
            return None
        near = self._by_distance(problem)
        near = near[near != without]
        if self._costs_vary:
            near = near[:_JUDGED]
            bounds = lower_bounds(problem, self.y[near])
        else:
            bounds = self._proofs.bounds(problem)[near]
        # Without a single bound the first of them, which is the nearest.
        return self._start(int(near[bounds.argmax()]))

    def _by_distance(self, problem: LinearProgram) -> Array:
        """The nearest one first."""
        distance = (((self.numbers - _numbers(problem)[self.varying]) / self.spread) ** 2).sum(1)
        return np.argsort(distance, kind="stable")

    @property
    def _costs_vary(self) -> bool:
        return bool((self.varying < self.x.shape[1]).any())

    @cached_property
    def _proofs(self) -> DualBounds:
        return DualBounds(self.y)

    def _of_its_matrix(self, problem: LinearProgram) -> bool:
        return len(self) > 0 and matrix_fingerprint(problem) == self.matrix

    def _start(self, at: int) -> Start:
        return Start("neighbour", self.x[at], self.y[at], Basis(self.columns[at], self.rows[at]))

    def save(self, file: Path) -> None:
        """Writes it, whole or not at all."""
        arrays = {name: getattr(self, name) for name in self.__dataclass_fields__}
        write_arrays(file, {**arrays, "matrix": np.array(self.matrix)})

    @classmethod
    def load(cls, file: Path) -> Neighbours:
        """Gives it back.

        Raises:
            ModelError: the file is missing or damaged.
        """
        stored = read_arrays(file, cls.__dataclass_fields__, expected="a whole file; train again")
        return cls(matrix=str(stored.pop("matrix")), **stored)


def _numbers(problem: LinearProgram) -> Array:
    parts = (problem.costs, problem.lower, problem.upper, problem.row_lower, problem.row_upper)
    return np.nan_to_num(np.concatenate(parts), posinf=0.0, neginf=0.0)
