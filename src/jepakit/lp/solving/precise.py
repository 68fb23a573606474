"""Sums and products without rounding errors, or with a bound on what is left of them.

Source: Rump, Ogita & Oishi 2008, "Accurate floating-point summation, part I: faithful rounding" (extraction); Dekker
1971, "A floating-point technique for extending the available precision" (products).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from jepakit.lp.data import Array

#: Relative rounding error of one operation, and the smallest normal number.
EPSILON, TINY = 2.0**-53, 2.0**-1022
#: Rounds of extraction: each takes another 53 bits, less those that count the terms, off the error.
_ROUNDS = 3


#: An overflow leaves an infinite or undefined radius; it is no fault.
_QUIET = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True)
class Enclosed:
    """Numbers that are not known exactly: each lies within ``radius`` of ``middle + rest``.

    Args:
        middle: nearest double.
        rest: what ``middle`` leaves out, at most half of its last place.
        radius: of the enclosure; infinite or NaN after an overflow.
    """

    middle: Array
    rest: Array
    radius: Array

    @property
    def low(self) -> Array:
        """Doubles that are not larger."""
        return np.where(
            (self.rest == 0) & (self.radius == 0),
            self.middle,
            np.nextafter(self.middle + (self.rest - self.radius), -np.inf),
        )

    @property
    def high(self) -> Array:
        """Doubles that are not smaller."""
        return -Enclosed(-self.middle, -self.rest, self.radius).low


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded sum, and its rounding error, exactly."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


@_QUIET
def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded product, and its rounding error, exactly unless it is below `TINY`."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _split(a), _split(b)
    return product, a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)


def _split(values: Array) -> tuple[Array, Array]:
    """Two halves of 26 bits each."""
    shifted = values * (2.0**27 + 1)
    high = shifted - (shifted - values)
    return high, values - high


@_QUIET
def segment_sums(values: Array, ptr: Array) -> Enclosed:
    """The sum of each segment ``values[ptr[i] : ptr[i + 1]]``.

    Each round adds a power of two to all terms and subtracts it again. What this leaves of the terms of a segment has
    so few bits that its sum is exact, in any order; the next round works on what it took away.
    """
    lengths = np.diff(ptr)
    filled = np.flatnonzero(lengths)
    sums = Enclosed(*(np.zeros(len(lengths)) for _ in range(3)))
    if not len(filled):
        return sums
    lengths, begin = lengths[filled], ptr[:-1][filled]
    terms = values
    count = np.ldexp(1.0, np.frexp(lengths + 2.0)[1])
    middle, rest, lost = (np.zeros(len(filled)) for _ in range(3))
    for _ in range(_ROUNDS):
        largest = np.maximum.reduceat(np.abs(terms), begin)
        power = np.repeat(np.where(largest > 0, count * np.ldexp(1.0, np.frexp(largest)[1]), 0.0), lengths)
        extracted = (power + terms) - power
        terms = terms - extracted
        middle, error = two_sum(middle, np.add.reduceat(extracted, begin))
        rest = rest + error
        lost += 2 * EPSILON * np.abs(rest)
    radius = lengths * np.maximum.reduceat(np.abs(terms), begin) + lost
    middle, rest = two_sum(middle, rest)
    for total, part in zip((sums.middle, sums.rest, sums.radius), (middle, rest, radius), strict=True):
        total[filled] = part
    return sums


def dot(a: Array, b: Array) -> Enclosed:
    """Σ aᵢ bᵢ, as an array of one."""
    return _sums_of_products(a, b, np.array([0, len(a)]), np.zeros(1))


def residual(matrix: sp.csr_array | sp.csc_array, values: Array, minus: Array) -> Enclosed:
    """The products of the matrix' rows (CSR), or its columns (CSC), with ``values``, less ``minus``."""
    return _sums_of_products(matrix.data, values[matrix.indices], matrix.indptr, minus)


def rough_residual(matrix: sp.csr_array | sp.csc_array, values: Array, minus: Array) -> Enclosed:
    """`residual` at a hundredth of the cost: the radius is what rounding can amount to at most."""
    by_row = matrix if matrix.format == "csr" else matrix.T
    middle = by_row @ values - minus
    size = abs(by_row) @ np.abs(values) + np.abs(minus)
    radius = (np.diff(matrix.indptr) + 3) * 1.01 * EPSILON * size + (np.diff(matrix.indptr) + 1) * TINY
    return Enclosed(middle, np.zeros_like(middle), radius)


def _sums_of_products(a: Array, b: Array, ptr: Array, minus: Array) -> Enclosed:
    """Σ aₖ bₖ of each segment, less ``minus``."""
    lengths = np.diff(ptr)
    product, error = two_product(a, b)
    ends = np.concatenate([[0], np.cumsum(2 * lengths + 1)])
    terms = np.empty(ends[-1])
    place = np.repeat(ends[:-1] - 2 * ptr[:-1].astype(np.int64), lengths) + 2 * np.arange(len(product))
    terms[place], terms[place + 1] = product, error
    terms[ends[1:] - 1] = -minus
    sums = segment_sums(terms, ends)
    # The error of a product this small may be below the smallest number.
    small = (np.abs(product) < 2.0**-900) & (a != 0) & (b != 0)
    if small.any():
        of_segment = np.repeat(np.arange(len(lengths)), lengths)[small]
        sums.radius[:] += 4 * TINY * np.bincount(of_segment, minlength=len(lengths))
    return sums
