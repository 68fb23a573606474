"""Schedules against hand-computed values."""

import pytest

from jepakit.core import CosineSchedule, WarmupCosine
from jepakit.errors import ConfigError


def test_cosine_goes_from_start_to_end_per_step() -> None:
    schedule = CosineSchedule(0.996, 1.0, total_steps=100)
    assert schedule(0) == pytest.approx(0.996)
    assert schedule(50) == pytest.approx(0.998)
    assert schedule(100) == schedule(1000) == pytest.approx(1.0)
    assert schedule(25) == pytest.approx(1.0 - 0.004 * (1 + 2**-0.5) / 2)


def test_warmup_rises_linearly_then_falls_to_the_final_factor() -> None:
    schedule = WarmupCosine(total_steps=110, warmup_steps=10, final=0.1)
    assert [schedule(s) for s in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert schedule(10) == pytest.approx(1.0)
    assert schedule(60) == pytest.approx(0.55)
    assert schedule(110) == pytest.approx(0.1)


def test_impossible_lengths_are_refused() -> None:
    with pytest.raises(ConfigError, match="total_steps"):
        CosineSchedule(0.0, 1.0, total_steps=0)
    with pytest.raises(ConfigError, match="warmup_steps = 5"):
        WarmupCosine(total_steps=5, warmup_steps=5)
