"""Messages as they come: one meaning, or an answer that says no."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import types

from jepakit.guard.proxy import strict
from jepakit.guard.proxy.strict import StrictLines, strict_message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e15, 1e15) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_a_message_keeps_its_value_and_every_reader_sees_the_same(value: Any) -> None:
    message = strict_message(json.dumps({"params": value}, ensure_ascii=False).encode())
    assert isinstance(message, str)
    assert message.isascii()
    assert json.loads(message) == {"params": value}


@pytest.mark.parametrize(
    ("raw", "known"),
    [
        (b'{"id":7,"a":1,"a":2}', 7),
        (b'{"a":1,"a":2,"id":"x-1"}', "x-1"),
        (b'{"a":NaN}', None),
        (b'{"id":"' + b"y" * 200 + b'","a":NaN}', None),
        (b"\xff", None),
    ],
)
def test_a_refusal_names_the_request_where_it_can(raw: bytes, known: Any) -> None:
    answer = strict_message(raw)
    assert isinstance(answer, types.JSONRPCError)
    assert (answer.id, answer.error.data) == (known, {"decision": "deny", "code": "unreadable"})


def lines_of(*parts: bytes) -> tuple[list[str], list[Any]]:
    """What is read of an agent that writes some parts and goes."""
    reader, writer = os.pipe()

    def write() -> None:
        for part in parts:
            os.write(writer, part)
        os.close(writer)

    async def read() -> tuple[list[str], list[Any]]:
        answers: list[Any] = []

        async def answer(error: types.JSONRPCError) -> None:
            answers.append(error.id)

        lines = StrictLines(reader)
        lines.answer_with(answer)
        with anyio.fail_after(60):
            return [line async for line in lines], answers

    with ThreadPoolExecutor(1) as thread:
        written = thread.submit(write)
        found = anyio.run(read)
        written.result()
    os.close(reader)
    return found


def test_lines_in_any_parts_until_the_end() -> None:
    assert lines_of(b'{"a":', b'1}\n\n  \n{"b":2}\n{"c"', b":3}") == (['{"a": 1}', '{"b": 2}', '{"c": 3}'], [])
    assert lines_of() == ([], [])


def test_a_line_that_is_too_long_is_answered_and_the_next_one_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict, "MAX_LINE_BYTES", 1000)
    long = b'{"id":5,"a":"' + b"x" * 3000
    assert lines_of(long, b"x" * 3000, b'"}\n{"b":2}\n') == (['{"b": 2}'], [5])
    assert lines_of(long) == ([], [5])
