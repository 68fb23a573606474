"""Texts that look alike fold alike, and folded places lead back."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.guard.traces.folding import fold


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Send  it\n\tNow ", "send it now"),
        ("caf\u00e9", "cafe"),
        ("cafe\u0301", "cafe"),
        ("ｐａｓｓ", "pass"),
        ("pa\u200bss\u2060word", "password"),
        ("p\u0430ypal.c\u043em", "paypal.com"),
        ("\u202eabc\u202c", "abc"),
        ("te\U000e0073\U000e0074xt", "text"),
        ("ﬁle", "file"),
        ("a\x00b\x7f", "ab"),
        ("Straße", "strasse"),
        ("", ""),
        (" \n ", ""),
        ("𝐁𝐨𝐥𝐝", "bold"),
    ],
)
def test_texts_that_look_alike(one: str, other: str) -> None:
    assert fold(one).text == other
    assert fold(other).text == other


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_folding_twice_is_folding_once_and_normal_forms_are_alike(text: str) -> None:
    once = fold(text).text
    assert fold(once).text == once
    for form in ("NFC", "NFD"):
        assert fold(unicodedata.normalize(form, text)).text == once


@given(st.text(), st.data())
def test_places_lead_back(text: str, data: st.DataObject) -> None:
    folded = fold(text)
    assert len(folded.places) == len(folded.text) + 1
    assert (folded.places[:-1] < len(text)).all()
    assert (folded.places[1:] >= folded.places[:-1]).all()
    if folded.text:
        start = data.draw(st.integers(0, len(folded.text) - 1))
        end = data.draw(st.integers(start + 1, len(folded.text)))
        first, last = folded.span(start, end)
        assert 0 <= first < last <= len(text)
        assert folded.text[start:end].strip() in fold(text[first:last]).text
