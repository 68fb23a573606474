"""Conversations of OpenAI, by hand."""

from __future__ import annotations

import time
from typing import Any

import pytest

from jepakit.errors import DataError
from jepakit.guard.sources import trace_from
from jepakit.guard.traces.strict_json import TooLargeError


def function(name: str, arguments: Any, id_: str | None = None) -> dict[str, Any]:
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return call if id_ is None else {"id": id_, **call}


def asks(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def answers(id_: str | None, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content}


BAD_ARGUMENTS = [
    '{"to": "me", "to": "you"}',
    '{"a": {"n": 1, "n": 1}}',
    '{"limit": NaN}',
    '{"limit": 1e999}',
    '{"limit": 9007199254740993.0}',
    '{"a": "\\ud800"}',
    "{'a': 1}",
    '{"a": 1',
    '{"a": 1} {"b": 2}',
    "[1]",
    '"text"',
    "null",
    "",
    "[" * 100 + "]" * 100,
    17,
    {"a": float("nan")},
    {"a": object()},
    {1: "a"},
]


@pytest.mark.parametrize("arguments", BAD_ARGUMENTS)
def test_arguments_that_cannot_be_read_are_an_error_or_unknown(arguments: Any) -> None:
    messages = [{"role": "user", "content": "go"}, asks(function("good", '{"a": 1}'), function("bad", arguments))]
    with pytest.raises(DataError) as caught:
        trace_from(messages)
    assert str(caught.value.field).startswith("[1].tool_calls[1].function.arguments")
    good, bad = trace_from(messages, strict=False).calls
    assert (good.arguments, good.arguments_error) == ({"a": 1}, None)
    assert bad.arguments is None
    assert bad.arguments_error


def test_a_key_that_stands_twice_is_named() -> None:
    with pytest.raises(DataError) as caught:
        trace_from([asks(function("f", '{"to": "me", "to": "you"}'))])
    assert caught.value.field == "[0].tool_calls[0].function.arguments.to"


def test_the_reason_repeats_nothing_of_the_arguments() -> None:
    (call,) = trace_from([asks(function("pay", '{"secret": 1, "secret": 2}'))], strict=False).calls
    assert call.arguments_error
    assert "secret" not in call.arguments_error


def test_large_arguments_are_unknown_to_the_auditor_and_read_from_files() -> None:
    messages = [asks(function("send", '{"a": "' + "x" * (5 << 20) + '"}'))]
    assert trace_from(messages, strict=False).calls[0].arguments is None
    assert len((trace_from(messages).calls[0].arguments or {})["a"]) == 5 << 20
    messages = [asks(function("send", '{"a": ' + "[" * 80 + "]" * 80 + "}"))]
    with pytest.raises(TooLargeError):
        trace_from(messages)


def test_calls_without_ids_get_them_and_equal_ids_get_suffixes() -> None:
    messages = [
        asks(function("a", "{}")),
        answers(None, "of a"),
        asks(function("b", "{}", "x"), function("c", "{}", "x")),
        answers("x", "of b"),
        answers("x", "of c"),
        asks(function("d", "{}", "x#2"), function("e", "{}", "call-0")),
        answers("x#2", "of d"),
    ]
    calls = trace_from(messages).calls
    assert [(call.id, call.tool, call.output) for call in calls] == [
        ("call-0", "a", "of a"),
        ("x", "b", "of b"),
        ("x#2", "c", "of c"),
        ("x#2#2", "d", "of d"),
        ("call-0#2", "e", None),
    ]


def test_many_equal_ids_take_no_longer_than_others() -> None:
    started = time.process_time()
    calls = trace_from([asks(*[function("f", "{}", "x")] * 20_000)]).calls
    assert time.process_time() - started < 10
    assert (calls[0].id, calls[-1].id) == ("x", "x#20000")


@pytest.mark.parametrize(
    "messages",
    [
        [answers("lost", "x")],
        # Before its call.
        [answers("lost", "x"), asks(function("a", "{}", "lost"))],
        # A second one.
        [asks(function("a", "{}", "lost")), answers("lost", "x"), answers("lost", "y")],
        [asks(function("a", "{}", "other")), answers("lost", "x")],
        [{"type": "function_call_output", "call_id": "lost", "output": "x"}],
    ],
)
def test_a_result_without_its_call_before_it_is_an_error_with_the_id(messages: list[Any]) -> None:
    for strict in (True, False):
        with pytest.raises(DataError) as caught:
            trace_from(messages, strict=strict)
        assert caught.value.value == "lost"


def test_roles_and_parts() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    trace = trace_from(
        {
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "developer", "content": [{"type": "text", "text": "be brief"}]},
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "first"}, image, {"type": "text", "text": "more"}],
                },
                {"role": "assistant", "content": "words of the model are no source"},
                asks(function("look", "{}", "a")),
                answers("a", [{"type": "text", "text": "seen"}, {"type": "text", "text": "twice"}]),
                {"role": "user", "content": "second"},
            ],
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "look", "description": "d", "parameters": {"type": "object"}},
                },
                {"type": "web_search"},
            ],
        }
    )
    assert trace.context.task == "first\nmore\n\nsecond"
    assert trace.context.system == "be kind\n\nbe brief"
    assert trace.calls[0].output == "seen\ntwice"
    assert [(tool.name, tool.description, tool.input_schema) for tool in trace.context.tools] == [
        ("look", "d", {"type": "object"}),
        ("web_search", "", {}),
    ]


def test_the_old_function_calls() -> None:
    messages = [
        {"role": "assistant", "function_call": {"name": "f", "arguments": '{"x": 1}'}},
        {"role": "function", "name": "f", "content": "done"},
    ]
    (call,) = trace_from({"messages": messages, "functions": [{"name": "f"}]}).calls
    assert (call.tool, call.arguments, call.output) == ("f", {"x": 1}, "done")


def test_a_request_with_its_response() -> None:
    choice = {"index": 0, "message": asks(function("f", "{}", "a"))}
    trace = trace_from({"messages": [{"role": "user", "content": "go"}], "choices": [choice]})
    assert (trace.context.task, trace.calls[0].id) == ("go", "a")


def test_items_of_the_responses_api() -> None:
    trace = trace_from(
        {
            "id": "resp_1",
            "instructions": "be kind",
            "input": "go",
            "output": [
                {"type": "reasoning", "id": "r", "summary": []},
                {"type": "mcp_list_tools", "server_label": "shop", "tools": [{"name": "buy", "input_schema": {}}]},
                {
                    "type": "mcp_call",
                    "id": "m",
                    "server_label": "shop",
                    "name": "buy",
                    "arguments": "{}",
                    "output": "ok",
                },
                {"type": "mcp_call", "id": "n", "name": "buy", "arguments": "{}", "error": "no money"},
                {"type": "custom_tool_call", "call_id": "c", "name": "run", "input": "rm -rf /"},
                {"type": "custom_tool_call_output", "call_id": "c", "output": "gone"},
                {"type": "local_shell_call", "call_id": "s", "action": {"command": ["ls"]}, "status": "completed"},
                {"type": "local_shell_call_output", "call_id": "s", "output": "a b"},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "done"}]},
            ],
        }
    )
    assert (trace.id, trace.context.task, trace.context.system) == ("resp_1", "go", "be kind")
    assert [(tool.server, tool.name) for tool in trace.context.tools] == [("shop", "buy")]
    assert [(call.id, call.server, call.tool, call.arguments, call.output, call.error) for call in trace.calls] == [
        ("m", "shop", "buy", {}, "ok", None),
        ("n", "", "buy", {}, "no money", "no money"),
        ("c", "", "run", {"input": "rm -rf /"}, "gone", None),
        ("s", "", "local_shell", {"action": {"command": ["ls"]}}, "a b", None),
    ]


def test_blocks_of_anthropic() -> None:
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": "failed", "is_error": True},
                {"type": "text", "text": "and now?"},
            ],
        },
    ]
    trace = trace_from({"system": "be kind", "messages": messages, "tools": [{"name": "f", "input_schema": {"a": 1}}]})
    (call,) = trace.calls
    assert (call.id, call.arguments, call.output, call.error) == ("t", {"x": 1}, "failed", "failed")
    assert (trace.context.task, trace.context.system) == ("go\n\nand now?", "be kind")
    assert trace.context.tools[0].input_schema == {"a": 1}


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (
            [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"arguments": "{}"}}]}],
            "[0].tool_calls[0].function.name",
        ),
        ([{"role": "assistant", "tool_calls": {}}], "[0].tool_calls"),
        ([{"role": "user", "content": 3}], "[0].content"),
        ([{"role": "user", "content": "x"}, "text"], "[1]"),
        ([{"type": "function_call", "call_id": "a", "arguments": "{}"}], "[0].name"),
        ({"messages": [{"role": "user", "content": "x"}], "tools": [{"name": 3}]}, "tools[0].name"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content"),
    ],
)
def test_what_is_wrong_is_named(value: Any, field: str) -> None:
    with pytest.raises(DataError) as caught:
        trace_from(value)
    assert caught.value.field == field
