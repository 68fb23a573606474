"""Arrays of a problem from what the sections of an MPS file state, by the places of rows and columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from jepakit.lp.data import Array

#: Numbers of at least this size stand for infinity.
_INFINITE = 1e20


def entries_of(
    kinds: Sequence[str], objective: int, begins: Sequence[int], rows: Sequence[int], values: Sequence[float]
) -> tuple[sp.csc_array, Array]:
    """The matrix, without rows of type N, and the costs ``[n]``.

    Args:
        kinds: type of each row.
        objective: the place of its row; -1: none.
        begins: place of each column's first entry.
        rows: of each entry.
        values: of each entry.
    """
    kept = np.array(kinds, dtype="U1") != "N"
    row, value = np.array(rows, np.intp), np.array(values)
    column = np.repeat(np.arange(len(begins)), np.diff([*begins, len(value)]))
    of_objective = row == objective
    costs = np.zeros(len(begins))
    costs[column[of_objective]] = value[of_objective]
    in_matrix = kept[row]
    places = (np.cumsum(kept) - 1)[row[in_matrix]]
    begins_in_matrix = np.concatenate([[0], np.cumsum(np.bincount(column[in_matrix], minlength=len(costs)))])
    shape = (int(kept.sum()), len(costs))
    return sp.csc_array((value[in_matrix], places, begins_in_matrix), shape=shape), costs


def sides_of(kinds: Sequence[str], sides: dict[int, float], ranges: dict[int, float]) -> tuple[Array, Array]:
    """L and U, ``[m]``, of the rows of type E, L or G. A range is the width of a row."""
    kind = np.array(kinds, dtype="U1")
    side, width = _dense(sides, len(kind), 0.0), _dense(ranges, len(kind), np.nan)
    low, high = np.where(kind == "L", -np.inf, side), np.where(kind == "G", np.inf, side)
    downwards = (kind == "L") | ((kind == "E") & (width < 0))
    # Infinite sides with infinite ranges are NaN, which the problem refuses.
    with np.errstate(invalid="ignore"):
        low = np.where(~np.isnan(width) & downwards, side - np.abs(width), low)
        high = np.where(~np.isnan(width) & ~downwards, side + np.abs(width), high)
    return _with_infinities(low[kind != "N"]), _with_infinities(high[kind != "N"])


def bounds_of(
    columns: int, lower: dict[int, float], upper: dict[int, float], semicontinuous: Sequence[int]
) -> tuple[Array, Array, Array]:
    """l and u, ``[n]``, and the columns whose lower bound is -inf because their upper bound is negative."""
    low, high = _dense(lower, columns, np.nan), _dense(upper, columns, np.inf)
    assumed = np.isnan(low) & (high < 0)
    low = np.where(assumed, -np.inf, np.where(np.isnan(low), 0.0, low))
    places = np.array(semicontinuous, np.intp)
    low[places], high[places] = np.minimum(0.0, low[places]), np.maximum(0.0, high[places])
    return _with_infinities(low), _with_infinities(high), np.flatnonzero(assumed)


def _dense(values: dict[int, float], length: int, default: float) -> Array:
    """The values at their places, elsewhere the default."""
    dense = np.full(length, default)
    dense[list(values)] = list(values.values())
    return dense


def _with_infinities(side: Array) -> Array:
    """Replaces numbers that stand for infinity."""
    return np.where(np.abs(side) >= _INFINITE, np.copysign(np.inf, side), side)
