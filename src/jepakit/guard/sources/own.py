"""Our own schema: `jepakit.guard.Trace` as JSON, and its JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jepakit.files import write_text
from jepakit.guard.data import Trace
from jepakit.guard.sources.calls import Reading
from jepakit.guard.sources.fields import WHOLE, Fields, validated
from jepakit.guard.traces.strict_json import leaves


def is_part(value: object) -> bool:  # noqa: ARG001 -- a trace is one object
    """No: a trace is one object."""
    return False


def is_record(value: object) -> bool:
    """Whether a value has calls, and a version or no field that a trace has not."""
    if not isinstance(value, Mapping) or "calls" not in value:
        return False
    return "version" in value or value.keys() <= Trace.model_fields.keys()


def read(value: object, reading: Reading) -> list[Trace]:
    """The trace; its fields are checked, and there is no other.

    Raises:
        DataError: names the field.
    """
    trace = dict(Fields.of(value).content)
    calls = trace.get("calls")
    if isinstance(calls, list | tuple):
        trace["calls"] = [_call(call, f"calls[{number}]", reading) for number, call in enumerate(calls)]
    leaves(trace, WHOLE)
    return [validated(Trace, "", trace)]


def trace_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `jepakit.guard.Trace`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Trace.model_json_schema()}


def write_trace_schema(file: str | Path) -> None:
    """Writes `trace_schema` to a file.

    Raises:
        ModelError: it cannot be written.
    """
    write_text(Path(file), json.dumps(trace_schema(), indent=2, ensure_ascii=False) + "\n")


def _call(call: object, where: str, reading: Reading) -> object:
    if not isinstance(call, Mapping) or not isinstance(call.get("arguments"), Mapping):
        return call
    return {**call, **reading.arguments(call["arguments"], f"{where}.arguments")}
