"""The recommendation: every row is in it, the fastest is first, and noise is called noise."""

from __future__ import annotations

import numpy as np
import pytest

from jepakit.lp.starts.advice import Timed, in_ms, recommendation, within_noise


def way(name: str, *milliseconds: float, network: bool = False) -> Timed:
    return Timed(name, milliseconds, network)


def test_a_model_that_is_slower_is_not_to_be_used() -> None:
    ways = [way("cold", 47, 47, 47.3), way("nearest", 21, 21, 21.3), way("model", 181, 180, 182, network=True)]
    assert recommendation(ways) == (
        "Use nearest: 21.1 ms a problem; slower: cold 47.1, model 181; do not use the model"
    )


def test_a_model_that_is_faster_pays_after_it_was_loaded() -> None:
    ways = [way("cold", 120, 121, 122), way("model", 20, 21, 22, network=True)]
    assert recommendation(ways) == (
        "Use model: 21 ms a problem; slower: cold 121; a process that uses the model first loads it in about 2 s,"
        " so it pays from 20 problems a process on"
    )


def test_what_is_within_noise_is_said_to_be() -> None:
    ways = [way("a", 10, 30, 20), way("b", 30, 10, 21), way("c", 60, 61, 59)]
    assert recommendation(ways) == "Use a: 20 ms a problem; within noise: b 20.3; slower: c 60"
    assert (
        recommendation([way("a", 10), way("b", 300)]) == "Use a: 10 ms a problem; not told apart by one problem: b 300"
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_first_is_the_fastest_and_no_row_is_left_out(seed: int) -> None:
    draw = np.random.default_rng(seed)
    ways = [
        way(f"way{number}", *draw.lognormal(3, 1, 5), network=bool(draw.integers(2)))
        for number in range(draw.integers(1, 9))
    ]
    said = recommendation(ways)
    best = min(ways, key=lambda one: one.mean)
    assert said.startswith(f"Use {best.name}: {in_ms(best.mean)} ms")
    assert all(f"{one.name} {in_ms(one.mean)}" in said for one in ways if one is not best)
    assert ("do not use the model" in said) == (not best.network and any(one.network for one in ways))


def test_of_equal_ways_one_in_twenty_is_told_apart() -> None:
    draw = np.random.default_rng(0)
    noisy = [(way("a", *draw.normal(50, 5, 8)), way("b", *draw.normal(50, 5, 8))) for _ in range(1000)]
    assert 0.03 < np.mean([not within_noise(*pair) for pair in noisy]) < 0.07
    assert not within_noise(way("a", 20, 21, 22, 20), way("b", 25, 26, 26.5, 25.2))
