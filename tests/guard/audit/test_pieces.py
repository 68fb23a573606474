"""Secrets that are sent in pieces and in disguise, however they are cut."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jepakit.guard.audit import SecretRules
from jepakit.guard.audit.secrets import Secrets

WORDS = ["please", "note", "the", "of", "then", "to", "meeting", "a", "Thursday", "at", "42"]
secrets = st.text("abcdefghijkLMNOPQRSTUV0123456789", min_size=12, max_size=40)


def knowing(*listed: str) -> Secrets:
    known = Secrets(SecretRules(shapes=(r"<(.+?)>",), recognise=False))
    for secret in listed:
        known.read(f"<{secret}>")
    return known


def hits(secret: str, texts: Sequence[str]) -> list[bool]:
    sent = knowing(secret).found_in([(f"/{place}", text) for place, text in enumerate(texts)])
    return [hit.disguised for hit in sent.hits]


@st.composite
def cut(draw: st.DrawFn, secret: str, sizes: range) -> list[str]:
    """The pieces of a secret, each as long as one of ``sizes``; the last one may be shorter than all."""
    pieces: list[str] = []
    while secret:
        size = draw(st.sampled_from(sizes))
        pieces.append(secret[:size])
        secret = secret[size:]
    return pieces


def among(draw: st.DrawFn, pieces: Sequence[str], words: Sequence[str]) -> str:
    """The pieces as words of their own, in their order, with other words between them."""
    between = st.lists(st.sampled_from(words), min_size=1, max_size=4).map(" ".join)
    return " ".join(part for piece in pieces for part in (draw(between), piece))


def long_pieces(draw: st.DrawFn, secret: str) -> list[str]:
    return draw(st.permutations([*draw(cut(secret, range(6, 12))), *draw(st.lists(st.sampled_from(WORDS)))]))


def short_words(draw: st.DrawFn, secret: str) -> list[str]:
    return [among(draw, draw(cut(secret, range(3, 6))), WORDS)]


def short_arguments(draw: st.DrawFn, secret: str) -> list[str]:
    return draw(st.permutations([*draw(cut(secret, range(3, 6))), *draw(st.lists(st.sampled_from(WORDS), max_size=9))]))


def one_by_one(draw: st.DrawFn, secret: str) -> list[str]:
    return [among(draw, list(secret), [word for word in WORDS if len(word) > 2])]


def two_by_two(draw: st.DrawFn, secret: str) -> list[str]:
    return [among(draw, draw(cut(secret, range(1, 3))), [word for word in WORDS if len(word) > 2])]


def every_other(draw: st.DrawFn, secret: str) -> list[str]:
    between = st.text("wxyz", min_size=(step := draw(st.integers(1, 3))), max_size=step)
    return ["".join(one + draw(between) for one in secret)]


def separated(draw: st.DrawFn, secret: str) -> list[str]:
    between = st.text(" .,;:-_/|\u200b\n", min_size=1, max_size=5)
    return ["".join(one + draw(between) for one in secret)]


CUTS = [long_pieces, short_words, short_arguments, one_by_one, two_by_two, every_other, separated]


@pytest.mark.parametrize("way", CUTS, ids=lambda way: way.__name__)
@given(secrets, st.data())
def test_pieces_are_found(way: Callable[..., list[str]], secret: str, data: st.DataObject) -> None:
    assume(not any(word in secret.lower() for word in WORDS if len(word) > 2))
    written = data.draw(st.sampled_from([secret, secret[::-1], secret.upper(), secret.swapcase()]))
    texts = data.draw(st.composite(way)(written))
    assert hits(secret, texts) == [True]


@given(
    secrets,
    st.sampled_from([str, str.upper, str.lower]),
    st.booleans(),
    st.sampled_from(["base64", "hex", "url"]),
    st.text("qrs .", max_size=9),
)
def test_other_letters_are_found_encoded(secret: str, case: type[str], turned: bool, way: str, around: str) -> None:
    written = case(secret)[::-1] if turned else case(secret)
    raw = f"{around}{written}{around}".encode()
    encoded = {
        "base64": base64.b64encode(raw).decode(),
        "hex": raw.hex(),
        "url": "".join(f"%{byte:02x}" for byte in raw),
    }
    assert hits(secret, [encoded[way]]) == [True]


@given(secrets, st.data())
def test_what_several_calls_send_together_is_found_in_the_last_one(secret: str, data: st.DataObject) -> None:
    known, pieces = knowing(secret), data.draw(cut(secret, range(7, 12)))
    assume(len(pieces) > 1 and len(pieces[-1]) >= 6)
    assume(len({secret[place : place + 6] for place in range(len(secret))}) == len(secret))
    found: list[bool] = []
    for piece in data.draw(st.permutations(pieces)):
        sent = known.found_in([("/a", f"part: {piece}.")])
        found.append(bool(sent.hits))
        known.add(sent)
        # Words that hold nothing of it are no hit, before and after.
        assert not known.found_in([("/a", "wxyz wxyz wxyz")]).hits
    assert sum(found) == 1, "the call that completes it"
    # All of it has been sent; what is sent again is no news.
    assert not known.found_in([("/a", pieces[0])]).hits


@given(secrets, st.lists(st.text("abcdefghijklmnopqrstuvwxyz 0123456789", max_size=60), max_size=30))
def test_other_texts_have_none(secret: str, texts: list[str]) -> None:
    assume(secret.lower()[:4] not in "".join(texts))
    assert hits(secret, texts) == []


@pytest.mark.parametrize("unit", ["0123456789abcdef", "ab1 cd2 ef3 ", "sec ret 000 abab ", "a b c d ", "%61%62"])
def test_a_long_text_takes_little_time(unit: str) -> None:
    known = knowing(*(f"secret-{number:04d}-{'ab' * 40}{number}" for number in range(256)))
    start = time.process_time()
    known.found_in([("/a", unit * (1_000_000 // len(unit)))])
    assert time.process_time() - start < 3
