"""AgentDojo: recorded runs, one an object (Debenedetti et al. 2024, arXiv:2406.13352)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jepakit.files import read_json
from jepakit.files import reading as reading_file
from jepakit.guard.data import Context, Label, Tool, Trace
from jepakit.guard.sources.calls import Calls, Reading
from jepakit.guard.sources.fields import Fields, as_text, build, json_object

_ABOUT = ("suite", "pipeline", "attack", "user_task_id", "injection_task_id", "kind", "utility", "security", "label")


def is_part(value: object) -> bool:  # noqa: ARG001 -- a run is one object
    """No: a run is one object."""
    return False


def is_record(value: object) -> bool:
    """Whether a value is a run."""
    return isinstance(value, Mapping) and {"suite", "user_task_id", "calls"} <= value.keys()


def read(value: object, reading: Reading) -> list[Trace]:
    """The trace of a run.

    A run whose attack succeeded is malicious; one without an attack, or with one that did not succeed, is benign; one
    that was only stopped by its attack (denial of service), or that has no result, has no label. A call is malicious
    where it serves the injection. Tools are those of ``ground_truth.json`` beside the file.

    Raises:
        DataError: names the field.
    """
    run = Fields.of(value)
    run.require("calls")
    suite, calls = run.required("suite"), Calls(reading)
    for call in run.objects("calls"):
        output, malicious = call.get("output"), call.get("mal")
        number = calls.add(call.required("tool"), call.get("args"), call.place("args"))
        calls[number].update(
            output=None if output is None else as_text(output, call.place("output")),
            error=call.text("err"),
            label=None if malicious is None else "malicious" if malicious else "benign",
        )
    beside = None if reading.file is None else reading.file.parent / "ground_truth.json"
    tools = () if beside is None or not beside.is_file() else _tools(beside, beside.stat().st_mtime_ns).get(suite, ())
    return [
        build(
            Trace,
            "",
            id=run.text("id") or "",
            context=Context(task=run.text("user_prompt") or "", tools=tools),
            calls=calls.done(),
            label=_label(run),
            about=json_object({key: run.content[key] for key in _ABOUT if key in run.content}, ""),
        )
    ]


def _label(run: Fields) -> Label | None:
    succeeded = run.boolean("security")
    if run.get("attack") is None:
        return "benign"
    if succeeded is None or (succeeded and (run.text("label") or "").startswith("dos")):
        return None
    return "malicious" if succeeded else "benign"


@lru_cache(maxsize=4)
def _tools(file: Path, changed: int) -> dict[str, tuple[Tool, ...]]:  # noqa: ARG001 -- a file that changed is read again
    """The tools of each suite, in the newest version of the benchmark."""
    with reading_file(file):
        content = read_json(file)
        suites = Fields.of(content[max(content, key=_version)])
        return {suite: tuple(_tool(name, one) for name, one in _suite(suites, suite)) for suite in suites.content}


def _suite(suites: Fields, suite: str) -> list[tuple[str, Fields]]:
    tools = suites.fields(suite).fields("tools")
    return [(name, tools.fields(name)) for name in tools.content]


def _tool(name: str, tool: Fields) -> Tool:
    schema: dict[str, Any] = json_object(tool.get("schema"), tool.place("schema"))
    return build(Tool, tool.where, name=name, description=tool.text("desc") or "", input_schema=schema)


def _version(name: str) -> tuple[int, ...]:
    """``v1.2.2`` as numbers."""
    return tuple(int(part) if part.isdecimal() else 0 for part in name.removeprefix("v").split("."))
