"""Messages of LangChain, made by its own classes."""

from __future__ import annotations

from typing import Any

import pytest

from jepakit.errors import DataError
from jepakit.guard import Trace
from jepakit.guard.sources import trace_from

messages_module = pytest.importorskip("langchain_core.messages")


def conversation() -> list[Any]:
    m = messages_module
    return [
        m.SystemMessage("be kind"),
        m.HumanMessage([{"type": "text", "text": "the task"}]),
        m.AIMessage(
            "I call two",
            tool_calls=[
                {"name": "read", "args": {"n": 1}, "id": "a"},
                {"name": "send", "args": {"to": ["x"]}, "id": "b"},
            ],
        ),
        m.ToolMessage("failed", tool_call_id="b", status="error"),
        m.ToolMessage([{"type": "text", "text": "mail"}], tool_call_id="a"),
        m.AIMessageChunk("", tool_call_chunks=[{"name": "send", "args": '{"to": []}', "id": "c", "index": 0}]),
    ]


def expected(trace: Trace) -> None:
    assert (trace.context.task, trace.context.system) == ("the task", "be kind")
    assert [(call.id, call.tool, call.arguments, call.output, call.error) for call in trace.calls] == [
        ("a", "read", {"n": 1}, "mail", None),
        ("b", "send", {"to": ["x"]}, "failed", "failed"),
        ("c", "send", {"to": []}, None, None),
    ]


def test_objects_and_all_their_dictionaries_are_one_trace() -> None:
    from langchain_core.load import dumpd

    messages = conversation()
    expected(trace_from(messages))
    expected(trace_from({"messages": messages}))
    expected(trace_from(messages_module.messages_to_dict(messages), "langchain"))
    expected(trace_from([message.model_dump() for message in messages]))
    expected(trace_from([dumpd(message) for message in messages]))


def test_a_single_message_is_a_trace() -> None:
    (call,) = trace_from(messages_module.AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "a"}])).calls
    assert (call.id, call.arguments) == ("a", {})


def test_calls_that_langchain_found_invalid_are_there_to_be_denied() -> None:
    invalid = {"name": "send", "args": '{"to": "a", "to": "b"}', "id": "x", "error": "?"}
    message = messages_module.AIMessage("", invalid_tool_calls=[invalid])
    with pytest.raises(DataError) as caught:
        trace_from([message])
    assert str(caught.value.field).startswith("[0].invalid_tool_calls[0].args")
    (call,) = trace_from([message], strict=False).calls
    assert (call.id, call.tool, call.arguments) == ("x", "send", None)
    assert call.arguments_error


def test_numbers_that_are_not_finite_are_not_known() -> None:
    message = messages_module.AIMessage("", tool_calls=[{"name": "f", "args": {"x": float("nan")}, "id": "a"}])
    with pytest.raises(DataError) as caught:
        trace_from(message)
    assert caught.value.field == "tool_calls[0].args/x"
    assert trace_from(message, strict=False).calls[0].arguments is None


@pytest.mark.parametrize("depth", [100, 2000])
def test_deep_arguments_are_an_error_of_ours(depth: int) -> None:
    args: dict[str, Any] = {}
    for _ in range(depth):
        args = {"a": args}
    message = messages_module.AIMessage("").model_copy(update={"tool_calls": [{"name": "f", "args": args, "id": "a"}]})
    with pytest.raises(DataError):
        trace_from([message])


def test_an_orphan_and_an_unknown_kind_are_errors() -> None:
    with pytest.raises(DataError) as caught:
        trace_from([messages_module.ToolMessage("x", tool_call_id="lost")])
    assert (caught.value.field, caught.value.value) == ("[0].tool_call_id", "lost")
    with pytest.raises(DataError) as caught:
        trace_from([{"type": "human", "content": "x"}, {"type": "alien", "content": "x"}])
    assert (caught.value.field, caught.value.value) == ("[1].type", "alien")
