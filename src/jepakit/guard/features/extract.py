"""Features of calls on logarithmic scales: what the tool does, where values come from, what the user has said of it.

They come from the trace, its data flow and the policy in force. None of them names a tool, an argument or a word, so
what is learned from the tools of some agents holds for those of others.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from jepakit.errors import DataError
from jepakit.guard.data import Call, Trace
from jepakit.guard.energies.facts import EGRESS, CallFacts
from jepakit.guard.policy import Policy, verdict_of
from jepakit.guard.policy.running import Running, SeenCall
from jepakit.guard.traces.provenance import Flow, Value
from jepakit.progress import tracked

_WORD = re.compile(r"[a-z0-9]{3,}")
#: Letters of a word that count: "transfers" and "transferred" are one.
_STEM = 5
_SOURCES = ("user", "system", "output")


@dataclass(frozen=True)
class Clue:
    """Features that are about one thing, and what they say of a call beside usual ones.

    Args:
        features: their names.
        more: a clause that is true where the first of them is larger than that of usual calls.
        less: one that is true where it is smaller.
    """

    features: tuple[str, ...]
    more: str
    less: str


def _of_values(name: str) -> tuple[str, str]:
    return f"mean {name}", f"max {name}"


CLUES = (
    Clue(("read",), "its tool only reads", "its tool does more than read"),
    Clue(("write",), "its tool changes the user's own data", "its tool is no one that changes the user's own data"),
    Clue(("external",), "its tool sends to others", "its tool is no one that sends to others"),
    Clue(("execute",), "its tool runs code", "its tool is no one that runs code"),
    Clue(("privilege",), "its tool can do more harm than most", "its tool can do less harm than most"),
    Clue(
        ("tainted", *_of_values("share in outputs")),
        "values in it come from untrusted outputs",
        "few of its values come from untrusted outputs",
    ),
    Clue(
        ("unread", *_of_values("read nowhere")),
        "values in it were read nowhere",
        "few of its values were read nowhere",
    ),
    Clue(
        _of_values("share in the user's words"),
        "the user's words hold more of its values than usual",
        "the user's words hold few of its values",
    ),
    Clue(
        _of_values("share in the system's words"),
        "the system's words hold more of its values than usual",
        "the system's words hold few of its values",
    ),
    Clue(
        ("words in the task", *_of_values("words in the task")),
        "the user's words are close to what it says",
        "the user's words name little of what it says",
    ),
    Clue(("name in the task",), "the user's words name the tool", "the user's words do not name the tool"),
    Clue(
        ("description in the task",),
        "the user's words are like the tool's description",
        "the user's words are unlike the tool's description",
    ),
    Clue(
        ("reasons", "ask", "deny"),
        "the policy gives reasons against it",
        "the policy gives fewer reasons against it than usual",
    ),
    Clue(("place",), "more calls than usual stand before it", "fewer calls than usual stand before it"),
    Clue(("repeated",), "the tool was called before", "the tool was not called before"),
    Clue(("characters",), "the agent has read more than usual", "the agent has read less than usual"),
    Clue(
        ("values", *_of_values("is a text"), *_of_values("length")),
        "it has more arguments than usual",
        "it has fewer arguments than usual",
    ),
    Clue(
        (*_of_values("places"), *_of_values("records")),
        "its values were read in more places than usual",
        "its values were read in fewer places than usual",
    ),
)
"""What the features of a call can be put down to; each feature is in one of them."""

FEATURES = tuple(chain.from_iterable(clue.features for clue in CLUES))
"""The names of the features, in the order of the columns."""


class CallFeatures:
    """The features of the calls of a run, one after the other.

    Args:
        policy: in force.
        trace: the run; only its context and its edges are looked at.
    """

    def __init__(self, policy: Policy, trace: Trace) -> None:
        self._policy, self._running = policy, Running(policy, trace.context, trace.edges)
        self._task = _stems(trace.context.task)
        self._described = {tool.name: tool.description for tool in trace.context.tools}
        self._context = trace.context
        self._tools, self._place, self._characters = Counter[str](), 0, 0

    def see(self, call: Call, values: tuple[Value, ...] | None) -> SeenCall:
        """The next call, before it is made; nothing changes."""
        return self._running.see(call, values)

    def add(self, seen: SeenCall, call: Call) -> None:
        """The call is made; ``call`` has what the tool returned."""
        self._running.add(seen)
        self._tools[call.tool] += 1
        self._place += 1
        self._characters += len(call.output or "")

    def row(self, seen: SeenCall) -> list[float]:
        """The features of the next call; nan where the policy does not name its tool."""
        if not seen.tools:
            return [math.nan] * len(FEATURES)
        facts, verdict, call = CallFacts(self._context, seen), verdict_of(self._policy, seen), seen.call
        values, name = seen.values or (), _stems(call.tool)
        stems = [_stems(str(value.value)) for value in values]
        found = {
            **{effect: float(facts.effect == effect) for effect in EGRESS},
            "privilege": facts.weight,
            "tainted": math.log1p(sum(taint.tainted for taint in seen.taints)),
            "unread": math.log1p(sum(taint.unread for taint in seen.taints)),
            "values": math.log1p(len(values)),
            "place": math.log1p(self._place),
            "repeated": math.log1p(self._tools[call.tool]),
            "characters": math.log1p(self._characters),
            "name in the task": self._shared(name),
            "description in the task": self._shared(_stems(self._described.get(call.tool, ""))),
            "words in the task": self._shared(name.union(*stems)),
            "ask": float(verdict.decision == "ask"),
            "deny": float(verdict.decision == "deny"),
            "reasons": math.log1p(len(verdict.reasons)),
        }
        of_values = [self._of_value(value, some) for value, some in zip(values, stems, strict=True)]
        for one in _VALUE:
            column = [row[one] for row in of_values] or [0.0]
            found[f"max {one}"], found[f"mean {one}"] = max(column), sum(column) / len(column)
        return [found[feature] for feature in FEATURES]

    def _of_value(self, value: Value, stems: frozenset[str]) -> dict[str, float]:
        shares = (
            max((read.share for read in value.reads if read.origin.source == source), default=0.0)
            for source in _SOURCES
        )
        records = {(read.origin.call, read.origin.record) for read in value.reads}
        rest = (
            float(not value.reads),
            math.log1p(len(value.reads)),
            math.log1p(len(records)),
            math.log1p(len(str(value.value))),
            float(isinstance(value.value, str)),
            self._shared(stems),
        )
        return dict(zip(_VALUE, (*shares, *rest), strict=True))

    def _shared(self, stems: frozenset[str]) -> float:
        """The share of some words that the user has written."""
        return len(stems & self._task) / max(1, len(stems))


_VALUE = (
    "share in the user's words",
    "share in the system's words",
    "share in outputs",
    "read nowhere",
    "places",
    "records",
    "length",
    "is a text",
    "words in the task",
)


def call_features(
    policy: Policy, trace: Trace, flow: Flow, known: Sequence[SeenCall] = ()
) -> tuple[Tensor, tuple[SeenCall, ...]]:
    """The features of the calls of a trace, each from what stands before it.

    Args:
        policy: in force.
        trace: the calls.
        flow: of ``trace``, from `jepakit.guard.traces.provenance.data_flow`.
        known: what an earlier call of this function gave for the first calls.

    Returns:
        The features of the calls after those that are known, ``[calls, features]`` float32, nan for a call whose tool
        the policy does not name; and what the policy sees of all calls.

    Raises:
        DataError: the flow is of another trace.
    """
    if len(flow.values) != len(trace.calls):
        problem = "the data flow is of another trace"
        raise DataError(problem, value=len(flow.values), expected=f"that of {len(trace.calls)} calls")
    run, listed, rows = CallFeatures(policy, trace), list(known), list[list[float]]()
    for number, (call, values) in enumerate(zip(trace.calls, flow.values, strict=True)):
        if number >= len(known):
            listed.append(run.see(call, values))
            rows.append(run.row(listed[number]))
        run.add(listed[number], call)
    return torch.tensor(rows).view(-1, len(FEATURES)), tuple(listed)


def features_of(policies: Iterable[Policy], traces: Iterable[Trace], flows: Iterable[Flow]) -> Tensor:
    """The features of all calls of traces, each under its policy, ``[C, features]``."""
    triples = tracked(zip(policies, traces, flows, strict=True), "features of calls", unit="runs")
    return torch.cat([torch.empty(0, len(FEATURES)), *(call_features(*one)[0] for one in triples)])


def _stems(text: str) -> frozenset[str]:
    return frozenset(word[:_STEM] for word in _WORD.findall(text.lower()))
