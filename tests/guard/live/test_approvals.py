"""Tokens of approvals: for one call, once, in time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.errors import ConfigError
from jepakit.guard.live import Approvals

KEY = bytes(range(32))
TEXT = st.text(max_size=20)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@given(TEXT, TEXT, TEXT, TEXT)
def test_a_token_is_for_its_call_and_digest_alone(call: str, digest: str, other_call: str, other_digest: str) -> None:
    approvals = Approvals(KEY)
    token = approvals.grant(call, digest)
    assert approvals.redeem(token, other_call, other_digest) is ((call, digest) == (other_call, other_digest))
    # One that was refused for another call is not spent by it.
    assert approvals.redeem(token, call, digest) is ((call, digest) != (other_call, other_digest))


def test_parts_of_call_and_digest_cannot_be_moved() -> None:
    approvals = Approvals(KEY)
    token = approvals.grant("a\nb", "c")
    assert not approvals.redeem(token, "a", "b\nc")


def test_a_token_with_any_other_character_is_none() -> None:
    approvals = Approvals(KEY, clock=Clock())
    token = approvals.grant("call", "digest")
    for place, right in enumerate(token):
        for character in set("0123456789abcdef.é٣") - {right}:
            assert not approvals.redeem(token[:place] + character + token[place + 1 :], "call", "digest")
    assert approvals.redeem(token, "call", "digest")


def test_a_token_expires() -> None:
    clock = Clock()
    approvals = Approvals(KEY, seconds=10, clock=clock)
    in_time, late = approvals.grant("1", "d"), approvals.grant("2", "d")
    clock.now += 9.9
    assert approvals.redeem(in_time, "1", "d")
    clock.now += 0.1
    assert not approvals.redeem(late, "2", "d")
    # Also where the memory of used tokens has been cleaned.
    assert not approvals.redeem(in_time, "1", "d")


def test_of_many_who_redeem_at_once_one_does() -> None:
    approvals = Approvals(KEY)
    token = approvals.grant("1", "d")
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda _: approvals.redeem(token, "1", "d"), range(64))) == 1


def test_keys() -> None:
    token = Approvals(KEY).grant("1", "d")
    assert Approvals(KEY).redeem(token, "1", "d")
    assert not Approvals(bytes(32)).redeem(token, "1", "d")
    assert not Approvals().redeem(token, "1", "d")
    for options in ({"key": b"short"}, {"seconds": 0}):
        with pytest.raises(ConfigError) as refused:
            Approvals(**options)
        assert refused.value.field in options
