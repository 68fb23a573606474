"""The paired interval, on which a refusal rests."""

from __future__ import annotations

import numpy as np
import pytest

from jepakit.errors import ConfigError
from jepakit.retrieval.adapter.selection import SelectionConfig, paired_interval


def test_the_interval_is_that_of_the_mean() -> None:
    difference = np.random.default_rng(0).normal(0.1, 1.0, 400)
    low, high = paired_interval(difference)
    error = difference.std() / 20
    assert low == pytest.approx(difference.mean() - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(difference.mean() + 1.96 * error, abs=0.2 * error)
    narrow_low, narrow_high = paired_interval(difference, confidence=0.5)
    assert low < narrow_low < narrow_high < high


def test_it_covers_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    inside = 0
    for repeat in range(200):
        low, high = paired_interval(draw.normal(0.0, 1.0, 80), confidence=0.9, samples=400, seed=repeat)
        inside += low <= 0 <= high
    assert 0.83 < inside / 200 < 0.96


def test_no_difference_is_no_gain() -> None:
    assert paired_interval(np.zeros(50)) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, "folds = 1: expected at least 2"),
        ({"strengths": []}, "strengths"),
        ({"strengths": [0.5, 1.5]}, "strengths"),
        ({"predictive": [-1.0]}, "predictive"),
        ({"confidence": 1.0}, "confidence = 1.0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match="^" + message):
        SelectionConfig(**options)  # type: ignore[arg-type]
