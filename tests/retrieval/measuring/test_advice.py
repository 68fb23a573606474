"""Advice: for what is learned only where it beats every floor, seldom by chance, never on a handful of questions."""

from __future__ import annotations

import numpy as np

from jepakit.retrieval.measuring.advice import FEWEST_QUESTIONS, advice

OURS, ALONE = "full search", "adapter alone"
BASE, SENTENCES = "base model", "base model + sentences"


def advised(values: dict[str, np.ndarray]) -> str:
    copies = np.arange(len(values[OURS]))
    ours, floors = ([name for name in values if (name in (OURS, ALONE)) == learned] for learned in (True, False))
    return advice(values, copies, ours, floors)


def scores(count: int, seed: int) -> np.ndarray:
    """As NDCG is: mostly 0 or 1, and some in between."""
    draw = np.random.default_rng(seed)
    return np.clip(draw.normal(0.6, 0.6, count), 0, 1)


def better(values: np.ndarray, gain: float, seed: int) -> np.ndarray:
    return values + gain + 0.1 * np.random.default_rng(seed).standard_normal(len(values))


def test_a_gain_over_everything_is_advised() -> None:
    base = scores(300, 0)
    found = advised({OURS: better(base, 0.1, 1), BASE: base, SENTENCES: better(base, 0.02, 2)})
    assert found.startswith(f"Use {OURS}: it is significantly better than all that needs no training; +0.")
    assert found.endswith(f"against the strongest of it, {SENTENCES}.")


def test_a_gain_that_needs_no_training_is_not_put_down_to_training() -> None:
    base = scores(300, 0)
    read = better(base, 0.05, 1)
    found = advised({OURS: better(read, 0.0, 2), BASE: base, SENTENCES: read})
    assert found.startswith(f"Use {SENTENCES}, which needs no training: training is not shown to help, {OURS} is not ")
    assert "on 300 different questions; to show a difference of 0.01, about" in found
    assert found.split(f"Against {BASE} it is ")[1].startswith("+0.0")


def test_the_same_ranking_is_called_the_same() -> None:
    base = scores(100, 0)
    read = better(base, 0.05, 1)
    found = advised({OURS: read, BASE: base, SENTENCES: read})
    assert found.startswith(
        f"Use {SENTENCES}, which needs no training: {OURS} finds the same. Against {BASE} it is +0.0"
    )


def test_a_loss_is_said_whatever_row_it_is_against() -> None:
    base = scores(300, 0)
    found = advised({OURS: better(base, 0.02, 1), BASE: base, SENTENCES: better(base, 0.08, 2)})
    assert found.startswith(f"Use {SENTENCES}, which needs no training: {OURS} is significantly worse, -0.0")


def test_a_part_that_is_better_than_the_whole_is_named() -> None:
    base = scores(300, 0)
    found = advised({OURS: better(base, 0.05, 1), ALONE: better(base, 0.15, 2), BASE: base})
    assert found.startswith(f"Use {ALONE}: ")


def test_needed_are_as_many_questions_as_show_the_difference() -> None:
    # A difference of .01 with that spread is found in four of five samples of the size named.
    base = scores(400, 0)
    found = advised({OURS: better(base, 0.0, 5), BASE: base})
    needed = int(found.split("about ")[1].split(" ")[0].replace(",", ""))
    shown = 0
    for seed in range(40):
        base = scores(needed, seed)
        shown += advised({OURS: better(base, 0.01, 100 + seed), BASE: base}).startswith(f"Use {OURS}")
    assert 26 <= shown <= 38


def test_a_handful_of_questions_compares_nothing() -> None:
    base = scores(FEWEST_QUESTIONS - 1, 0)
    for gain in (1, -1):
        told = advised({OURS: base + gain, BASE: base})
        assert told.startswith(f"Use {OURS} for now: its learned parts are used only as far as")
        assert told.endswith("at least 50 different questions; 49 different ones were measured.")
    base = scores(FEWEST_QUESTIONS, 0)
    assert advised({OURS: base + 1, BASE: base}).startswith(f"Use {OURS}: it is significantly better")


def test_where_nothing_is_gained_training_is_advised_at_most_one_time_in_twenty() -> None:
    advised_by_chance = 0
    for seed in range(200):
        base = scores(60, seed)
        noise = np.random.default_rng(1000 + seed)
        # Most questions keep their score, as with a weak adapter; the others gain or lose.
        change = noise.choice([0, 0.3, -0.3], 60, p=[0.8, 0.1, 0.1])
        advised_by_chance += advised({OURS: base + change, BASE: base}).startswith(f"Use {OURS}")
    assert advised_by_chance <= 10
