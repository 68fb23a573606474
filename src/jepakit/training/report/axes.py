"""The axis of a chart: its limits, where a value lies between them, and the numbers beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Scale = Literal["linear", "log", "symlog"]

#: Values that span a larger factor are drawn on a logarithmic axis.
_WIDE = 50
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_STEPS = (1, 2, 2.5, 5, 10)
#: Decimals beyond which numbers are written with an exponent.
_MOST_DECIMALS = 6


@dataclass(frozen=True)
class Axis:
    """An axis from ``low`` to ``high``.

    Args:
        low: the value at its beginning.
        high: the value at its end.
        scale: ``symlog`` is linear up to 1, and logarithmic above it.
        ticks: the values that have a number, and the numbers as texts.
    """

    low: float
    high: float
    scale: Scale
    ticks: tuple[tuple[float, str], ...]

    def share(self, values: Any) -> np.ndarray:
        """The places of values on the axis, from 0 to 1."""
        low, high = self._place(np.array([self.low, self.high]))
        return (self._place(np.asarray(values, float)) - low) / (high - low)

    def _place(self, values: np.ndarray) -> np.ndarray:
        if self.scale == "linear":
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            logarithm = np.log10(values)
        return logarithm if self.scale == "log" else np.where(values <= 1, values, 1 + logarithm)


def axis_of(
    values: np.ndarray, *, count: int, zero_based: bool = False, whole: bool = False, room: bool = True
) -> Axis:
    """An axis with room for finite values, logarithmic where they are positive and span more than a factor of 50.

    Args:
        values: those that are drawn.
        count: about how many numbers stand beside it.
        zero_based: it begins at 0, and is linear, unless a value is negative.
        whole: only whole numbers stand beside it.
        room: it is longer than the values reach.
    """
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if not zero_based and not whole and low > 0 and high > _WIDE * low:
        return _logarithmic(low, high, count)
    if zero_based and low >= 0:
        low = 0.0
    margin = (0.06 * (high - low) or 0.1 * abs(high) or 1.0) if room or low == high else 0.0
    bottom = low if zero_based and low == 0 else low - margin
    return Axis(bottom, high + margin, "linear", _ticks(bottom, high + margin, count, whole=whole))


def numbers_axis(values: tuple[float, ...]) -> Axis:
    """An axis with every value beside it, logarithmic above 1 where they are not negative and span a factor of 50."""
    low, high = min(values), max(values)
    least = max(min((value for value in values if value > 0), default=1), 1)
    scale: Scale = "symlog" if low >= 0 and high > _WIDE * least else "linear"
    end = high if high > low else low + 1
    return Axis(low, end, scale, tuple((value, f"{value:g}") for value in values))


def _logarithmic(low: float, high: float, count: int) -> Axis:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = max(1, math.ceil((last - first) / count))
    powers = range(last, first - 1, -step)
    ticks = tuple((10.0**power, _power(power)) for power in powers if low * 0.8 <= 10.0**power <= high * 1.25)
    return Axis(low * 0.8, high * 1.25, "log", ticks)


def _power(power: int) -> str:
    return f"{10.0**power:g}" if -3 <= power <= 4 else "10" + str(power).translate(_SUPERSCRIPTS)


def _ticks(low: float, high: float, count: int, *, whole: bool) -> tuple[tuple[float, str], ...]:
    """Multiples of a round number; none where the numbers are too large or too near each other to be told apart."""
    raw = (high - low) / count
    if not math.isfinite(raw) or raw <= 0:
        return ()
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * size for factor in _STEPS if factor * size >= raw * 0.999)
    step = max(1.0, math.ceil(step)) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9) + (1 if f"{step:e}".startswith("2.5") else 0))
    exponent = decimals > _MOST_DECIMALS or max(abs(low), abs(high)) >= 1e6
    kind = ".3g" if exponent else f".{decimals}f"
    values = (number * step for number in range(first, last + 1))
    # Beside an axis much shorter than 1 the nearest whole number may be far from it.
    slack = 1e-3 * (high - low)
    values = (value for value in values if low - slack <= value <= high + slack)
    return tuple((value, f"{value:{kind}}".replace("-", "−")) for value in values)
