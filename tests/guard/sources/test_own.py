"""Our own schema is refused where it is wrong, and published as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jepakit.errors import DataError
from jepakit.guard import Call, Context, Edge, Origin, Tool, Trace
from jepakit.guard.sources import trace_from, trace_schema, write_trace_schema

COMMITTED = Path(__file__).parents[3] / "docs" / "guard-trace.schema.json"


def test_the_committed_schema_is_that_of_the_code(tmp_path: Path) -> None:
    write_trace_schema(tmp_path / "schema.json")
    assert json.loads((tmp_path / "schema.json").read_text("utf-8")) == trace_schema()
    assert json.loads(COMMITTED.read_text("utf-8")) == trace_schema()


def test_the_schema_describes_every_field_and_refuses_others() -> None:
    schema = trace_schema()
    models = {"Trace": schema, **schema["$defs"]}
    for model in (Trace, Call, Context, Edge, Origin, Tool):
        assert set(models[model.__name__]["properties"]) == set(model.model_fields)
        assert models[model.__name__]["additionalProperties"] is False


def test_a_whole_trace_is_read_as_it_was_written() -> None:
    origin = Origin(source="output", call="a", start=1, end=3, record=0)
    trace = Trace(
        id="one",
        context=Context(task="t", policy={"a": 1}, role="r", session={"s": None}, tools=(Tool(name="send"),)),
        calls=(
            Call(id="a", tool="read", arguments={}, output="mail", label="benign"),
            Call(id="b", tool="send", arguments={"x": 2}, origins={"/x": (origin,)}, tier="output", volume=2.5),
            Call(id="c", tool="send", arguments_error="not JSON", error="stopped"),
        ),
        edges=(Edge(source="a", target="b", argument="/x"),),
        label="malicious",
        about={"suite": "s"},
    )
    assert trace_from(json.loads(trace.model_dump_json())) == trace
    assert trace_from(trace.model_dump()) == trace
    assert trace_from(trace) is trace


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"extra": 1}, "extra"),
        ({"version": 2}, "version"),
        ({"calls": [{"id": "a", "tool": "b", "args": {}}]}, "calls[0].args"),
        ({"calls": [{"id": "a"}]}, "calls[0].tool"),
        ({"calls": [{"id": "a", "tool": "b", "arguments": "{}"}]}, "calls[0].arguments"),
        ({"calls": [{"id": "a", "tool": "b", "arguments": {"x": [float("nan")]}}]}, "calls[0].arguments/x/0"),
        ({"calls": [{"id": "a", "tool": "b", "volume": -1}]}, "calls[0].volume"),
        ({"calls": [{"id": "a", "tool": "b"}, {"id": "a", "tool": "c"}]}, None),
        ({"edges": [{"source": "a", "target": "b"}]}, None),
        ({"about": {"x": float("inf")}}, "/about/x"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], field: str | None) -> None:
    with pytest.raises(DataError) as caught:
        trace_from({"version": 1, "calls": [], **changes})
    assert caught.value.field == field


def test_arguments_that_are_known_have_no_error() -> None:
    with pytest.raises(DataError) as caught:
        trace_from({"calls": [{"id": "a", "tool": "b", "arguments": {}, "arguments_error": "x"}]})
    assert caught.value.field == "calls[0]"
