"""Random instances around given problems of one matrix, and random problems with an optimum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from jepakit.errors import DataError, require_at_least, require_within
from jepakit.lp.data import Array, LinearProgram

#: Row sides changed in one proportion if their ratios agree in this many decimals, for at least this many rows: fewer
#: may agree by chance.
_RATIO_DECIMALS, _SMALLEST_GROUP = 7, 4
#: Width of the sides around a single problem.
_DEFAULT_WIDTH = 0.05


@dataclass(frozen=True, eq=False)
class Perturbed:
    """Problems of one matrix around given ones, with random costs, sides and bounds.

    Around a single problem each number v becomes v · (1 + width · uniform(-1, 1)), independently. Several problems are
    combined two at a time:

    - numbers that are the same in all problems stay;
    - numbers that are 0, 1 or -1 in all problems are switches, and are copied from one of the two;
    - other numbers lie between their two values, at a position common to all, plus random multiples of their
      difference. Related numbers share a multiple (see `moving_together`): if a hundred loads varied independently,
      their sum would hardly change, and it is the sum that changes a basis.

    Both sides of a row share their factor, so equations stay equations. Zeros, infinities and signs stay. A perturbed
    problem may be infeasible.

    Args:
        problems: of the same matrix.
        costs: width for c.
        sides: width for L and U; None: .05 around a single problem, 0 around several.
        bounds: width for l and u.
        spread: for several problems: largest standard deviation of the shared multiples, and of the independent ones.
    """

    problems: tuple[LinearProgram, ...]
    costs: float = 0.0
    sides: float | None = None
    bounds: float = 0.0
    spread: float = 1.0

    def __post_init__(self) -> None:
        require_within(self, "[0, 1)", "costs", "sides", "bounds")
        require_at_least(self, spread=0)
        if not self.problems:
            raise DataError("no problem", field="problems", expected="at least one")
        first = self.problems[0]
        for number, other in enumerate(self.problems[1:], 1):
            field = f"problems[{number}]"
            if first.matrix.shape != other.matrix.shape or abs(first.matrix - other.matrix).sum() != 0:
                problem = "of another matrix than the first"
                raise DataError(problem, field=field, value=other.name, expected="one matrix for all")
            for side in ("row_lower", "row_upper", "lower", "upper"):
                if not np.array_equal(np.isinf(getattr(first, side)), np.isinf(getattr(other, side))):
                    raise DataError(f"has other infinite sides ({side}) than the first", field=field, value=other.name)

    def problem(self, seed: int) -> LinearProgram:
        """See `jepakit.lp.families.named.LPFamily.problem`."""
        draw, single = np.random.default_rng(seed), len(self.problems) == 1
        centre = self.problems[0] if single else self._between(draw)
        sides = self.sides if self.sides is not None else (_DEFAULT_WIDTH if single else 0.0)
        values: dict[str, Array] = {}
        for width, *fields in (
            (sides, "row_lower", "row_upper"),
            (self.bounds, "lower", "upper"),
            (self.costs, "costs"),
        ):
            factor = 1 + width * draw.uniform(-1, 1, len(getattr(centre, fields[0])))
            factor = np.where(self._varies(fields), factor, 1.0)
            # Sorted, because the sides may have crossed in `_between`.
            values |= zip(fields, np.sort([getattr(centre, field) * factor for field in fields], 0), strict=True)
        return replace(centre, **values, name=f"{self.problems[0].name}-{seed}")

    def _between(self, draw: np.random.Generator) -> LinearProgram:
        """A combination of two of the problems; its sides may cross."""
        first, second = (self.problems[at] for at in draw.permutation(len(self.problems))[:2])
        share = draw.uniform()
        nearer = first if share < 0.5 else second
        together, alone = draw.uniform(0, self.spread), draw.uniform(0, self.spread)
        rows, columns = self._groups
        of_group = together * draw.normal(size=1 + max(rows.max(initial=0), columns.max(initial=0)))
        values: dict[str, Array] = {}
        for *fields, groups in (("row_lower", "row_upper", rows), ("lower", "upper", columns), ("costs", columns)):
            position = share + of_group[groups] + alone * draw.normal(size=len(groups))
            for field in fields:
                given = np.stack([getattr(problem, field) for problem in self.problems])
                moves = np.isfinite(given).all(0) & ~np.isin(given, (-1, 0, 1)).all(0)
                start, end = (np.where(moves, getattr(problem, field), 0) for problem in (first, second))
                value = np.where(moves, start + position * (end - start), getattr(nearer, field))
                value = np.where((given >= 0).all(0), np.maximum(value, 0), value)
                values[field] = np.where((given <= 0).all(0), np.minimum(value, 0), value)
        return replace(first, offset=first.offset + share * (second.offset - first.offset), **values)

    @cached_property
    def _groups(self) -> tuple[Array, Array]:
        return moving_together(self.problems)

    def _varies(self, fields: Sequence[str]) -> Array:
        """Where the given problems differ in one of the fields; everywhere for a single problem."""
        first, *others = ([getattr(problem, field) for field in fields] for problem in self.problems)
        return np.any([np.not_equal(other, first).any(0) for other in others], axis=0) if others else np.array(True)


def moving_together(problems: Sequence[LinearProgram]) -> tuple[Array, Array]:
    """Groups of related rows ``[m]`` and columns ``[n]`` of several problems, as integers.

    Only rows whose sides differ between the problems are related: rows that share a column (the loads of an hour share
    the units that serve them), and rows whose sides changed by the same ratio, if there are several (the loads of a
    region). A column is related to its rows.

    Args:
        problems: of the same matrix.
    """
    first = problems[0]
    sides = np.stack([np.where(np.isfinite(lp.row_upper), lp.row_upper, lp.row_lower) for lp in problems])
    varying = np.flatnonzero((sides != sides[0]).any(0))
    entries = first.matrix.tocsr()[varying].tocoo()
    rows, columns = varying[entries.row], first.rows + entries.col
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.round(sides[1:, varying] / sides[0, varying], _RATIO_DECIMALS)
    usable = np.flatnonzero(np.isfinite(ratios).all(0) & (ratios != 0).any(0))
    _, kind, count = np.unique(ratios[:, usable], axis=1, return_inverse=True, return_counts=True)
    kind = kind.ravel()
    large = count[kind] >= _SMALLEST_GROUP
    # Groups are the connected components of a graph of rows, columns and ratios.
    size = first.rows + first.columns
    ends = np.concatenate([rows, varying[usable[large]]]), np.concatenate([columns, size + kind[large]])
    graph = sp.coo_array((np.ones(len(ends[0])), ends), shape=(size + len(count),) * 2)
    groups = connected_components(graph, directed=False)[1]
    return groups[: first.rows], groups[first.rows : size]


@dataclass(frozen=True)
class RandomFeasible:
    """Random problems with an optimum: a point that meets all rows, and duals that prove it optimal.

    Args:
        rows: m.
        columns: n.
        density: of A, with at least one entry per row.
        equations: share of rows with equal sides.
    """

    rows: int = 50
    columns: int = 80
    density: float = 0.1
    equations: float = 0.2

    def __post_init__(self) -> None:
        require_at_least(self, rows=1, columns=1)
        require_within(self, "[0, 1]", "density", "equations")

    def problem(self, seed: int) -> LinearProgram:
        """See `jepakit.lp.families.named.LPFamily.problem`."""
        draw = np.random.default_rng(seed)
        nonzero = draw.random((self.rows, self.columns)) < self.density
        nonzero[np.arange(self.rows), draw.integers(0, self.columns, self.rows)] = True
        matrix = np.where(nonzero, draw.normal(size=nonzero.shape), 0.0)
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
