"""What holds for all formats: what is written is read, and bad input is an error that says so."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.errors import DataError
from jepakit.guard import Trace
from jepakit.guard.sources import FORMATS, load_traces, trace_from


class Step(NamedTuple):
    """Calls that the model asks for at once."""

    calls: list[tuple[str, str, dict[str, Any], str]]
    """Id, tool, arguments, output."""


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)
ARGUMENTS = st.dictionaries(TEXTS, VALUES, max_size=3)


@st.composite
def runs(draw: st.DrawFn) -> list[Step]:
    number = iter(range(100))
    calls = st.lists(st.tuples(st.sampled_from(["read_mail", "send"]), ARGUMENTS, TEXTS), min_size=1, max_size=3)
    return [
        Step([(f"c{next(number)}", *call) for call in step]) for step in draw(st.lists(calls, min_size=1, max_size=3))
    ]


def openai_chat(run: list[Step]) -> Any:
    messages: list[Any] = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "the task"}]
    for step in run:
        calls = [
            {"id": id_, "type": "function", "function": {"name": tool, "arguments": json.dumps(arguments)}}
            for id_, tool, arguments, _ in step.calls
        ]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        # Results come in any order.
        messages += [{"role": "tool", "tool_call_id": id_, "content": out} for id_, _, _, out in reversed(step.calls)]
    return {"messages": messages, "tools": [{"type": "function", "function": {"name": "send", "parameters": {}}}]}


def openai_responses(run: list[Step]) -> Any:
    items: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": "the task"}]}]
    for step in run:
        items += [
            {"type": "function_call", "id": f"fc_{id_}", "call_id": id_, "name": tool, "arguments": json.dumps(args)}
            for id_, tool, args, _ in step.calls
        ]
        items += [{"type": "function_call_output", "call_id": id_, "output": out} for id_, _, _, out in step.calls]
    return {"instructions": "be kind", "input": items, "tools": [{"type": "function", "name": "send"}]}


def langchain_state(run: list[Step]) -> Any:
    messages: list[Any] = [{"type": "system", "content": "be kind"}, {"type": "human", "content": "the task"}]
    for step in run:
        calls = [{"type": "tool_call", "id": id_, "name": tool, "args": args} for id_, tool, args, _ in step.calls]
        messages.append({"type": "ai", "content": "", "tool_calls": calls})
        messages += [{"type": "tool", "tool_call_id": id_, "content": out} for id_, _, _, out in step.calls]
    return {"messages": messages, "tools": [{"name": "send", "description": "sends"}]}


def langchain_dicts(run: list[Step]) -> Any:
    return [{"type": one["type"], "data": one} for one in langchain_state(run)["messages"]]


def mcp_session(run: list[Step]) -> Any:
    tool = {"name": "send", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}
    messages: list[Any] = [
        {"jsonrpc": "2.0", "id": "list", "method": "tools/list"},
        {"jsonrpc": "2.0", "id": "list", "result": {"tools": [tool]}},
    ]
    for step in run:
        messages += [
            {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": {"name": tool, "arguments": args}}
            for id_, tool, args, _ in step.calls
        ]
        messages += [
            {"jsonrpc": "2.0", "id": id_, "result": {"content": [{"type": "text", "text": out}]}}
            for id_, _, _, out in reversed(step.calls)
        ]
    return messages


def any_value(value: Any) -> Any:
    """A value as OTLP writes it."""
    match value:
        case None:
            return {}
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case list():
            return {"arrayValue": {"values": [any_value(one) for one in value]}}
        case _:
            return {"kvlistValue": {"values": [{"key": key, "value": any_value(one)} for key, one in value.items()]}}


def flat_spans(run: list[Step]) -> Any:
    user = [{"role": "user", "parts": [{"type": "text", "content": "the task"}]}]
    chat = {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": json.dumps(user),
        "gen_ai.system_instructions": '[{"type": "text", "content": "be kind"}]',
        "gen_ai.tool.definitions": [{"type": "function", "name": "send", "description": "sends"}],
    }
    attributes = [chat] + [
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool,
            "gen_ai.tool.call.id": id_,
            "gen_ai.tool.call.arguments": json.dumps(arguments),
            "gen_ai.tool.call.result": out,
        }
        for step in run
        for id_, tool, arguments, out in step.calls
    ]
    return [
        {"traceId": "ab", "spanId": f"{number:02x}", "startTimeUnixNano": str(10**18 + number), "attributes": one}
        for number, one in enumerate(attributes)
    ]


def otlp(run: list[Step]) -> Any:
    spans = flat_spans(run)
    for span in spans:
        attributes = span["attributes"]
        if "gen_ai.tool.call.arguments" in attributes:
            attributes["gen_ai.tool.call.arguments"] = json.loads(attributes["gen_ai.tool.call.arguments"])
        span["attributes"] = [{"key": key, "value": any_value(value)} for key, value in attributes.items()]
    # A span is exported when it ends.
    return {"resourceSpans": [{"scopeSpans": [{"spans": spans[::-1]}]}]}


def agentdojo_run(run: list[Step]) -> Any:
    calls = [
        {"i": 0, "tool": tool, "args": arguments, "output": out, "mal": 0, "err": None}
        for step in run
        for _, tool, arguments, out in step.calls
    ]
    about = {"suite": "slack", "user_task_id": "user_task_0", "attack": None, "security": True, "utility": True}
    return {"id": "one", **about, "user_prompt": "the task", "calls": calls}


def agentdojo_messages(run: list[Step]) -> Any:
    messages: list[Any] = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "the task"}]
    for step in run:
        calls = [{"function": tool, "args": args, "id": id_} for id_, tool, args, _ in step.calls]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [
            {"role": "tool", "content": [{"type": "text", "content": out}], "tool_call_id": id_}
            for id_, _, _, out in step.calls
        ]
    return {"suite_name": "slack", "user_task_id": "user_task_0", "attack_type": None, "messages": messages}


def gold_trace(run: list[Step]) -> Any:
    nodes = [
        {
            "tool_name": tool,
            "node_id": id_,
            "arguments": arguments,
            "provenance_tier": 3,
            "scope_volume": 2,
            "scope_sensitivity": 1,
        }
        for step in run
        for id_, tool, arguments, _ in step.calls
    ]
    governance = {"policy": {"rules": ["none"]}, "user_role": "clerk", "session_context": {"tenant": 3}}
    return {"governance_context": governance, "execution_plan": {"nodes": nodes, "edges": []}, "label": "benign"}


def own(run: list[Step]) -> Any:
    calls = [
        {"id": id_, "tool": tool, "arguments": arguments, "output": out}
        for step in run
        for id_, tool, arguments, out in step.calls
    ]
    return {"version": 1, "context": {"task": "the task", "system": "be kind"}, "calls": calls}


WRITERS: dict[str, tuple[str, Callable[[list[Step]], Any]]] = {
    "openai_chat": ("openai", openai_chat),
    "openai_responses": ("openai", openai_responses),
    "langchain_state": ("langchain", langchain_state),
    "langchain_dicts": ("langchain", langchain_dicts),
    "mcp": ("mcp", mcp_session),
    "flat_spans": ("otel", flat_spans),
    "otlp": ("otel", otlp),
    "agentdojo": ("agentdojo", agentdojo_run),
    "agentdojo_messages": ("agentdojo", agentdojo_messages),
    "gold": ("gold", gold_trace),
    "own": ("trace", own),
}
SAMPLE = [
    Step([("a", "read_mail", {"n": 1}, "mail"), ("b", "send", {"to": ["x", {"y": 1.5}]}, "")]),
    Step([("c", "send", {}, "sent")]),
]
every_format = pytest.mark.parametrize(("name", "write"), WRITERS.values(), ids=list(WRITERS))


def seen(trace: Trace) -> list[tuple[str, str]]:
    """Tools and arguments; their JSON shows the type of every number and the order of keys."""
    return [(call.tool, json.dumps(call.arguments)) for call in trace.calls]


def written(run: list[Step]) -> list[tuple[str, str]]:
    return [(tool, json.dumps(arguments)) for step in run for _, tool, arguments, _ in step.calls]


def test_every_format_has_a_writer_here() -> None:
    assert {name for name, _ in WRITERS.values()} == set(FORMATS)


@every_format
@given(run=runs())
@settings(max_examples=25)
def test_what_is_written_is_read(name: str, write: Callable[[list[Step]], Any], run: list[Step]) -> None:
    trace = trace_from(write(run))
    assert trace == trace_from(json.loads(json.dumps(write(run))), name)
    assert seen(trace) == written(run)
    assert trace.edges == ()
    if name not in ("mcp", "gold"):
        assert trace.context.task == "the task"
    if name != "gold":
        assert [call.output for call in trace.calls] == [out for step in run for *_, out in step.calls]
    if name in ("openai", "langchain", "otel", "trace"):
        assert [call.id for call in trace.calls] == [id_ for step in run for id_, *_ in step.calls]
        assert trace.context.system == ("be kind" if write is not langchain_dicts else trace.context.system)
    if name in ("openai", "mcp", "otel"):
        assert [tool.name for tool in trace.context.tools] == ["send"]


@every_format
@given(data=st.data())
@settings(max_examples=60)
def test_a_changed_record_is_a_trace_or_an_error(
    name: str, write: Callable[[list[Step]], Any], data: st.DataObject
) -> None:
    record = copy.deepcopy(write(SAMPLE))
    for _ in range(data.draw(st.integers(1, 3))):
        holder, key = data.draw(st.sampled_from(places_of(record)))
        kind = data.draw(st.sampled_from(["value", "nan", "surrogate", "key", "gone"]))
        if kind == "gone":
            del holder[key]
        elif kind == "key" and isinstance(holder, dict):
            holder[data.draw(TEXTS)] = holder.pop(key)
        else:
            holder[key] = {"nan": float("nan"), "surrogate": "\ud800"}.get(kind) or data.draw(VALUES)
        if not record:
            return
    for strict in (True, False):
        for format_ in (name, "auto"):
            try:
                trace = trace_from(record, format_, strict=strict)
            except DataError:
                continue
            # What was read can be written and read again.
            assert trace_from(json.loads(trace.model_dump_json()), "trace") == trace


def places_of(value: Any) -> list[tuple[Any, Any]]:
    """Container and key of every value in a record."""
    keys = range(len(value)) if isinstance(value, list) else list(value) if isinstance(value, dict) else ()
    return [(value, key) for key in keys] + [place for key in keys for place in places_of(value[key])]


@pytest.mark.parametrize("name", FORMATS)
@given(value=st.dictionaries(st.sampled_from(["messages", "input", "calls", "role", "type", "spans"]) | TEXTS, VALUES))
@settings(max_examples=40)
def test_any_object_is_a_trace_or_an_error(name: str, value: dict[str, Any]) -> None:
    for format_ in (name, "auto"):
        try:
            assert isinstance(trace_from(value, format_), Trace)
        except DataError:
            continue


@every_format
@pytest.mark.parametrize("form", ["lines", "lines.gz", "list", "indented"])
def test_files_of_every_form(name: str, write: Callable[[list[Step]], Any], form: str, tmp_path: Path) -> None:
    record, file = write(SAMPLE), tmp_path / "traces.json"
    whole = name in ("mcp", "otel") or isinstance(record, list)
    records = record if isinstance(record, list) else [record] if whole else [record, record, record]
    text = "\n".join(map(json.dumps, records)) + "\n"
    if form == "list":
        text = json.dumps(records)
    elif form == "indented":
        text = json.dumps(records, indent=2)
    file.write_bytes(gzip.compress(text.encode()) if form == "lines.gz" else text.encode())
    traces = list(load_traces(file))
    assert len(traces) == (1 if whole else 3)
    assert all(trace == trace_from(record) for trace in traces)
    assert list(load_traces(file, name)) == traces
