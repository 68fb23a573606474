"""Instances like one, or like several of the same matrix."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from jepakit.errors import ConfigError, DataError, require_at_least
from jepakit.lp.data import Array, LinearProgram

__all__ = ["Perturbed", "RandomFeasible"]


@dataclass(frozen=True, eq=False)
class Perturbed:
    """Problems of one matrix: a mixture of given ones, with costs, right-hand sides and bounds that vary around it.

    A value v becomes v · (1 + width · uniform(-1, 1)); the two sides of a row move together, so that equations stay
    equations, and 0 and infinity stay what they are. What is the same in several given problems is taken for structure
    and stays too. Perturbed sides may leave no feasible point: whoever needs one solves and sees.

    Args:
        problems: of the same matrix; a random convex combination of their costs, sides and bounds is the centre.
        costs: width for c.
        sides: width for L and U.
        bounds: width for l and u.
    """

    problems: tuple[LinearProgram, ...]
    costs: float = 0.0
    sides: float = 0.05
    bounds: float = 0.0

    def __post_init__(self) -> None:
        for field in ("costs", "sides", "bounds"):
            if not 0 <= getattr(self, field) < 1:
                raise ConfigError(field, getattr(self, field), "a number from 0 to below 1")
        if not self.problems:
            raise DataError("no problem", field="problems", expected="one at least")
        for number, other in enumerate(self.problems[1:], 1):
            _require_same_shape(self.problems[0], other, number)

    def problem(self, seed: int) -> LinearProgram:
        """See `jepakit.lp.families.LPFamily.problem`."""
        draw = np.random.default_rng(seed)
        first = self.problems[0]
        share = draw.dirichlet(np.ones(len(self.problems)))

        def mixed(field: str) -> Array:
            return np.sum([part * getattr(one, field) for part, one in zip(share, self.problems, strict=True)], axis=0)

        def factor(width: float, *parts: str) -> Array:
            """1 where these parts are structure."""
            drawn = 1 + width * draw.uniform(-1, 1, len(getattr(first, parts[0])))
            return np.where(self._varies(parts), drawn, 1.0)

        costs = mixed("costs") * factor(self.costs, "costs")
        row_lower, row_upper = _times(
            factor(self.sides, "row_lower", "row_upper"), mixed("row_lower"), mixed("row_upper")
        )
        lower, upper = _times(factor(self.bounds, "lower", "upper"), mixed("lower"), mixed("upper"))
        offset = float(share @ [one.offset for one in self.problems])
        return replace(
            first,
            costs=costs,
            row_lower=row_lower,
            row_upper=row_upper,
            lower=lower,
            upper=upper,
            offset=offset,
            name=f"{first.name}-{seed}",
        )

    def _varies(self, fields: tuple[str, ...]) -> Array:
        """Where the given problems differ in one of the fields; of a single problem everywhere."""
        first, others = self.problems[0], self.problems[1:]
        if not others:
            return np.ones(len(getattr(first, fields[0])), bool)
        return np.any([getattr(one, field) != getattr(first, field) for one in others for field in fields], axis=0)


def _times(factor: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Both sides times one factor each, put in order where that crosses them."""
    low, high = lower * factor, upper * factor
    return np.minimum(low, high), np.maximum(low, high)


def _require_same_shape(first: LinearProgram, other: LinearProgram, number: int) -> None:
    field = f"problems[{number}]"
    if first.matrix.shape != other.matrix.shape or abs(first.matrix - other.matrix).sum() != 0:
        raise DataError(
            "of another matrix than the first", field=field, value=other.name, expected="one matrix for all"
        )
    for low in ("row_lower", "row_upper", "lower", "upper"):
        if not np.array_equal(np.isinf(getattr(first, low)), np.isinf(getattr(other, low))):
            raise DataError(f"has other infinite sides ({low}) than the first", field=field, value=other.name)


@dataclass(frozen=True)
class RandomFeasible:
    """Problems at random that have an optimum: a point that meets all rows, and duals that prove it.

    Args:
        rows: m.
        columns: n.
        density: of A, at least one entry a row.
        equations: share of rows with equal sides.
    """

    rows: int = 50
    columns: int = 80
    density: float = 0.1
    equations: float = 0.2

    def __post_init__(self) -> None:
        require_at_least(self, rows=1, columns=1)
        for field in ("density", "equations"):
            if not 0 <= getattr(self, field) <= 1:
                raise ConfigError(field, getattr(self, field), "a share from 0 to 1")

    def problem(self, seed: int) -> LinearProgram:
        """See `jepakit.lp.families.LPFamily.problem`."""
        draw = np.random.default_rng(seed)
        there = draw.random((self.rows, self.columns)) < self.density
        there[np.arange(self.rows), draw.integers(0, self.columns, self.rows)] = True
        matrix = np.where(there, draw.normal(size=there.shape), 0.0)
        at_bound = draw.random(self.columns) < 0.5
        x = np.where(at_bound, 0.0, draw.random(self.columns))
        activity = matrix @ x
        equal, tight = draw.random(self.rows) < self.equations, draw.random(self.rows) < 0.5
        y = np.where(equal, draw.normal(size=self.rows), np.where(tight, draw.random(self.rows), 0.0))
        z = np.where(at_bound, draw.random(self.columns), 0.0)
        slack = np.where(tight | equal, 0.0, draw.random(self.rows))
        return LinearProgram(
            costs=matrix.T @ y + z,
            matrix=sp.csc_array(matrix),
            row_lower=activity - slack,
            row_upper=np.where(equal, activity, np.inf),
            lower=np.zeros(self.columns),
            upper=np.full(self.columns, 2.0),
            name=f"random-{seed}",
        )
