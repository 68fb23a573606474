"""Recorded sessions of MCP, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from jepakit.errors import DataError
from jepakit.guard.sources import trace_from


def request(id_: Any, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


def result(id_: Any, **content: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "result": content}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def test_the_server_its_tools_and_pages_of_them() -> None:
    hints = {"title": "Look", "readOnlyHint": True, "destructiveHint": False}
    trace = trace_from(
        [
            request(0, "initialize"),
            result(0, serverInfo={"name": "files", "version": "1"}),
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            request(1, "tools/list"),
            result(1, tools=[{"name": "old", "inputSchema": {}}]),
            {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"},
            request(2, "tools/list"),
            result(2, tools=[{"name": "a", "inputSchema": {"type": "object"}, "annotations": hints}], nextCursor="p"),
            request(3, "tools/list", cursor="p"),
            result(3, tools=[{"name": "b", "description": "words", "inputSchema": {}}]),
            request(4, "tools/call", name="a"),
        ]
    )
    a, b = trace.context.tools
    assert (a.name, a.server, a.input_schema, a.annotations) == ("a", "files", {"type": "object"}, hints)
    assert (b.name, b.server, b.description) == ("b", "files", "words")
    (call,) = trace.calls
    # A request may leave out the arguments, which are then none.
    assert (call.tool, call.server, call.arguments, call.output) == ("a", "files", {}, None)


def test_the_record_names_the_server() -> None:
    messages = [request(0, "initialize"), result(0, serverInfo={"name": "liar"}), request(1, "tools/call", name="a")]
    assert trace_from({"server": "shop", "messages": messages}).calls[0].server == "shop"


@pytest.mark.parametrize(
    ("content", "output", "error"),
    [
        ({"content": [text("one"), text("two")]}, "one\ntwo", None),
        ({"content": [text("bad")], "isError": True}, "bad", "bad"),
        ({"content": [], "structuredContent": {"a": [1]}}, '{"a":[1]}', None),
        # Said twice, as the specification asks, and not said.
        ({"content": [text('{"a": [1]}')], "structuredContent": {"a": [1]}}, '{"a": [1]}', None),
        ({"content": [text("ok")], "structuredContent": {"do": "evil"}}, 'ok\n{"do":"evil"}', None),
        ({"content": [{"type": "resource", "resource": {"uri": "u", "text": "file"}}]}, "file", None),
        (
            {"content": [{"type": "image", "data": "AAAA", "mimeType": "image/png"}]},
            '{"type":"image","mimeType":"image/png"}',
            None,
        ),
        (
            {"content": [{"type": "resource", "resource": {"uri": "u", "blob": "AAAA"}}]},
            '{"uri":"u"}',
            None,
        ),
        (
            {"content": [{"type": "resource_link", "uri": "u", "name": "n"}]},
            '{"type":"resource_link","uri":"u","name":"n"}',
            None,
        ),
        ({"resultType": "input_required", "inputRequests": {}}, None, None),
    ],
)
def test_results(content: dict[str, Any], output: str | None, error: str | None) -> None:
    (call,) = trace_from([request("x", "tools/call", name="a", arguments={"n": 1}), result("x", **content)]).calls
    assert (call.arguments, call.output, call.error) == ({"n": 1}, output, error)


def test_errors_of_the_protocol_are_outputs_that_the_agent_reads() -> None:
    failure = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "no such tool"}}
    (call,) = trace_from([request(1, "tools/call", name="a"), failure]).calls
    assert (call.output, call.error) == ("no such tool", "no such tool")


def test_a_number_and_a_text_are_two_ids() -> None:
    messages = [
        request(1, "tools/call", name="number"),
        request("1", "tools/call", name="text"),
        result("1", content=[text("of text")]),
        result(1, content=[text("of number")]),
    ]
    assert {call.tool: call.output for call in trace_from(messages).calls} == {
        "number": "of number",
        "text": "of text",
    }


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("elicitation/create", {"action": "accept", "content": {"name": "x"}}),
        ("sampling/createMessage", {"role": "assistant", "content": [text("x")], "model": "m"}),
        ("roots/list", {"roots": []}),
    ],
)
def test_an_answer_of_the_client_is_no_result_of_the_call_with_the_same_id(method: str, answer: dict[str, Any]) -> None:
    for messages in (
        [result(1, **answer), result(1, content=[text("done")])],
        [result(1, content=[text("done")]), result(1, **answer)],
    ):
        (call,) = trace_from([request(1, "tools/call", name="a"), request(1, method), *messages]).calls
        assert call.output == "done"


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([result(7, content=[])], "[0].id"),
        ([result(7, content=[]), request(7, "tools/call", name="a")], "[0].id"),
        ([request(7, "tools/call", name="a"), result(7, content=[]), result(7, content=[])], "[2].id"),
        ([request(7, "tools/call", arguments={})], "[0].params.name"),
        ([request(7, "tools/call", name="a", arguments=[1])], "[0].params.arguments"),
        ([request(1.5, "tools/call", name="a")], "[0].id"),
        ([request(1, "tools/call", name="a"), result(1, content="text")], "[1].result.content"),
        (
            [request(1, "tools/list"), result(1, tools=[{"name": "a", "inputSchema": 3}])],
            "[1].result.tools[0].inputSchema",
        ),
    ],
)
def test_what_is_wrong_is_named(messages: list[Any], field: str) -> None:
    with pytest.raises(DataError) as caught:
        trace_from(messages)
    assert caught.value.field == field


def test_arguments_that_are_no_object_are_not_known_to_the_auditor() -> None:
    for arguments in ([1], "text", None):
        (call,) = trace_from([request(7, "tools/call", name="a", arguments=arguments)], strict=False).calls
        assert call.arguments is None
