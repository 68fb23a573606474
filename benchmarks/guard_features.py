"""Features of calls on logarithmic scales: where values come from, what the tool does. For floors without encoders."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from jepakit.guard.data import Trace
from jepakit.guard.policy import judge, load_policy
from jepakit.guard.policy.running import seen_calls
from jepakit.guard.traces.provenance import Flow, Value

_WORD = re.compile(r"[a-z0-9]{3,}")
_EFFECTS = ("read", "write", "external", "execute")
_SOURCES = ("user", "system", "output")


def call_features(trace: Trace, flow: Flow, suite: str) -> NDArray[np.float32]:
    """``[calls, features]`` of a run, each call from what stands before it; ``suite`` names the ready policy."""
    policy = load_policy(f"agentdojo/{suite}")
    verdicts = judge(policy, trace, flow)
    described = {tool.name: tool.description for tool in trace.context.tools}
    task, earlier, read, rows = _words(trace.context.task), Counter[str](), 0, list[list[float]]()
    for number, seen in enumerate(seen_calls(policy, trace, flow)):
        call, values, tools, taints = seen.call, seen.values, seen.tools, seen.taints
        effect = max((_EFFECTS.index(tool.effect) for tool in tools), default=2)
        name, description = _words(call.tool), _words(described.get(call.tool, ""))
        words = set(name).union(*(_words(str(value.value)) for value in values or ()))
        verdict = verdicts[number]
        of_call = [
            *(float(effect == place) for place in range(len(_EFFECTS))),
            max((tool.privilege for tool in tools), default=3) / 5,
            np.log1p(sum(taint.tainted for taint in taints)),
            np.log1p(sum(taint.unread for taint in taints)),
            np.log1p(len(values or ())),
            np.log1p(number),
            np.log1p(earlier[call.tool]),
            np.log1p(read),
            *(_shared(some, task) for some in (name, description, words)),
            float(verdict.decision == "ask"),
            float(verdict.decision == "deny"),
            np.log1p(len(verdict.reasons)),
        ]
        of_values = np.array([_of_value(value, task) for value in values or ()] or [[0.0] * _VALUE])
        rows.append([*of_call, *of_values.max(0), *of_values.mean(0)])
        earlier[call.tool] += 1
        read += len(call.output or "")
    return np.array(rows, np.float32)


_VALUE = 9


def _of_value(value: Value, task: set[str]) -> list[float]:
    text = str(value.value)
    shares = [max((read.share for read in value.reads if read.origin.source == kind), default=0.0) for kind in _SOURCES]
    records = {(read.origin.call, read.origin.record) for read in value.reads}
    return [
        *shares,
        float(not value.reads),
        np.log1p(len(value.reads)),
        np.log1p(len(records)),
        np.log1p(len(text)),
        float(isinstance(value.value, str)),
        _shared(_words(text), task),
    ]


def _words(text: str) -> set[str]:
    return {word[:5] for word in _WORD.findall(text.lower())}


def _shared(words: set[str], task: set[str]) -> float:
    return len(words & task) / max(1, len(words))
