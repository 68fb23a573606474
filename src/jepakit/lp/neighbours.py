"""The unlearned rival, and a second opinion: the basis of the training problem that is most like this one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jepakit.lp.basis import Basis
from jepakit.lp.batch import Optimum
from jepakit.lp.data import Array, LinearProgram
from jepakit.lp.solve import Start
from jepakit.lp.stored import matrix_fingerprint, read_arrays, write_arrays

__all__ = ["Neighbours"]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Problems of one matrix with their optima; there are none where the matrices differ.

    Args:
        matrix: which one, as a hash; empty where there are none.
        numbers: costs, sides and bounds of each problem, ``[P, 3 n + 2 m]``, 0 for an infinite one.
        spread: of each number over the problems, 1 where it never changes, ``[3 n + 2 m]``.
        x: ``[P, n]``.
        y: ``[P, m]``.
        columns: statuses, ``[P, n]`` int8.
        rows: statuses, ``[P, m]`` int8.
    """

    matrix: str
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
            none = np.zeros((0, 0))
            return cls("", none, np.zeros(0), none, none, none.astype(np.int8), none.astype(np.int8))
        numbers = np.stack([_numbers(problem) for problem in problems])
        spread = numbers.std(0)
        return cls(
            matrix=matrices.pop(),
            numbers=numbers,
            spread=np.where(spread > 0, spread, 1.0),
            x=np.stack([optimum.x for optimum in optima]),
            y=np.stack([optimum.y for optimum in optima]),
            columns=np.stack([optimum.basis.columns for optimum in optima]),
            rows=np.stack([optimum.basis.rows for optimum in optima]),
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def nearest(self, problem: LinearProgram) -> Start | None:
        """The optimum of the problem whose changing numbers are nearest; None for a problem of another matrix."""
        if not len(self) or matrix_fingerprint(problem) != self.matrix:
            return None
        distance = (((self.numbers - _numbers(problem)) / self.spread) ** 2).sum(1)
        at = int(distance.argmin())
        return Start("neighbour", self.x[at], self.y[at], Basis(self.columns[at], self.rows[at]))

    def save(self, file: Path) -> None:
        """Writes it, whole or not at all."""
        write_arrays(file, **{**vars(self), "matrix": np.array(self.matrix)})

    @classmethod
    def load(cls, file: Path) -> Neighbours:
        """Gives it back.

        Raises:
            ModelError: the file is missing or damaged.
        """
        stored = read_arrays(file, cls.__dataclass_fields__)
        return cls(matrix=str(stored.pop("matrix")), **stored)


def _numbers(problem: LinearProgram) -> Array:
    parts = (problem.costs, problem.lower, problem.upper, problem.row_lower, problem.row_upper)
    return np.nan_to_num(np.concatenate(parts), posinf=0.0, neginf=0.0)
