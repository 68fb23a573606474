"""Runs of words: against a search of every pair of places, and in linear time."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from jepakit.guard.data import Call, Trace
from jepakit.guard.traces.provenance import data_flow
from jepakit.guard.traces.runs import WORDS, Words, common_runs

TEXTS = st.lists(st.sampled_from("abc"), max_size=25).map(" ".join)


def longest(own: list[str], other: list[str]) -> int:
    """Length of the longest run of both, tried at every pair of places."""
    best = 0
    for start in range(len(own)):
        for place in range(len(other)):
            size = 0
            while start + size < len(own) and place + size < len(other) and own[start + size] == other[place + size]:
                size += 1
            best = max(best, size)
    return best


@given(TEXTS, TEXTS)
def test_runs_are_in_both_texts_maximal_and_apart(one: str, two: str) -> None:
    vocabulary: dict[str, int] = {}
    own, other = one.split(), two.split()
    runs = common_runs(Words(one, vocabulary), Words(two, vocabulary))
    taken: set[int] = set()
    for start, place, size in runs:
        assert size >= WORDS
        assert own[start : start + size] == other[place : place + size]
        assert not taken & set(range(start, start + size))
        taken |= set(range(start, start + size))
    assert bool(runs) == (longest(own, other) >= WORDS)


@given(st.permutations(range(20)), st.integers(0, 10), st.integers(WORDS, 10))
def test_where_words_are_all_different_the_longest_run_is_found(words: list[int], start: int, size: int) -> None:
    vocabulary: dict[str, int] = {}
    own, other = [f"w{word}" for word in words], [f"x{word}" for word in words]
    other[5 : 5 + size] = own[start : start + size]
    runs = common_runs(Words(" ".join(own), vocabulary), Words(" ".join(other), vocabulary))
    assert runs == [(start, 5, len(own[start : start + size]))]


def test_places_are_those_of_the_words() -> None:
    words = Words("one three5 é", {})
    assert [words.span(place, place + 1) for place in range(3)] == [(0, 3), (4, 10), (11, 12)]
    assert words.span(0, 3) == (0, 12)
    assert len(Words("", {}).ids) == 0


def test_megabytes_of_words_take_seconds() -> None:
    few, other = "a b c d e " * 200_000, "a b c e d " * 200_000
    for body, output in ((few, other), (few, few + "x"), (" ".join(map(str, range(300_000))), other)):
        calls = (
            Call(id="1", tool="read", arguments={}, output=output),
            Call(id="2", tool="send", arguments={"body": body}),
        )
        began = time.process_time()
        data_flow(Trace(calls=calls))
        assert time.process_time() - began < 20
