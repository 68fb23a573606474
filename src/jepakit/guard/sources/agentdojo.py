"""AgentDojo: recorded runs, one an object (Debenedetti et al. 2024, arXiv:2406.13352).

Two spellings are read: the files that the benchmark writes (``suite_name``, ``messages``), and one with the calls alone
(``suite``, ``calls``), each with whether it serves the injection (``mal``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jepakit.files import read_json
from jepakit.files import reading as reading_file
from jepakit.guard.data import Context, Label, Tool, Trace
from jepakit.guard.sources.calls import Calls, Reading
from jepakit.guard.sources.fields import Fields, as_text, build, content_text, joined, json_object

#: Fields of `Trace.about`, where their names differ the one in the benchmark's files too.
_ABOUT = {
    "suite": "suite_name",
    "pipeline": "pipeline_name",
    "attack": "attack_type",
    **{name: name for name in ("user_task_id", "injection_task_id", "kind", "utility", "security", "label")},
}


def is_part(value: object) -> bool:  # noqa: ARG001 -- a run is one object
    """No: a run is one object."""
    return False


def is_record(value: object) -> bool:
    """Whether a value is a run."""
    if not isinstance(value, Mapping) or "user_task_id" not in value:
        return False
    return {"suite", "calls"} <= value.keys() or {"suite_name", "messages"} <= value.keys()


def read(value: object, reading: Reading) -> list[Trace]:
    """The trace of a run.

    A run whose attack succeeded is malicious; one without an attack, or with one that did not succeed, is benign; one
    that was only stopped by its attack (denial of service), or that has no result, has no label. A call is malicious
    where it serves the injection. Tools are those of ``ground_truth.json`` beside the file.

    Raises:
        DataError: names the field.
    """
    run = Fields.of(value)
    run.require("calls", "messages")
    run.require("suite", "suite_name")
    about = {key: run.content.get(key, run.content.get(other)) for key, other in _ABOUT.items()}
    calls, words = Calls(reading), {"user": run.text("user_prompt") or "", "system": ""}
    for call in run.objects("calls"):
        _add(call, calls)
    for message in run.objects("messages"):
        _take(message, calls, words)
    suite = run.text("suite", "suite_name") or ""
    beside = None if reading.file is None else reading.file.parent / "ground_truth.json"
    tools = () if beside is None or not beside.is_file() else _tools(beside, beside.stat().st_mtime_ns).get(suite, ())
    present = {key: value for key, value in about.items() if key in run.content or _ABOUT[key] in run.content}
    return [
        build(
            Trace,
            "",
            id=run.text("id") or "",
            context=Context(task=words["user"], system=words["system"], tools=tools),
            calls=calls.done(),
            label=_label(run),
            about=json_object(present, ""),
        )
    ]


def _add(call: Fields, calls: Calls) -> None:
    """A call with its result."""
    output, malicious = call.get("output"), call.get("mal")
    number = calls.add(call.required("tool"), call.get("args"), call.place("args"))
    calls[number].update(
        output=None if output is None else as_text(output, call.place("output")),
        error=call.text("err"),
        label=None if malicious is None else "malicious" if malicious else "benign",
    )


def _take(message: Fields, calls: Calls, words: dict[str, str]) -> None:
    """A message; the words of the system and of the user are added to ``words``."""
    role, text = message.required("role"), content_text(message.get("content"), message.place("content"))
    if role in words:
        words[role] = joined([words[role], text])
    elif role == "tool":
        error = message.text("error")
        # The model reads the error in place of the output.
        calls.result(message.text("tool_call_id"), error or text, message.place("tool_call_id"), error=error)
    for call in message.objects("tool_calls"):
        calls.add(call.required("function"), call.get("args"), call.place("args"), given=call.text("id"))


def _label(run: Fields) -> Label | None:
    succeeded, attack = run.boolean("security"), run.text("attack", "attack_type")
    if attack is None:
        return "benign"
    if succeeded is None or (succeeded and attack.endswith("dos")):
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
