"""Advice on retrievers: only what is surely better than every other row is recommended, with size and interval."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jepakit.kgqa.advice import advice

RIGHT, HALF, WRONG = np.ones(100), np.tile([0.0, 1.0], 50), np.zeros(100)


def test_a_gain_is_named_with_its_interval_and_its_cost() -> None:
    # Differences are 0 and 1 in turn: mean 50 points, standard error 50.25 / 10.
    reach = 1.96 * 100 * math.sqrt(0.25 * 100 / 99) / 10
    assert advice({"ours": RIGHT, "BM25": WRONG, "cosine": HALF}, "ours", "the retriever", 12.4) == (
        "Use the retriever: +50.0 points of right first answers over the best other row, cosine (95 % interval "
        f"{50 - reach:+.1f} to {50 + reach:+.1f} on 100 questions; 12 s of training)."
    )


@pytest.mark.parametrize(
    ("ours", "said"),
    [(WRONG, "is worse, -50.0 points"), (np.tile([1.0, 0.0], 50), "is not surely better, +0.0 points")],
)
def test_where_ours_is_not_surely_better_the_best_other_row_is_named(ours: np.ndarray, said: str) -> None:
    found = advice({"ours": ours, "BM25": HALF, "cosine": WRONG}, "ours", "the retriever")
    assert found.startswith(f"Use BM25: the retriever {said}")
    assert found.endswith("train on more questions.")


def test_one_question_shows_nothing() -> None:
    assert advice({"ours": RIGHT[:1], "BM25": WRONG[:1]}, "ours", "the retriever").startswith("Use BM25")
