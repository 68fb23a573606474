"""Axes hold what they are made for, whatever the numbers are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jepakit.training.report.axes import axis_of, numbers_axis
from jepakit.training.report.charts import line_chart
from jepakit.training.report.maps import level_keys

NUMBERS = st.lists(
    st.floats(width=32) | st.sampled_from([0.0, 1.0, -1.0, 1e300, -1e300, 5e-324]), min_size=1, max_size=9
)


@given(NUMBERS, st.booleans(), st.booleans())
@example([6.587613382071182e-39], False, True)
@example([0.9999999, 0.99999995], False, True)
def test_values_lie_on_their_axis_and_ticks_between_its_ends(
    values: list[float], zero_based: bool, whole: bool
) -> None:
    numbers = np.array(values)
    axis = axis_of(numbers, count=5, zero_based=zero_based, whole=whole)
    shares = axis.share(numbers[np.isfinite(numbers)])
    assert np.isfinite(shares).all()
    assert ((shares >= -1e-9) & (shares <= 1 + 1e-9)).all()
    ticks = [value for value, _ in axis.ticks]
    assert len(ticks) <= 13
    assert ticks == sorted(set(ticks), reverse=axis.scale == "log")
    assert all(-0.01 <= share <= 1.01 for share in axis.share(ticks))
    assert "nan" not in line_chart(np.arange(len(values)), numbers, description="any")


@pytest.mark.parametrize(
    ("values", "options", "texts"),
    [
        ([0, 10], {}, ["0.0", "2.5", "5.0", "7.5", "10.0"]),
        ([0.001, 0.9], {}, ["1", "0.1", "0.01", "0.001"]),
        ([1, 2, 3], {"whole": True, "room": False}, ["1", "2", "3"]),
        ([0.5, 0.7], {"zero_based": True}, ["0.0", "0.2", "0.4", "0.6"]),
        ([-2e9, 1e9], {}, ["−2e+09", "−1e+09", "0", "1e+09"]),
        ([7], {}, ["6.5", "7.0", "7.5"]),
    ],
)
def test_numbers_beside_an_axis_are_round(values: list[float], options: dict[str, bool], texts: list[str]) -> None:
    assert [text for _, text in axis_of(np.array(values), count=5, **options).ticks] == texts


def test_a_curve_by_size_has_its_numbers_and_a_logarithmic_axis_above_one() -> None:
    axis = numbers_axis((0, 10, 100, 1000))
    assert [text for _, text in axis.ticks] == ["0", "10", "100", "1000"]
    steps = np.diff(axis.share([10, 100, 1000]))
    assert steps[0] == pytest.approx(steps[1])
    assert numbers_axis((0, 1, 2)).scale == "linear"


def test_values_take_the_colours_of_equal_steps() -> None:
    assert level_keys(np.array([0, 4.5, 9, np.nan])) == ["v0", "v4", "v8", "none"]
    assert level_keys(np.array([2.0, 2.0])) == ["v0", "v0"]
    assert level_keys(np.array([np.nan])) == ["none"]
