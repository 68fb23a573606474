"""Runs of AgentDojo: the recorded ones, and what they do not have."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from jepakit.errors import DataError
from jepakit.guard.sources import load_traces, trace_from

ABOUT = ("suite", "pipeline", "attack", "user_task_id", "injection_task_id", "kind", "utility", "security", "label")


def run(**changes: Any) -> dict[str, Any]:
    calls = [{"tool": "send", "args": {"n": 1}, "output": [{"a": 1}], "mal": 1}, {"tool": "read", "args": {}}]
    base = {"suite": "slack", "user_task_id": "u", "attack": "direct", "security": True, "label": "attack_succeeded"}
    return {**base, "calls": calls, **changes}


def test_every_hundredth_recorded_run(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "guard" / "agentdojo"
    with gzip.open(folder / "traces_full.jsonl.gz", "rt", encoding="utf-8") as stream:
        lines = list(islice(stream, 0, None, 100))
    (tmp_path / "ground_truth.json").write_bytes((folder / "ground_truth.json").read_bytes())
    (tmp_path / "runs.jsonl").write_text("".join(lines), "utf-8")
    raw = [json.loads(line) for line in lines]
    traces = list(load_traces(tmp_path / "runs.jsonl"))
    assert len(traces) == len(raw) == 367
    truth = json.loads((folder / "ground_truth.json").read_text("utf-8"))["v1.2.2"]
    for trace, one in zip(traces, raw, strict=True):
        assert (trace.id, trace.context.task) == (one["id"], one["user_prompt"])
        assert [(call.tool, call.arguments, call.output, call.error, call.label) for call in trace.calls] == [
            (call["tool"], call["args"], call.get("output"), call.get("err"), "malicious" if call["mal"] else "benign")
            for call in one["calls"]
        ]
        assert trace.about == {key: one[key] for key in ABOUT}
        assert [tool.name for tool in trace.context.tools] == list(truth[trace.about["suite"]]["tools"])
        assert (
            trace.context.tools[0].input_schema == next(iter(truth[trace.about["suite"]]["tools"].values()))["schema"]
        )
    labels = Counter((trace.about["label"], trace.label) for trace in traces)
    kinds = Counter(one["label"] for one in raw)
    verdicts = {"attack_succeeded": "malicious", "dos_succeeded": None}
    assert labels == Counter({(kind, verdicts.get(kind, "benign")): count for kind, count in kinds.items()})


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "malicious"),
        ({"security": False, "label": "attack_resisted"}, "benign"),
        # Without an attack, true says that nothing was attacked.
        ({"attack": None, "label": "benign"}, "benign"),
        ({"attack": "captcha_dos"}, None),
        ({"attack": "captcha_dos", "security": False}, "benign"),
        ({"security": None}, None),
    ],
)
def test_labels(changes: dict[str, Any], label: str | None) -> None:
    trace = trace_from(run(**changes))
    assert trace.label == label
    assert [call.label for call in trace.calls] == ["malicious", None]


def test_outputs_that_are_no_texts_and_calls_without_one() -> None:
    trace = trace_from(run())
    assert [call.output for call in trace.calls] == ['[{"a":1}]', None]
    assert trace.context.tools == ()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"calls": [{"args": {}}]}, "calls[0].tool"),
        ({"calls": None}, "calls or messages"),
        ({"security": "yes"}, "security"),
        ({"calls": [{"tool": "a", "args": [1]}]}, "calls[0].args"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(DataError) as caught:
        trace_from(run(**changes))
    assert caught.value.field == field


def test_the_files_of_the_benchmark_itself(tmp_path: Path) -> None:
    calls = [
        {"function": "read", "args": {"n": 1}, "id": None, "placeholder_args": None},
        {"function": "send", "args": {"to": "eve"}, "id": "", "placeholder_args": None},
    ]
    messages = [
        {"role": "system", "content": [{"type": "text", "content": "be kind"}]},
        {"role": "user", "content": [{"type": "text", "content": "the task"}]},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "content": [{"type": "text", "content": "mail"}], "tool_call_id": None, "error": None},
        {"role": "tool", "content": "", "tool_call_id": None, "error": "ValueError: no such user"},
        {"role": "assistant", "content": "done", "tool_calls": None},
    ]
    names = {"suite_name": "slack", "pipeline_name": "p", "user_task_id": "u", "injection_task_id": "i"}
    content = {**names, "attack_type": "direct", "messages": messages, "utility": False, "security": True}
    file = tmp_path / "injection_task_1.json"
    file.write_text(json.dumps(content, indent=4), "utf-8")
    (trace,) = load_traces(file)
    assert (trace.context.system, trace.context.task, trace.label) == ("be kind", "the task", "malicious")
    assert [(call.tool, call.arguments, call.output, call.error, call.label) for call in trace.calls] == [
        ("read", {"n": 1}, "mail", None, None),
        ("send", {"to": "eve"}, "ValueError: no such user", "ValueError: no such user", None),
    ]
    assert trace.about == {
        "suite": "slack",
        "pipeline": "p",
        "attack": "direct",
        "user_task_id": "u",
        "injection_task_id": "i",
        "utility": False,
        "security": True,
    }


def test_a_ground_truth_of_another_shape_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").write_text(json.dumps(run()), "utf-8")
    (tmp_path / "ground_truth.json").write_text('{"v1": {"slack": {"tools": [1]}}}', "utf-8")
    with pytest.raises(DataError) as caught:
        list(load_traces(tmp_path / "runs.jsonl"))
    assert caught.value.file == tmp_path / "ground_truth.json"
