"""Records of outputs, by hand."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.guard.traces.records import records


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("- amount: 1\n  to: me\n- amount: 2\n  to: you\n", ["- amount: 1\n  to: me", "- amount: 2\n  to: you"]),
        ("mails:\n- a\n- b", ["- a", "- b"]),
        ('[{"a": [1, 2]}, {"b": "x, ] y"}]', ['{"a": [1, 2]}', '{"b": "x, ] y"}']),
        ("['it\\'s, one', 'two']", ["'it\\'s, one'", "'two'"]),
        ("first paragraph\nof two lines\n\n \nsecond", ["first paragraph\nof two lines", "second"]),
        ("one line", ["one line"]),
        ("[1] and [2]", ["[1] and [2]"]),
        ("[]", []),
        ("", []),
        ("a list - of words", ["a list - of words"]),
    ],
)
def test_records_by_hand(text: str, parts: list[str]) -> None:
    assert [text[start:end] for start, end in records(text)] == parts


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers()), min_size=1))
def test_the_elements_of_a_json_list_are_its_records(value: list[dict[str, object]]) -> None:
    text = json.dumps(value)
    assert [json.loads(text[start:end]) for start, end in records(text)] == value


@given(st.text(alphabet="-[]{}()'\",\\\n a"))
def test_records_are_in_order_and_apart(text: str) -> None:
    spans = records(text)
    assert all(start < end for start, end in spans)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
