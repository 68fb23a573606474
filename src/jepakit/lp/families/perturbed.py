"""Instances like one, or like several of the same matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from jepakit.errors import ConfigError, DataError, require_at_least
from jepakit.lp.data import Array, LinearProgram

__all__ = ["Perturbed", "RandomFeasible", "moving_together"]

#: Proportions that agree in so many digits are one, and so many rows of one are no chance.
_DIGITS, _SEVERAL = 7, 4


@dataclass(frozen=True, eq=False)
class Perturbed:
    """Problems of one matrix around given ones, with costs, right-hand sides and bounds that vary.

    Around a single problem every number v becomes v · (1 + width · uniform(-1, 1)), for itself. Several problems say
    more: what is the same in all of them is structure, and stays; what is 0, 1 or -1 in all of them is a switch, and is
    as in one of them; any other number lies on the line through its values in two of them, at a point between that is
    common to all numbers, and off it by random parts of the difference. Numbers that have to do with each other are off
    together (see `moving_together`): if each of a hundred loads varied for itself, their sum would hardly vary, and it
    is the sum that changes a basis.

    The two sides of a row move alike, so that equations stay equations; 0 and infinity stay what they are, and so does
    a sign. Perturbed sides may leave no feasible point: whoever needs one solves and sees.

    Args:
        problems: of the same matrix.
        costs: width for c.
        sides: width for L and U; None: .05 around a single problem, 0 around several.
        bounds: width for l and u.
        spread: of several problems; numbers move by up to this standard deviation together, and by as much each for
            itself, in units of their difference between two of the problems.
    """

    problems: tuple[LinearProgram, ...]
    costs: float = 0.0
    sides: float | None = None
    bounds: float = 0.0
    spread: float = 1.0

    def __post_init__(self) -> None:
        for field in ("costs", "sides", "bounds"):
            if not 0 <= (getattr(self, field) or 0) < 1:
                raise ConfigError(field, getattr(self, field), "a number from 0 to below 1")
        if not self.spread >= 0:
            raise ConfigError("spread", self.spread, "a number of at least 0")
        if not self.problems:
            raise DataError("no problem", field="problems", expected="one at least")
        for number, other in enumerate(self.problems[1:], 1):
            _require_same_shape(self.problems[0], other, number)

    def problem(self, seed: int) -> LinearProgram:
        """See `jepakit.lp.families.LPFamily.problem`."""
        draw = np.random.default_rng(seed)
        centre = self.problems[0] if len(self.problems) == 1 else self._between(draw)
        sides = self.sides if self.sides is not None else (0.05 if len(self.problems) == 1 else 0.0)

        def factor(width: float, *fields: str) -> Array:
            """1 where these fields are structure."""
            drawn = 1 + width * draw.uniform(-1, 1, len(getattr(centre, fields[0])))
            return np.where(self._varies(fields), drawn, 1.0)

        row_lower, row_upper = _times(factor(sides, "row_lower", "row_upper"), centre.row_lower, centre.row_upper)
        lower, upper = _times(factor(self.bounds, "lower", "upper"), centre.lower, centre.upper)
        return replace(
            centre,
            costs=centre.costs * factor(self.costs, "costs"),
            row_lower=row_lower,
            row_upper=row_upper,
            lower=lower,
            upper=upper,
            name=f"{self.problems[0].name}-{seed}",
        )

    def _between(self, draw: np.random.Generator) -> LinearProgram:
        """A problem on the line through two of the given ones, every number off by a part of the difference."""
        first, second = (self.problems[at] for at in draw.permutation(len(self.problems))[:2])
        share = draw.uniform()
        nearer = first if share < 0.5 else second
        together, alone = draw.uniform(0, self.spread), draw.uniform(0, self.spread)
        rows, columns = self._groups
        of_group = together * draw.normal(size=1 + max(rows.max(initial=0), columns.max(initial=0)))
        found: dict[str, Array] = {}
        for *fields, groups in (("row_lower", "row_upper", rows), ("lower", "upper", columns), ("costs", columns)):
            part = share + of_group[groups] + alone * draw.normal(size=len(groups))
            for field in fields:
                given = np.stack([getattr(one, field) for one in self.problems])
                moves = np.isfinite(given).all(0) & ~np.isin(given, (-1, 0, 1)).all(0)
                start, end = (np.where(moves, getattr(one, field), 0) for one in (first, second))
                value = np.where(moves, start + part * (end - start), getattr(nearer, field))
                value = np.where((given >= 0).all(0), np.maximum(value, 0), value)
                found[field] = np.where((given <= 0).all(0), np.minimum(value, 0), value)
        # Sides may cross; `problem` puts them in order.
        return replace(first, offset=first.offset + share * (second.offset - first.offset), **found)

    @cached_property
    def _groups(self) -> tuple[Array, Array]:
        return moving_together(self.problems)

    def _varies(self, fields: tuple[str, ...]) -> Array:
        """Where the given problems differ in one of the fields; of a single problem everywhere."""
        first, others = self.problems[0], self.problems[1:]
        if not others:
            return np.ones(len(getattr(first, fields[0])), bool)
        return np.any([getattr(one, field) != getattr(first, field) for one in others for field in fields], axis=0)


def moving_together(problems: Sequence[LinearProgram]) -> tuple[Array, Array]:
    """Which numbers of several problems have to do with each other: groups of rows ``[m]`` and of columns ``[n]``.

    Rows whose sides differ between the problems belong together where they meet in a column (the loads of an hour meet
    in what serves them), and where their sides have changed in one proportion, if there are several of these (the loads
    of a region). A column belongs to the rows that it is in.

    Args:
        problems: of the same matrix.
    """
    first = problems[0]
    sides = np.stack([_one_side(problem) for problem in problems])
    varying = np.flatnonzero((sides != sides[0]).any(0))
    of_varying = first.matrix.tocsr()[varying].tocoo()
    rows, columns = varying[of_varying.row], first.rows + of_varying.col
    with np.errstate(divide="ignore", invalid="ignore"):
        proportion = np.round(sides[1:, varying] / sides[0, varying], _DIGITS)
    told = np.flatnonzero(np.isfinite(proportion).all(0) & (proportion != 0).any(0))
    _, kind, count = np.unique(proportion[:, told], axis=1, return_inverse=True, return_counts=True)
    kind = kind.ravel()
    several = count[kind] >= _SEVERAL
    # A graph of rows, columns and proportions: what hangs together is a group.
    size = first.rows + first.columns
    ends = np.concatenate([rows, varying[told[several]]]), np.concatenate([columns, size + kind[several]])
    graph = sp.coo_array((np.ones(len(ends[0])), ends), shape=(size + len(count),) * 2)
    groups = connected_components(graph, directed=False)[1]
    return groups[: first.rows], groups[first.rows : size]


def _one_side(problem: LinearProgram) -> Array:
    """Of each row the upper side, or the lower one where there is no upper."""
    return np.where(np.isfinite(problem.row_upper), problem.row_upper, problem.row_lower)


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
