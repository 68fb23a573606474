"""What the problems of a family have in common, so that a problem of another kind is told from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jepakit.lp.data import Array, LinearProgram, matrix_fingerprint

#: A count may be outside of the range by this share of it, a share by this much, and a spread by this many decades.
_COUNT, _SHARE, _SPREAD = 0.1, 0.1, 1.0


@dataclass(frozen=True)
class Kind:
    """Ranges of statistics over problems.

    Args:
        matrix: the fingerprint of the matrix that all have; empty if they differ.
        ranges: the least and largest value of each statistic of `statistics`, by its name.
    """

    matrix: str
    ranges: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, problems: Sequence[LinearProgram]) -> Kind:
        """The kind of at least one problem."""
        matrices = {matrix_fingerprint(problem) for problem in problems}
        found = [statistics(problem) for problem in problems]
        ranges = {name: (min(one[name] for one in found), max(one[name] for one in found)) for name in found[0]}
        return cls(matrices.pop() if len(matrices) == 1 else "", ranges)

    def difference(self, problem: LinearProgram) -> str:
        """What a problem has that those of the kind do not have; empty for a problem of the kind."""
        for name, value in statistics(problem).items():
            least, largest = self.ranges[name]
            slack = _COUNT * largest if name in _COUNTS else _SPREAD if name in _SPREADS else _SHARE
            if not least - slack <= value <= largest + slack:
                limits = f"{least:.4g}" if least == largest else f"{least:.4g} to {largest:.4g}"
                return f"{name} {value:.4g}, in training {limits}"
        if self.matrix and matrix_fingerprint(problem) != self.matrix:
            return "another matrix"
        return ""


_COUNTS = ("rows", "columns", "entries per row", "entries per column")
_SHARES = (
    "share of equations",
    "share of rows with a lower side alone",
    "share of rows with an upper side alone",
    "share of fixed columns",
    "share of columns with two bounds",
    "share of columns without bounds",
    "share of positive costs",
    "share of negative costs",
    "share of positive entries",
)
_SPREADS = ("decades of costs", "decades of entries")
STATISTICS = (*_COUNTS, *_SHARES, *_SPREADS)
"""Names of the statistics."""


def statistics(problem: LinearProgram) -> dict[str, float]:
    """The value of each of `STATISTICS`: counts, shares, and spreads that do not depend on units."""
    entries, costs = problem.matrix.data, problem.costs
    row_lower, row_upper = np.isfinite(problem.row_lower), np.isfinite(problem.row_upper)
    lower, upper = np.isfinite(problem.lower), np.isfinite(problem.upper)
    counts = (
        problem.rows,
        problem.columns,
        len(entries) / max(1, problem.rows),
        len(entries) / max(1, problem.columns),
    )
    which = (
        problem.row_lower == problem.row_upper,
        row_lower & ~row_upper,
        row_upper & ~row_lower,
        problem.lower == problem.upper,
        lower & upper,
        ~lower & ~upper,
        costs > 0,
        costs < 0,
        entries > 0,
    )
    values = (*map(float, counts), *map(_share, which), _decades(costs), _decades(entries))
    return dict(zip(STATISTICS, values, strict=True))


def _share(which: Array) -> float:
    return float(which.mean()) if len(which) else 0.0


def _decades(values: Array) -> float:
    """From the median size of what is not 0 to the largest."""
    sizes = np.abs(values[values != 0])
    return float(np.log10(sizes.max() / np.median(sizes))) if len(sizes) else 0.0
