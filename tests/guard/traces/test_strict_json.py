"""JSON has one meaning, or is refused."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.errors import DataError
from jepakit.guard.traces.strict_json import JsonLimits, Leaf, TooLargeError, exact_number, leaves, parse

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read(value: Any) -> None:
    for ascii_only in (True, False):
        assert parse(json.dumps(value, ensure_ascii=ascii_only)) == value


@given(VALUES)
def test_every_leaf_stands_at_its_pointer(value: Any) -> None:
    for pointer, leaf in leaves(value):
        place = value
        for token in pointer.split("/")[1:]:
            key = token.replace("~1", "/").replace("~0", "~")
            place = place[int(key)] if isinstance(place, list) else place[key]
        assert place == leaf


def test_leaves_by_hand() -> None:
    value = {"to": ["a@b.c", {}], "a/b~": {"n": 1}}
    assert leaves(value) == [Leaf("/to/0", "a@b.c"), Leaf("/to/1", {}), Leaf("/a~1b~0/n", 1)]


@pytest.mark.parametrize(
    "text",
    [
        '{"to": "me", "to": "you"}',
        '{"a": [{"b": 1, "\\u0062": 2}]}',
        "NaN",
        '{"limit": Infinity}',
        "[-Infinity]",
        "1e400",
        "-1e400",
        # 2^53 + 1 as a fraction, which a double rounds to 2^53.
        "9007199254740993.0",
        '"\\ud800"',
        '{"\\udc00": 1}',
        "{'a': 1}",
        '{"a": 1,}',
        '{"a": 1} {"b": 2}',
        "",
        '"open',
        '{"a": 01}',
    ],
)
def test_texts_of_two_meanings_are_refused(text: str) -> None:
    with pytest.raises(DataError):
        parse(text)
    with pytest.raises(DataError):
        parse(text.encode())


@pytest.mark.parametrize("raw", [b'"\xff"', b'\xef\xbb\xbf{"a": 1}', '{"a": 1}'.encode("utf-16")])
def test_bytes_are_utf_8(raw: bytes) -> None:
    with pytest.raises(DataError):
        parse(raw)


def test_whole_numbers_stay_exact() -> None:
    assert parse("9007199254740993") == 9007199254740993
    assert parse(f"{10**100}") == 10**100
    with pytest.raises(DataError):
        parse("1" * 5000)


@pytest.mark.parametrize("wide", ["[" * 65 + "]" * 65, '{"a":' * 65 + "1" + "}" * 65, "[" * 3_000_000])
def test_deep_nesting_is_refused_without_recursion(wide: str) -> None:
    with pytest.raises(TooLargeError):
        parse(wide)


def test_limits_are_exact() -> None:
    assert parse("[" * 64 + "]" * 64)
    assert parse('"' + "[" * 1000 + '"') == "[" * 1000
    assert parse(json.dumps([1] * 10_000))
    for text in (json.dumps([1] * 10_001), json.dumps([[]] * 10_001)):
        with pytest.raises(TooLargeError):
            parse(text)
    assert parse('"abc"', JsonLimits(bytes=5)) == "abc"
    with pytest.raises(TooLargeError):
        parse('"abcd"', JsonLimits(bytes=5))


def test_ten_megabytes_are_refused_at_once() -> None:
    began = time.perf_counter()
    for text in (
        '"' + "a" * 10_000_000 + '"',
        "[" * 10_000_000,
        '{"a": "' + '\\"' * 2_000_000 + '"}' + " " * 9_000_000,
    ):
        with pytest.raises(TooLargeError):
            parse(text)
    with pytest.raises(TooLargeError):
        leaves({"body": "a" * 10_000_000})
    assert time.perf_counter() - began < 5


def test_a_key_that_stands_twice_among_many_is_found_in_linear_time() -> None:
    keys = ",".join(f'"{number}":0' for number in range(200_000))
    began = time.perf_counter()
    with pytest.raises(DataError) as caught:
        parse(f'{{{keys},"199999":1}}')
    assert caught.value.field == "199999"
    assert time.perf_counter() - began < 5


def test_values_that_are_no_json_are_refused() -> None:
    itself: list[Any] = []
    itself.append(itself)
    for value in (
        itself,
        {"a": {1, 2}},
        {"a": b"bytes"},
        {1: "a"},
        float("nan"),
        [float("inf")],
        {"a": "\ud800"},
        2**2000,
    ):
        with pytest.raises(DataError):
            leaves(value)


@pytest.mark.parametrize(
    ("value", "number"),
    [(10, "10"), (10.5, "10.5"), ("10", "10"), (" 1e3 ", "1000"), ("-0.1", "-0.1"), (2**60 + 1, str(2**60 + 1))],
)
def test_numbers_in_texts_are_exact(value: Any, number: str) -> None:
    assert exact_number(value) == Decimal(number)


@pytest.mark.parametrize("value", [True, None, "ten", "1 2", "", "0x10", "NaN", "Infinity", "１０", [], "1e9999"])
def test_what_is_no_number(value: Any) -> None:
    assert exact_number(value) is None
