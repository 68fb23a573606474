"""Intervals by hand, and how often they hold the truth."""

import numpy as np
import pytest

from jepakit.graph.probe.comparison import Interval, Variance, crossed_interval, interval


def test_one_source_is_students_interval_by_hand() -> None:
    """Of 1, 2, 6: mean 3, variance 7, standard error √(7/3), t = 4.3027 with two degrees of freedom."""
    found = crossed_interval([[1.0, 2, 6]])
    assert found.mean == 3
    assert found.high - 3 == pytest.approx(3 - found.low) == pytest.approx(4.302653 * (7 / 3) ** 0.5, abs=1e-5)


def test_freedom_is_that_of_satterthwaite() -> None:
    """Equal variances of 2 and 6 degrees: 4 / (1/2 + 1/6) = 6 degrees, t = 2.4469."""
    found = interval(0.0, [Variance(1.0, 2), Variance(1.0, 6)])
    assert found.high == pytest.approx(2.446912 * 2**0.5, abs=1e-5)


def test_equal_scores_leave_no_doubt() -> None:
    assert crossed_interval(np.ones((3, 4))) == Interval(1.0, 1.0, 1.0)


def test_other_units() -> None:
    assert Interval(0.1, -0.2, 0.3).scaled(-100) == Interval(-10.0, -30.0, 20.0)


@pytest.mark.parametrize(("rows", "columns"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.0, 0.0)])
def test_they_hold_the_truth_nineteen_times_in_twenty(rows: float, columns: float) -> None:
    """Whatever varies: pre-trainings, draws, both, or neither."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(2000):
        table = rows * rng.standard_normal((5, 1)) + columns * rng.standard_normal((1, 20))
        found = crossed_interval(table + rng.standard_normal((5, 20)))
        held.append(found.low <= 0 <= found.high)
    assert np.mean(held) > 0.94
