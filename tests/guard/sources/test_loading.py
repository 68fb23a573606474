"""Files of traces: read one by one, and every fault with its place."""

from __future__ import annotations

import gzip
import json
from itertools import islice
from pathlib import Path

import pytest

from jepakit.errors import ConfigError, DataError
from jepakit.guard import Call, Trace
from jepakit.guard.sources import load_traces, loading, trace_from

GOOD = Trace(calls=(Call(id="a", tool="send", arguments={"x": 1}),)).model_dump_json()
CHAT = '{"role": "user", "content": "go"}'


def fault_of(text: str | bytes, tmp_path: Path, format_: str = "auto", *, strict: bool = True) -> DataError:
    file = tmp_path / "traces.jsonl"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as caught:
        list(load_traces(file, format_, strict=strict))
    assert caught.value.file == file
    return caught.value


@pytest.mark.parametrize(
    ("text", "line", "field"),
    [
        (f"{GOOD}\n\n{GOOD[:-1]}", 3, None),
        (f'{GOOD}\n{{"version": 1, "calls": [], "extra": 1}}\n', 2, "extra"),
        (f'{GOOD}\n{{"version": 1, "version": 1}}\n', 2, "version"),
        (f'{GOOD}\n{{"calls": [{{"id": "a", "tool": "b", "arguments": {{"x": NaN}}}}]}}\n', 2, None),
        (f'{GOOD}\n{{"calls": [{{"id": "a", "tool": 3}}]}}\n', 2, "calls[0].tool"),
        (f"{GOOD}\n{CHAT}\n", 2, "role"),
        # A list of messages, one a line.
        (f'{CHAT}\n{CHAT}\n{{"role": "tool", "tool_call_id": "lost", "content": "x"}}', 3, "tool_call_id"),
        (f'{CHAT}\n{CHAT}\n"text"', 3, None),
        # Documents.
        (f"[{GOOD}, 3]", None, "[1]"),
        (f'[{GOOD}, {{"calls": 3}}]', None, "[1].calls"),
        (f'[{CHAT}, {{"role": "user", "content": 3}}]', None, "[1].content"),
        ("[]", None, None),
        ("\nnot JSON\n", 2, None),
        ('{\n"a": 1\n', None, None),
        ("  \n\n", None, None),
        ('{"something": "else"}', 1, None),
        (b'{"a": "\xff"}', 1, None),
        (f"{GOOD}\n{'[' * 100}{']' * 100}\n", 2, None),
    ],
)
def test_faults_name_file_line_and_field(
    text: str | bytes, line: int | None, field: str | None, tmp_path: Path
) -> None:
    fault = fault_of(text, tmp_path)
    assert (fault.line, fault.field) == (line, field)


def test_a_missing_file_and_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        list(load_traces(tmp_path / "none.jsonl"))
    assert caught.value.file == tmp_path / "none.jsonl"
    with pytest.raises(ConfigError) as refused:
        load_traces(tmp_path / "none.jsonl", "openia")
    assert refused.value.field == "format"
    with pytest.raises(ConfigError):
        trace_from({}, "openia")


def test_a_value_of_no_format_names_the_formats() -> None:
    for value in ({"x": 1}, [], [1], "text", None, 3):
        with pytest.raises(DataError) as caught:
            trace_from(value)
        assert "langchain" in str(caught.value.expected)


@pytest.mark.parametrize("packed", [False, True])
def test_lines_are_read_when_they_are_asked_for(packed: bool, tmp_path: Path) -> None:
    file = tmp_path / "traces.jsonl"
    line = Trace(id="x" * 50_000).model_dump_json()
    # More than one block of the reader stands before the broken line.
    text = (f"{line}\n" * 100 + "broken\n").encode()
    file.write_bytes(gzip.compress(text) if packed else text)
    traces = load_traces(file)
    assert len(list(islice(traces, 100))) == 100
    with pytest.raises(DataError) as caught:
        next(traces)
    assert caught.value.line == 101


def test_a_file_may_be_read_although_arguments_cannot(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{bad"}}]}]}
    text = f"{json.dumps(chat)}\n" * 2
    fault = fault_of(text, tmp_path)
    assert fault.line == 1
    assert fault.field == "messages[0].tool_calls[0].function.arguments"
    traces = list(load_traces(tmp_path / "traces.jsonl", strict=False))
    assert [trace.calls[0].arguments for trace in traces] == [None, None]


def test_a_conversation_of_too_many_lines_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_MOST_CHARACTERS", 100)
    assert fault_of(f"{CHAT}\n" * 10, tmp_path).line == 100 // len(f"{CHAT}\n") + 1


def test_a_named_format_is_not_guessed(tmp_path: Path) -> None:
    assert fault_of('{"version": 1, "calls": []}', tmp_path, "gold").field == "execution_plan"
    for name, field in (
        ("openai", "messages or input or output or choices"),
        ("langchain", "messages"),
        ("mcp", "messages"),
    ):
        assert fault_of('{"version": 1}', tmp_path, name).field == field
