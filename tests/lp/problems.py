"""Small problems: one by hand, and random ones that have an optimum."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog as scipy_linprog

from jepakit.lp import LinearProgram

INF = np.inf


def by_hand() -> LinearProgram:
    """min -3x - 5y + 10 subject to x ≤ 4, 2y ≤ 12, 3x + 2y ≤ 18 (Wyndor): -26 at (2, 6) with duals (0, -1.5, -1)."""
    return LinearProgram(
        costs=np.array([-3.0, -5.0]),
        matrix=sp.csc_array(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 2.0]])),
        row_lower=np.full(3, -INF),
        row_upper=np.array([4.0, 12.0, 18.0]),
        lower=np.zeros(2),
        upper=np.full(2, INF),
        offset=10.0,
        name="wyndor",
        column_names=("x", "y"),
        row_names=("plant1", "plant2", "plant3"),
    )


def conflicting(apart: float) -> LinearProgram:
    """Two rows of one column, which want it to be at least 1 + ``apart`` and at most 1."""
    return LinearProgram(
        costs=np.array([1.0]),
        matrix=sp.csc_array(np.array([[1.0], [1.0]])),
        row_lower=np.array([1.0 + apart, -INF]),
        row_upper=np.array([INF, 1.0]),
        lower=np.zeros(1),
        upper=np.array([INF]),
    )


def random_problem(seed: int, rows: int = 12, columns: int = 18) -> LinearProgram:
    """Rows and columns of every kind: two sides, one, none; a point that meets them, and finite duals.

    All numbers are multiples of 1/64, so that point and duals are not lost to rounding.
    """
    draw = np.random.default_rng(seed)
    matrix = sp.random_array((rows, columns), density=0.4, rng=draw, format="csc")
    matrix.data = _rounded(draw.normal(size=matrix.nnz))
    x, y = _rounded(draw.normal(size=columns)), _rounded(draw.normal(size=rows))
    lower, upper, z = _sides(x, draw)
    row_lower, row_upper, y = _sides(matrix @ x, draw, y)
    return LinearProgram(z + matrix.T @ y, matrix, row_lower, row_upper, lower, upper, offset=float(draw.normal()))


def _sides(
    values: np.ndarray, draw: np.random.Generator, duals: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bounds around values, and duals whose signs fit the sides that are there."""
    size = len(values)
    duals = _rounded(draw.normal(size=size)) if duals is None else duals
    has_lower, has_upper = draw.random(size) < 0.7, draw.random(size) < 0.5
    tight = draw.random(size) < 0.3
    lower = np.where(has_lower, values - np.where(tight, 0, _rounded(draw.random(size))), -INF)
    upper = np.where(has_upper, values + np.where(draw.random(size) < 0.3, 0, _rounded(draw.random(size))), INF)
    duals = np.where(has_lower, np.maximum(duals, 0), 0) + np.where(has_upper, np.minimum(duals, 0), 0)
    return lower, upper, duals


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.round(64 * values) / 64


def optimum(problem: LinearProgram) -> float:
    """By SciPy, which has its own way of stating problems."""
    matrix = problem.matrix.toarray()
    sides = [(matrix, problem.row_upper), (-matrix, -problem.row_lower)]
    finite = [np.isfinite(side) for _, side in sides]
    found = scipy_linprog(
        problem.costs,
        A_ub=np.vstack([part[keep] for (part, _), keep in zip(sides, finite, strict=True)]),
        b_ub=np.concatenate([side[keep] for (_, side), keep in zip(sides, finite, strict=True)]),
        bounds=np.column_stack([problem.lower, problem.upper]),
    )
    assert found.status == 0
    return found.fun + problem.offset
