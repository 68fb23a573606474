"""Sums that account for rounding, beside the same in fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp

from jepakit.lp.solving.precise import EPSILON, Enclosed, dot, residual, rough_residual, segment_sums, two_product


def exactly(matrix: np.ndarray, values: np.ndarray, minus: np.ndarray) -> list[Fraction]:
    return [
        sum((Fraction(a) * Fraction(b) for a, b in zip(row, values, strict=True)), -Fraction(less))
        for row, less in zip(matrix, minus, strict=True)
    ]


def holds(enclosed: Enclosed, truth: list[Fraction]) -> bool:
    inside = all(
        Fraction(low) <= value <= Fraction(high)
        for low, high, value in zip(enclosed.low, enclosed.high, truth, strict=True)
    )
    parts = zip(enclosed.middle, enclosed.rest, enclosed.radius, truth, strict=True)
    return inside and all(
        abs(Fraction(middle) + Fraction(rest) - value) <= Fraction(radius) for middle, rest, radius, value in parts
    )


@pytest.mark.parametrize("seed", range(60))
def test_residuals_are_enclosed_whatever_cancels(seed: int) -> None:
    draw = np.random.default_rng(seed)
    rows, columns = draw.integers(1, 9, 2)
    matrix = draw.normal(size=(rows, columns)) * 10.0 ** draw.integers(-10, 11, (rows, columns))
    matrix *= draw.random((rows, columns)) < 0.7
    values = draw.normal(size=columns) * 10.0 ** draw.integers(-10, 11, columns)
    minus = matrix @ values if seed % 2 else draw.normal(size=rows)
    truth = exactly(matrix, values, minus)
    for stored in (sp.csr_array(matrix), sp.csc_array(matrix.T)):
        precise = residual(stored, values, minus)
        assert holds(precise, truth)
        assert holds(rough_residual(stored, values, minus), truth)
        terms = np.abs(matrix) @ np.abs(values) + np.abs(minus)
        assert (precise.radius <= 1e-40 * terms + 8 * EPSILON**2 * np.abs(precise.middle)).all()


def test_what_cancels_entirely_is_zero_and_what_has_no_terms_too() -> None:
    matrix = sp.csr_array(np.array([[1e16, 1.0, -1e16], [0, 0, 0]]))
    found = residual(matrix, np.ones(3), np.array([1.0, 0.0]))
    for part in (found.middle, found.low, found.high):
        assert part.tolist() == [0, 0]


def test_products_keep_their_errors() -> None:
    product, error = two_product(np.array([0.1]), np.array([0.3]))
    assert Fraction(product[0]) + Fraction(error[0]) == Fraction(0.1) * Fraction(0.3)
    assert error[0] != 0
    # Below the smallest number there is no error to keep, but it is allowed for.
    tiny = dot(np.array([1e-200]), np.array([1e-200]))
    assert tiny.low[0] <= 0 < Fraction(1e-200) ** 2 <= Fraction(tiny.high[0])


def test_a_sum_that_is_out_of_range_is_enclosed_by_nothing() -> None:
    found = segment_sums(np.array([1e308, 1e308]), np.array([0, 2]))
    assert not np.isfinite(found.radius[0]) or not np.isfinite(found.middle[0])
