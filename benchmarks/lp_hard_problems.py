"""Small problems of every kind that has fooled a solver, for `benchmarks.lp_exact.truth`.

Units are changed by powers of two: rounding would make equal rows contradict each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from jepakit.lp import LinearProgram

Draw = np.random.Generator


def hard_problem(seed: int) -> tuple[str, LinearProgram]:
    """The kinds' names, and a problem: small numbers first, then what makes it hard."""
    draw = np.random.default_rng([77, seed])
    problem = _plain(draw)
    names = ["plain"]
    for name, change in _KINDS.items():
        if draw.random() < 0.25:
            problem = change(problem, draw)
            names.append(name)
    return " ".join(names), problem


def _plain(draw: Draw) -> LinearProgram:
    """Whole numbers; rows and columns with two sides, one, none, or equal ones; often a feasible point."""
    rows, columns = draw.integers(1, 6), draw.integers(1, 7)
    matrix = draw.integers(-4, 5, (rows, columns)) * (draw.random((rows, columns)) < 0.7)
    point = draw.integers(-3, 4, columns)
    activity = matrix @ point if draw.random() < 0.85 else draw.integers(-5, 6, rows)
    lower, upper = _sides(point, draw)
    row_lower, row_upper = _sides(activity, draw)
    if draw.random() < 0.7:
        lower = np.where(np.isinf(lower), -10.0, lower)
        upper = np.where(np.isinf(upper), 10.0, upper)
    return LinearProgram(
        draw.integers(-5, 6, columns).astype(float),
        sp.csc_array(matrix.astype(float)),
        row_lower,
        row_upper,
        lower,
        upper,
        offset=float(draw.choice([0.0, 0.0, 7.0, 1e6])),
        maximize=bool(draw.random() < 0.2),
    )


def _sides(values: np.ndarray, draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    kind = draw.integers(0, 4, len(values))
    lower = np.where(kind == 1, -np.inf, values - draw.integers(0, 4, len(values)))
    upper = np.where(kind == 2, np.inf, values + draw.integers(0, 4, len(values)))
    lower = np.where((kind == 3) & (draw.random(len(values)) < 0.5), upper, lower)
    return lower.astype(float), upper.astype(float)


def _costs(problem: LinearProgram, draw: Draw) -> LinearProgram:
    return replace(problem, costs=problem.costs * 2.0 ** draw.integers(-33, 34), offset=0.0)


def _sizes(problem: LinearProgram, draw: Draw) -> LinearProgram:
    """All sides and bounds in another unit."""
    factor = 2.0 ** draw.integers(-33, 34)
    names = ("row_lower", "row_upper", "lower", "upper")
    return replace(problem, **{name: factor * getattr(problem, name) for name in names})


def _rows(problem: LinearProgram, draw: Draw) -> LinearProgram:
    """Each row in its own unit."""
    factor = 2.0 ** draw.integers(-20, 21, problem.rows)
    matrix = sp.csc_array(sp.diags_array(factor) @ problem.matrix)
    return replace(problem, matrix=matrix, row_lower=factor * problem.row_lower, row_upper=factor * problem.row_upper)


def _columns(problem: LinearProgram, draw: Draw) -> LinearProgram:
    """Each column in its own unit."""
    factor = 2.0 ** draw.integers(-20, 21, problem.columns)
    matrix = sp.csc_array(problem.matrix @ sp.diags_array(factor))
    costs = problem.costs * factor
    return replace(problem, costs=costs, matrix=matrix, lower=problem.lower / factor, upper=problem.upper / factor)


def _cancelling(problem: LinearProgram, draw: Draw) -> LinearProgram:
    """Two large columns that are fixed, and cancel in a row."""
    size = 10.0 ** draw.integers(6, 12)
    pair = np.zeros((problem.rows, 2))
    pair[draw.integers(problem.rows)] = [1.0, -1.0]
    return _joined(problem, pair, np.zeros(2), np.full(2, size), np.full(2, size))


def _tiny(problem: LinearProgram, draw: Draw) -> LinearProgram:
    """A column of small entries that can grow as large as it takes."""
    entries = draw.integers(1, 4, (problem.rows, 1)) * 10.0 ** draw.integers(-13, -7)
    cost = float(draw.choice([-1.0, 0.0, 1.0])) * 1e-9
    return _joined(problem, entries, np.array([cost]), np.zeros(1), np.full(1, np.inf))


def _joined(
    problem: LinearProgram, entries: np.ndarray, costs: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> LinearProgram:
    return replace(
        problem,
        costs=np.concatenate([problem.costs, costs]),
        matrix=sp.csc_array(sp.hstack([problem.matrix, sp.csc_array(entries)])),
        lower=np.concatenate([problem.lower, lower]),
        upper=np.concatenate([problem.upper, upper]),
    )


def _free(problem: LinearProgram, draw: Draw) -> LinearProgram:
    some = draw.random(problem.columns) < 0.5
    return replace(problem, lower=np.where(some, -np.inf, problem.lower), upper=np.where(some, np.inf, problem.upper))


def _fixed(problem: LinearProgram, draw: Draw) -> LinearProgram:
    some = (draw.random(problem.columns) < 0.4) & np.isfinite(problem.lower)
    return replace(problem, upper=np.where(some, problem.lower, problem.upper))


def _degenerate(problem: LinearProgram, draw: Draw) -> LinearProgram:
    """Every row twice, the second time doubled, and costs like a row."""
    names = ("row_lower", "row_upper")
    doubled = {name: np.concatenate([getattr(problem, name), 2 * getattr(problem, name)]) for name in names}
    costs = problem.matrix.tocsr()[[int(draw.integers(problem.rows))]].toarray()[0]
    matrix = sp.csc_array(sp.vstack([problem.matrix, 2 * problem.matrix]))
    return replace(problem, matrix=matrix, costs=costs, **doubled)


_KINDS: dict[str, Callable[[LinearProgram, Draw], LinearProgram]] = {
    "free": _free,
    "fixed": _fixed,
    "degenerate": _degenerate,
    "costs": _costs,
    "sizes": _sizes,
    "rows": _rows,
    "columns": _columns,
    "cancelling": _cancelling,
    "tiny": _tiny,
}
