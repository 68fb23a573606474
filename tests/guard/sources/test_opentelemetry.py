"""Spans of OpenTelemetry, by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jepakit.errors import DataError
from jepakit.guard.sources import load_traces, trace_from


def span(
    number: int, operation: str, trace: str = "ab", parent: int | None = None, **attributes: Any
) -> dict[str, Any]:
    names = {name.replace("__", "."): value for name, value in attributes.items()}
    return {
        "traceId": trace,
        "spanId": f"{number:016x}",
        "parentSpanId": "" if parent is None else f"{parent:016x}",
        "startTimeUnixNano": str(1_700_000_000_000_000_000 + number),
        "attributes": {"gen_ai.operation.name": operation, **{f"gen_ai.{key}": one for key, one in names.items()}},
    }


def tool(number: int, name: str, id_: str | None = None, **more: Any) -> dict[str, Any]:
    ids = {} if id_ is None else {"tool__call__id": id_}
    return span(number, "execute_tool", tool__name=name, **ids, **more)


def says(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


def words(text: str) -> dict[str, Any]:
    return {"type": "text", "content": text}


def call(name: str, id_: str | None = None, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_call", "name": name, "arguments": arguments, **({} if id_ is None else {"id": id_})}


def response(text: Any, id_: str | None = None) -> dict[str, Any]:
    return {"type": "tool_call_response", "response": text, **({} if id_ is None else {"id": id_})}


def test_without_recorded_content_the_arguments_are_not_known() -> None:
    (one,) = trace_from([tool(1, "send", "a")]).calls
    assert (one.id, one.tool, one.arguments, one.arguments_error, one.output) == ("a", "send", None, None, None)


@pytest.mark.parametrize("ids", [True, False])
def test_messages_and_spans_are_one_run(ids: bool) -> None:
    a, b = ("a", "b") if ids else (None, None)
    history = [says("user", words("the task"))]
    asked = says("assistant", call("read", a, n=1), call("send", b, to="x"))
    answered = says("tool", response({"mail": 1}, a), response("sent", b))
    trace = trace_from(
        [
            span(1, "invoke_agent", conversation__id="talk", agent__name="clerk"),
            span(2, "chat", input__messages=json.dumps(history), output__messages=json.dumps([asked])),
            # The second call is carried out first, and the arguments of the first are recorded in the messages only.
            tool(3, "send", b, tool__call__arguments='{"to": "x"}', tool__call__result="sent"),
            tool(4, "read", a),
            span(
                5,
                "chat",
                input__messages=[*history, asked, answered],
                output__messages=[says("assistant", words("ok"))],
            ),
        ]
    )
    assert trace.id == "ab"
    assert trace.about == {"conversation": "talk", "agent": "clerk"}
    assert trace.context.task == "the task"
    assert [(one.tool, one.arguments, one.output) for one in trace.calls] == [
        ("read", {"n": 1}, '{"mail":1}'),
        ("send", {"to": "x"}, "sent"),
    ]
    assert [one.id for one in trace.calls] == (["a", "b"] if ids else ["call-0", "call-1"])


def test_what_was_carried_out_wins_over_what_was_asked_for() -> None:
    asked = [says("assistant", call("send", "a", to="friend"))]
    spans = [span(1, "chat", output__messages=asked), tool(2, "send", "a", tool__call__arguments={"to": "eve"})]
    (one,) = trace_from(spans).calls
    assert one.arguments == {"to": "eve"}


def test_tools_of_the_models_provider_are_calls() -> None:
    details = {"type": "code_interpreter", "code": "print(1)"}
    asked = {"type": "server_tool_call", "id": "a", "name": "code", "server_tool_call": details}
    outcome = {"type": "code_interpreter", "output": "1"}
    answered = {"type": "server_tool_call_response", "id": "a", "server_tool_call_response": outcome}
    (one,) = trace_from([span(1, "chat", output__messages=[says("assistant", asked, answered)])]).calls
    assert (one.id, one.tool, one.arguments) == ("a", "code", {"code": "print(1)"})
    assert json.loads(one.output or "") == outcome


def test_a_call_of_an_mcp_client_within_the_span_of_the_agent_is_the_same_call() -> None:
    inner = span(2, "execute_tool", parent=1, tool__name="read", tool__call__arguments='{"n": 1}')
    inner["attributes"]["mcp.method.name"] = "tools/call"
    again = tool(3, "read", "b", tool__call__arguments='{"n": 1}')
    trace = trace_from([tool(1, "read", "a"), inner, again])
    assert [(one.id, one.arguments) for one in trace.calls] == [("a", {"n": 1}), ("b", {"n": 1})]


def test_failures() -> None:
    failed = tool(1, "a", error__type="unused")
    failed["attributes"]["error.type"] = "TimeoutError"
    stopped = tool(2, "b")
    stopped["status"] = {"code": 2, "message": "stopped"}
    fine = tool(3, "c")
    fine["status"] = {"code": "STATUS_CODE_OK"}
    assert [one.error for one in trace_from([failed, stopped, fine]).calls] == ["TimeoutError", "stopped", None]


def test_the_json_of_the_python_sdk() -> None:
    spans = [
        {
            "name": "execute_tool send",
            "context": {"trace_id": "0xAB", "span_id": f"0x{number}", "trace_state": "[]"},
            "parent_id": None,
            "start_time": f"2026-01-01T00:00:0{9 - number}.000000Z",
            "status": {"status_code": "UNSET"},
            "attributes": {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": f"tool{number}"},
        }
        for number in range(3)
    ]
    trace = trace_from(spans)
    assert trace.id == "ab"
    assert [one.tool for one in trace.calls] == ["tool2", "tool1", "tool0"]


@pytest.mark.parametrize(
    "value",
    [
        {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": 1}}, {"key": "a", "value": {"intValue": 2}}]}},
        {"kvlistValue": {"values": [{"key": "a", "value": {"doubleValue": "NaN"}}]}},
        {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1.5"}}]}},
        {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": 1.5}}]}},
        {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "１"}}]}},
        {"kvlistValue": {"values": [{"key": "a", "value": {"stringValue": "x", "intValue": 1}}]}},
        {"kvlistValue": {"values": [{"key": "a", "value": {"blobValue": "x"}}]}},
        {"arrayValue": {"values": []}},
        {"stringValue": '{"a": 1, "a": 2}'},
        # Cut off by a limit of the exporter.
        {"stringValue": '{"a": "very lo'},
    ],
)
def test_arguments_that_cannot_be_read(value: dict[str, Any]) -> None:
    pairs = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "send"}
    attributes = [{"key": key, "value": {"stringValue": one}} for key, one in pairs.items()]
    attributes.append({"key": "gen_ai.tool.call.arguments", "value": value})
    batch = {
        "resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "ab", "spanId": "1", "attributes": attributes}]}]}]
    }
    with pytest.raises(DataError) as caught:
        trace_from(batch)
    place = "[0].resourceSpans[0].scopeSpans[0].spans[0].attributes.gen_ai.tool.call.arguments"
    assert str(caught.value.field).startswith(place.removeprefix("[0]."))
    (one,) = trace_from(batch, strict=False).calls
    assert one.arguments is None
    assert one.arguments_error


def test_deep_values_are_an_error() -> None:
    value: dict[str, Any] = {"stringValue": "x"}
    for _ in range(2000):
        value = {"arrayValue": {"values": [value]}}
    one = tool(1, "send")
    one["attributes"] = [
        {"key": "gen_ai.operation.name", "value": {"stringValue": "execute_tool"}},
        {"key": "gen_ai.tool.name", "value": {"stringValue": "send"}},
        {"key": "gen_ai.tool.call.arguments", "value": value},
    ]
    with pytest.raises(DataError):
        trace_from([one])
    assert trace_from([one], strict=False).calls[0].arguments is None


def test_a_file_of_exports_has_the_traces_of_their_spans(tmp_path: Path) -> None:
    spans = [tool(3, "second", trace="cd"), tool(2, "b", trace="ab"), tool(1, "a", trace="ab")]
    # A span of another library.
    spans.append({"traceId": "ee", "spanId": "9", "name": "GET /"})
    batches = [{"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]} for one in spans]
    file = tmp_path / "spans.jsonl"
    file.write_text("\n".join(map(json.dumps, batches)), "utf-8")
    traces = list(load_traces(file))
    assert [(trace.id, [one.tool for one in trace.calls]) for trace in traces] == [
        ("cd", ["second"]),
        ("ab", ["a", "b"]),
    ]
    with pytest.raises(DataError):
        trace_from(spans)
    with pytest.raises(DataError):
        trace_from(spans[-1:])


@pytest.mark.parametrize(
    ("spans", "field"),
    [
        ([span(1, "execute_tool")], "[0].attributes.gen_ai.tool.name"),
        ([span(1, "chat", input__messages="[{")], "[0].attributes.gen_ai.input.messages"),
        (
            [span(1, "chat", input__messages=[says("tool", response("x", "lost"))])],
            "[0].attributes.gen_ai.input.messages[0].parts[0].id",
        ),
        ([{**tool(1, "a"), "startTimeUnixNano": "soon"}], "[0].startTimeUnixNano"),
        ([{**tool(1, "a"), "attributes": [{"key": "gen_ai.x", "value": {}}] * 2}], "[0].attributes[1]"),
    ],
)
def test_what_is_wrong_is_named(spans: list[Any], field: str) -> None:
    with pytest.raises(DataError) as caught:
        trace_from(spans)
    assert caught.value.field == field
