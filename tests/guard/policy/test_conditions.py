"""Conditions that must hold are exact; conditions that must not hold also match what looks alike."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jepakit.guard.policy.conditions import Rule
from jepakit.guard.policy.patterns import Argument
from jepakit.guard.traces.folding import fold
from jepakit.guard.traces.strict_json import leaves


def broken(arguments: Any, pattern: str = "/x", **conditions: Any) -> list[str]:
    rule = Rule.model_validate({"id": "r", "argument": pattern, **conditions})
    return list(rule.broken_at([Argument(*leaf) for leaf in leaves(arguments)]))


@pytest.mark.parametrize(
    ("condition", "holds", "breaks"),
    [
        ({"equals": 5}, [5, 5.0], ["5", 6, True, 5.1, [5, 6]]),
        ({"equals": True}, [True], [1, "true", False]),
        ({"one_of": ["a@b.c", 7]}, ["a@b.c", 7, ["a@b.c", 7]], ["A@b.c", "a@b.c ", "\u0430@b.c", ["a@b.c", "x"]]),
        ({"matches": "[a-z]+"}, ["abc"], ["abc1", "abc\n", "", "x abc", "ａ"]),
        (
            {"at_most": 100},
            [100, 100.0, "100", "1e2", -5],
            [101, "100.000000000000000000001", "ten", True, "１", 2**70],
        ),
        ({"at_least": 0.1}, [0.1, "0.1", 5], [0, "0.09999999999999999999999"]),
        ({"at_most_length": 3}, ["abc", 123], ["abcd", 1234]),
        ({"at_most_items": 2}, [["a", "b"], "a"], [["a", "b", "c"], [["a", "b"], "c"]]),
        (
            {"domain_in": ["example.org"]},
            ["a@example.org", "A@Mail.Example.org", "https://www.example.org/x?y#z", "example.org:80", "example.org"],
            [
                "a@example.org.evil.com",
                "a@notexample.org",
                "https://example.org@evil.com/",
                "https://evil.com/example.org",
                "https://evil.com\\@example.org",
                "a@ex\u0430mple.org",
                "a@evil.com, b@example.org",
                "javascript://example.org",
                "example.org\n",
                5,
            ],
        ),
    ],
)
def test_conditions_that_must_hold(condition: dict[str, Any], holds: list[Any], breaks: list[Any]) -> None:
    assert [value for value in holds if broken({"x": value}, **condition)] == []
    # An empty text is no value that a rule asks for either.
    assert [value for value in breaks if not broken({"x": value}, **condition)] == []


@pytest.mark.parametrize(
    ("condition", "holds", "breaks"),
    [
        ({"none_of": ["admin", 5]}, ["administrator", 6], ["admin", "ADMIN", "\u0430dmin", "ad\u200bmin", 5, "5.0"]),
        ({"not_matches": "drop +table"}, ["dropped tables"], ["x DROP  TABLE y", "drop\u2003table"]),
        (
            {"not_domain_in": ["evil.org"]},
            ["a@good.org", "https://evil.organic/", "notevil.org", "evil.org.uk"],
            ["see HTTPS://x.EVIL.org/?q", "a@evil.org", "eve@evil%2Eorg", "evil\u200b.org", "ev\u0456l.org."],
        ),
    ],
)
def test_conditions_that_must_not_hold(condition: dict[str, Any], holds: list[Any], breaks: list[Any]) -> None:
    assert [value for value in holds if broken({"x": value}, **condition)] == []
    assert [value for value in breaks if not broken({"x": value}, **condition)] == []
    # Also as a key, below a place, and under a key that looks like the argument's.
    for value in (one for one in breaks if isinstance(one, str)):
        assert broken({"x": {value: 1}}, **condition)
        assert broken({"X\u200b": [[value]]}, **condition)
    assert broken({}, **condition) == broken({"x": None}, **condition) == []


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6), st.text(max_size=6))
def test_folding_denies_more_and_allows_no_more(value: str, other: str) -> None:
    alike = fold(value).text
    assert broken({"x": value}, none_of=[value])
    if alike:
        assert broken({"x": alike}, none_of=[value])
    assert bool(broken({"x": other}, one_of=[value])) == (other != value)


def test_a_missing_argument_breaks_a_rule_that_requires_it() -> None:
    for missing in ({}, {"x": None}, {"x": []}, {"X": 5}):
        assert broken(missing, at_most=9) == ["/x"]
        assert broken(missing, at_most=9, required=False) == []


@pytest.mark.parametrize(
    ("pattern", "places"),
    [
        ("/a", ["/a/0/b", "/a/1"]),
        ("/a/*/b", ["/a/0/b"]),
        ("/*/1", ["/a/1"]),
        ("/**/b", ["/a/0/b", "/b"]),
        ("/c~1d", ["/c~1d"]),
        ("/**", ["/a/0/b", "/a/1", "/b", "/c~1d"]),
        ("/a/0/b/c", []),
        ("/A", []),
    ],
)
def test_patterns_of_arguments(pattern: str, places: list[str]) -> None:
    arguments = {"a": [{"b": 2}, 2], "b": 2, "c/d": 2}
    assert broken(arguments, pattern, equals=1, required=False) == places


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"matches": "("},
        {"matches": "(?=a)"},
        {"not_matches": "a" * 3000},
        {"at_most": float("inf")},
        {"at_most": "5"},
        {"at_most": True},
        {"domain_in": ["https://x.org"]},
        {"equals": 1, "argument": "x"},
        {"equals": {}},
        {"equals": None},
    ],
)
def test_rules_that_are_none(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Rule.model_validate({"id": "r", "argument": "/x", **rule})


def test_a_hostile_text_costs_linear_time() -> None:
    began = time.perf_counter()
    assert broken({"x": "a" * 2_000_000}, matches="(a+)+b")
    assert not broken({"x": "a" * 2_000_000}, not_matches="(a*)*b", not_domain_in=["a.b"], none_of=["b"])
    assert broken({"x": "a.b-" * 500_000}, domain_in=["a.b"])
    assert not broken({"/".join("a" * 500): 1}, "/**/a" * 100 + "/z", equals=2, required=False)
    assert time.perf_counter() - began < 5
